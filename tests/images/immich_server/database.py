# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: connection pool, start-up checks in the original's order, migrations under an advisory lock, metadata."""

from __future__ import annotations

import contextlib
import socket
import time
import typing as t

import psycopg
import psycopg.conninfo
import psycopg.rows
import psycopg.sql
import psycopg.types.json
import psycopg_pool

from immich_server import MAJOR, VERSION, crash, logs, metrics, names, schema, settings, versions

Row = dict[str, t.Any]


class ConnectFailed(Exception):
    """The first connection could not be made. The original's driver hides the reason behind a TypeError; here it follows in the stack."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__("TypeError: Cannot read properties of undefined (reading 'replace')")
        self.reason = " ".join(str(reason).split())


def conninfo(where: settings.Database) -> str:
    return psycopg.conninfo.make_conninfo(
        host=where.host, port=where.port, user=where.user, password=where.password, dbname=where.name, application_name="immich", **where.options
    )


class Crash(Exception):
    """The first process ends with this text; nothing has been started yet."""


def maintenance_mode(where: settings.Database) -> bool:
    """What the first process asks before it starts any worker. Raises C(Crash)."""
    try:
        addresses = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM) if not where.host.startswith("/") else []
    except socket.gaierror as error:
        raise Crash(crash.of_name(where.host, error.errno)) from error
    try:
        with psycopg.connect(conninfo(where), row_factory=psycopg.rows.dict_row, autocommit=True, connect_timeout=10) as connection:
            row = connection.execute("SELECT value FROM system_metadata WHERE key = 'maintenance-mode'").fetchone()
    except psycopg.errors.UndefinedTable:
        return False  # a fresh database
    except psycopg.Error as error:
        raise Crash(crash.of_connection(str(error), str(addresses[0][4][0]) if addresses else where.host, where.port)) from error
    return bool(row and row["value"].get("isMaintenanceMode"))


class Database:
    """All queries of a worker go through here; each is timed as the original times its repositories."""

    def __init__(self, config: settings.Settings, registry: metrics.Registry) -> None:
        self.config = config
        self.registry = registry
        self.log = logs.Logger("DatabaseRepository")
        # Checked before use: a connection from before a restart of the database is replaced, not handed out.
        self.pool: psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[Row]] = psycopg_pool.AsyncConnectionPool(
            conninfo(config.database),
            kwargs={"row_factory": psycopg.rows.dict_row, "autocommit": True},
            check=psycopg_pool.AsyncConnectionPool.check_connection,
            min_size=1,
            max_size=8,
            open=False,
            timeout=10,
        )

    async def rows(self, query: str, values: t.Any = (), repository: str = "database", method: str = "query") -> list[Row]:
        started = time.monotonic()
        async with self.pool.connection() as connection:
            cursor = await connection.execute(t.cast(t.Any, query), values)
            found = await cursor.fetchall() if cursor.description else []
        self.registry.observe("repo", f"immich_{repository}_repository_{method}_duration", (time.monotonic() - started) * 1000)
        return found

    async def row(self, query: str, values: t.Any = (), repository: str = "database", method: str = "query") -> Row | None:
        found = await self.rows(query, values, repository, method)
        return found[0] if found else None

    @contextlib.asynccontextmanager
    async def transaction(self) -> t.AsyncIterator[psycopg.AsyncConnection[Row]]:
        async with self.pool.connection() as connection, connection.transaction():
            yield connection

    async def start(self) -> str:
        """Check and prepare the database; returns the server's version. Raises C(ConnectFailed), C(versions.Unsupported), C(schema.SchemaError)."""
        try:
            connection = await psycopg.AsyncConnection.connect(
                conninfo(self.config.database), row_factory=psycopg.rows.dict_row, autocommit=True, connect_timeout=10
            )
        except psycopg.OperationalError as error:
            raise ConnectFailed(error) from error
        async with connection:
            version = str((await (await connection.execute("SHOW server_version")).fetchall())[0]["server_version"]).partition(" ")[0]
            versions.check_postgres(version)
            await connection.execute("SELECT pg_advisory_lock(%s)", (schema.MIGRATION_LOCK,))
            try:
                extension = await self.prepare_extension(connection)
                if self.config.skip_migrations:
                    self.log.warn("Skipping database migrations (DB_SKIP_MIGRATIONS)")
                else:
                    await self.migrate(connection, extension)
                    self.check_drift()
            finally:
                await connection.execute("SELECT pg_advisory_unlock(%s)", (schema.MIGRATION_LOCK,))
        await self.pool.open(wait=True)
        return version

    async def prepare_extension(self, connection: psycopg.AsyncConnection[Row]) -> versions.Extension:
        names = [extension.name for extension in versions.EXTENSIONS.values()]
        cursor = await connection.execute("SELECT name, default_version, installed_version FROM pg_available_extensions WHERE name = ANY(%s)", (names,))
        offered = {str(row["name"]): row for row in await cursor.fetchall()}
        extension = versions.choose_extension(self.config.vector_extension, {name: str(row["default_version"]) for name, row in offered.items()})
        row = offered.get(extension.name, {})
        todo = versions.plan_extension(extension, row.get("default_version"), row.get("installed_version"))
        name = psycopg.sql.Identifier(extension.name)
        if todo == "create":
            self.log.log(f"Creating {extension.title} extension")
            await connection.execute(psycopg.sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE").format(name))
        elif todo == "update":
            self.log.log(f"Updating {extension.title} extension to {row['default_version']}")
            await connection.execute(psycopg.sql.SQL("ALTER EXTENSION {} UPDATE").format(name))
        return extension

    async def migrate(self, connection: psycopg.AsyncConnection[Row], extension: versions.Extension) -> None:
        await connection.execute(schema.FOUNDATION)
        self.log.log("Running migrations")
        done = [str(row["name"]) for row in await (await connection.execute("SELECT name FROM kysely_migrations")).fetchall()]
        try:
            todo = schema.pending(done, names.MIGRATIONS)
        except schema.SchemaError as error:
            self.log.error(f"Migrations failed: Error: {error}", stack=f"Error: {error}{logs.stack_of(error)}")
            raise
        # All or none.
        async with connection.transaction():
            for name in todo:
                text = schema.sql_of(name).replace("{column}", extension.column).replace("{index}", extension.index)
                if text:
                    await connection.execute(t.cast(t.Any, text))
                await connection.execute("INSERT INTO kysely_migrations VALUES (%s, now()::text)", (name,))
        for name in todo:
            self.log.log(f'Migration "{name}" succeeded')
        self.log.log("Finished running migrations")
        last = await (await connection.execute('SELECT version FROM version_history ORDER BY "createdAt" DESC LIMIT 1')).fetchall()
        if not last or last[0]["version"] != VERSION:
            await connection.execute("INSERT INTO version_history (version) VALUES (%s)", (VERSION,))

    def check_drift(self) -> None:
        """Told by releases that look; nothing here can drift."""
        if MAJOR >= 3:
            log = logs.Logger("DatabaseService")
            log.log("Checking for schema drift")
            log.log("No schema drift detected")

    async def metadata(self, key: str) -> t.Any:
        row = await self.row("SELECT value FROM system_metadata WHERE key = %s", (key,), "system_metadata", "get")
        return row["value"] if row else None

    async def set_metadata(self, key: str, value: t.Any) -> None:
        await self.rows(
            "INSERT INTO system_metadata VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, psycopg.types.json.Jsonb(value)),
            "system_metadata",
            "set",
        )
