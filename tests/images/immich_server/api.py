# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The api worker: HTTP addresses on 2283, WebSocket at /api/socket.io/, metrics on 8081."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import secrets
import sys
import time
import typing as t
import urllib.parse
import uuid

import PIL
import psycopg
from aiohttp import web

from immich_server import MAJOR, VERSION, access, config, logs, media, names, queues, settings, storage, validation, worker

Json = dict[str, t.Any]
Handler = t.Callable[["Call"], t.Awaitable[web.StreamResponse]]
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Immich (stand-in)</title></head>
<body><h1>immich-server stand-in</h1><p>This is a test program with Immich's contract, not Immich.</p></body></html>
"""
CORRELATION = "x-correlation-id" if MAJOR >= 3 else "x-immich-cid"
# The others that may be asked for have nothing to do here.
JOB_NAMES = {"backup-database": "DatabaseBackup"}
NO_PICTURES = ["**/@eaDir/**", "**/._*", "**/#recycle/**", "**/#snapshot/**", "**/.stversions/**", "**/.stfolder/**"]


class Refusal(Exception):
    """An answer in the original's error form."""

    def __init__(self, status: int, message: str | list[validation.Found]) -> None:
        super().__init__(str(message))
        self.status = status
        self.message = message


class Call:
    """One request: who asks, and what the handlers need."""

    def __init__(self, request: web.Request, correlation: str) -> None:
        self.request = request
        self.correlation = correlation
        self.user: Json = {}
        self.permissions: t.Sequence[str] = ()
        self.session: uuid.UUID | None = None

    async def body(self) -> Json:
        try:
            document = json.loads(await self.request.read() or b"{}")
        except ValueError as error:
            raise Refusal(400, f"Unexpected token in JSON: {error}") from error
        if not isinstance(document, dict):
            raise Refusal(400, "Validation failed (an object is expected)")
        return document

    def identity(self, name: str = "id") -> str:
        try:
            return str(uuid.UUID(self.request.match_info[name]))
        except ValueError as error:
            raise Refusal(400, [f"{name} must be a UUID"]) from error


def need_text(document: Json, *fields: str) -> list[str]:
    check(validation.text(document, *fields))
    return [str(document[name]) for name in fields]


def check(wrong: list[validation.Found]) -> None:
    if wrong:
        raise Refusal(400, wrong)


def stamp(value: dt.datetime | None) -> str | None:
    return None if value is None else value.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"


def answer(document: t.Any, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(document, separators=(",", ":")).encode(), status=status, content_type="application/json", charset="utf-8")


