# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""btrfs_directory on a real btrfs: creation, flags, audit, access. Each run is foretold by check mode and repeated."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import stat
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_audit, _btrfs_owner, _btrfs_walk
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_convert import Progress
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directories import Directories
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directory import Want
from ansible_collections.patriark.homelab.tests.btrfs.support import Opened, Run, chattr, flags, image, nocow, subvolume

NOBODY = 65534
DATA = b"12 bytes...\n"


@contextlib.contextmanager
def descriptor(path: pathlib.Path) -> t.Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_directory_gets_the_flag_and_its_parents_do_not(run: Run, pool: pathlib.Path) -> None:
    path = pool / "a" / "b" / "pg"
    got = run.same({"path": str(path), "nocow": True, "owner": "nobody", "group": "nogroup", "mode": "0750"})
    assert got["changed"]
    assert nocow(path)
    assert not nocow(pool / "a")
    assert not nocow(pool / "a" / "b")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (NOBODY, NOBODY, 0o750)
    assert (pool / "a").stat().st_uid == 0
    assert mode(pool / "a") == 0o755
    assert got.entry["created"]
    assert (got.entry["nocow_before"], got.entry["nocow_after"]) == (None, True)
    assert got["diff"][0]["before"] == {"state": "absent"}
    assert got["diff"][0]["after"] == {"state": "directory", "nocow": True, "owner": "nobody", "group": "nogroup", "mode": "0750"}
    (path / "file").write_bytes(DATA)
    assert nocow(path / "file")


def test_mode_omitted_is_the_umask_and_keeps_an_inherited_group(run: Run, pool: pathlib.Path) -> None:
    os.chown(pool, -1, 12)
    os.chmod(pool, 0o2755)
    run.same({"path": str(pool / "new"), "nocow": True})
    assert mode(pool / "new") == 0o2755
    assert (pool / "new").stat().st_gid == 12


