# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job queues in Valkey, under the original's key prefix: waiting and active lists, queues that can be paused. A failed job is told and forgotten."""

from __future__ import annotations

import asyncio
import json
import sys
import typing as t

import redis.asyncio
import redis.exceptions

from immich_server import logs, names, settings

PREFIX = "immich_bull"
# Queue of each job. The names are the original's.
JOBS = {
    "AssetExtractMetadata": "metadataExtraction",
    "AssetGenerateThumbnails": "thumbnailGeneration",
    "AssetDetectFaces": "faceDetection",
    "SmartSearch": "smartSearch",
    "FileDelete": "backgroundTask",
    "DatabaseBackup": "backupDatabase",
    "LibrarySyncAll": "library",
}
QUEUES = names.QUEUES
Data = dict[str, t.Any]


class Queues:
    """The queues of one worker's connection."""

    def __init__(self, where: settings.Redis) -> None:
        options: dict[str, t.Any] = {"username": where.username, "password": where.password, "db": where.index, "decode_responses": True}
        if where.socket:
            options["unix_socket_path"] = where.socket
        else:
            options.update(host=where.host, port=where.port)
        self.where = f"{where.host}:{where.port}" if not where.socket else where.socket
        self.redis: t.Any = redis.asyncio.Redis(**options)

    async def wait_until_reachable(self) -> None:
        """Like the original: for ever, complaining on the standard error; the worker runs but does not listen meanwhile."""
        attempt = 0
        while True:
            try:
                await self.redis.ping()
                return
            except (redis.exceptions.RedisError, OSError) as error:
                attempt += 1
                logs.say(f"[ioredis] missing 'error' handler on this Redis client\nError: {' '.join(str(error).split())} ({self.where})", stream=sys.stderr)
                await asyncio.sleep(min(attempt * 0.05, 2))

    async def _insist(self, call: t.Callable[[], t.Awaitable[t.Any]]) -> t.Any:
        """Commands wait for a Valkey that went away, like the original's offline queue."""
        while True:
            try:
                return await call()
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, redis.exceptions.BusyLoadingError, OSError):
                await self.wait_until_reachable()

    async def add(self, job: str, data: Data | None = None) -> None:
        text = json.dumps({"name": job, "data": data or {}}, separators=(",", ":"))
        await self._insist(lambda: self.redis.lpush(f"{PREFIX}:{JOBS[job]}:wait", text))

    async def recover(self, queue: str) -> None:
        """Jobs that a killed worker left half done start again."""
        key = f"{PREFIX}:{queue}"
        while await self._insist(lambda: self.redis.lmove(f"{key}:active", f"{key}:wait", "RIGHT", "RIGHT")):
            pass

    async def take(self, queue: str) -> str | None:
        """Next job of a queue as it is stored, or None after a second without one (or while paused)."""
        key = f"{PREFIX}:{queue}"
        if await self._insist(lambda: self.redis.exists(f"{key}:meta-paused")):
            await asyncio.sleep(1)
            return None
        found = await self._insist(lambda: self.redis.blmove(f"{key}:wait", f"{key}:active", 1, "RIGHT", "LEFT"))
        return t.cast("str | None", found)

    async def finish(self, queue: str, text: str) -> None:
        await self._insist(lambda: self.redis.lrem(f"{PREFIX}:{queue}:active", 1, text))

    async def status(self, queue: str) -> dict[str, t.Any]:
        key = f"{PREFIX}:{queue}"
        waiting, active = [int(await self._insist(lambda name=name: self.redis.llen(f"{key}:{name}"))) for name in ("wait", "active")]
        paused = bool(await self._insist(lambda: self.redis.exists(f"{key}:meta-paused")))
        return {
            "jobCounts": {
                "active": active,
                "completed": 0,
                "failed": 0,
                "delayed": 0,
                "waiting": 0 if paused else waiting,
                "paused": waiting if paused else 0,
            },
            "queueStatus": {"isActive": active > 0, "isPaused": paused},
        }

    async def command(self, queue: str, command: str) -> None:
        key = f"{PREFIX}:{queue}"
        if command == "pause":
            await self._insist(lambda: self.redis.set(f"{key}:meta-paused", "1"))
        elif command == "resume":
            await self._insist(lambda: self.redis.delete(f"{key}:meta-paused"))
        elif command == "empty":
            await self._insist(lambda: self.redis.delete(f"{key}:wait"))

    async def close(self) -> None:
        await self.redis.aclose()
