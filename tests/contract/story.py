# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with each server, in order; what it did is kept under the name of the step. Nothing is judged here."""

from __future__ import annotations

import subprocess
import sys
import time
import traceback
import typing as t

import photo
from contract.client import Answer, Client
from contract.host import Failed
from contract.servers import Ended, Server

ADMIN = {"email": "admin@example.org", "password": "pass-word-1", "name": "Admin"}
NOW = "2026-01-01T12:00:00.000Z"
# Part of each question, and the answer to it.
RESET = (("new password", "pass-word-3"), ("Invalidate existing sessions", "n"))
STRANGER = "9999999999999-FromTheFuture"


class Seen:
    """What the steps saw. Asking for a step that failed raises its error again."""

    def __init__(self) -> None:
        self.values: dict[str, t.Any] = {}
        self.errors: dict[str, str] = {}

    def __getitem__(self, name: str) -> t.Any:
        if name in self.errors:
            raise Failed(f"step {name!r} of the story failed: {self.errors[name]}")
        return self.values[name]


def observe(server: Server) -> Seen:
    seen = Seen()
    for name, step in STEPS.items():
        begun = time.monotonic()
        try:
            seen.values[name] = step(server, seen)
        except (Failed, subprocess.SubprocessError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
            seen.errors[name] = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        print(f"{server.face.title}: {name}: {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    return seen


def start(server: Server, seen: Seen) -> t.Any:
    server.prepare()
    begun = server.start_and_wait()
    server.wait_for(lambda: "Immich Microservices is running" in server.log(), "the other worker")
    return {"begun": begun.begun, "first answer": begun.first_answer, "lines": server.lines(), "healthcheck": server.health()}


def migrations(server: Server, seen: Seen) -> t.Any:
    count, newest = server.sql("SELECT count(*), max(name) FROM kysely_migrations").split("|")
    return {"count": int(count), "newest": newest}


def public(server: Server, seen: Seen) -> dict[str, Answer]:
    # The release that starts is written down by the slower worker.
    server.wait_for(lambda: bool(server.api.get("/api/server/version-history").json), "the version history")
    paths = ("ping", "version", "config", "features", "media-types", "about", "version-history", "theme")
    return {name: server.api.get(f"/api/server/{name}") for name in paths}


def sign_up(server: Server, seen: Seen) -> dict[str, Answer]:
    path = "/api/auth/admin-sign-up"
    return {
        "without a name": server.api.post(path, {name: ADMIN[name] for name in ("email", "password")}),
        "bad address": server.api.post(path, dict(ADMIN, email="nobody")),
        "without a password": server.api.post(path, {name: ADMIN[name] for name in ("email", "name")}),
        "first": server.api.post(path, ADMIN),
        "again": server.api.post(path, dict(ADMIN, email="other@example.org")),
        "config": server.api.get("/api/server/config"),
    }


def sign_in(server: Server, seen: Seen) -> dict[str, Answer]:
    path, words = "/api/auth/login", {"email": ADMIN["email"], "password": ADMIN["password"]}
    found = {
        "wrong password": server.api.post(path, dict(words, password="not this")),
        "unknown person": server.api.post(path, dict(words, email="nobody@example.org")),
        "no password": server.api.post(path, {"email": ADMIN["email"]}),
        "stranger": server.api.get("/api/users/me"),
        "right": server.api.post(path, words),
    }
    server.api.token = found["right"].json["accessToken"]
    found["me"] = server.api.get("/api/users/me")
    found["bad token"] = Client(server.api.path).get("/api/users/me", headers={"Authorization": "Bearer x"})
    return found


def keys(server: Server, seen: Seen) -> dict[str, Answer]:
    path = "/api/api-keys"
    found = {
        "all": server.api.post(path, {"name": "all", "permissions": ["all"]}),
        "unknown": server.api.post(path, {"name": "x", "permissions": ["asset.juggle"]}),
        "narrow": server.api.post(path, {"name": "narrow", "permissions": ["server.about"]}),
    }
    for name in ("all", "narrow"):
        client = Client(server.api.path)
        key = {"x-api-key": found[name].json["secret"]}
        found[f"statistics by {name}"] = client.get("/api/server/statistics", headers=key)
        found[f"about by {name}"] = client.get("/api/server/about", headers=key)
    found["bad key"] = Client(server.api.path).get("/api/server/about", headers={"x-api-key": "x"})
    return found


def fields(server: Server, name: str) -> dict[str, str]:
    device = {"deviceAssetId": name, "deviceId": "contract"} if server.face.version.startswith("2.") else {}
    return {"fileCreatedAt": NOW, "fileModifiedAt": NOW, **device}


def upload(server: Server, seen: Seen) -> dict[str, t.Any]:
    picture = photo.a_photo(damaged=False)
    found: dict[str, t.Any] = {
        "picture": picture,
        "first": server.api.upload(picture, "a.jpg", fields(server, "a.jpg")),
        "again": server.api.upload(picture, "a.jpg", fields(server, "a.jpg")),
        "text": server.api.upload(b"no picture", "a.txt", fields(server, "a.txt")),
        "without times": server.api.upload(picture, "a.jpg", {"deviceAssetId": "b", "deviceId": "contract"}),
        "without device": server.api.upload(photo.a_photo(damaged=False), "c.jpg", {"fileCreatedAt": NOW, "fileModifiedAt": NOW}),
        "with device": server.api.upload(
            photo.a_photo(damaged=False), "d.jpg", {"fileCreatedAt": NOW, "fileModifiedAt": NOW, "deviceAssetId": "d", "deviceId": "d"}
        ),
    }
    asset = found["first"].json["id"]
    found["original"] = server.api.get(f"/api/assets/{asset}/original")
    for size in ("preview", "thumbnail"):
        path = f"/api/assets/{asset}/thumbnail?size={size}"
        server.wait_for(lambda path=path: server.api.get(path).status == 200, f"the {size}")
        found[size] = server.api.get(path)
    found["asset"] = server.api.get(f"/api/assets/{asset}")
    found["missing"] = server.api.get("/api/assets/00000000-0000-4000-8000-000000000000/original")
    return found


def failing(server: Server, seen: Seen) -> dict[str, t.Any]:
    """A photo cut in the middle is taken, and its thumbnail fails."""
    found: dict[str, t.Any] = {"upload": server.api.upload(photo.a_photo(damaged=True), "cut.jpg", fields(server, "cut.jpg"))}
    name = "immich_jobs_asset_generate_thumbnails_failed_total"
    server.wait_for(lambda: name in server.clients["microservices metrics"].get("/metrics").text, "the failed job in the metrics")
    found["timed lines"] = server.lines()
    found["lines"] = [text for _seconds, text in found["timed lines"]]
    return found


def jobs(server: Server, seen: Seen) -> dict[str, Answer]:
    return {
        "jobs": server.api.get("/api/jobs"),
        "queues": server.api.get("/api/queues"),
        "statistics": server.api.get("/api/server/statistics"),
        "start": server.api.ask("PUT", "/api/jobs/thumbnailGeneration", {"command": "start", "force": False}),
        "create": server.api.post("/api/jobs", {"name": "backup-database"}),
        "unknown": server.api.post("/api/jobs", {"name": "juggle"}),
        "settings": server.api.get("/api/system-config"),
        "default settings": server.api.get("/api/system-config/defaults"),
    }


def people(server: Server, seen: Seen) -> dict[str, Answer]:
    path, person = "/api/admin/users", {"email": "kari@example.org", "password": "pass-word-2", "name": "Kari"}
    found = {"create": server.api.post(path, person), "again": server.api.post(path, person), "list": server.api.get(path)}
    found["bad password"] = server.api.post(path, dict(person, email="ola@example.org", password=""))
    return found


def libraries(server: Server, seen: Seen) -> dict[str, Answer]:
    path = "/api/libraries"
    found = {"create": server.api.post(path, {"ownerId": seen["sign-up"]["first"].json["id"], "name": "Old", "importPaths": ["/external/old"]})}
    found["list"] = server.api.get(path)
    found["change"] = server.api.ask("PUT", f"{path}/{found['create'].json['id']}", {"name": "Older"})
    found["scan"] = server.api.post(f"{path}/{found['create'].json['id']}/scan")
    return found


def metrics(server: Server, seen: Seen) -> dict[str, Answer]:
    counted = "immich_jobs_asset_detect_faces_"
    server.wait_for(lambda: counted in server.clients["microservices metrics"].get("/metrics").text, "the last job in the metrics")
    return {name: server.clients[name].get("/metrics") for name in ("api metrics", "microservices metrics")}


def admin(server: Server, seen: Seen) -> dict[str, tuple[int, str]]:
    return {
        "version": server.admin("version"),
        "list-users": server.admin("list-users"),
        "schema-check": server.admin("schema-check"),
        "reset-admin-password": server.admin("reset-admin-password", answers=RESET),
        "help": server.admin("--help"),
    }


def new_password(server: Server, seen: Seen) -> dict[str, Answer]:
    words = {"email": ADMIN["email"], "password": "pass-word-3"}
    return {"old session": server.api.get("/api/users/me"), "right": server.api.post("/api/auth/login", words)}


def is_maintenance(server: Server) -> bool:
    answer = server.api.get("/api/server/config", timeout=3)
    return answer.status == 200 and bool((answer.json or {}).get("maintenanceMode"))


def maintenance(server: Server, seen: Seen) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"enable": server.admin("enable-maintenance-mode")}
    server.wait_for(lambda: is_maintenance(server), "the maintenance mode")
    # The worker of the jobs ends a moment later.
    server.wait_for(lambda: not server.clients["microservices metrics"].get("/metrics").status, "the end of the jobs")
    anonymous = Client(server.api.path)
    paths = ("/api/server/config", "/api/server/ping", "/api/server/version", "/api/server/features", "/api/users/me", "/api/assets/statistics", "/")
    found.update({path: anonymous.get(path) for path in paths})
    found["login"] = anonymous.post("/api/auth/login", {"email": ADMIN["email"], "password": "pass-word-3"})
    found["sign-up"] = anonymous.post("/api/auth/admin-sign-up", ADMIN)
    found["health"] = server.health()
    found["api metrics"] = server.clients["api metrics"].get("/metrics").status
    found["container"] = server.state()
    found["again"] = server.admin("enable-maintenance-mode")
    found["lines"] = [text for _seconds, text in server.lines()]
    found["disable"] = server.admin("disable-maintenance-mode")
    server.wait_for(lambda: not is_maintenance(server) and server.is_ready(), "the end of the maintenance mode")
    found["disable again"] = server.admin("disable-maintenance-mode")
    found["after"] = anonymous.get("/api/server/config")
    return found


def stop(server: Server, seen: Seen) -> Ended:
    return server.stop()


def as_json(server: Server, seen: Seen) -> list[str]:
    """The same faults, told as JSON."""
    server.start_and_wait(IMMICH_LOG_FORMAT="json")
    server.api.post("/api/auth/login", {"email": ADMIN["email"], "password": "not this"})
    server.api.upload(photo.a_photo(damaged=True), "cut.jpg", fields(server, "cut.jpg"))
    server.wait_for(lambda: "Unable to run job handler" in server.log(), "the failed job in the log")
    return server.stop().log.splitlines()


def lost_marker(server: Server, seen: Seen) -> Ended:
    server.in_photos("rm", "/data/thumbs/.immich")
    try:
        server.start()
        return server.ended()
    finally:
        server.in_photos("touch", "/data/thumbs/.immich")


def wrong_password(server: Server, seen: Seen) -> Ended:
    server.start(DB_PASSWORD_FILE="", DB_PASSWORD="not this")
    return server.ended()


def no_database(server: Server, seen: Seen) -> Ended:
    server.start(DB_HOSTNAME="nowhere.invalid")
    return server.ended()


def closed_port(server: Server, seen: Seen) -> Ended:
    server.start(DB_PORT="1")
    return server.ended()


def bad_telemetry(server: Server, seen: Seen) -> Ended:
    server.start(IMMICH_TELEMETRY_INCLUDE="banana")
    return server.ended()


def newer_database(server: Server, seen: Seen) -> Ended:
    """A migration this release does not know, as after a newer one."""
    server.sql(f"INSERT INTO kysely_migrations VALUES ('{STRANGER}', '2026-01-01T00:00:00.000Z')")
    server.start()
    return server.ended()


STEPS: dict[str, t.Callable[[Server, Seen], t.Any]] = {
    "start": start,
    "migrations": migrations,
    "public": public,
    "sign-up": sign_up,
    "sign-in": sign_in,
    "keys": keys,
    "upload": upload,
    "failing": failing,
    "jobs": jobs,
    "people": people,
    "libraries": libraries,
    "metrics": metrics,
    "admin": admin,
    "new password": new_password,
    "maintenance": maintenance,
    "stop": stop,
    "json": as_json,
    "lost marker": lost_marker,
    "wrong password": wrong_password,
    "no database": no_database,
    "closed port": closed_port,
    "bad telemetry": bad_telemetry,
    "newer database": newer_database,
}