def test_existing_tree_directories_and_empty_files_take_the_flag(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    (path / "base" / "1").mkdir(parents=True)
    (path / "empty").touch()
    got = run.same({"path": str(path), "nocow": True})
    assert got["changed"]
    assert (got.entry["wrong_dirs"], got.entry["wrong_files"], got.entry["files"], got.entry["dirs"]) == (3, 1, 1, 3)
    assert got["diff"][0]["before"] == {"nocow": False, "cow_directories": 3, "cow_files": 1}
    assert all(nocow(entry) for entry in (path, path / "base", path / "base" / "1", path / "empty"))


def test_cow_directory_moved_in_breeds_cow_files_until_it_is_flagged(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    run({"path": str(path), "nocow": True})
    (pool / "outside").mkdir()
    os.rename(pool / "outside", path / "moved")
    (path / "moved" / "bred").touch()
    assert not nocow(path / "moved" / "bred")
    got = run.same({"path": str(path), "nocow": True})
    assert got.entry["offenders"] == ["moved/bred"]
    (path / "moved" / "later").touch()
    assert all(nocow(path / "moved" / name) for name in (".", "bred", "later"))


def test_audit_reads_no_data_and_names_only_the_first(pool: pathlib.Path) -> None:
    for number in range(25):
        (pool / str(number)).write_bytes(b"x" * (1 << 20))
    with descriptor(pool) as fd:
        before = _read_bytes()
        found = _btrfs_audit.audit(fd, True)
        assert _read_bytes() - before < 1 << 20
    assert (found.wrong_data, found.data, len(found.offenders)) == (25, 25 << 20, 20)


def _read_bytes() -> int:
    """What this process has read from files so far, cached or not."""
    with open("/proc/self/io", encoding="ascii") as stream:
        return int(stream.readline().split()[1])


@pytest.mark.parametrize("kind", ["inline", "hole", "allocated", "moved"])
def test_data_that_is_copy_on_write_fails_and_nothing_changes(run: Run, pool: pathlib.Path, kind: str) -> None:
    path = pool / "pg"
    (path / "base").mkdir(parents=True)
    victim = path / "base" / "16384"
    if kind == "hole":
        victim.touch()
        os.truncate(victim, 12)
    elif kind == "allocated":
        with open(victim, "wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, 12)
    elif kind == "moved":
        chattr("+C", path, path / "base")
        (pool / "outside").write_bytes(DATA)
        os.rename(pool / "outside", victim)
    else:
        victim.write_bytes(DATA)
    before = (nocow(path), nocow(path / "base"))
    want = {"path": str(path), "nocow": True, "mode": "0700"}
    other = {"path": str(pool / "other"), "nocow": True}
    for check in (True, False):
        got = run(other, want, check=check, ok=False)
        assert "1 of 1 files, 12 bytes of data, are copy-on-write: base/16384" in got["msg"]
        entry = got["directories"][1]
        assert (entry["wrong_files"], entry["wrong_bytes"], entry["offenders"]) == (1, 12, ["base/16384"])
    assert (nocow(path), nocow(path / "base")) == before
    assert mode(path) == 0o755
    assert not (pool / "other").exists()


def test_hard_link_of_a_cow_file_is_found_and_counted_once(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    chattr("+C", path)
    (pool / "outside").write_bytes(DATA)
    os.link(pool / "outside", path / "one")
    os.link(pool / "outside", path / "two")
    got = run({"path": str(path), "nocow": True}, ok=False)
    assert (got.entry["wrong_files"], got.entry["wrong_bytes"]) == (2, 12)


def test_nocow_false_verifies_a_library(run: Run, pool: pathlib.Path) -> None:
    path = pool / "library"
    path.mkdir()
    (path / "photo").write_bytes(DATA)
    want = {"path": str(path), "nocow": False}
    assert not run(want)["changed"]
    chattr("+C", path)
    (path / "later").touch()
    got = run.same(want)
    assert got["changed"]
    assert not nocow(path)
    assert not nocow(path / "later")
    chattr("+C", path)
    (path / "later2").write_bytes(DATA)
    got = run(want, ok=False)
    assert "are NOCOW (no checksums, no repair): later2" in got["msg"]


def test_nocow_omitted_is_not_managed(run: Run, pool: pathlib.Path) -> None:
    path = pool / "any"
    path.mkdir()
    chattr("+C", path)
    (path / "file").write_bytes(DATA)
    chattr("-C", path)
    got = run({"path": str(path)})
    assert not got["changed"]
    assert got.entry["files"] is None


def test_other_flags_are_kept(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    (path / "empty").touch()
    chattr("+Ad", path, path / "empty")
    before = flags(path), flags(path / "empty")
    run.same({"path": str(path), "nocow": True})
    assert (flags(path), flags(path / "empty")) == (before[0] | _btrfs.FS_NOCOW, before[1] | _btrfs.FS_NOCOW)


def test_an_entry_below_another_is_judged_on_its_own(run: Run, pool: pathlib.Path) -> None:
    path = pool / "library"
    run.same({"path": str(path / "db"), "nocow": True}, {"path": str(path), "nocow": False})
    (path / "db" / "file").write_bytes(DATA)
    (path / "photo").write_bytes(DATA)
    got = run({"path": str(path / "db"), "nocow": True}, {"path": str(path), "nocow": False})
    assert not got["changed"]
    assert got["directories"][1]["skipped"] == ["db"]
    assert [entry["files"] for entry in got["directories"]] == [1, 1]


def test_listed_twice_is_refused(run: Run, pool: pathlib.Path) -> None:
    got = run({"path": str(pool / "a")}, {"path": f"{pool}//x/../a"}, ok=False)
    assert "listed twice" in got["msg"]


# ------------------------------------------------------------------------------------------------------- subvolumes


@pytest.mark.parametrize("wanted", [True, False])
def test_new_subvolume_also_inside_a_nocow_directory(run: Run, pool: pathlib.Path, wanted: bool) -> None:
    chattr("+C", pool)
    path = pool / "a" / "sub"
    got = run.same({"path": str(path), "nocow": wanted, "subvolume": True, "mode": "0700"})
    assert got.entry["subvolume"]
    assert path.stat().st_ino == 256
    assert nocow(path) == wanted
    assert mode(path) == 0o700


def test_new_subvolume_does_not_inherit_and_the_prediction_knows(run: Run, pool: pathlib.Path) -> None:
    chattr("+C", pool)
    got = run.same({"path": str(pool / "sub"), "subvolume": True}, {"path": str(pool / "dir")}, {"path": str(pool / "sub" / "x")})
    assert [entry["nocow_after"] for entry in got["directories"]] == [False, True, False]


def test_existing_subvolume_is_accepted(run: Run, pool: pathlib.Path) -> None:
    subvolume(pool / "sub")
    assert run.same({"path": str(pool / "sub"), "nocow": True, "subvolume": True})["changed"]
    got = run.same({"path": str(pool / "sub"), "nocow": True, "subvolume": False})
    assert not got["changed"]
    assert got.entry["subvolume"]


def test_empty_plain_directory_becomes_a_subvolume_and_keeps_its_attributes(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    os.setxattr(path, "user.note", b"kept")
    os.chown(path, NOBODY, NOBODY)
    os.chmod(path, 0o2710)
    got = run.same({"path": str(path), "nocow": True, "subvolume": True})
    assert got["changed"]
    assert path.stat().st_ino == 256
    assert nocow(path)
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (NOBODY, NOBODY, 0o2710)
    assert os.getxattr(path, "user.note") == b"kept"
    assert os.listdir(pool) == ["pg"]


def test_empty_directory_after_a_kill_on_the_way_to_a_subvolume(run: Run, pool: pathlib.Path) -> None:
    (pool / "pg").mkdir()
    subvolume(pool / ".pg.subvolume-new")
    run.same({"path": str(pool / "pg"), "subvolume": True})
    assert (pool / "pg").stat().st_ino == 256
    assert os.listdir(pool) == ["pg"]
    (pool / "other").mkdir()
    (pool / ".other.subvolume-new" / "precious").mkdir(parents=True)
    assert "cannot be replaced" in run({"path": str(pool / "other"), "subvolume": True}, ok=False)["msg"]
    assert (pool / ".other.subvolume-new" / "precious").is_dir()


@pytest.mark.parametrize("change, kept", [("+c", _btrfs.FS_COMPR), ("+m", _btrfs.FS_NOCOMP), ("+A", 0x80)])
def test_flags_of_an_empty_directory_that_becomes_a_subvolume(run: Run, pool: pathlib.Path, change: str, kept: int) -> None:
    path = pool / "pg"
    path.mkdir()
    chattr(change, path)
    if kept & _btrfs.COMPRESSION:
        for check in (True, False):
            assert "compression attribute" in run({"path": str(path), "nocow": True, "subvolume": True}, check=check, ok=False)["msg"]
        assert path.stat().st_ino != 256
    run.same({"path": str(path), "subvolume": True})
    assert path.stat().st_ino == 256
    assert flags(path) == kept


def test_plain_directory_with_content_is_not_turned_into_a_subvolume(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    (path / "base").mkdir(parents=True)
    got = run({"path": str(path), "subvolume": True}, ok=False)
    assert "plain directory with content" in got["msg"]
    assert path.stat().st_ino != 256


def test_nested_subvolume_roots_take_the_flag_and_readonly_snapshots_do_not(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    subvolume(path / "nested")
    subvolume(pool / "origin")
    (pool / "origin" / "file").write_bytes(DATA)
    subprocess.run(["btrfs", "-q", "subvolume", "snapshot", "-r", str(pool / "origin"), str(path / "frozen")], check=True, capture_output=True)
    got = run.same({"path": str(path), "nocow": True})
    assert nocow(path / "nested")
    assert got.entry["skipped"] == ["frozen"]
    assert got.entry["files"] == 0
    subprocess.run(["btrfs", "-q", "property", "set", str(path / "frozen"), "ro", "false"], check=True)
    assert run({"path": str(path), "nocow": True}, ok=False).entry["offenders"] == ["frozen/file"]


def test_placeholder_of_a_nested_subvolume_is_refused(run: Run, pool: pathlib.Path) -> None:
    subvolume(pool / "sub")
    subvolume(pool / "sub" / "nested")
    subprocess.run(["btrfs", "-q", "subvolume", "snapshot", str(pool / "sub"), str(pool / "snap")], check=True, capture_output=True)
    assert (pool / "snap" / "nested").stat().st_ino == 2
    for path in (pool / "snap" / "nested", pool / "snap" / "nested" / "new"):
        assert "placeholder" in run({"path": str(path), "nocow": True}, ok=False)["msg"]
    assert run.same({"path": str(pool / "snap"), "nocow": True}).entry["skipped"] == ["nested"]


# --------------------------------------------------------------------------------------------- what gets in the way


def test_new_directory_below_a_compressed_one(run: Run, pool: pathlib.Path) -> None:
    for attribute in ("+c", "+m"):
        parent = pool / attribute
        parent.mkdir()
        chattr(attribute, parent)
        before = flags(parent)
        run.same({"path": str(parent / "pg"), "nocow": True})
        assert nocow(parent / "pg")
        assert flags(parent) == before


@pytest.mark.parametrize("attribute", ["+c", "+m"])
def test_existing_compressed_directory_is_refused(run: Run, pool: pathlib.Path, attribute: str) -> None:
    path = pool / "pg"
    (path / "base").mkdir(parents=True)
    chattr(attribute, path / "base")
    for check in (True, False):
        got = run({"path": str(path), "nocow": True}, check=check, ok=False)
        assert "compression attribute" in got["msg"]
        assert "base" in got["msg"]
    assert not nocow(path)


@pytest.mark.parametrize("where", ["top", "directory", "file"])
def test_immutable_entries_are_named(run: Run, pool: pathlib.Path, where: str) -> None:
    path = pool / "pg"
    (path / "base").mkdir(parents=True)
    (path / "file").touch()
    victim = {"top": path, "directory": path / "base", "file": path / "file"}[where]
    chattr("+i", victim)
    for check in (True, False):
        assert "immutable" in run({"path": str(path), "nocow": True}, check=check, ok=False)["msg"]
    assert not nocow(path)


def test_readonly_mount_is_an_error_only_if_something_has_to_change(run: Run, disk, pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
    try:
        assert not run({"path": str(path), "nocow": False})["changed"]
        for want in ({"path": str(path), "nocow": True}, {"path": str(path / "new"), "nocow": True}):
            for check in (True, False):
                assert "read-only" in run(want, check=check, ok=False)["msg"]
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk.path)], check=True)


def test_symlinks(run: Run, pool: pathlib.Path) -> None:
    (pool / "real").mkdir()
    (pool / "link").symlink_to("real")
    got = run.same({"path": str(pool / "link" / "pg"), "nocow": True})
    assert nocow(pool / "real" / "pg")
    assert got.entry["real_path"] == str(pool / "real" / "pg")
    assert "symlink to real" in run({"path": str(pool / "link"), "nocow": True}, ok=False)["msg"]
    assert not nocow(pool / "real")
    (pool / "dangling").symlink_to("nowhere")
    assert "is a dangling symlink" in run({"path": str(pool / "dangling" / "pg"), "nocow": True}, ok=False)["msg"]
    # Inside a tree a symlink is neither followed nor opened.
    outside = pool / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(DATA)
    (pool / "real" / "pg" / "away").symlink_to(outside)
    (pool / "real" / "pg" / "away2").symlink_to(outside / "file")
    assert run({"path": str(pool / "real" / "pg"), "nocow": True}).entry["files"] == 0


def test_only_files_and_directories_are_opened(run: Run, pool: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pool / "pg"
    path.mkdir()
    (path / "file").touch()
    (path / "symlink").symlink_to("file")
    os.mkfifo(path / "fifo")
    os.mknod(path / "device", 0o600 | stat.S_IFBLK, os.makedev(7, 4242))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path / "s"))
    opened = Opened()
    with descriptor(path) as fd, monkeypatch.context() as patch:
        patch.setattr(os, "open", opened)
        found = _btrfs_audit.audit(fd, True)
    assert (found.files, found.dirs) == (1, 1)
    assert opened.kinds == {stat.S_IFREG, stat.S_IFDIR}
    assert run.same({"path": str(path), "nocow": True}).entry["files"] == 1


def test_a_file_that_becomes_something_else_is_not_judged(pool: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (pool / "file").touch()

    def swap(name: str, directory: int | None) -> None:
        if name == "file":
            os.unlink(name, dir_fd=directory)
            os.mkfifo(name, dir_fd=directory)

    with descriptor(pool) as fd, monkeypatch.context() as patch:
        patch.setattr(os, "open", Opened(swap))
        found = _btrfs_audit.audit(fd, True, fix=True)
    assert (found.files, found.dirs) == (0, 1)


def test_an_error_of_the_system_names_the_entry(run: Run, pool: pathlib.Path) -> None:
    path = pool / ("n" * 256)
    assert f"{path}: File name too long" in run({"path": str(path)}, ok=False)["msg"]
    deep = pool / "deep"
    deep.mkdir()
    descend = "import os\nfor _ in range(300):\n    os.mkdir('d')\n    os.chdir('d')\n"
    subprocess.run([sys.executable, "-c", descend], cwd=deep, check=True)
    few = ["prlimit", "--nofile=256:256"]
    assert f"{deep}: Too many open files" in run({"path": str(deep), "nocow": True}, within=few, ok=False)["msg"]


def test_not_a_directory(run: Run, pool: pathlib.Path) -> None:
    (pool / "file").touch()
    assert "not a directory" in run({"path": str(pool / "file")}, ok=False)["msg"]
    assert "not a directory" in run({"path": str(pool / "file" / "below")}, ok=False)["msg"]
    assert "root directory" in run({"path": "/"}, ok=False)["msg"]
    for bad in ("relative/path", "/nul\0byte", "~nobody-of-that-name"):
        assert "not an absolute path" in run({"path": bad}, ok=False)["msg"]


def test_names_that_are_not_text(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    with open(os.fsencode(path) + b"/new\nline\xff", "wb") as stream:
        stream.write(DATA)
    assert run({"path": str(path), "nocow": True}, ok=False).entry["offenders"] == ["new\\nline\\xff"]
    # Nor need the path itself be.
    odd = os.fsencode(pool) + b"/line\nend\xff"
    os.mkdir(odd)
    os.symlink(odd, pool / "odd")
    assert "a symlink to" in run({"path": str(pool / "odd"), "nocow": True}, ok=False)["msg"]
    got = run.same({"path": str(pool / "odd" / "pg"), "nocow": True})
    assert got.entry["real_path"].endswith("line\\nend\\xff/pg")
    assert nocow(odd + b"/pg")
    run.same({"path": f"{pool}/line\n/", "nocow": True, "subvolume": True})
    assert (pool / "line\n").stat().st_ino == 256


def test_mount_points_below_are_not_part_of_the_tree(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    (path / "a b").mkdir(parents=True)
    other = pool / "other"
    other.mkdir()
    (other / "file").write_bytes(DATA)
    subprocess.run(["mount", "--bind", str(other), str(path / "a b")], check=True)
    (path / "file").touch()
    subprocess.run(["mount", "--bind", str(other / "file"), str(path / "file")], check=True)
    try:
        got = run.same({"path": str(path), "nocow": True})
        assert sorted(got.entry["skipped"]) == ["a b", "file"]
        assert got.entry["files"] == 0
        assert not nocow(other)
        # Whatever is mounted after the mount points were read.
        with descriptor(path) as fd:
            assert _btrfs_audit.audit(fd, True, {"file"}).skipped == ["file", "a b"]
    finally:
        subprocess.run(["umount", str(path / "a b"), str(path / "file")], check=True)


def test_what_the_kernel_accepts_and_does_not_do_is_noticed(pool: pathlib.Path) -> None:
    (pool / "cow").write_bytes(DATA)
    (pool / "d").mkdir()
    chattr("+C", pool / "d")
    (pool / "d" / "nocow").write_bytes(DATA)
    for path, wanted in ((pool / "cow", True), (pool / "d" / "nocow", False)):
        with open(path, "rb") as stream, pytest.raises(_btrfs.BtrfsError, match="did nothing: it has data in it"):
            _btrfs.set_nocow(stream.fileno(), wanted, "it")


def test_symlink_swapped_in_during_the_walk_leads_nowhere(pool: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = pool / "outside"
    outside.mkdir()
    (outside / "empty").touch()
    (pool / "tree" / "sub").mkdir(parents=True)
    opened = _btrfs_walk.open_quiet

    def swap(name: str, how: int, directory: int) -> int:
        if name == "sub":
            os.rmdir("sub", dir_fd=directory)
            os.symlink(outside, "sub", dir_fd=directory)
        return opened(name, how, directory)

    monkeypatch.setattr(_btrfs_walk, "open_quiet", swap)
    with descriptor(pool / "tree") as fd:
        found = _btrfs_audit.audit(fd, True, fix=True)
    assert (found.dirs, found.files) == (1, 0)
    assert not nocow(outside)
    assert not nocow(outside / "empty")


# --------------------------------------------------------------------------------------------- other file systems


@pytest.mark.parametrize(("options", "wanted"), [("nodatacow", True), ("nodatasum", True), ("compress-force=zstd", True), ("compress=zstd", False)])
def test_mount_options(run: Run, tmp_path: pathlib.Path, options: str, wanted: bool) -> None:
    with image(tmp_path / "pool", options=options) as other:
        run.same({"path": str(other.path / "pg"), "nocow": wanted})
        (other.path / "pg" / "file").write_bytes(DATA)
        assert not run({"path": str(other.path / "pg"), "nocow": wanted})["changed"]
        assert nocow(other.path / "pg") == wanted


def test_nodatacow_mount_breaks_the_promise_of_a_library(run: Run, tmp_path: pathlib.Path) -> None:
    with image(tmp_path / "pool", options="nodatacow") as other:
        (other.path / "library").mkdir()
        (other.path / "library" / "photo").write_bytes(DATA)
        assert (nocow(other.path / "library"), nocow(other.path / "library" / "photo")) == (False, True)
        assert "are NOCOW" in run({"path": str(other.path / "library"), "nocow": False}, ok=False)["msg"]


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
@pytest.mark.parametrize("exists", [False, True])
def test_other_file_systems(run: Run, tmp_path: pathlib.Path, kind: str, exists: bool) -> None:
    base = tmp_path / "fs"
    base.mkdir()
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(base)], check=True)
    else:
        with open(tmp_path / "ext4.img", "wb") as stream:
            stream.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(tmp_path / "ext4.img")], check=True)
        subprocess.run(["mount", "-o", "loop", str(tmp_path / "ext4.img"), str(base)], check=True)
    try:
        path = base / "a" / "pg"
        if exists:
            path.mkdir(parents=True)
        want = {"path": str(path), "nocow": True, "mode": "0700"}
        for check in (True, False):
            assert f"on {kind}" in run(want, check=check, ok=False, unsupported="fail")["msg"]
            assert path.exists() == exists
        assert not run(want, check=True, unsupported="warn")["warnings"]
        assert "checksums" in run({**want, "nocow": False}, check=True)["warnings"][0]
        assert "plain directory" in run({**want, "subvolume": True}, check=True)["warnings"][0]
        assert not run({**want, "subvolume": True}, check=True, unsupported="ignore")["warnings"]
        got = run.same(want)
        assert (got.entry["fstype"], got.entry["supported"], got.entry["nocow_after"]) == (kind, False, None)
        assert mode(path) == 0o700
    finally:
        subprocess.run(["umount", str(base)], check=True)


def test_overlay_passes_the_flag_to_its_upper_layer_and_is_not_trusted(run: Run, pool: pathlib.Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (pool / name).mkdir()
    (pool / "lower" / "old").write_bytes(DATA)
    chattr("+C", pool / "upper")
    subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={pool}/lower,upperdir={pool}/upper,workdir={pool}/work", str(pool / "merged")], check=True
    )
    try:
        want = {"path": str(pool / "merged" / "pg"), "nocow": True}
        assert "on overlay" in run(want, ok=False, unsupported="fail")["msg"]
        assert "may copy on write" in run(want, check=True)["warnings"][0]
        assert run.same(want).entry["supported"] is False
        with open(pool / "merged" / "old", "ab") as stream:
            stream.write(DATA)
        (pool / "merged" / "new").write_bytes(DATA)
        assert (nocow(pool / "upper" / "new"), nocow(pool / "upper" / "old")) == (True, False)
    finally:
        subprocess.run(["umount", str(pool / "merged")], check=True)


# ------------------------------------------------------------------------------------------------ accounts and rights


def test_owner_mode_apply_to_the_listed_directory_only(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    (path / "base").mkdir(parents=True)
    (path / "file").touch()
    os.chmod(path / "file", 0o640)
    got = run.same({"path": str(path), "owner": "nobody", "group": "65534", "mode": "0700", "nocow": True})
    assert got["diff"][0]["after"]["owner"] == "nobody"
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (NOBODY, NOBODY, 0o700)
    assert ((path / "base").stat().st_uid, (path / "file").stat().st_uid, mode(path / "file")) == (0, 0, 0o640)


def test_missing_account_is_foretold_in_check_mode_and_an_error_for_real(run: Run, pool: pathlib.Path) -> None:
    want = {"path": str(pool / "a"), "nocow": True}
    for account in ({"owner": "not-there-yet"}, {"group": "not-there-yet"}):
        got = run({**want, **account}, check=True)
        assert got["changed"]
        assert "does not exist yet" in got["warnings"][0]
        assert "not-there-yet" in got["diff"][0]["after"].values()
        assert "create it first" in run({**want, **account}, ok=False)["msg"]
        assert not (pool / "a").exists()


def test_root_sees_through_a_container_database(run: Run, pool: pathlib.Path) -> None:
    """PostgreSQL's first start: its directory now belongs to a sub-id and is closed to everyone else."""
    path = pool / "pg"
    want = {"path": str(path), "nocow": True}
    run.same(want)
    (path / "base").mkdir()
    (path / "base" / "1").write_bytes(DATA)
    for entry in (path, path / "base", path / "base" / "1"):
        os.chown(entry, 100998, 100998)
        os.chmod(entry, 0o700)
    got = run(want)
    assert not got["changed"]
    assert got.entry["files"] == 1
    (pool / "outside").write_bytes(DATA)
    os.rename(pool / "outside", path / "base" / "2")
    assert run(want, ok=False).entry["offenders"] == ["base/2"]
    assert (path.stat().st_uid, mode(path)) == (100998, 0o700)


def test_the_owner_needs_no_privilege(run: Run, pool: pathlib.Path) -> None:
    os.chown(pool, 1234, 1234)
    got = run.same({"path": str(pool / "pg"), "nocow": True, "mode": "0700"}, {"path": str(pool / "sub"), "nocow": True, "subvolume": True}, uid=1234)
    assert got["changed"]
    assert nocow(pool / "pg")
    assert (pool / "sub").stat().st_ino == 256
    assert (pool / "sub").stat().st_uid == 1234


def test_a_plain_user_says_what_it_could_not_read(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    (path / "closed").mkdir(parents=True)
    (path / "closed" / "file").write_bytes(DATA)
    (path / "secret").touch()
    chattr("+C", path)
    os.chown(path, 1234, 1234)
    os.chmod(path / "closed", 0o700)
    os.chmod(path / "secret", 0o600)
    got = run({"path": str(path), "nocow": True}, uid=1234)
    assert got.entry["unreadable"] == 2
    assert "closed" in got["warnings"][0]
    assert "secret" in got["warnings"][0]
    os.chown(path, 100998, 100998)
    os.chmod(path, 0o700)
    assert "run as root" in run({"path": str(path), "nocow": True}, uid=1234, ok=False)["msg"]
    assert "run as root" in run({"path": str(path), "subvolume": True}, uid=1234, ok=False)["msg"]
    assert not run({"path": str(path)}, uid=1234)["changed"]


def test_a_stranger_gets_the_reason(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    os.chmod(path, 0o777)
    msg = run({"path": str(path), "nocow": True}, uid=1234, ok=False)["msg"]
    assert "belongs to uid 0" in msg
    assert "CAP_FOWNER" in msg
    assert "may not create" in run({"path": str(pool / "new"), "nocow": True}, uid=1234, ok=False)["msg"]


@pytest.mark.parametrize("becomes", [False, True])
def test_new_directory_is_closed_until_it_is_flagged_and_then_handed_over(pool: pathlib.Path, becomes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The label is a real attribute here, but no SELinux looks at it."""
    path = pool / "pg"
    seen: list[tuple[object, ...]] = []

    def state(what: str) -> None:
        info = path.stat()
        label = os.getxattr(path, "security.selinux").decode() if "security.selinux" in os.listxattr(path) else None
        seen.append((what, nocow(path), info.st_uid, stat.S_IMODE(info.st_mode), label))

    for module, name in ((_btrfs, "set_flags"), (os, "chown"), (os, "chmod"), (_btrfs_owner, "set_context")):

        def before(*arguments: object, call: t.Callable[..., object] = getattr(module, name), name: str = name, **options: object) -> object:
            state(name)
            return call(*arguments, **options)

        monkeypatch.setattr(module, name, before)
    monkeypatch.setattr(_btrfs_owner, "selinux_enabled", lambda: True)
    nobody = _btrfs_owner.owner("nobody")
    work = Directories([Want(str(path), nocow=True, subvolume=becomes, owner=nobody, mode=0o750, setype="container_file_t")], "fail", "fail")
    assert work.diff[0]["after"]["setype"] == "container_file_t"
    work.apply(Progress())
    state("end")
    assert seen == [
        ("set_flags", False, 0, 0o700, None),
        ("chown", True, 0, 0o700, None),
        ("chmod", True, NOBODY, 0o700, None),
        ("set_context", True, NOBODY, 0o750, None),
        ("end", True, NOBODY, 0o750, "system_u:object_r:container_file_t:s0\0"),
    ]


def test_type_of_the_context_is_replaced_and_the_rest_of_it_kept(pool: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_btrfs_owner, "selinux_enabled", lambda: True)
    want = Want(str(pool), setype="container_file_t")
    os.setxattr(pool, "security.selinux", b"unconfined_u:object_r:user_home_t:s0:c1,c2\0")
    work = Directories([want], "fail", "fail")
    assert (work.diff[0]["before"], work.diff[0]["after"]) == ({"setype": "user_home_t"}, {"setype": "container_file_t"})
    work.apply(Progress())
    assert os.getxattr(pool, "security.selinux") == b"unconfined_u:object_r:container_file_t:s0:c1,c2\0"
    assert not Directories([want], "fail", "fail").changed


@pytest.mark.parametrize("bad", [750, 488, "u=rwx", "0999", "7"])
def test_mode_has_to_be_quoted_octal(run: Run, pool: pathlib.Path, bad: object) -> None:
    assert "quoted octal" in run({"path": str(pool / "a"), "mode": bad}, ok=False)["msg"]
