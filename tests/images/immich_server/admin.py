# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""immich-admin: the subset of the original's commands that repairs and inspects the database."""

from __future__ import annotations

import os
import sys
import typing as t

import psycopg
import psycopg.rows
import psycopg.types.json

from immich_server import VERSION, access, database, schema, settings

Connection = psycopg.Connection[dict[str, t.Any]]


def list_users(connection: Connection, arguments: t.Sequence[str]) -> int:
    for row in connection.execute('SELECT id, email, name, "isAdmin", status FROM "user" WHERE "deletedAt" IS NULL ORDER BY "createdAt"'):
        print(f"id: {row['id']}  email: {row['email']}  name: {row['name']}  isAdmin: {str(row['isAdmin']).lower()}  status: {row['status']}")
    return 0


def reset_admin_password(connection: Connection, arguments: t.Sequence[str]) -> int:
    admin = connection.execute('SELECT id, email FROM "user" WHERE "isAdmin" AND "deletedAt" IS NULL LIMIT 1').fetchone()
    if admin is None:
        print("Admin account does not exist", file=sys.stderr)
        return 1
    print(f"Found Admin:\n- ID={admin['id']}\n- Email={admin['email']}")
    print("Please choose a new password (optional): ", end="", flush=True)
    given = sys.stdin.readline().strip()
    password = given or access.new_secret(24)
    connection.execute('UPDATE "user" SET password = %s, "updatedAt" = now() WHERE id = %s', (access.hash_password(password), admin["id"]))
    print("The admin password has been updated." if given else f"The admin password has been updated to:\n{password}")
    return 0


def set_admin(connection: Connection, arguments: t.Sequence[str], value: bool) -> int:
    email = arguments[0] if arguments else ""
    changed = connection.execute('UPDATE "user" SET "isAdmin" = %s WHERE email = %s RETURNING id', (value, email.lower())).fetchone()
    if changed is None:
        print(f"User does not exist: {email or '(an email is needed)'}", file=sys.stderr)
        return 1
    print("Admin access has been " + ("granted" if value else "revoked"))
    return 0


def password_login(connection: Connection, arguments: t.Sequence[str], value: bool) -> int:
    row = connection.execute("SELECT value FROM system_metadata WHERE key = 'system-config'").fetchone()
    config = dict(row["value"]) if row else {}
    config["passwordLogin"] = {"enabled": value}
    connection.execute(
        "INSERT INTO system_metadata VALUES ('system-config', %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (psycopg.types.json.Jsonb(config),)
    )
    print("Password login has been " + ("enabled" if value else "disabled"))
    return 0


def schema_check(connection: Connection, arguments: t.Sequence[str]) -> int:
    """Compare the tables and the migrations with what this version makes."""
    tables = {row["table_name"] for row in connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")}
    problems = [f"table {name} is missing" for name in schema.TABLES if name not in tables]
    if "kysely_migrations" in tables:
        done = [str(row["name"]) for row in connection.execute("SELECT name FROM kysely_migrations")]
        try:
            problems += [f"migration {name} was not run" for name in schema.pending(done, [migration.name for migration in schema.MIGRATIONS])]
        except schema.SchemaError as error:
            problems.append(str(error))
    for name in ("clip_index", "face_index", "UQ_assets_owner_checksum"):
        if connection.execute("SELECT 1 FROM pg_indexes WHERE indexname = %s", (name,)).fetchone() is None:
            problems.append(f"index {name} is missing")
    if problems:
        print("Detected schema drift:\n" + "\n".join("- " + problem for problem in problems))
        return 1
    print("No changes detected")
    return 0


def change_media_location(connection: Connection, arguments: t.Sequence[str]) -> int:
    """Rewrite the stored paths; asks for both places unless they are given. No file is moved."""
    given = list(arguments)
    for question in ("Enter the previous value of IMMICH_MEDIA_LOCATION: ", "Enter the new value of IMMICH_MEDIA_LOCATION: ")[len(given) :]:
        print(question, end="", flush=True)
        given.append(sys.stdin.readline().strip())
    old, new = (path.rstrip("/") for path in given[:2])
    if not old.startswith("/") or not new.startswith("/"):
        print("Both places must be absolute paths", file=sys.stderr)
        return 1
    with connection.transaction():
        for table, column in (("asset", "originalPath"), ("asset_file", "path"), ("user", "profileImagePath")):
            connection.execute(
                t.cast(t.Any, f'UPDATE "{table}" SET "{column}" = %s || substr("{column}", %s) WHERE starts_with("{column}", %s)'),
                (new, len(old) + 1, old + "/"),
            )
        connection.execute(
            "INSERT INTO system_metadata VALUES ('MediaLocation', %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (psycopg.types.json.Jsonb({"location": new}),),
        )
    print("Paths have been updated; restart the server")
    return 0


COMMANDS: dict[str, tuple[str, t.Callable[[Connection, t.Sequence[str]], int]]] = {
    "reset-admin-password": ("Reset the admin password", reset_admin_password),
    "enable-password-login": ("Enable password login", lambda connection, arguments: password_login(connection, arguments, True)),
    "disable-password-login": ("Disable password login", lambda connection, arguments: password_login(connection, arguments, False)),
    "list-users": ("List Immich users", list_users),
    "grant-admin": ("Make the user with this email an administrator", lambda connection, arguments: set_admin(connection, arguments, True)),
    "revoke-admin": ("Take administration from the user with this email", lambda connection, arguments: set_admin(connection, arguments, False)),
    "change-media-location": ("Change the stored paths to another media location", change_media_location),
    "schema-check": ("Compare the database schema with what this version expects", schema_check),
}


def main(arguments: t.Sequence[str]) -> int:
    command = arguments[0] if arguments else "help"
    if command == "version":
        print(f"v{VERSION}")
        return 0
    if command not in COMMANDS:
        print("Usage: immich-admin COMMAND (this is a stand-in: a subset)\n")
        for name, (text, _call) in sorted({**COMMANDS, "version": ("Print the version", list_users)}.items()):
            print(f"  {name:24} {text}")
        return 0 if command in ("help", "--help", "-h") else 1
    try:
        where = settings.database(settings.resolve_files(os.environ))
        with psycopg.connect(database.conninfo(where), row_factory=psycopg.rows.dict_row, autocommit=True, connect_timeout=10) as connection:
            return COMMANDS[command][1](connection, arguments[1:])
    except (psycopg.Error, settings.BadEnvironment) as error:
        print(f"immich-admin: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
