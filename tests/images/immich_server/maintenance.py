# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The maintenance worker: it stands in place of the two others while the mode is on, and answers next to nothing."""

from __future__ import annotations

import urllib.parse

from aiohttp import web

from immich_server import MAJOR, api, logs


class Maintenance(api.Api):
    """Listens where the api worker listens. It neither migrates nor looks at the folders, and takes no jobs."""

    name = "maintenance"
    in_maintenance = True

    async def start(self) -> None:
        logs.Options.worker = "Maintenance"
        logs.Logger("MaintenanceWebsocketRepository").log("Initialized websocket server")
        await self.database.pool.open(wait=True)
        await self.load_config()
        token = await self.token()
        logs.Logger("MaintenanceWorkerService").log(
            "\n\n\N{CONSTRUCTION SIGN} Immich is in maintenance mode, you can log in using the following URL:\n" + login_url(token) + "\n"
        )
        logs.Logger("NestFactory").log("Starting Nest application...")
        await self.listen_for_metrics()
        await self.begin()

    def tell_restart(self, mode: bool) -> None:
        """Said by the others only."""

    async def token(self) -> str:
        return str((await self.database.metadata("maintenance-mode") or {}).get("secret", ""))

    def routes(self) -> list[tuple[str, str, str | None, api.Handler]]:
        found: list[tuple[str, str, str | None, api.Handler]] = [
            ("GET", "/api/server/config", None, self.server_config),
            ("GET", "/api/server/version", None, self.version),
        ]
        return found + ([("GET", "/api/server/ping", None, self.ping)] if MAJOR >= 3 else [])

    async def server_config(self, call: api.Call) -> web.Response:
        return api.answer({"maintenanceMode": True})

    async def not_found(self, call: api.Call) -> web.StreamResponse:
        path = call.request.path_qs
        if path.startswith("/api"):
            return await super().not_found(call)
        if path.startswith("/maintenance"):
            return web.Response(text=api.PAGE, content_type="text/html")
        where = "/maintenance?continue=" + urllib.parse.quote(path, safe="")
        return web.Response(status=302, text=f"Found. Redirecting to {where}", headers={"Location": where})


def login_url(token: str) -> str:
    return f"https://my.immich.app/maintenance?token={token}"
