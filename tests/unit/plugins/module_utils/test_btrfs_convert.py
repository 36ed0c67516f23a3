# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a conversion that need no btrfs: who uses a tree, which method, what is shown. tests/btrfs has the rest."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import time
import typing as t

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs_busy, _btrfs_convert, _btrfs_progress
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BtrfsError
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_busy import Mount, Users
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_copy import Survey

# Recorded on Linux 6.18.
MAPS = """00400000-00452000 r-xp 00000000 00:31 4711                               /usr/bin/postgres
7f1c2a000000-7f1c2a021000 rw-p 00000000 00:00 0
7f1c2c3d4000-7f1c2c3d8000 rw-s 00002000 00:31 262                       /pool/pg/base/a name (deleted)
"""
ROOTLESS = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/postgresql-immich.service/libpod-payload-0f3c\n"
MIXED = "12:pids:/\n1:name=systemd:/system.slice/ssh.service\n0::/system.slice/ssh.service\n"
OWN = [Mount("254:0", "/", "/"), Mount("0:44", "/", "/mnt/pool"), Mount("0:44", "/sub7", "/mnt/sub7")]
ROOM = 1 << 40


def test_maps() -> None:
    assert _btrfs_busy.mapped(MAPS, {262}) == ["7f1c2c3d4000-7f1c2c3d8000"]
    assert _btrfs_busy.mapped(MAPS, {4711, 0}) == ["00400000-00452000"]


def test_the_service_of_a_process() -> None:
    assert _btrfs_busy.unit_of(ROOTLESS) == "postgresql-immich.service"
    assert _btrfs_busy.unit_of(MIXED) == "ssh.service"
    assert _btrfs_busy.unit_of("0::/init.scope\n") == ""


def test_a_process_may_have_any_name() -> None:
    before = pathlib.Path("/proc/self/comm").read_bytes()
    try:
        pathlib.Path("/proc/self/comm").write_bytes(b"\x1b[2Jpo\xffst\n")
        assert _btrfs_busy._process("self").startswith("\\x1b[2Jpo\\xffst (pid self")
    finally:
        pathlib.Path("/proc/self/comm").write_bytes(before)


@pytest.mark.parametrize(
    "real, wanted",
    [
        ("/mnt/pool/sub7/pg", ("0:44", "/sub7/pg")),
        ("/mnt/pool", ("0:44", "/")),
        ("/mnt/sub7/pg", ("0:44", "/sub7/pg")),
        ("/mnt/sub7", ("0:44", "/sub7")),
        ("/etc", ("254:0", "/etc")),
    ],
)
def test_place_within_the_file_system(real: str, wanted: tuple[str, str]) -> None:
    assert _btrfs_busy.inside(real, OWN) == wanted


def test_the_mount_on_top_counts() -> None:
    assert _btrfs_busy.inside("/mnt/pool/x", [*OWN, Mount("0:50", "/", "/mnt/pool")]) == ("0:50", "/x")


def test_a_chroot_hides_the_mount_of_a_tree() -> None:
    with pytest.raises(BtrfsError, match="no mount that holds /srv/pg is known here"):
        _btrfs_busy.inside("/srv/pg", OWN[1:])


