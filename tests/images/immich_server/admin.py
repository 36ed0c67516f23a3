# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""immich-admin: the subset of the original's commands that repairs and inspects the database."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import signal
import sys
import typing as t

import psycopg
import psycopg.rows
import psycopg.types.json

from immich_server import MAJOR, VERSION, access, database, names, schema, settings

Connection = psycopg.Connection[dict[str, t.Any]]
# As they are shown, in this order.
USER_FIELDS = (
    "id email name profileImagePath avatarColor profileChangedAt storageLabel shouldChangePassword isAdmin createdAt deletedAt updatedAt "
    "oauthId quotaSizeInBytes quotaUsageInBytes status license"
).split()


def inspected(value: t.Any) -> str:
    """A value as the original's runtime prints it."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def list_users(connection: Connection, arguments: t.Sequence[str]) -> int:
    """All as an object of the original's language, the newest first."""
    shown = []
    for row in connection.execute('SELECT * FROM "user" WHERE "deletedAt" IS NULL ORDER BY "createdAt" DESC'):
        changed = inspected(row["createdAt"])
        row.update(profileChangedAt=row["createdAt"], license=None, avatarColor=row["avatarColor"] or "primary")
        values = {name: f"'{changed}'" if name == "profileChangedAt" and MAJOR >= 3 else inspected(row[name]) for name in USER_FIELDS}
        shown.append("  {\n" + ",\n".join(f"    {name}: {value}" for name, value in values.items()) + "\n  }")
    print("[\n" + ",\n".join(shown) + "\n]" if shown else "[]")
    return 0


def ask(question: str) -> str:
    """A prompt: it is drawn again with what was typed, terminal or not. It waits for a key for ever, also where none can come any more."""
    print(f"? {question} ", end="", flush=True)
    line = sys.stdin.readline()
    if not line:
        signal.pause()
    given = line.strip()
    print(f"\x1b[2K\x1b[G? {question} {given}")
    return given


def reset_admin_password(connection: Connection, arguments: t.Sequence[str]) -> int:
    admin = connection.execute('SELECT id, email, name, "oauthId" FROM "user" WHERE "isAdmin" AND "deletedAt" IS NULL LIMIT 1').fetchone()
    if admin is None:
        print("Admin account does not exist", file=sys.stderr)
        return 1
    print(f"Found Admin:\n- ID={admin['id']}\n- OAuth ID={admin['oauthId']}\n- Email={admin['email']}\n- Name={admin['name']}")
    given = ask("Please choose a new password (optional)")
    if MAJOR >= 3 and ask("Invalidate existing sessions? (Y/n)").lower() not in ("n", "no"):
        connection.execute('DELETE FROM session WHERE "userId" = %s', (admin["id"],))
    password = given or access.new_secret()
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
    switch(connection, "passwordLogin", value)
    print("Password login has been " + ("enabled" if value else "disabled"))
    return 0


def schema_check(connection: Connection, arguments: t.Sequence[str]) -> int:
    """Compare the tables and the migrations with what this version makes."""
    tables = {row["table_name"] for row in connection.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")}
    problems = [f"table {name} is missing" for name in schema.TABLES if name not in tables]
    todo: list[str] = []
    if "kysely_migrations" in tables:
        done = [str(row["name"]) for row in connection.execute("SELECT name FROM kysely_migrations")]
        try:
            todo = schema.pending(done, names.MIGRATIONS)
        except schema.SchemaError as error:
            problems.append(str(error))
    indexes = {row["indexname"] for row in connection.execute("SELECT indexname FROM pg_indexes")}
    problems += [f"index {name} is missing" for name in ("clip_index", "face_index", "UQ_assets_owner_checksum") if name not in indexes]
    print("\n".join(f"migration {name} was not run" for name in todo) if todo else "Migrations are up to date")
    print("\nDetected schema drift:\n" + "\n".join("- " + problem for problem in problems) if problems else "\nNo schema drift detected")
    return 1 if problems or todo else 0


def set_mode(connection: Connection, wanted: bool) -> int:
    """The workers see it within a second."""
    row = connection.execute("SELECT value FROM system_metadata WHERE key = 'maintenance-mode'").fetchone()
    value = dict(row["value"]) if row else {}
    already = bool(value.get("isMaintenanceMode")) == wanted
    if not already:
        value = {"isMaintenanceMode": True, "secret": secrets.token_hex(64), "action": {"action": "start"}} if wanted else {"isMaintenanceMode": False}
        connection.execute(
            "INSERT INTO system_metadata VALUES ('maintenance-mode', %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (psycopg.types.json.Jsonb(value),),
        )
    if wanted:
        print("The server is already in maintenance mode!" if already else "Maintenance mode has been enabled.")
        print(f"\nLog in using the following URL:\nhttps://my.immich.app/maintenance?token={value['secret']}")
    else:
        print("The server is already out of maintenance mode!" if already else "Maintenance mode has been disabled.")
    return 0


def oauth_login(connection: Connection, arguments: t.Sequence[str], value: bool) -> int:
    switch(connection, "oauth", value)
    print("OAuth login has been " + ("enabled" if value else "disabled"))
    return 0


def switch(connection: Connection, section: str, value: bool) -> None:
    row = connection.execute("SELECT value FROM system_metadata WHERE key = 'system-config'").fetchone()
    config = dict(row["value"]) if row else {}
    config[section] = dict(config.get(section, {}), enabled=value)
    connection.execute(
        "INSERT INTO system_metadata VALUES ('system-config', %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (psycopg.types.json.Jsonb(config),)
    )


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
    "enable-maintenance-mode": ("Enable maintenance mode", lambda connection, arguments: set_mode(connection, True)),
    "disable-maintenance-mode": ("Disable maintenance mode", lambda connection, arguments: set_mode(connection, False)),
    "enable-oauth-login": ("Enable OAuth login", lambda connection, arguments: oauth_login(connection, arguments, True)),
    "disable-oauth-login": ("Disable OAuth login", lambda connection, arguments: oauth_login(connection, arguments, False)),
    "list-users": ("List the users", list_users),
    "version": ("Print the version", list_users),
    "grant-admin": ("Make the user with this email an administrator", lambda connection, arguments: set_admin(connection, arguments, True)),
    "revoke-admin": ("Take administration from the user with this email", lambda connection, arguments: set_admin(connection, arguments, False)),
    "change-media-location": ("Change the stored paths to another media location", change_media_location),
    **({"schema-check": ("Compare the database schema with what this version expects", schema_check)} if MAJOR >= 3 else {}),
    "help": ("Display this help", list_users),
}


def main(arguments: t.Sequence[str]) -> int:
    command = arguments[0] if arguments else "help"
    if command == "version":
        print(f"v{VERSION}")
        return 0
    if command in ("help", "--help", "-h"):
        print("Usage: main [options] [command] (this is a stand-in)\n\nCommands:")
        for name, (text, _call) in COMMANDS.items():
            print(f"  {name:25} {text}")
        return 0
    if command not in COMMANDS:
        print(f"error: unknown command '{command}'", file=sys.stderr)
        return 1
    try:
        where = settings.database(settings.resolve_files(os.environ))
        with psycopg.connect(database.conninfo(where), row_factory=psycopg.rows.dict_row, autocommit=True, connect_timeout=10) as connection:
            return COMMANDS[command][1](connection, arguments[1:])
    except (psycopg.Error, settings.BadEnvironment) as error:
        print(f"immich-admin: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
