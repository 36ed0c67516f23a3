# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies where an installation should be, over real directories."""

from __future__ import annotations

import os
import struct

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _installation_look as looking
from ansible_collections.patriark.homelab.plugins.module_utils import _pg_control

# The head of a control file that PostgreSQL 14 wrote.
CONTROL = struct.pack("<QIIi4xqQ", 7312345678901234567, 1300, 202107181, 6, 1764338400, (3 << 32) + 0xABC) + bytes(8144)


def data(folder, control=CONTROL):
    for name in ("global", "pg_tblspc", "pg_wal"):
        (folder / name).mkdir(parents=True)
    (folder / "PG_VERSION").write_text("14\n")
    (folder / "global" / "pg_control").write_bytes(control)
    return str(folder)


def test_control_file():
    control = _pg_control.parse(CONTROL)
    assert control is not None
    assert control.identifier == "7312345678901234567"
    assert _pg_control.position(control.checkpoint) == "3/ABC"


@pytest.mark.parametrize("content", [b"", b"x" * 20, bytes(8192), b"\xff" * 8192])
def test_no_control_file(content):
    assert _pg_control.parse(content) is None


@pytest.mark.parametrize(
    ("name", "target", "out"),
    [
        ("pg_wal", "/wal", True),
        ("pg_wal", "../wal", True),
        ("pg_wal", "/var/lib/postgresql/data/wal", False),
        ("pg_wal", "wal", False),
        ("pg_tblspc/16385", "../spaces/a", False),
        ("pg_tblspc/16385", "../../spaces", True),
        ("pg_wal", "/var/lib/postgresql/database", True),
    ],
)
def test_links_that_lead_out(name, target, out):
    assert _pg_control.leads_out(name, target) is out


def test_database(tmp_path):
    found = looking.place(data(tmp_path / "db"), looking.database)
    assert (found["state"], found["major"], found["identifier"], found["outside"]) == ("there", "14", "7312345678901234567", [])
    assert found["owner"] == os.getuid()


def test_links_in_the_database(tmp_path):
    path = data(tmp_path / "db")
    (tmp_path / "db" / "pg_wal").rmdir()
    (tmp_path / "db" / "pg_wal").symlink_to("/elsewhere")
    (tmp_path / "db" / "pg_tblspc" / "16385").symlink_to("/spaces")
    assert looking.place(path, looking.database)["outside"] == ["pg_wal -> /elsewhere", "pg_tblspc/16385 -> /spaces"]


def test_nothing_is_followed_or_waited_for(tmp_path):
    other = data(tmp_path / "other")
    (tmp_path / "db").symlink_to(other)
    assert looking.place(str(tmp_path / "db"), looking.database)["state"] not in ("there", "empty", "absent")
    path = tmp_path / "mine"
    (path / "global").mkdir(parents=True)
    os.mkfifo(path / "PG_VERSION")
    (path / "global" / "pg_control").symlink_to(f"{other}/global/pg_control")
    found = looking.place(str(path), looking.database)
    assert (found["major"], found["identifier"]) == ("", "")


def test_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    assert looking.place(str(tmp_path / "absent"), looking.library)["state"] == "absent"
    assert looking.place(str(tmp_path / "absent" / "below"), looking.library)["state"] == "absent"
    assert looking.place(str(tmp_path / "empty"), looking.library)["state"] == "empty"


def test_library(tmp_path):
    for folder in looking.FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".immich").write_text("1")
    assert looking.look_library(str(tmp_path))["markers"] == list(looking.FOLDERS)
    (tmp_path / "thumbs" / ".immich").unlink()
    assert "thumbs" not in looking.look_library(str(tmp_path))["markers"]