def test_bindings_of_a_container() -> None:
    container = [
        Mount("0:60", "/", "/"),
        Mount("0:44", "/sub7/pg", "/var/lib/postgresql/data"),
        Mount("0:44", "/sub7/pg/base", "/base"),
        Mount("0:44", "/sub7/pgother", "/other"),
        Mount("0:45", "/sub7/pg", "/elsewhere"),
        Mount("0:44", "/", "/mnt/pool"),
    ]
    assert _btrfs_busy.bindings("/mnt/pool/sub7/pg", OWN, container) == container[1:3]
    # A service with a mount namespace of its own has copies of our own mounts.
    assert _btrfs_busy.bindings("/mnt/sub7", OWN, OWN) == []


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ESRCH, errno.EINVAL])
def test_a_process_that_ends_meanwhile_hides_nobody_of_its_namespace(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes of one container: the first ends between two looks."""
    line = "60 1 0:44 {} {} rw - btrfs /dev/loop0 rw\n"
    own = line.format("/", "/mnt/pool")

    def mountinfo(pid: str = "self") -> str:
        if pid == "11":
            raise OSError(code, os.strerror(code))
        return own if pid == "self" else line.format("/pg", "/data")

    monkeypatch.setattr(_btrfs_busy, "pids", lambda: ["11", "12"])
    monkeypatch.setattr(_btrfs_busy, "_files_of", lambda *_: iter(()))
    monkeypatch.setattr(_btrfs_busy, "_kernel_users", lambda *_: iter(()))
    monkeypatch.setattr(_btrfs_busy, "_process", lambda pid: pid)
    monkeypatch.setattr(_btrfs_busy._btrfs_walk, "read_mountinfo", mountinfo)
    monkeypatch.setattr(os, "readlink", lambda path: "mnt:[1]" if "self" in path else "mnt:[2]")
    assert _btrfs_busy.users("/mnt/pool/pg", {}).found == ["12 has it mounted on /data"]


@pytest.mark.parametrize("there, blind", [(["1", "11"], 0), (["11"], 1)])
def test_processes_that_are_not_even_listed_are_told(there: list[str], blind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_btrfs_busy, "pids", lambda: there)
    monkeypatch.setattr(_btrfs_busy, "_files_of", lambda *_: iter(()))
    monkeypatch.setattr(_btrfs_busy, "_kernel_users", lambda *_: iter(()))
    monkeypatch.setattr(os, "readlink", lambda path: "mnt:[1]")
    assert _btrfs_busy.users("/", {}).blind == blind


@pytest.mark.parametrize(
    "survey, free, subvolume, mounted, method, why",
    [
        (Survey(allocated=1 << 30), ROOM, False, "", "copy", ""),
        (Survey(allocated=1 << 30), ROOM, False, "it is a mount point", "in_place", "mount point"),
        (Survey(allocated=1 << 30, attached=["nested"]), ROOM, False, "", "in_place", "inside: nested"),
        (Survey(allocated=1 << 30, frozen=["f"]), ROOM, False, "", "in_place", "immutable"),
        (Survey(allocated=1 << 30), 1 << 30, False, "", "in_place", "does not fit"),
        (Survey(allocated=1 << 30, attached=["nested"]), 0, True, "it is a mount point", "copy", ""),
    ],
)
def test_method(survey: Survey, free: int, subvolume: bool, mounted: str, method: str, why: str) -> None:
    found = _btrfs_convert.choose(survey, free, subvolume, mounted)
    assert found[0] == method
    assert why in found[1]


@pytest.mark.parametrize(
    "survey, users, method, free, subvolume, mounted, text",
    [
        (Survey(), Users(found=["postgres (pid 7) has open base/1"]), "copy", ROOM, False, "", "in use: postgres (pid 7)"),
        (Survey(denied=["base"]), Users(), "copy", ROOM, False, "", "cannot be read: run as root. They are: base"),
        (Survey(foreign=["base"]), Users(), "copy", ROOM, False, "", "belong to other accounts"),
        (Survey(outside_links=["a"]), Users(), "in_place", ROOM, False, "", "hard links outside"),
        (Survey(attached=["sub"]), Users(), "copy", ROOM, True, "", "a new subvolume would not have: sub"),
        (Survey(frozen=["log"]), Users(), "copy", ROOM, True, "", "immutable or append-only entries are inside (chattr -i -a): log"),
        (Survey(), Users(), "copy", ROOM, True, "it is a mount point", "cannot be replaced by a subvolume"),
        (Survey(inodes={(1, 1): "a", (1, 2): "b"}, allocated=100 << 20), Users(), "copy", 200 << 20, False, "", "238 MiB of free space are needed and 200 MiB"),
        (Survey(inodes={(1, 1): "a", (1, 2): "b"}, wrong_largest=1 << 30), Users(), "in_place", 1 << 30, False, "", "1152 MiB of free space are needed"),
    ],
)
def test_refusals(survey: Survey, users: Users, method: str, free: int, subvolume: bool, mounted: str, text: str) -> None:
    (found,) = _btrfs_convert.obstacles(survey, users, method, free, subvolume, mounted)
    assert text in found


def test_nothing_speaks_against_it() -> None:
    inodes = {(1, 1): "a", (1, 2): "b"}
    # In place neither what is attached nor what is immutable and right already matters, and only the largest file has to fit.
    survey = Survey(inodes=inodes, allocated=1 << 40, wrong_largest=1 << 20, attached=["sub"], frozen=["log"])
    assert _btrfs_convert.obstacles(survey, Users(bound=True), "in_place", 130 << 20, False, "it is mounted elsewhere too") == []
    assert _btrfs_convert.obstacles(Survey(inodes={(1, 1): "."}), Users(), "copy", 0, True, "") == []


@pytest.mark.parametrize(
    "state, wanted",
    [
        ({"path": "/pg", "total": 4 << 30, "done": 1 << 30, "seconds": 10.0}, "/pg: 25 % of 4.0 GiB, 102.4 MiB/s, 0:31 left"),
        ({"path": "/pg", "total": 400, "done": 1, "seconds": 10.0}, "/pg: 0 % of 400 bytes, 0 bytes/s, 66:31 left"),
        ({"path": "/pg", "total": 10, "done": 10, "seconds": 1.0, "step": "synced"}, "/pg: 10 bytes copied, last step: synced"),
        ({"path": "/pg", "total": 10, "done": 0, "seconds": 0.0, "step": "starts"}, "/pg: 0 bytes copied, last step: starts"),
        ({"pid": 7, "done": 0, "seconds": 0.0}, "looking at what is there"),
    ],
)
def test_progress_line(state: dict[str, t.Any], wanted: str) -> None:
    assert _btrfs_progress.line(state) == wanted


def test_reporter(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    file = tmp_path / "progress"
    reporter = _btrfs_progress.Reporter(str(file))
    # From the start: the plugin has to know the process before there is anything to convert.
    assert json.loads(file.read_text()) == {"pid": os.getpid(), "done": 0, "seconds": 0.0}
    reporter.begin("/pg", 50)
    reporter.copied(10)
    assert json.loads(file.read_text())["done"] == 0
    now[0] += 1
    reporter.copied(10)
    assert json.loads(file.read_text()) == {"path": "/pg", "total": 50, "step": "starts", "pid": os.getpid(), "done": 20, "seconds": 1.0}
    now[0] += 1
    reporter.step("synced")
    assert json.loads(file.read_text())["step"] == "synced"
    # Nobody has looked yet: that is no reason to stop. Then somebody did, and went away.
    alive = tmp_path / "progress.alive"
    alive.touch()
    now[0] += 1
    reporter.copied(1)
    os.utime(alive, (0, time.time() - _btrfs_progress.PATIENCE - 5))
    now[0] += 1
    with pytest.raises(BtrfsError, match="gone away"):
        reporter.copied(1)
    reporter.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seen", [False, True])
def test_a_playbook_that_never_looked_or_took_its_file_away_is_gone_too(seen: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ansible-core 2.18 the plugin cleans up on Ctrl-C."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: now[0])
    reporter = _btrfs_progress.Reporter(str(tmp_path / "progress"))
    now[0] += 3600  # so long it looked at the tree
    reporter.begin("/pg", 50)
    now[0] += _btrfs_progress.PATIENCE - 1
    reporter.copied(1)
    if seen:
        (tmp_path / "progress.alive").touch()
        os.utime(tmp_path / "progress.alive", (now[0], now[0]))
        now[0] += 10
        reporter.copied(1)
        (tmp_path / "progress.alive").unlink()
        now[0] += _btrfs_progress.PATIENCE - 11
        reporter.copied(1)
    now[0] += 2
    with pytest.raises(BtrfsError, match="gone away"):
        reporter.copied(1)
    reporter.close()


def test_reporter_without_anybody_to_report_to() -> None:
    reporter = _btrfs_progress.Reporter(None)
    reporter.begin("/pg", 5)
    reporter.last = 0
    reporter.copied(5)
    reporter.step("done")
    reporter.close()


def test_progress_that_cannot_be_written_does_not_matter(tmp_path: pathlib.Path) -> None:
    reporter = _btrfs_progress.Reporter(str(tmp_path / "missing" / "progress"))
    reporter.begin("/pg", 5)
    reporter.close()
