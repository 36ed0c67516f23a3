# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The microservices worker: takes jobs from the queues and does them, makes the nightly dump, serves its metrics on 8082."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gzip
import json
import os
import time
import typing as t

import aiohttp

from immich_server import VERSION, config, dumps, logs, media, metrics, queues, storage, worker

STOCK_CLIENTS = "/usr/lib/postgresql"


class JobError(Exception):
    """A job that failed, in the original's words."""


class Microservices(worker.Worker):
    """Consumes every queue."""

    name = "microservices"

    def __init__(self, environment: worker.settings.Settings) -> None:
        super().__init__(environment)
        self.metrics_port = environment.microservices_metrics_port
        self.tasks: list[asyncio.Task[None]] = []
        self.handlers: dict[str, t.Callable[[queues.Data], t.Awaitable[str]]] = {
            "AssetExtractMetadata": self.extract_metadata,
            "AssetGenerateThumbnails": self.generate_thumbnails,
            "SmartSearch": self.smart_search,
            "AssetDetectFaces": self.detect_faces,
            "FileDelete": self.delete_files,
            "DatabaseBackup": self.backup_database,
            "LibrarySyncAll": self.scan_library,
        }

    async def begin(self) -> None:
        for queue in queues.QUEUES:
            await self.queues.recover(queue)
        for queue in sorted(set(queues.JOBS.values())):
            for _number in range(self.config["job"].get(queue, {}).get("concurrency", 1)):
                self.tasks.append(asyncio.create_task(self.consume(queue)))
        self.tasks.append(asyncio.create_task(self.nightly()))
        logs.Logger("NestApplication").log("Nest application successfully started")
        logs.Logger("Bootstrap").log(f"Immich Microservices is running [v{VERSION}] [production]")

    async def close(self) -> None:
        if self.tasks:
            # What is being done gets a moment; a job that is cut off is found in the active list at the next start.
            _done, pending = await asyncio.wait(self.tasks, timeout=4)
            for task in pending:
                task.cancel()
        await super().close()

    async def consume(self, queue: str) -> None:
        gauge = f"immich_queues_{metrics.snake(queue)}_active"
        while not self.stopping.is_set():
            text = await self.queues.take(queue)
            if text is None:
                continue
            job = json.loads(text)
            name, data = str(job["name"]), dict(job["data"])
            self.registry.count("job", f"immich_queues_{metrics.snake(queue)}_started")
            self.registry.gauge("job", gauge, 1)
            # Whatever goes wrong in a job ends that job only.
            (error,) = await asyncio.gather(self.do(name, data), return_exceptions=True)
            self.registry.gauge("job", gauge, -1)
            if isinstance(error, Exception):
                failure = f"Error: {error}" if isinstance(error, (JobError, media.MediaError)) else f"{type(error).__name__}: {error}"
                context = json.dumps(data, separators=(",", ":"))
                logs.Logger(context).error(f"Unable to run job handler ({name}): {failure}", stack=failure + logs.stack_of(error))
                self.registry.count("job", f"immich_jobs_{metrics.snake(name)}_failed")
            await self.queues.finish(queue, text)

    async def do(self, name: str, data: queues.Data) -> None:
        await self.load_changed_config()
        result = await self.handlers[name](data)
        self.registry.count("job", f"immich_jobs_{metrics.snake(name)}_{result}")

    async def load_changed_config(self) -> None:
        """Settings may have been changed through the API, in the other worker."""
        if not self.settings.config_file:
            override = await self.database.metadata("system-config") or {}
            with contextlib.suppress(config.InvalidConfig):
                self.config = config.merge(config.defaults(self.settings.machine_learning_url, self.settings.machine_learning), override)[0]

    async def asset(self, data: queues.Data) -> dict[str, t.Any] | None:
        return await self.database.row('SELECT * FROM asset WHERE id = %s AND "deletedAt" IS NULL', (data["id"],), "asset", "get_by_id")

    async def extract_metadata(self, data: queues.Data) -> str:
        asset = await self.asset(data)
        if asset is None:
            return "skipped"
        path = asset["originalPath"]
        if not os.path.exists(path):
            raise JobError(f"ENOENT: no such file or directory, stat '{path}'")
        size = (None, None) if asset["type"] == "VIDEO" else await asyncio.to_thread(media.dimensions, path)
        await self.database.rows(
            'INSERT INTO asset_exif ("assetId", "fileSizeInByte", "exifImageWidth", "exifImageHeight") VALUES (%s, %s, %s, %s) '
            'ON CONFLICT ("assetId") DO UPDATE SET "fileSizeInByte" = excluded."fileSizeInByte", "exifImageWidth" = excluded."exifImageWidth", '
            '"exifImageHeight" = excluded."exifImageHeight", "updatedAt" = now()',
            (asset["id"], os.stat(path).st_size, *size),
            "asset",
            "upsert_exif",
        )
        if data.get("source") == "upload":
            await self.queues.add("AssetGenerateThumbnails", {"source": "upload", "id": data["id"]})
        return "success"

    async def generate_thumbnails(self, data: queues.Data) -> str:
        asset = await self.asset(data)
        if asset is None or asset["type"] == "VIDEO":
            return "skipped"  # there is no ffmpeg here
        image, identity = self.config["image"], str(asset["id"])
        targets = []
        for kind in ("preview", "thumbnail"):
            name = f"{identity}-{kind}.{image[kind]['format']}"
            path = storage.nested(self.settings.media_location, "thumbs", str(asset["ownerId"]), name)
            targets.append((path, image[kind]["size"], image[kind]["quality"]))
        await asyncio.to_thread(media.make_thumbnails, asset["originalPath"], targets[0], targets[1])
        for kind, target in zip(("preview", "thumbnail"), targets):
            await self.database.rows(
                'INSERT INTO asset_file ("assetId", type, path) VALUES (%s, %s, %s) ON CONFLICT ("assetId", type) DO UPDATE SET path = excluded.path',
                (asset["id"], kind, target[0]),
                "asset",
                "upsert_file",
            )
        if data.get("source") == "upload" and self.config["machineLearning"]["enabled"]:
            for job, section in (("SmartSearch", "clip"), ("AssetDetectFaces", "facialRecognition")):
                if self.config["machineLearning"][section]["enabled"]:
                    await self.queues.add(job, {"id": data["id"], "source": "upload"})
        return "success"

    async def preview_path(self, data: queues.Data) -> str | None:
        row = await self.database.row("SELECT path FROM asset_file WHERE \"assetId\" = %s AND type = 'preview'", (data["id"],), "asset", "get_files")
        return row["path"] if row else None

    async def ask_machine_learning(self, entries: dict[str, t.Any], picture: str) -> t.Any:
        """First answer of the given servers, tried in order."""
        log = logs.Logger("MachineLearningRepository")
        text = json.dumps(entries, separators=(",", ":"))
        timeout = aiohttp.ClientTimeout(total=60, connect=5)
        for url in self.config["machineLearning"]["urls"]:
            started = time.monotonic()
            try:
                with open(picture, "rb") as handle:
                    form = aiohttp.FormData()
                    form.add_field("entries", text)
                    form.add_field("image", handle.read(), filename="image", content_type="application/octet-stream")
                async with aiohttp.ClientSession(timeout=timeout) as session, session.post(url.rstrip("/") + "/predict", data=form) as answer:
                    if answer.ok:
                        return await answer.json()
                    log.warn(f'Machine learning request to "{url}" failed with status {answer.status}: {answer.reason}')
            except (aiohttp.ClientError, asyncio.TimeoutError, ValueError):
                log.warn(f'Machine learning request to "{url}" failed: fetch failed')
            finally:
                self.registry.observe("io", "http_client_duration", (time.monotonic() - started) * 1000, http_method="POST")
        raise JobError(f"Machine learning request '{text}' failed for all URLs")

    async def smart_search(self, data: queues.Data) -> str:
        settings = self.config["machineLearning"]
        picture = await self.preview_path(data)
        if not settings["enabled"] or not settings["clip"]["enabled"] or picture is None:
            return "skipped"
        answer = await self.ask_machine_learning({"clip": {"visual": {"modelName": settings["clip"]["modelName"]}}}, picture)
        await self.database.rows(
            'INSERT INTO smart_search VALUES (%s, %s) ON CONFLICT ("assetId") DO UPDATE SET embedding = excluded.embedding',
            (data["id"], answer["clip"]),
            "search",
            "upsert",
        )
        return "success"

    async def detect_faces(self, data: queues.Data) -> str:
        settings = self.config["machineLearning"]
        picture = await self.preview_path(data)
        if not settings["enabled"] or not settings["facialRecognition"]["enabled"] or picture is None:
            return "skipped"
        model = settings["facialRecognition"]
        entry = {"modelName": model["modelName"]}
        await self.ask_machine_learning(
            {"facial-recognition": {"detection": dict(entry, options={"minScore": model["minScore"]}), "recognition": entry}}, picture
        )
        return "success"

    async def delete_files(self, data: queues.Data) -> str:
        for path in data["files"]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        return "success"

    async def scan_library(self, data: queues.Data) -> str:
        """Take in the pictures of external libraries that are not known yet."""
        for library in await self.database.rows("SELECT * FROM library", (), "library", "get_all"):
            for top in library["importPaths"]:
                for folder, _folders, names in os.walk(top):
                    for name in sorted(names):
                        await self.take_in(library, os.path.join(folder, name))
            await self.database.rows('UPDATE library SET "refreshedAt" = now() WHERE id = %s', (library["id"],), "library", "update")
        return "success"

    async def take_in(self, library: dict[str, t.Any], path: str) -> None:
        kind = media.kind(path)
        known = await self.database.row('SELECT 1 FROM asset WHERE "libraryId" = %s AND "originalPath" = %s', (library["id"], path), "asset", "get_by_path")
        if kind is None or known:
            return
        changed = dt.datetime.fromtimestamp(os.stat(path).st_mtime, dt.timezone.utc)
        row = await self.database.row(
            'INSERT INTO asset ("deviceAssetId", "deviceId", "ownerId", "libraryId", type, "originalPath", "originalFileName", checksum, "isExternal", '
            '"fileCreatedAt", "fileModifiedAt", "localDateTime") '
            "VALUES (%s, 'Library Import', %s, %s, %s, %s, %s, sha256(convert_to('path:' || %s, 'UTF8')), true, %s, %s, %s) RETURNING id",
            (os.path.basename(path), library["ownerId"], library["id"], kind[0], path, os.path.basename(path), path, changed, changed, changed),
            "asset",
            "create",
        )
        if row:
            await self.queues.add("AssetExtractMetadata", {"id": str(row["id"]), "source": "upload"})

    async def backup_database(self, data: queues.Data) -> str:
        log = logs.Logger("DatabaseBackupService")
        where = self.settings.database
        major = self.database_version.split(".", maxsplit=1)[0]
        program = os.path.join(STOCK_CLIENTS, major, "bin", "pg_dump")
        if not os.path.exists(program):
            raise JobError(f"Database Backup Failure: no pg_dump for PostgreSQL {major} in this image")
        folder = os.path.join(self.settings.media_location, "backups")
        for name in dumps.left_over(os.listdir(folder)):
            os.unlink(os.path.join(folder, name))
        name = dumps.dump_name(VERSION, self.database_version, dt.datetime.now().astimezone())
        log.log(f"Database Backup Starting. Database Version: {major}")
        partial = os.path.join(folder, name + ".tmp")
        environment = dict(os.environ, PGPASSWORD=where.password, **({"PGSSLMODE": where.options["sslmode"]} if "sslmode" in where.options else {}))
        arguments = ["--clean", "--if-exists", f"--dbname={where.name}", f"--username={where.user}", f"--host={where.host}", f"--port={where.port}"]
        process = await asyncio.create_subprocess_exec(
            program, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=1 << 20
        )
        output, errors = t.cast(asyncio.StreamReader, process.stdout), t.cast(asyncio.StreamReader, process.stderr)
        complaints = asyncio.ensure_future(errors.read())
        try:
            with gzip.open(partial, "wb", compresslevel=6) as target:
                while True:
                    block = await output.read(1 << 20)
                    if not block:
                        break
                    await asyncio.to_thread(target.write, block)
            if await process.wait() != 0:
                raise JobError(f"Database Backup Failure: {(await complaints).decode(errors='replace').strip()}")
            os.replace(partial, os.path.join(folder, name))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            raise
        log.log("Database Backup Success")
        for old in dumps.old_dumps(os.listdir(folder), self.config["backup"]["database"]["keepLastAmount"]):
            os.unlink(os.path.join(folder, old))
        return "success"

    async def nightly(self) -> None:
        """Start the dump when its time comes."""
        last = None
        while not self.stopping.is_set():
            now = dt.datetime.now().astimezone()
            minute = (now.date(), now.hour, now.minute)
            if minute != last:
                last = minute
                await self.load_changed_config()
                setting = self.config["backup"]["database"]
                try:
                    due = setting["enabled"] and config.cron_matches(setting["cronExpression"], now.minute, now.hour, now.day, now.month, now.isoweekday() % 7)
                except ValueError:
                    due = False
                if due:
                    await self.queues.add("DatabaseBackup")
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 5)
