# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A photo on its whole way, and a damaged one. With --write only; both are removed at the end."""

from __future__ import annotations

import os
import re
import time
import typing as t

import pytest
from live.absent import Absent
from live.api import Podman
from live.card import Claim
from live.expected import Facts
from live.host import Host
from live.photos import App, Photo
from live.web import Web

pytestmark = pytest.mark.writes


@pytest.fixture(scope="module")
def app(web: Web, facts: Facts, podman: Podman) -> t.Iterator[App]:
    """Whoever the environment names, the inventory's administrator, or whom the tests of this collection make on an empty server."""
    admin = facts["admin"] or {}
    email = os.environ.get("LIVE_EMAIL") or admin.get("email", "admin@example.org")
    password = os.environ.get("LIVE_PASSWORD") or admin.get("password", "correct-horse")
    somebody = App(web, web.visitor() or web.on_network("immich-server", 2283), email, password)
    yield somebody
    somebody.log_out()


@pytest.fixture(scope="module")
def photo(app: App) -> t.Iterator[Photo]:
    uploaded = app.upload()
    yield uploaded
    assert app.remove(uploaded) == 204


@pytest.fixture(scope="module")
def damaged(app: App) -> t.Iterator[Photo]:
    uploaded = app.upload(damaged=True)
    yield uploaded
    assert app.remove(uploaded) == 204


def until(true: t.Callable[[], t.Any], seconds: float = 30) -> t.Any:
    """What it says, as soon as that is something."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def test_upload(claim: Claim, photo: Photo) -> None:
    assert (photo.answered, photo.status) == (201, "created")


def test_it_comes_back_as_it_was(app: App, photo: Photo) -> None:
    answer = app.original(photo)
    assert (answer.status, answer.body) == (200, photo.content)


def test_it_gets_a_thumbnail(app: App, photo: Photo, facts: Facts, host: Host) -> None:
    answer = app.thumbnail(photo)
    assert (answer.status, answer.body[:3]) == (200, b"\xff\xd8\xff")
    assert host.said("find", f"{facts['library']}/thumbs", "-name", f"{photo.id}*").split() != []


@pytest.fixture
def path(photo: Photo, podman: Podman, facts: Facts, absent: Absent) -> str:
    """Where PostgreSQL says that the file is, on the host; it also has the content's SHA-1."""
    if "postgresql-immich" not in facts["containers"]:
        absent("postgresql-immich", "the inventory asks for none")
    query = f"select encode(checksum, 'hex') || ' ' || \"originalPath\" from asset where id = '{photo.id}'"
    checksum, inside = podman.exec("postgresql-immich", "psql", "-U", "immich", "-d", "immich", "-Atc", query).strip().split(" ", 1)
    assert checksum == photo.hash("sha1")
    assert inside.startswith("/data/")
    return f"{facts['library']}/{inside.removeprefix('/data/')}"


def test_the_file_on_the_disk_is_the_same(path: str, photo: Photo, facts: Facts, host: Host) -> None:
    assert host.said("sha256sum", path).split()[0] == photo.hash("sha256")
    assert host.said("stat", "-c", "%U", path).strip() == facts["account"]


def test_the_file_keeps_its_checksums(path: str, host: Host, absent: Absent) -> None:
    if host.said("stat", "-f", "-c", "%T", path).strip() != "btrfs":
        absent("btrfs", f"{path} is on something else")
    assert "C" not in host.said("lsattr", path).split()[0]


def test_a_damaged_photo_is_taken_and_told(damaged: Photo, host: Host) -> None:
    """In the journal, in a line that has the level before the job."""
    assert damaged.answered == 201
    line = re.compile(rf"ERROR .*{damaged.id}|ERROR .*Unable to run job handler \(AssetGenerateThumbnails\)")

    def told() -> list[str]:
        journal = host.said("journalctl", "--user", "-u", "immich-server.service", "--since=-10min", "--no-pager", "--output=cat")
        return [text for text in journal.splitlines() if line.search(text) and "AssetGenerateThumbnails" in text]

    found = until(told)
    assert found != []
    assert [text for text in found if re.search(r"AssetGenerateThumbnails.*ERROR", text)] == []


def test_a_damaged_photo_is_counted(damaged: Photo, web: Web) -> None:
    metric = re.compile(r"^immich_jobs_asset_generate_thumbnails_failed_total\S* [1-9]", re.MULTILINE)
    assert until(lambda: metric.search(web.ask(web.on_network("immich-server", 8082), "/metrics").body.decode()))
