# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both workers share: start-up in the original's order, settings, metrics address, orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import typing as t

import psycopg
import psycopg_pool
import yaml
from aiohttp import web

from immich_server import VERSION, config, database, logs, metrics, queues, settings, storage, watch


class StartError(Exception):
    """The worker must not start; the text is what the original says."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; without a host on all addresses, IPv6 and IPv4 where there is IPv6."""
    if not host or host.strip("[]") == "::":
        try:
            made = socket.socket(socket.AF_INET6)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("::", port))
            made.listen(511)
            return made
        except OSError:
            if host:
                raise
        host = "0.0.0.0"
    family, kind, protocol, _name, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    made.listen(511)
    return made


def read_config_file(path: str) -> t.Any:
    try:
        with open(path, encoding="utf-8") as handle:
            return yaml.safe_load(handle) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise StartError(f"Unable to load configuration file: {path}") from error


class Worker:
    """Base of the api and the microservices worker."""

    name = ""
    metrics_port = 0
    in_maintenance = False

    def __init__(self, environment: settings.Settings) -> None:
        self.settings = environment
        self.registry = metrics.Registry(environment.telemetry)
        self.database = database.Database(environment, self.registry)
        self.queues = queues.Queues(environment.redis)
        self.config: config.Config = {}
        self.database_version = ""
        self.stopping = asyncio.Event()
        # One pipe between the workers of a container: the api worker reads a byte from it before it starts, which the microservices worker
        # writes when the database and the folders are in order. So a bad start is always told once, by the same worker.
        self.go_read = self.go_write = -1
        self.runners: list[web.AppRunner] = []
        self.status = 0

    async def run(self) -> int:
        """Work until SIGTERM. Errors of the start are raised."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        start = asyncio.ensure_future(self.start())
        stop = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            await start
            looking = asyncio.ensure_future(self.watch_mode())
            await stop
            looking.cancel()
        start.cancel()
        with contextlib.suppress(asyncio.CancelledError, asyncio.TimeoutError):
            await asyncio.wait_for(self.close(), 8)
        return self.status

    async def watch_mode(self) -> None:
        """Maintenance mode is switched in the database, by immich-admin or another worker: all workers end, and the first process looks again."""
        while not self.stopping.is_set():
            await asyncio.sleep(1)
            with contextlib.suppress(psycopg.Error, psycopg_pool.PoolTimeout):
                mode = bool((await self.database.metadata("maintenance-mode") or {}).get("isMaintenanceMode"))
                if mode != self.in_maintenance:
                    self.tell_restart(mode)
                    self.status = watch.RESTART
                    self.stopping.set()

    def tell_restart(self, mode: bool) -> None:
        logs.Logger("MaintenanceService").log(f'Restarting due to event... {{"isMaintenanceMode":{str(mode).lower()}}}')

    async def start(self) -> None:
        logs.Options.worker = self.name.capitalize()
        if self.go_read >= 0:
            await self.wait_for_go()
        logs.Logger("WebsocketRepository").log("Initialized websocket server")
        self.database_version = await self.database.start()
        await self.load_config()
        await self.prepare()
        if self.go_write >= 0:
            os.write(self.go_write, b"1")
        await asyncio.sleep(self.settings.start_seconds)
        logs.Logger("NestFactory").log("Starting Nest application...")
        await self.queues.wait_until_reachable()
        await self.listen_for_metrics()
        await self.begin()

    async def listen_for_metrics(self) -> None:
        if self.settings.telemetry:
            app = web.Application()
            app.router.add_get("/metrics", self.serve_metrics)
            await self.serve(app, listen("", self.metrics_port))

    async def wait_for_go(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self.go_read, readable.set)
        await readable.wait()
        loop.remove_reader(self.go_read)
        if not os.read(self.go_read, 1):
            await self.stopping.wait()  # the other worker ended: so will this one

    async def prepare(self) -> None:
        """Checks before Valkey is needed."""
        await self.check_storage()

    async def begin(self) -> None:
        """Start the worker's own work."""

    async def close(self) -> None:
        for runner in self.runners:
            await runner.cleanup()
        await self.queues.close()
        await self.database.pool.close(timeout=2)

    async def serve(self, app: web.Application, where: socket.socket) -> None:
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=3)
        await runner.setup()
        await web.SockSite(runner, where).start()
        self.runners.append(runner)

    async def serve_metrics(self, request: web.Request) -> web.Response:
        await self.refresh_metrics()
        return web.Response(body=self.registry.render().encode(), content_type="text/plain")

    async def refresh_metrics(self) -> None:
        """Gauges that are read when asked for."""

    async def load_config(self) -> None:
        """Settings from the file, else from the database, over the defaults."""
        base = config.defaults(self.settings.machine_learning_url, self.settings.machine_learning)
        log = logs.Logger("ConfigRepository")
        path = self.settings.config_file
        override = read_config_file(path) if path else await self.database.metadata("system-config") or {}
        try:
            self.config, unknown = config.merge(base, override)
        except config.InvalidConfig as error:
            if path:
                raise StartError(f"Invalid system config: {error}") from error
            log.warn(f"Unable to validate system config: {error}")
            self.config, unknown = base, []
        if unknown:
            log.warn(f"Unknown keys found: {json.dumps(unknown)}")
        level = self.settings.log_level or (self.config["logging"]["level"] if self.config["logging"]["enabled"] else "fatal")
        logs.Options.level = level
        by = "IMMICH_LOG_LEVEL" if self.settings.log_level else "system config"
        logs.Logger("SystemConfigService").log(f"LogLevel={level} (set via {by})")

    async def check_storage(self) -> None:
        """The folder checks, and the media location against what the database was filled with."""
        log = logs.Logger("StorageService")
        flags = await self.database.metadata("system-flags") or {"mountChecks": {}}
        log.log(f"Verifying system mount folder checks, current state: {json.dumps(flags, separators=(',', ':'))}")
        known = flags.get("mountChecks", {})
        checks = storage.check_folders(self.settings.media_location, known, log, self.settings.ignore_mount_errors)
        if checks != known:
            await self.database.set_metadata("system-flags", dict(flags, mountChecks=checks))
            log.log("Successfully enabled system mount folders checks")
        log.log("Successfully verified system mount folder checks")
        await self.check_media_location(log)

    async def check_media_location(self, log: logs.Logger) -> None:
        """A changed media location rewrites the stored paths, if they were below the previous one."""
        current = self.settings.media_location
        saved = (await self.database.metadata("MediaLocation") or {}).get("location")
        sample = await self.database.row('SELECT "originalPath" AS path FROM asset WHERE NOT "isExternal" ORDER BY "createdAt" LIMIT 1')
        previous = saved or "/usr/src/app/upload"
        if sample and previous != current:
            log.log(f"Media location changed (from={previous}, to={current})")
            if not str(sample["path"]).startswith(previous):
                raise StartError(
                    "Detected an inconsistent media location. For more information, see https://docs.immich.app/errors#inconsistent-media-location"
                )
            log.warn(f"Detected a change to media location, performing an automatic migration of file paths from {previous} to {current}, this may take awhile")
            await rewrite_paths(self.database, previous, current)
        if saved != current:
            await self.database.set_metadata("MediaLocation", {"location": current})


async def rewrite_paths(store: database.Database, old: str, new: str) -> None:
    """Change the media location in every stored path; no file is moved."""
    for table, column in (("asset", "originalPath"), ("asset_file", "path"), ("user", "profileImagePath")):
        await store.rows(f'UPDATE "{table}" SET "{column}" = %s || substr("{column}", %s) WHERE starts_with("{column}", %s)', (new, len(old) + 1, old + "/"))


def banner() -> None:
    logs.say(f"Initializing Immich v{VERSION}")
    logs.say(f"Detected CPU Cores: {len(os.sched_getaffinity(0))}")