class Api(worker.Worker):
    """Answers people, apps and playbooks."""

    name = "api"

    def __init__(self, environment: settings.Settings) -> None:
        super().__init__(environment)
        self.metrics_port = environment.api_metrics_port
        self.sockets: set[web.WebSocketResponse] = set()
        self.log = logs.Logger("AuthService")

    async def begin(self) -> None:
        app = web.Application(middlewares=[self.middleware], client_max_size=1 << 24)
        for method, path, permission, handler in self.routes():
            app.router.add_route(method, path, self.wrap(permission, handler))
        app.router.add_route("*", "/{path:.*}", self.wrap(None, self.not_found))
        app.on_response_prepare.append(self.finish_headers)
        host, port = self.settings.host, self.settings.port
        try:
            where = worker.listen(host, port)
        except OSError as error:
            raise worker.StartError(f"listen {error.strerror}: address {host or '::'}:{port}") from error
        await self.serve(app, where)
        shown = host or "[::1]"
        logs.Logger("Bootstrap").log(f"Immich Server is listening on http://{shown}:{port} [v{VERSION}] [production] ")

    async def close(self) -> None:
        for connection in list(self.sockets):
            await connection.close()
        await super().close()

    async def refresh_metrics(self) -> None:
        if "api" in self.settings.telemetry:
            row = await self.database.row('SELECT count(*) AS users FROM "user" WHERE "deletedAt" IS NULL', (), "user", "count")
            with self.registry.lock:
                self.registry.gauges["immich_users_total"] = {(): float(row["users"] if row else 0)}

    # Requests in general

    @web.middleware
    async def middleware(self, request: web.Request, handler: t.Callable[[web.Request], t.Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        started = time.monotonic()
        correlation = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _number in range(8))
        request["correlation"] = correlation
        route = request.match_info.route.resource.canonical if request.match_info.route.resource else "/"
        labels = {"method": request.method, "path": re.sub(r"\{(\w+)[^}]*\}", r":\1", route)}
        self.count_http("request", labels)
        (outcome,) = await asyncio.gather(handler(request), return_exceptions=True)
        response = outcome if isinstance(outcome, web.StreamResponse) else self.explain(outcome, correlation)
        self.count_http("response", dict(labels, status=str(response.status)), (time.monotonic() - started) * 1000)
        if response.status == 200 and isinstance(response, web.Response) and isinstance(response.body, bytes):
            response.headers.setdefault("ETag", f'W/"{len(response.body):x}-{hashlib.sha1(response.body).hexdigest()[:27]}"')
        return response

    def count_http(self, what: str, labels: dict[str, str], milliseconds: float | None = None) -> None:
        """3.x does not count requests."""
        if MAJOR < 3:
            self.registry.count("api", f"http_server_{what}_count", **labels)
            if milliseconds is not None:
                self.registry.observe("api", "http_server_duration", milliseconds, **labels)

    def explain(self, error: BaseException, correlation: str) -> web.Response:
        """Answer for an error of a handler."""
        if isinstance(error, Refusal):
            return self.refuse(error.status, error.message, correlation)
        if isinstance(error, web.HTTPException):
            return self.refuse(error.status, error.reason, correlation)
        if isinstance(error, ConnectionError) or not isinstance(error, Exception):
            raise error  # the client is gone, or the worker ends: nobody reads an answer
        text = f"{type(error).__name__}: {error}"
        logs.Logger("GlobalExceptionFilter").error(f"Unknown error: {text}", stack=text + logs.stack_of(error), correlation=correlation)
        return self.refuse(500, "Internal server error", correlation)

    @staticmethod
    async def finish_headers(request: web.Request, response: web.StreamResponse) -> None:
        """Headers of every answer, files and WebSockets too."""
        response.headers.popall("Server", None)
        response.headers["X-Powered-By"] = "Express"
        response.headers[CORRELATION] = request.get("correlation", "")

    @staticmethod
    def refuse(status: int, message: str | list[validation.Found], correlation: str) -> web.Response:
        return answer(validation.body(message, status, correlation), status)

    def wrap(self, permission: str | None, handler: Handler) -> t.Callable[[web.Request], t.Awaitable[web.StreamResponse]]:
        """Permission None: anybody. An empty word: any login. C(admin:x): permission x, and an administrator."""

        async def wrapped(request: web.Request) -> web.StreamResponse:
            call = Call(request, request["correlation"])
            if permission is not None:
                await self.authenticate(call)
                word = permission.rpartition(":")[2]
                if permission.startswith("admin:") and not call.user["isAdmin"]:
                    raise Refusal(403, "Forbidden")
                if word and not access.allows(call.permissions, word):
                    raise Refusal(403, f"Missing required permission: {word}")
            return await handler(call)

        return wrapped

    async def authenticate(self, call: Call) -> None:
        request = call.request
        key = request.headers.get("x-api-key") or request.query.get("apiKey")
        kind, _space, bearer = request.headers.get("Authorization", "").partition(" ")
        token = request.headers.get("x-immich-user-token") or request.headers.get("x-immich-session-token") or request.query.get("sessionKey")
        token = token or (bearer.strip() if kind.lower() == "bearer" else "") or request.cookies.get("immich_access_token")
        if token:
            row = await self.database.row(
                'SELECT u.*, s.id AS session FROM session s JOIN "user" u ON u.id = s."userId" WHERE s.token = %s AND u."deletedAt" IS NULL',
                (access.digest(token),),
                "session",
                "get_by_token",
            )
            if row is None:
                raise Refusal(401, "Invalid user token")
            call.user, call.permissions, call.session = row, ["all"], row["session"]
        elif key:
            row = await self.database.row(
                'SELECT u.*, k.permissions FROM api_key k JOIN "user" u ON u.id = k."userId" WHERE k.key = %s AND u."deletedAt" IS NULL',
                (access.digest(key),),
                "api_key",
                "get_key",
            )
            if row is None:
                raise Refusal(401, "Invalid API key")
            call.user, call.permissions = row, row["permissions"]
        else:
            raise Refusal(401, "Authentication required")

    async def not_found(self, call: Call) -> web.StreamResponse:
        path = call.request.path
        if path.startswith("/api/") or path == "/api" or call.request.method not in ("GET", "HEAD"):
            raise Refusal(404, f"Cannot {call.request.method} {call.request.path_qs}")
        return web.Response(text=PAGE, content_type="text/html")

    def routes(self) -> list[tuple[str, str, str | None, Handler]]:
        """Method, path, permission (see wrap), handler."""
        return [
            ("GET", "/.well-known/immich", None, self.well_known),
            ("GET", "/api/socket.io/", None, self.socket),
            ("GET", "/api/server/ping", None, self.ping),
            ("GET", "/api/server/version", None, self.version),
            ("GET", "/api/server/version-history", None, self.version_history),
            ("GET", "/api/server/config", None, self.server_config),
            ("GET", "/api/server/features", None, self.features),
            *([("GET", "/api/server/theme", None, self.theme)] if MAJOR < 3 else []),
            ("GET", "/api/server/media-types", None, self.media_types),
            ("GET", "/api/server/about", "server.about", self.about),
            ("GET", "/api/server/statistics", "admin:server.statistics", self.statistics),
            ("GET", "/api/server/storage", "server.storage", self.storage),
            ("POST", "/api/auth/admin-sign-up", None, self.admin_sign_up),
            ("POST", "/api/auth/login", None, self.login),
            ("POST", "/api/auth/logout", "", self.logout),
            ("POST", "/api/auth/validateToken", "", self.validate_token),
            ("GET", "/api/users/me", "user.read", self.me),
            ("GET", "/api/admin/users", "admin:adminUser.read", self.list_users),
            ("POST", "/api/admin/users", "admin:adminUser.create", self.create_user),
            ("PUT", "/api/admin/users/{id}", "admin:adminUser.update", self.update_user),
            ("GET", "/api/api-keys", "apiKey.read", self.list_keys),
            ("POST", "/api/api-keys", "apiKey.create", self.create_key),
            ("GET", "/api/api-keys/{id}", "apiKey.read", self.get_key),
            ("PUT", "/api/api-keys/{id}", "apiKey.update", self.update_key),
            ("DELETE", "/api/api-keys/{id}", "apiKey.delete", self.delete_key),
            ("POST", "/api/assets", "asset.upload", self.upload),
            ("DELETE", "/api/assets", "asset.delete", self.delete_assets),
            ("GET", "/api/assets/statistics", "asset.statistics", self.asset_statistics),
            ("GET", "/api/assets/{id}", "asset.read", self.get_asset),
            ("GET", "/api/assets/{id}/original", "asset.download", self.original),
            ("GET", "/api/assets/{id}/thumbnail", "asset.view", self.thumbnail),
            ("POST", "/api/search/metadata", "asset.read", self.search),
            ("GET", "/api/system-config", "admin:systemConfig.read", self.get_config),
            ("GET", "/api/system-config/defaults", "admin:systemConfig.read", self.get_default_config),
            ("PUT", "/api/system-config", "admin:systemConfig.update", self.put_config),
            ("POST", "/api/system-metadata/admin-onboarding", "admin:systemMetadata.update", self.onboarding),
            ("GET", "/api/jobs", "admin:job.read", self.list_jobs),
            ("POST", "/api/jobs", "admin:job.create", self.create_job),
            ("PUT", "/api/jobs/{name}", "admin:job.create", self.command_queue),
            ("GET", "/api/queues", "admin:queue.read", self.list_queues),
            ("GET", "/api/libraries", "admin:library.read", self.list_libraries),
            ("POST", "/api/libraries", "admin:library.create", self.create_library),
            ("PUT", "/api/libraries/{id}", "admin:library.update", self.update_library),
            ("POST", "/api/libraries/{id}/scan", "admin:library.update", self.scan_library),
            ("GET", "/api/admin/database-backups", "admin:maintenance", self.list_backups),
            ("GET", "/api/admin/database-backups/{name}", "admin:backup.download", self.download_backup),
        ]

    # The server

    async def well_known(self, call: Call) -> web.Response:
        return answer({"api": {"endpoint": "/api"}})

    async def ping(self, call: Call) -> web.Response:
        return answer({"res": "pong"})

    async def version(self, call: Call) -> web.Response:
        major, minor, patch = (int(part) for part in VERSION.split("."))
        return answer({"major": major, "minor": minor, "patch": patch, **({"prerelease": None} if MAJOR >= 3 else {})})

    async def theme(self, call: Call) -> web.Response:
        await self.refresh_config()
        return answer({"customCss": self.config["theme"]["customCss"]})

    async def version_history(self, call: Call) -> web.Response:
        rows = await self.database.rows('SELECT id, "createdAt", version FROM version_history ORDER BY "createdAt" DESC')
        return answer([{"id": str(row["id"]), "createdAt": stamp(row["createdAt"]), "version": row["version"]} for row in rows])

    async def has_admin(self) -> bool:
        row = await self.database.row('SELECT 1 FROM "user" WHERE "isAdmin" LIMIT 1', (), "user", "has_admin")
        return row is not None

    async def server_config(self, call: Call) -> web.Response:
        await self.refresh_config()
        onboarded = bool(self.settings.config_file) or bool((await self.database.metadata("admin-onboarding") or {}).get("isOnboarded"))
        return answer(
            {
                "loginPageMessage": self.config["server"]["loginPageMessage"],
                "trashDays": self.config["trash"]["days"],
                "userDeleteDelay": self.config["user"]["deleteDelay"],
                "oauthButtonText": self.config["oauth"]["buttonText"],
                "isInitialized": not self.settings.allow_setup or await self.has_admin(),
                "isOnboarded": onboarded,
                "externalDomain": self.config["server"]["externalDomain"],
                "publicUsers": self.config["server"]["publicUsers"],
                "mapDarkStyleUrl": self.config["map"]["darkStyle"],
                "mapLightStyleUrl": self.config["map"]["lightStyle"],
                "maintenanceMode": False,
                **({"minFaces": self.config["machineLearning"]["facialRecognition"]["minFaces"]} if MAJOR >= 3 else {}),
            }
        )

    async def features(self, call: Call) -> web.Response:
        await self.refresh_config()
        learning = self.config["machineLearning"]
        return answer(
            {
                "smartSearch": learning["enabled"] and learning["clip"]["enabled"],
                "facialRecognition": learning["enabled"] and learning["facialRecognition"]["enabled"],
                "duplicateDetection": learning["enabled"] and learning["duplicateDetection"]["enabled"],
                "map": self.config["map"]["enabled"],
                "reverseGeocoding": self.config["reverseGeocoding"]["enabled"],
                "importFaces": self.config["metadata"]["faces"]["import"],
                "sidecar": True,
                "search": True,
                "trash": self.config["trash"]["enabled"],
                "oauth": self.config["oauth"]["enabled"],
                "oauthAutoLaunch": self.config["oauth"]["autoLaunch"],
                "ocr": learning["enabled"] and learning["ocr"]["enabled"],
                "passwordLogin": self.config["passwordLogin"]["enabled"],
                "configFile": bool(self.settings.config_file),
                "email": self.config["notifications"]["smtp"]["enabled"],
                **({"realtimeTranscoding": self.config["ffmpeg"]["realtime"]["enabled"]} if MAJOR >= 3 else {}),
            }
        )

    async def media_types(self, call: Call) -> web.Response:
        return answer({"video": sorted(media.VIDEOS), "image": sorted(media.IMAGES), "sidecar": [".xmp"]})

    async def about(self, call: Call) -> web.Response:
        return answer(
            {
                "version": f"v{VERSION}",
                "versionUrl": f"https://github.com/immich-app/immich/releases/tag/v{VERSION}",
                "licensed": False,
                "build": "stand-in",
                "nodejs": "python " + sys.version.split(" ", maxsplit=1)[0],
                "exiftool": "none",
                "ffmpeg": "none",
                "libvips": f"pillow {PIL.__version__}",
                "imagemagick": "none",
            }
        )

    async def statistics(self, call: Call) -> web.Response:
        rows = await self.database.rows(
            'SELECT u.id, u.name, u."quotaSizeInBytes" AS quota, '
            "count(a.id) FILTER (WHERE a.type = 'IMAGE') AS photos, count(a.id) FILTER (WHERE a.type = 'VIDEO') AS videos, "
            'coalesce(sum(e."fileSizeInByte") FILTER (WHERE a.type = \'IMAGE\' AND a."libraryId" IS NULL), 0)::bigint AS "usagePhotos", '
            'coalesce(sum(e."fileSizeInByte") FILTER (WHERE a.type = \'VIDEO\' AND a."libraryId" IS NULL), 0)::bigint AS "usageVideos" '
            'FROM "user" u LEFT JOIN asset a ON a."ownerId" = u.id AND a."deletedAt" IS NULL LEFT JOIN asset_exif e ON e."assetId" = a.id '
            'WHERE u."deletedAt" IS NULL GROUP BY u.id ORDER BY u."createdAt"',
            (),
            "user",
            "get_user_stats",
        )
        users = [
            {
                "userId": str(row["id"]),
                "userName": row["name"],
                "photos": row["photos"],
                "videos": row["videos"],
                "usage": row["usagePhotos"] + row["usageVideos"],
                "usagePhotos": row["usagePhotos"],
                "usageVideos": row["usageVideos"],
                "quotaSizeInBytes": row["quota"],
            }
            for row in rows
        ]
        total = {name: sum(int(user[name]) for user in users) for name in ("photos", "videos", "usage", "usagePhotos", "usageVideos")}
        return answer(dict(total, usageByUser=users))

    async def storage(self, call: Call) -> web.Response:
        return answer(await asyncio.to_thread(storage.disk, self.settings.media_location))

    # People

    def user_document(self, row: Json) -> Json:
        return {
            "id": str(row["id"]),
            "email": row["email"],
            "name": row["name"],
            "profileImagePath": row["profileImagePath"],
            "avatarColor": row["avatarColor"] or "primary",
            "profileChangedAt": stamp(row["createdAt"]),
            "storageLabel": row["storageLabel"],
            "shouldChangePassword": row["shouldChangePassword"],
            "isAdmin": row["isAdmin"],
            "createdAt": stamp(row["createdAt"]),
            "deletedAt": stamp(row["deletedAt"]),
            "updatedAt": stamp(row["updatedAt"]),
            "oauthId": row["oauthId"],
            "quotaSizeInBytes": row["quotaSizeInBytes"],
            "quotaUsageInBytes": row["quotaUsageInBytes"],
            "status": row["status"],
            "license": None,
        }

    async def insert_user(self, document: Json, is_admin: bool) -> Json:
        email, name, password = need_text(document, "email", "name", "password")
        check(validation.email(email))
        hashed = await asyncio.to_thread(access.hash_password, password)
        try:
            row = await self.database.row(
                'INSERT INTO "user" (email, name, password, "isAdmin", "storageLabel", "shouldChangePassword", "quotaSizeInBytes") '
                "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING *",
                (
                    email.lower(),
                    name,
                    hashed,
                    is_admin,
                    "admin" if is_admin and "isAdmin" not in document else document.get("storageLabel"),
                    bool(document.get("shouldChangePassword", True)),
                    document.get("quotaSizeInBytes"),
                ),
                "user",
                "create",
            )
        except psycopg.errors.UniqueViolation as error:
            raise Refusal(400, "Email is not available" if MAJOR >= 3 else "User exists") from error
        return t.cast(Json, row)

    async def admin_sign_up(self, call: Call) -> web.Response:
        if not self.settings.allow_setup:
            raise Refusal(400, "Admin setup is not available")
        document = await call.body()
        need_text(document, "email", "name", "password")
        if await self.has_admin():
            raise Refusal(400, "The server already has an admin")
        return answer(self.user_document(await self.insert_user(document, True)), 201)

    async def login(self, call: Call) -> web.Response:
        email, password = need_text(await call.body(), "email", "password")
        await self.refresh_config()
        if not self.config["passwordLogin"]["enabled"]:
            raise Refusal(401, "Password login has been disabled")
        row = await self.database.row('SELECT * FROM "user" WHERE email = %s AND "deletedAt" IS NULL', (email.lower(),), "user", "get_by_email")
        if row is None or not await asyncio.to_thread(access.password_fits, password, row["password"]):
            peer = call.request.remote or ""
            address = settings.client_address(peer, call.request.headers.get("X-Forwarded-For", ""), self.settings.trusted_proxies)
            self.log.warn(f"Failed login attempt for user {email} from ip address {address}", correlation=call.correlation)
            raise Refusal(401, "Incorrect email or password")
        token = access.new_secret()
        await self.database.rows('INSERT INTO session (token, "userId") VALUES (%s, %s)', (access.digest(token), row["id"]), "session", "create")
        response = answer(
            {
                "accessToken": token,
                "userId": str(row["id"]),
                "userEmail": row["email"],
                "name": row["name"],
                "isAdmin": row["isAdmin"],
                "profileImagePath": row["profileImagePath"],
                "shouldChangePassword": row["shouldChangePassword"],
                "isOnboarded": False,
            },
            201,
        )
        secure = call.request.headers.get("X-Forwarded-Proto") == "https"
        for name, value, hidden in (("immich_access_token", token, True), ("immich_auth_type", "password", True), ("immich_is_authenticated", "true", False)):
            response.set_cookie(name, value, max_age=34560000, path="/", httponly=hidden, secure=secure, samesite="Lax")
        return response

    async def logout(self, call: Call) -> web.Response:
        if call.session:
            await self.database.rows("DELETE FROM session WHERE id = %s", (call.session,), "session", "delete")
        response = answer({"successful": True, "redirectUri": "/auth/login?autoLaunch=0"})
        for name in ("immich_access_token", "immich_auth_type", "immich_is_authenticated"):
            response.del_cookie(name)
        return response

    async def validate_token(self, call: Call) -> web.Response:
        return answer({"authStatus": True})

    async def me(self, call: Call) -> web.Response:
        return answer(self.user_document(call.user))

    async def list_users(self, call: Call) -> web.Response:
        rows = await self.database.rows('SELECT * FROM "user" WHERE "deletedAt" IS NULL ORDER BY "createdAt" DESC', (), "user", "get_list")
        return answer([self.user_document(row) for row in rows])

    async def create_user(self, call: Call) -> web.Response:
        document = await call.body()
        if document.get("password") == "":
            raise Refusal(400, "password is required")
        return answer(self.user_document(await self.insert_user(document, bool(document.get("isAdmin")))), 201)

    async def update_user(self, call: Call) -> web.Response:
        document = await call.body()
        known = ("email", "name", "storageLabel", "quotaSizeInBytes", "isAdmin", "shouldChangePassword")
        columns = {name: document[name] for name in known if name in document}
        row = await self.database.row(
            'UPDATE "user" SET ' + ", ".join(f'"{name}" = %s' for name in columns) + ', "updatedAt" = now() WHERE id = %s AND "deletedAt" IS NULL RETURNING *',
            (*columns.values(), call.identity()),
            "user",
            "update",
        )
        if row is None:
            raise Refusal(400, "User not found")
        return answer(self.user_document(row))

    # API keys

    @staticmethod
    def key_document(row: Json) -> Json:
        return {
            "id": str(row["id"]),
            "name": row["name"],
            "createdAt": stamp(row["createdAt"]),
            "updatedAt": stamp(row["updatedAt"]),
            "permissions": row["permissions"],
        }

    @staticmethod
    def key_permissions(call: Call, document: Json) -> list[str]:
        wanted = document.get("permissions")
        given = wanted if isinstance(wanted, list) and wanted else [None]
        check(next(filter(None, (validation.choice(word, names.PERMISSIONS, ["permissions", place]) for place, word in enumerate(given))), []))
        if access.excess(call.permissions, wanted):
            raise Refusal(400, "Cannot grant permissions you do not have")
        return wanted

    async def own_key(self, call: Call) -> Json:
        row = await self.database.row('SELECT * FROM api_key WHERE id = %s AND "userId" = %s', (call.identity(), call.user["id"]), "api_key", "get_by_id")
        if row is None:
            raise Refusal(400, "API Key not found")
        return row

    async def list_keys(self, call: Call) -> web.Response:
        rows = await self.database.rows('SELECT * FROM api_key WHERE "userId" = %s ORDER BY "createdAt" DESC', (call.user["id"],), "api_key", "get_by_user_id")
        return answer([self.key_document(row) for row in rows])

    async def create_key(self, call: Call) -> web.Response:
        document = await call.body()
        permissions = self.key_permissions(call, document)
        secret = access.new_secret()
        row = await self.database.row(
            'INSERT INTO api_key (name, key, permissions, "userId") VALUES (%s, %s, %s, %s) RETURNING *',
            (str(document.get("name") or "API Key"), access.digest(secret), permissions, call.user["id"]),
            "api_key",
            "create",
        )
        return answer({"secret": secret, "apiKey": self.key_document(t.cast(Json, row))}, 201)

    async def get_key(self, call: Call) -> web.Response:
        return answer(self.key_document(await self.own_key(call)))

    async def update_key(self, call: Call) -> web.Response:
        row, document = await self.own_key(call), await call.body()
        permissions = self.key_permissions(call, document) if "permissions" in document else row["permissions"]
        changed = await self.database.row(
            'UPDATE api_key SET name = %s, permissions = %s, "updatedAt" = now() WHERE id = %s RETURNING *',
            (str(document.get("name") or row["name"]), permissions, row["id"]),
            "api_key",
            "update",
        )
        return answer(self.key_document(t.cast(Json, changed)))

    async def delete_key(self, call: Call) -> web.Response:
        row = await self.own_key(call)
        await self.database.rows("DELETE FROM api_key WHERE id = %s", (row["id"],), "api_key", "delete")
        return web.Response(status=204)

    # Assets

    async def duplicate(self, owner: uuid.UUID, checksum: bytes) -> str | None:
        row = await self.database.row(
            'SELECT id FROM asset WHERE "ownerId" = %s AND checksum = %s AND "libraryId" IS NULL',
            (owner, checksum),
            "asset",
            "get_uploaded_asset_id_by_checksum",
        )
        return str(row["id"]) if row else None

    async def upload(self, call: Call) -> web.Response:
        owner = call.user["id"]
        announced = parse_checksum(call.request.headers.get("x-immich-checksum", ""))
        if announced:
            known = await self.duplicate(owner, announced)
            if known:
                return answer({"status": "duplicate", "id": known})
        if not call.request.content_type.startswith("multipart/"):
            raise Refusal(400, ["assetData should not be empty"])
        fields: dict[str, str] = {}
        path = name = ""
        checksum = b""
        try:
            async for part in await call.request.multipart():
                if part.name == "assetData":
                    name = part.filename or ""
                    if media.kind(name) is None:
                        raise Refusal(400, f"Unsupported file type {name}")
                    path, checksum = await self.store(part, str(owner), name)
                elif part.name:
                    fields[part.name] = (await part.read(decode=True)).decode(errors="replace")
            return await self.create_asset(call, fields, path, name, checksum)
        except BaseException:
            # Nothing stays of an upload that was cut off or refused.
            if path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            raise

    async def store(self, part: t.Any, owner: str, name: str) -> tuple[str, bytes]:
        """Write the content where it stays, hashing on the way."""
        path = storage.nested(self.settings.media_location, "upload", owner, str(uuid.uuid4()) + os.path.splitext(name)[1].lower())
        os.makedirs(os.path.dirname(path), exist_ok=True)
        sha = hashlib.sha1()
        try:
            with open(path, "xb") as target:
                while True:
                    block = await part.read_chunk(1 << 18)
                    if not block:
                        break
                    sha.update(block)
                    await asyncio.to_thread(target.write, block)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            raise
        return path, sha.digest()

    async def create_asset(self, call: Call, fields: dict[str, str], path: str, name: str, checksum: bytes) -> web.Response:
        if not path:
            raise Refusal(400, "Not found or not a file: assetData")
        check(validation.upload(fields, lambda text: parse_time(text) is not None))
        created, modified = parse_time(fields["fileCreatedAt"]), parse_time(fields["fileModifiedAt"])
        user, size = call.user, os.stat(path).st_size
        if user["quotaSizeInBytes"] is not None and user["quotaUsageInBytes"] + size > user["quotaSizeInBytes"]:
            raise Refusal(400, "Quota has been exceeded!")
        kind = t.cast(tuple[str, str], media.kind(name))
        try:
            async with self.database.transaction() as connection:
                cursor = await connection.execute(
                    'INSERT INTO asset ("deviceAssetId", "deviceId", "ownerId", type, "originalPath", "originalFileName", checksum, "isFavorite", '
                    '"fileCreatedAt", "fileModifiedAt", "localDateTime") VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id',
                    (
                        fields.get("deviceAssetId", ""),
                        fields.get("deviceId", ""),
                        user["id"],
                        kind[0],
                        path,
                        fields.get("filename") or name,
                        checksum,
                        fields.get("isFavorite") == "true",
                        created,
                        modified,
                        created,
                    ),
                )
                identity = str(t.cast(Json, await cursor.fetchone())["id"])
                await connection.execute('INSERT INTO asset_exif ("assetId", "fileSizeInByte") VALUES (%s, %s)', (identity, size))
                await connection.execute('UPDATE "user" SET "quotaUsageInBytes" = "quotaUsageInBytes" + %s WHERE id = %s', (size, user["id"]))
        except psycopg.errors.UniqueViolation:
            os.unlink(path)
            return answer({"status": "duplicate", "id": await self.duplicate(user["id"], checksum)})
        await self.queues.add("AssetExtractMetadata", {"id": identity, "source": "upload"})
        return answer({"id": identity, "status": "created"}, 201)

    async def own_asset(self, call: Call, permission: str = "asset.read") -> Json:
        row = await self.database.row(
            'SELECT a.*, e."fileSizeInByte", e."exifImageWidth", e."exifImageHeight", (SELECT count(*) FROM asset_file f WHERE f."assetId" = a.id) AS files '
            'FROM asset a LEFT JOIN asset_exif e ON e."assetId" = a.id WHERE a.id = %s AND a."ownerId" = %s',
            (call.identity(), call.user["id"]),
            "asset",
            "get_by_id",
        )
        if row is None:
            raise Refusal(404, "Not Found") if MAJOR >= 3 else Refusal(400, f"Not found or no {permission} access")
        return row

    @staticmethod
    def asset_document(row: Json) -> Json:
        kind = media.kind(row["originalFileName"])
        document = {
            "id": str(row["id"]),
            "deviceAssetId": row["deviceAssetId"],
            "ownerId": str(row["ownerId"]),
            "deviceId": row["deviceId"],
            "libraryId": str(row["libraryId"]) if row["libraryId"] else None,
            "type": row["type"],
            "originalPath": row["originalPath"],
            "originalFileName": row["originalFileName"],
            "originalMimeType": kind[1] if kind else None,
            "thumbhash": None,
            "fileCreatedAt": stamp(row["fileCreatedAt"]),
            "fileModifiedAt": stamp(row["fileModifiedAt"]),
            "localDateTime": stamp(row["localDateTime"]),
            "createdAt": stamp(row["createdAt"]),
            "updatedAt": stamp(row["updatedAt"]),
            "isFavorite": row["isFavorite"],
            "isArchived": False,
            "isTrashed": row["deletedAt"] is not None,
            "isOffline": row["isOffline"],
            "visibility": row["visibility"],
            "duration": row["duration"] or (None if MAJOR >= 3 else "0:00:00.00000"),
            "hasMetadata": True,
            "checksum": base64.b64encode(row["checksum"]).decode(),
            "exifInfo": {
                "fileSizeInByte": row.get("fileSizeInByte"),
                "exifImageWidth": row.get("exifImageWidth"),
                "exifImageHeight": row.get("exifImageHeight"),
            },
            "width": row.get("exifImageWidth"),
            "height": row.get("exifImageHeight"),
            "resized": True,
            "isEdited": False,
            "duplicateId": None,
            "livePhotoVideoId": None,
            "stack": None,
            "owner": None,
            **{name: [] for name in ("people", "tags", "unassignedFaces")},
        }
        gone = ("deviceAssetId", "deviceId", "unassignedFaces") if MAJOR >= 3 else ()
        return {name: value for name, value in document.items() if name not in gone}

    async def get_asset(self, call: Call) -> web.Response:
        return answer(self.asset_document(await self.own_asset(call)))

    async def original(self, call: Call) -> web.StreamResponse:
        row = await self.own_asset(call, "asset.download")
        return self.file(row["originalPath"], self.asset_document(row)["originalMimeType"], row["originalFileName"])

    async def thumbnail(self, call: Call) -> web.StreamResponse:
        row = await self.own_asset(call, "asset.view")
        size = call.request.query.get("size", "thumbnail")
        if size not in ("preview", "thumbnail", "fullsize"):
            raise Refusal(400, ["size must be one of the following values: fullsize, preview, thumbnail"])
        wanted = "thumbnail" if size == "thumbnail" else "preview"
        found = await self.database.row('SELECT path FROM asset_file WHERE "assetId" = %s AND type = %s', (row["id"], wanted), "asset", "get_files")
        if found is None:
            raise Refusal(404, "Asset media not found")
        stem, extension = os.path.splitext(row["originalFileName"])[0], os.path.splitext(found["path"])[1]
        return self.file(found["path"], "image/webp" if extension == ".webp" else "image/jpeg", f"{stem}_{wanted}{extension}")

    def file(self, path: str, kind: str | None, name: str = "") -> web.StreamResponse:
        if not os.path.exists(path):
            raise Refusal(404, "Not Found")
        headers = {"Content-Type": kind or "application/octet-stream", "Cache-Control": "private, max-age=86400, no-transform"}
        if name:
            headers["Content-Disposition"] = f"inline; filename*=UTF-8''{urllib.parse.quote(os.path.basename(name))}"
        return web.FileResponse(path, headers=headers)

    async def delete_assets(self, call: Call) -> web.Response:
        document = await call.body()
        identities = document.get("ids")
        if not isinstance(identities, list) or not identities:
            raise Refusal(400, ["each value in ids must be a UUID"])
        try:
            wanted = [str(uuid.UUID(str(identity))) for identity in identities]
        except ValueError as error:
            raise Refusal(400, ["each value in ids must be a UUID"]) from error
        owned = await self.database.rows('SELECT id FROM asset WHERE id = ANY(%s) AND "ownerId" = %s', (wanted, call.user["id"]), "asset", "get_by_ids")
        if len(owned) != len(set(wanted)):
            raise Refusal(400, "Not found or no asset.delete access")
        if not document.get("force") and self.config["trash"]["enabled"]:
            await self.database.rows("UPDATE asset SET \"deletedAt\" = now(), status = 'trashed' WHERE id = ANY(%s)", (wanted,), "asset", "update_all")
            return web.Response(status=204)
        files = await self.database.rows(
            'SELECT path FROM asset_file WHERE "assetId" = ANY(%s) UNION ALL SELECT "originalPath" FROM asset WHERE id = ANY(%s) AND NOT "isExternal"',
            (wanted, wanted),
        )
        await self.database.rows(
            'UPDATE "user" SET "quotaUsageInBytes" = greatest(0, "quotaUsageInBytes" - (SELECT coalesce(sum(e."fileSizeInByte"), 0) FROM asset a '
            'JOIN asset_exif e ON e."assetId" = a.id WHERE a.id = ANY(%s) AND a."libraryId" IS NULL)) WHERE id = %s',
            (wanted, call.user["id"]),
        )
        await self.database.rows("DELETE FROM asset WHERE id = ANY(%s)", (wanted,), "asset", "remove")
        await self.queues.add("FileDelete", {"files": [row["path"] for row in files]})
        return web.Response(status=204)

    async def asset_statistics(self, call: Call) -> web.Response:
        row = await self.database.row(
            "SELECT count(*) FILTER (WHERE type = 'IMAGE') AS images, count(*) FILTER (WHERE type = 'VIDEO') AS videos, count(*) AS total "
            'FROM asset WHERE "ownerId" = %s AND "deletedAt" IS NULL',
            (call.user["id"],),
            "asset",
            "get_statistics",
        )
        return answer(dict(t.cast(Json, row)))

    async def search(self, call: Call) -> web.Response:
        document = await call.body()
        size = int(document.get("size") or 250)
        page = int(document.get("page") or 1)
        where, values = ['a."ownerId" = %s', 'a."deletedAt" IS NULL'], [call.user["id"]]
        for key, column in (("originalFileName", 'a."originalFileName"'), ("originalPath", 'a."originalPath"'), ("deviceAssetId", 'a."deviceAssetId"')):
            if document.get(key):
                where.append(f"{column} = %s")
                values.append(document[key])
        if document.get("checksum"):
            where.append("a.checksum = %s")
            values.append(parse_checksum(str(document["checksum"])) or b"")
        rows = await self.database.rows(
            'SELECT a.*, e."fileSizeInByte", e."exifImageWidth", e."exifImageHeight" FROM asset a LEFT JOIN asset_exif e ON e."assetId" = a.id '
            f'WHERE {" AND ".join(where)} ORDER BY a."fileCreatedAt" DESC, a.id LIMIT %s OFFSET %s',
            (*values, size + 1, (page - 1) * size),
            "search",
            "search_metadata",
        )
        items = [self.asset_document(row) for row in rows[:size]]
        found = {"total": len(items), "count": len(items), "items": items, "facets": [], "nextPage": str(page + 1) if len(rows) > size else None}
        return answer({"albums": {"total": 0, "count": 0, "items": [], "facets": []}, "assets": found})

    # Settings

    async def refresh_config(self) -> None:
        """The other worker, or immich-admin, may have changed the settings."""
        if not self.settings.config_file:
            with contextlib.suppress(config.InvalidConfig):
                override = await self.database.metadata("system-config") or {}
                self.config = config.merge(config.defaults(self.settings.machine_learning_url, self.settings.machine_learning), override)[0]

    async def get_config(self, call: Call) -> web.Response:
        await self.refresh_config()
        return answer(self.config)

    async def get_default_config(self, call: Call) -> web.Response:
        return answer(config.defaults(self.settings.machine_learning_url, self.settings.machine_learning))

    async def put_config(self, call: Call) -> web.Response:
        if self.settings.config_file:
            raise Refusal(400, "Cannot update configuration while IMMICH_CONFIG_FILE is in use")
        document, base = await call.body(), config.defaults(self.settings.machine_learning_url, self.settings.machine_learning)
        absent = config.missing(base, document)
        if absent:
            raise Refusal(400, [f"{name} should not be null or undefined" for name in absent])
        try:
            merged, _unknown = config.merge(base, document)
        except config.InvalidConfig as error:
            raise Refusal(400, [str(error)]) from error
        await self.database.set_metadata("system-config", config.difference(base, merged))
        await self.refresh_config()
        return answer(self.config)

    async def onboarding(self, call: Call) -> web.Response:
        await self.database.set_metadata("admin-onboarding", {"isOnboarded": bool((await call.body()).get("isOnboarded", True))})
        return web.Response(status=204)

    # Jobs

    async def list_jobs(self, call: Call) -> web.Response:
        return answer({queue: await self.queues.status(queue) for queue in queues.QUEUES})

    async def list_queues(self, call: Call) -> web.Response:
        found = []
        for queue in queues.QUEUES:
            status = await self.queues.status(queue)
            found.append({"name": queue, "isPaused": status["queueStatus"]["isPaused"], "statistics": status["jobCounts"]})
        return answer(found)

    async def create_job(self, call: Call) -> web.Response:
        name = (await call.body()).get("name")
        if name in JOB_NAMES:
            await self.queues.add(JOB_NAMES[name])
        else:
            check(validation.choice(name, names.MANUAL_JOBS, ["name"]))
        return web.Response(status=204)

    async def command_queue(self, call: Call) -> web.Response:
        queue, document = call.request.match_info["name"], await call.body()
        command = document.get("command")
        if queue not in queues.QUEUES:
            raise Refusal(400, ["id must be one of the following values: " + ", ".join(queues.QUEUES)])
        if command not in ("start", "pause", "resume", "empty", "clear-failed"):
            raise Refusal(400, ["command must be one of the following values: start, pause, resume, empty, clear-failed"])
        if command != "start":
            await self.queues.command(queue, command)
        elif queue in ("backupDatabase", "library"):
            await self.queues.add("DatabaseBackup" if queue == "backupDatabase" else "LibrarySyncAll")
        else:
            await self.queue_assets(queue, bool(document.get("force")))
        return answer(await self.queues.status(queue))

    async def queue_assets(self, queue: str, force: bool) -> None:
        """Queue all assets, or those that lack the queue's product."""
        found = {
            "thumbnailGeneration": "AssetGenerateThumbnails",
            "metadataExtraction": "AssetExtractMetadata",
            "smartSearch": "SmartSearch",
            "faceDetection": "AssetDetectFaces",
        }
        if queue not in found:
            return
        lacking = {
            "thumbnailGeneration": 'NOT EXISTS (SELECT 1 FROM asset_file f WHERE f."assetId" = a.id)',
            "metadataExtraction": 'NOT EXISTS (SELECT 1 FROM asset_exif e WHERE e."assetId" = a.id AND e."exifImageWidth" IS NOT NULL)',
            "smartSearch": 'NOT EXISTS (SELECT 1 FROM smart_search s WHERE s."assetId" = a.id)',
        }
        condition = "true" if force else lacking.get(queue, "true")
        for row in await self.database.rows(f'SELECT a.id FROM asset a WHERE a."deletedAt" IS NULL AND {condition}', (), "asset", "stream_for_job"):
            await self.queues.add(found[queue], {"id": str(row["id"])})

    # External libraries

    @staticmethod
    def library_document(row: Json) -> Json:
        return {
            "id": str(row["id"]),
            "ownerId": str(row["ownerId"]),
            "name": row["name"],
            "createdAt": stamp(row["createdAt"]),
            "updatedAt": stamp(row["updatedAt"]),
            "refreshedAt": stamp(row["refreshedAt"]),
            "assetCount": row.get("assets", 0),
            "importPaths": row["importPaths"],
            "exclusionPatterns": row["exclusionPatterns"],
        }

    async def list_libraries(self, call: Call) -> web.Response:
        rows = await self.database.rows(
            'SELECT l.*, (SELECT count(*) FROM asset a WHERE a."libraryId" = l.id AND a."deletedAt" IS NULL) AS assets FROM library l ORDER BY l."createdAt"',
            (),
            "library",
            "get_all",
        )
        return answer([self.library_document(row) for row in rows])

    async def create_library(self, call: Call) -> web.Response:
        document = await call.body()
        (owner,) = need_text(document, "ownerId")
        paths = [str(path) for path in document.get("importPaths") or []]
        inside = [path for path in paths if (path.rstrip("/") + "/").startswith(self.settings.media_location + "/")]
        if inside:
            raise Refusal(400, "Cannot use media upload folder for external libraries")
        try:
            row = await self.database.row(
                'INSERT INTO library (name, "ownerId", "importPaths", "exclusionPatterns") VALUES (%s, %s, %s, %s) RETURNING *',
                (str(document.get("name") or "New External Library"), owner, paths, [str(item) for item in document.get("exclusionPatterns", NO_PICTURES)]),
                "library",
                "create",
            )
        except (psycopg.errors.ForeignKeyViolation, psycopg.errors.InvalidTextRepresentation) as error:
            raise Refusal(400, ["ownerId must be the UUID of a user"]) from error
        return answer(self.library_document(t.cast(Json, row)), 201)

    async def update_library(self, call: Call) -> web.Response:
        document = await call.body()
        columns = {name: document[name] for name in ("name", "importPaths", "exclusionPatterns") if name in document}
        row = await self.database.row(
            "UPDATE library SET " + ", ".join(f'"{name}" = %s' for name in columns) + ', "updatedAt" = now() WHERE id = %s RETURNING *',
            (*columns.values(), call.identity()),
            "library",
            "update",
        )
        if row is None:
            raise Refusal(400, "Library not found")
        return answer(self.library_document(row))

    async def scan_library(self, call: Call) -> web.Response:
        if await self.database.row("SELECT 1 FROM library WHERE id = %s", (call.identity(),), "library", "get") is None:
            raise Refusal(400, "Library not found")
        await self.queues.add("LibrarySyncAll")
        return web.Response(status=204)

    # Dumps

    def backup_folder(self) -> str:
        return os.path.join(self.settings.media_location, "backups")

    async def list_backups(self, call: Call) -> web.Response:
        folder = self.backup_folder()
        found = sorted((name for name in os.listdir(folder) if name.endswith(".sql.gz")), reverse=True)
        return answer({"backups": [{"filename": name, "filesize": os.stat(os.path.join(folder, name)).st_size} for name in found]})

    async def download_backup(self, call: Call) -> web.StreamResponse:
        name = call.request.match_info["name"]
        if os.path.basename(name) != name or not name.endswith(".sql.gz"):
            raise Refusal(400, "Invalid backup name!")
        return self.file(os.path.join(self.backup_folder(), name), "application/gzip", name)

    # WebSocket: just enough engine.io 4 and socket.io for a client to connect, log in and stay

    async def socket(self, call: Call) -> web.StreamResponse:
        query = call.request.query
        identity = access.new_secret()[:20]
        opening = "0" + json.dumps({"sid": identity, "upgrades": [], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1000000}, separators=(",", ":"))
        if query.get("EIO") != "4":
            return web.json_response({"code": 5, "message": "Unsupported protocol version"}, status=400)
        if query.get("transport") == "polling" and "sid" not in query:
            return web.Response(text=opening, content_type="text/plain", charset="utf-8")
        if query.get("transport") != "websocket":
            return web.json_response({"code": 1, "message": "Session ID unknown"}, status=400)
        connection = web.WebSocketResponse(autoping=True, max_msg_size=1000000)
        if not connection.can_prepare(call.request).ok:
            return web.json_response({"code": 3, "message": "Bad request"}, status=400)
        await connection.prepare(call.request)
        self.sockets.add(connection)
        pings = asyncio.create_task(self.ping_socket(connection))
        try:
            await connection.send_str(opening)
            async for message in connection:
                if message.type == 1 and not await self.socket_message(call, connection, str(message.data)):
                    break
        except ConnectionError:
            pass
        finally:
            pings.cancel()
            self.sockets.discard(connection)
            await connection.close()
        return connection

    async def ping_socket(self, connection: web.WebSocketResponse) -> None:
        while not connection.closed:
            await asyncio.sleep(25)
            with contextlib.suppress(ConnectionError):
                await connection.send_str("2")

    async def socket_message(self, call: Call, connection: web.WebSocketResponse, text: str) -> bool:
        """Answer one message; False ends the connection."""
        log = logs.Logger("WebsocketRepository")
        if text.startswith("2"):
            await connection.send_str("3" + text[1:])
        elif text.startswith("40"):
            identity = access.new_secret()[:20]
            await connection.send_str("40" + json.dumps({"sid": identity}, separators=(",", ":")))
            try:
                await self.authenticate(call)
            except Refusal as refusal:
                log.error(f"Websocket connection error: {refusal.message}")
                await connection.send_str('42["error","unauthorized"]')
                await connection.send_str("41")
                return False
            log.log(f"Websocket Connect:    {identity}")
            major, minor, patch = (int(part) for part in VERSION.split("."))
            await connection.send_str("42" + json.dumps(["on_server_version", {"major": major, "minor": minor, "patch": patch}], separators=(",", ":")))
        return not text.startswith("1")


def parse_checksum(text: str) -> bytes | None:
    """A SHA-1 as 40 hexadecimal digits or in base64."""
    try:
        raw = bytes.fromhex(text) if len(text) == 40 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == 20 else None


def parse_time(text: str) -> dt.datetime | None:
    try:
        value = dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)
