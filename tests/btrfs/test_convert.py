# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""existing: convert on a real btrfs. Interruptions have a file of their own."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import typing as t

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_convert, _btrfs_copy
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_convert import Progress
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directories import Directories
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directory import Want
from ansible_collections.patriark.homelab.tests.btrfs.support import Opened, Run, chattr, flags, image, nocow, subvolume
from ansible_collections.patriark.homelab.tests.btrfs.trees import MARKERS, describe, grow, snapshot, traces, wrong


def convert(*wants: Want, progress: Progress | None = None) -> Directories:
    """The same as the module does, in this process."""
    work = Directories(wants, "convert", "fail")
    assert work.errors == []
    work.apply(progress or Progress())
    return work


@contextlib.contextmanager
def mounted(*arguments: str) -> t.Iterator[None]:
    subprocess.run(["mount", *arguments], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", arguments[-1]], check=True)


@pytest.fixture
def tree(pool: pathlib.Path) -> pathlib.Path:
    path = pool / "pg"
    path.mkdir()
    grow(path)
    return path


def blocks(path: pathlib.Path) -> int:
    return path.stat().st_blocks


# ------------------------------------------------------------------------------------------------------ what is kept


def test_whole_tree_is_copied_and_everything_is_kept(run: Run, tree: pathlib.Path) -> None:
    before, inode = describe(tree), tree.stat().st_ino
    got = run.same({"path": str(tree), "nocow": True}, existing="convert")
    assert got["changed"]
    assert got.entry["conversion"] == "copy"
    assert got.entry["conversion_bytes"] > 9 << 20
    assert "the whole tree is copied" in got["diff"][0]["after"]["conversion"]
    assert describe(tree) == before
    assert wrong(tree, True) == []
    assert tree.stat().st_ino != inode
    assert traces(tree) == []
    assert blocks(tree / "base" / "holes") < 100
    assert blocks(tree / "base" / "only_hole") == 0


def test_a_name_that_leaves_no_room_for_a_longer_one(run: Run, pool: pathlib.Path) -> None:
    paths = [pool / ("\u00e4" * 127 + end) for end in "ab"]
    for path in paths:
        path.mkdir()
        (path / "file").write_bytes(b"x" * 5000)
        got = run.same({"path": str(path), "nocow": True}, existing="convert")
        assert got.entry["conversion"] == "copy"
        assert wrong(path, True) == []
        assert traces(path) == []
    assert [(path / "file").read_bytes() for path in paths] == [b"x" * 5000] * 2
    for path in paths:
        (path / "file").unlink()
        run.same({"path": str(path), "subvolume": True})
    assert sorted(os.listdir(pool)) == sorted(path.name for path in paths)
    longest = "a" * (255 - len("..patriark-convert"))
    assert _btrfs_convert.sibling_name(longest) == f".{longest}.patriark-convert"
    siblings = {_btrfs_convert.sibling_name(name) for name in (longest, f"{longest}a", f"{longest}b")}
    assert len(siblings) == 3
    assert max(map(len, siblings)) == 255


def test_mount_point_is_converted_in_place(run: Run, tree: pathlib.Path) -> None:
    before, inode = describe(tree), tree.stat().st_ino
    with mounted("--bind", str(tree), str(tree)):
        got = run.same({"path": str(tree), "nocow": True}, existing="convert")
        assert got.entry["conversion"] == "in_place"
        assert "it is a mount point" in got["diff"][0]["after"]["conversion"]
        assert describe(tree) == before
    assert wrong(tree, True) == []
    assert tree.stat().st_ino == inode
    assert traces(tree) == []
    assert blocks(tree / "base" / "holes") < 100


def test_tree_that_is_mounted_elsewhere_too_is_converted_in_place(run: Run, tree: pathlib.Path) -> None:
    before = describe(tree)
    elsewhere = tree.parent / "elsewhere"
    elsewhere.mkdir()
    with mounted("--bind", str(tree), str(elsewhere)):
        got = run.same({"path": str(tree), "nocow": True}, existing="convert")
        assert got.entry["conversion"] == "in_place"
        assert describe(elsewhere) == before
        assert wrong(elsewhere, True) == []


@pytest.mark.parametrize("inside", [False, True])
def test_library_gets_its_checksums_back(run: Run, pool: pathlib.Path, inside: bool) -> None:
    path = pool / "library"
    path.mkdir()
    chattr("+C", path)
    grow(path)
    assert wrong(path, True) == []
    before = describe(path)
    with mounted("--bind", str(path), str(path)) if inside else contextlib.nullcontext():
        got = run.same({"path": str(path), "nocow": False}, existing="convert")
        assert got.entry["conversion"] == ("in_place" if inside else "copy")
        assert describe(path) == before
    assert wrong(path, False) == []


def test_nothing_wrong_nothing_done(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    (path / "empty").touch()
    got = run.same({"path": str(path), "nocow": True}, existing="convert")
    assert got["changed"]
    assert got.entry["conversion"] is None


def test_a_received_subvolume_has_lost_the_flag_and_gets_it_back(run: Run, pool: pathlib.Path) -> None:
    origin = pool / "origin"
    subvolume(origin)
    chattr("+C", origin)
    (origin / "relation").write_bytes(b"x" * 20000)
    assert nocow(origin / "relation")
    snapshot(origin, pool / "frozen", readonly=True)
    (pool / "in").mkdir()
    chattr("+C", pool / "in")
    sent = subprocess.run(["btrfs", "-q", "send", str(pool / "frozen")], check=True, capture_output=True).stdout
    subprocess.run(["btrfs", "-q", "receive", str(pool / "in")], input=sent, check=True, capture_output=True)
    received = pool / "in" / "frozen"
    assert wrong(received, True) == [".", "relation"]
    assert "read-only" in run({"path": str(received), "nocow": True}, existing="convert", ok=False)["msg"]
    subprocess.run(["btrfs", "-q", "property", "set", "-f", str(received), "ro", "false"], check=True)
    got = run.same({"path": str(received), "nocow": True}, existing="convert")
    assert got.entry["subvolume"]
    assert wrong(received, True) == []
    assert (received / "relation").read_bytes() == b"x" * 20000


def test_compression_of_files_is_dropped_for_nocow_and_kept_otherwise(run: Run, pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    (path / "c").touch()
    (path / "m").touch()
    chattr("+c", path / "c")
    chattr("+m", path / "m")
    (path / "c").write_bytes(b"x" * 100000)
    run.same({"path": str(path), "nocow": True}, existing="convert")
    assert wrong(path, True) == []
    assert (flags(path / "c") | flags(path / "m")) & _btrfs.COMPRESSION == 0
    other = pool / "plain"
    other.mkdir()
    (other / "c").touch()
    os.setxattr(other / "c", "btrfs.compression", b"zstd")
    os.setxattr(other, "btrfs.compression", b"zstd")
    before = describe(other)
    run.same({"path": str(other), "subvolume": True}, existing="convert")
    assert describe(other) == before
    assert before["c"]["attributes"] == {"btrfs.compression": b"zstd"}


def test_access_lists_of_the_directory_above_are_not_inherited(tree: pathlib.Path) -> None:
    before = describe(tree)
    os.setxattr(tree.parent, "system.posix_acl_default", os.getxattr(tree / "base" / "16384" / "deep", "system.posix_acl_default"))
    convert(Want(str(tree), nocow=True))
    assert describe(tree) == before


# ------------------------------------------------------------------------------------------------------- subvolumes


@pytest.mark.parametrize("wanted", [None, True])
def test_plain_directory_becomes_a_subvolume(run: Run, tree: pathlib.Path, wanted: bool | None) -> None:
    chattr("+C", tree / "empty_dir")
    before = describe(tree)
    states = wrong(tree, True)
    got = run.same({"path": str(tree), "subvolume": True, **({} if wanted is None else {"nocow": wanted})}, existing="convert")
    assert got.entry["subvolume"]
    assert tree.stat().st_ino == 256
    assert describe(tree) == before
    assert wrong(tree, True) == ([] if wanted else states)
    assert traces(tree) == []


def test_subvolume_stays_a_subvolume(run: Run, pool: pathlib.Path) -> None:
    subvolume(pool / "pg")
    grow(pool / "pg")
    before, number = describe(pool / "pg"), _number(pool / "pg")
    got = run.same({"path": str(pool / "pg"), "nocow": True}, existing="convert")
    assert (got.entry["conversion"], got.entry["subvolume"]) == ("copy", True)
    assert describe(pool / "pg") == before
    assert _number(pool / "pg") != number


def _number(path: pathlib.Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    try:
        return _btrfs.subvolume_id(fd)
    finally:
        os.close(fd)


def test_nested_subvolumes_are_kept_by_converting_in_place(run: Run, tree: pathlib.Path) -> None:
    subvolume(tree / "nested")
    (tree / "nested" / "file").write_bytes(b"x" * 5000)
    snapshot(tree / "nested", tree / "frozen", readonly=True)
    before, number = describe(tree), _number(tree / "nested")
    got = run.same({"path": str(tree), "nocow": True}, existing="convert")
    assert got.entry["conversion"] == "in_place"
    assert describe(tree) == before
    assert _number(tree / "nested") == number
    assert wrong(tree, True) == ["frozen", "frozen/file"]


def test_new_subvolume_would_lose_nested_ones_and_is_refused(run: Run, tree: pathlib.Path) -> None:
    subvolume(tree / "nested")
    for check in (True, False):
        got = run({"path": str(tree), "subvolume": True}, existing="convert", check=check, ok=False)
        assert "inside, which a new subvolume would not have: nested" in got["msg"]
    with mounted("--bind", str(tree), str(tree)):
        os.rmdir(tree / "nested")
        assert "mount point" in run({"path": str(tree), "subvolume": True}, existing="convert", ok=False)["msg"]


def test_entries_of_their_own_are_left_alone(run: Run, tree: pathlib.Path) -> None:
    (tree / "photos").mkdir()
    (tree / "photos" / "one").write_bytes(b"x" * 5000)
    inode = (tree / "photos" / "one").stat().st_ino
    got = run.same({"path": str(tree), "nocow": True}, {"path": str(tree / "photos"), "nocow": False}, existing="convert")
    assert got["directories"][0]["conversion"] == "in_place"
    assert wrong(tree, True) == ["photos", "photos/one"]
    assert (tree / "photos" / "one").stat().st_ino == inode


def test_immutable_file_that_is_right_already(run: Run, tree: pathlib.Path) -> None:
    os.mkdir(tree / "d")
    chattr("+C", tree / "d")
    (tree / "d" / "right").write_bytes(b"x")
    chattr("+i", tree / "d" / "right")
    got = run.same({"path": str(tree), "nocow": True}, existing="convert")
    assert got.entry["conversion"] == "in_place"
    chattr("+i", tree / "base" / "large")
    assert not run({"path": str(tree), "nocow": True}, existing="convert")["changed"]
    chattr("-i", tree / "base" / "large", tree / "d" / "right")
    shutil.copy(tree / "base" / "large", tree.parent / "wrong")
    os.rename(tree.parent / "wrong", tree / "base" / "wrong")
    chattr("+i", tree / "base" / "wrong")
    assert "immutable" in run({"path": str(tree), "nocow": True}, existing="convert", ok=False)["msg"]


@pytest.mark.parametrize("change", ["+i", "+a"])
def test_files_cannot_be_replaced_in_a_frozen_directory(run: Run, pool: pathlib.Path, change: str) -> None:
    path = pool / "pg"
    (path / "held").mkdir(parents=True)
    (path / "held" / "data").write_bytes(b"x" * 5000)
    (path / "held" / "empty").touch()
    chattr("+C", path, path / "held")
    chattr(change, path / "held")
    for check in (True, False):
        msg = run({"path": str(path), "nocow": True}, existing="convert", check=check, ok=False)["msg"]
        assert msg.endswith("cannot be replaced (chattr -i -a): held/data")
    assert wrong(path, True) == ["held/data", "held/empty"]
    assert traces(path) == []


@pytest.mark.parametrize("what", ["+i", "+a", "not ours", "closed"])
def test_where_the_directory_above_cannot_be_changed_it_is_done_in_place(run: Run, pool: pathlib.Path, what: str) -> None:
    path = pool / "above" / "pg"
    path.mkdir(parents=True)
    (path / "file").write_bytes(b"x" * 5000)
    before = describe(path)
    uid = 0
    if what.startswith("+"):
        chattr(what, path.parent)
    else:
        uid = 1234
        os.chown(path, uid, uid)
        os.chown(path / "file", uid, uid)
        os.chmod(path.parent, 0o711 if what == "closed" else 0o755)
        before = describe(path)
    for check in (True, False):
        msg = run({"path": str(path), "nocow": True, "subvolume": True}, existing="convert", check=check, uid=uid, ok=False)["msg"]
        assert f"the directory above it cannot be changed as uid {uid}, so it cannot be replaced by a subvolume" in msg
    got = run.same({"path": str(path), "nocow": True}, existing="convert", uid=uid)
    assert got.entry["conversion"] == "in_place"
    assert describe(path) == before
    assert wrong(path, True) == []
    assert traces(path) == []


def test_a_mounted_file_is_left_alone(run: Run, tree: pathlib.Path) -> None:
    outside = tree.parent / "outside"
    outside.write_bytes(b"x" * 5000)
    with mounted("--bind", str(outside), str(tree / "inline")):
        got = run.same({"path": str(tree), "nocow": True}, existing="convert")
        assert got.entry["conversion"] == "in_place"
        assert got.entry["skipped"] == ["inline"]
    assert wrong(tree, True) == ["inline"]
    assert not nocow(outside)


# ---------------------------------------------------------------------------------------------------- what refuses it


_HOLDER = """
import ctypes, os, sys, time
what, path = sys.argv[1:]
if what == "open":
    handle = open(path + "/base/large", "rb")
elif what == "directory":
    handle = os.open(path + "/base", os.O_RDONLY)
elif what == "mapped":
    # The module mmap would keep the file open as well.
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    fd = os.open(path + "/base/large", os.O_RDONLY)
    assert libc.mmap(None, ctypes.c_size_t(4096), 1, 1, fd, ctypes.c_long(0)) not in (None, 2**64 - 1)
    os.close(fd)
elif what == "cwd":
    os.chdir(path + "/base")
elif what == "root":
    os.chdir("/")
    os.chroot(path + "/base")
print("ready", flush=True)
if what == "exe":
    os.execv(path + "/base/program", ["program", "-c", "kill -STOP $$"])
time.sleep(600)
"""


@contextlib.contextmanager
def holder(*command: str) -> t.Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    "what, text",
    [
        ("open", "has open base/large"),
        ("directory", "has open base"),
        ("mapped", "has mapped base/large"),
        ("cwd", "works in base"),
        ("root", "is rooted in base"),
        ("exe", "runs base/program"),
    ],
)
def test_in_use(run: Run, tree: pathlib.Path, what: str, text: str) -> None:
    shutil.copy("/bin/sh", tree / "base" / "program")
    with holder(sys.executable, "-c", _HOLDER, what, str(tree)) as process:
        for check in (True, False):
            got = run({"path": str(tree), "nocow": True}, existing="convert", check=check, ok=False)
            assert f"(pid {process.pid}" in got["msg"]
            assert text in got["msg"]
            assert what != "mapped" or "has open" not in got["msg"]
        assert traces(tree) == []
        assert "base/large" in wrong(tree, True)


def test_mounted_by_a_container(run: Run, tree: pathlib.Path) -> None:
    script = f"mount --bind {tree} /mnt && cd / && echo ready && exec sleep 600"
    with holder("unshare", "--mount", "--propagation", "private", "sh", "-c", script) as process:
        for wants in ({"nocow": True}, {"nocow": True, "subvolume": True}):
            got = run({"path": str(tree), **wants}, existing="convert", ok=False)
            assert f"sleep (pid {process.pid}" in got["msg"]
            assert "has it mounted on /mnt" in got["msg"]
        empty = tree / "empty_dir"
        assert "mounted on" not in run({"path": str(empty), "subvolume": True}, check=True)["directories"][0].get("msg", "")


def test_empty_directory_mounted_by_a_container_is_not_replaced(run: Run, pool: pathlib.Path) -> None:
    path = pool / "empty"
    path.mkdir()
    with holder("unshare", "--mount", "--propagation", "private", "sh", "-c", f"mount --bind {path} /mnt && cd / && echo ready && exec sleep 600"):
        assert "has it mounted on /mnt" in run({"path": str(path), "subvolume": True}, ok=False)["msg"]


def test_loop_device_and_swap_file(run: Run, tree: pathlib.Path) -> None:
    with open(tree / "disk", "wb") as stream:
        stream.truncate(1 << 20)
    device = subprocess.run(["losetup", "--find", "--show", str(tree / "disk")], check=True, capture_output=True, text=True).stdout.strip()
    try:
        assert f"{device} stands on disk" in run({"path": str(tree), "nocow": True}, existing="convert", ok=False)["msg"]
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    swap = tree / "swap"
    swap.touch()
    chattr("+C", swap)
    os.chmod(swap, 0o600)
    swap.write_bytes(bytes(4 << 20))
    subprocess.run(["mkswap", str(swap)], check=True, capture_output=True)
    subprocess.run(["swapon", str(swap)], check=True)
    try:
        assert "the kernel swaps to swap" in run({"path": str(tree), "nocow": True}, existing="convert", ok=False)["msg"]
    finally:
        subprocess.run(["swapoff", str(swap)], check=True)


def test_links_from_outside_would_be_cut(run: Run, tree: pathlib.Path) -> None:
    os.link(tree / "inline", tree.parent / "outside")
    got = run({"path": str(tree), "nocow": True}, existing="convert", ok=False)
    assert "hard links outside" in got["msg"]
    assert "inline" in got["msg"]


def test_foreign_sibling_is_never_touched(run: Run, tree: pathlib.Path) -> None:
    sibling = tree.parent / ".pg.patriark-convert"
    sibling.mkdir()
    (sibling / "precious").write_bytes(b"x")
    for check in (True, False):
        assert "was not made by an interrupted conversion" in run({"path": str(tree), "nocow": True}, existing="convert", check=check, ok=False)["msg"]
    # A marker that names another directory is none of ours either, nor is one that the owner of the tree could have written.
    forged = json.dumps({"state": "copying", "source": [_number(tree), tree.stat().st_ino]})
    os.setxattr(sibling, "user.patriark.homelab.convert", forged.encode())
    assert "was not made" in run({"path": str(tree), "nocow": True}, existing="convert", ok=False)["msg"]
    os.setxattr(sibling, "trusted.patriark.homelab.convert", b'{"state": "copying", "source": [5, 1]}')
    assert "was not made" in run({"path": str(tree), "nocow": True}, existing="convert", ok=False)["msg"]
    assert (sibling / "precious").read_bytes() == b"x"
    # Nor does it matter when there is nothing to convert.
    assert not run({"path": str(tree), "nocow": False}, existing="convert")["changed"]


def test_space_decides_the_method_and_refuses(run: Run, tmp_path: pathlib.Path) -> None:
    with image(tmp_path / "pool", megabytes=512) as disk:
        path = disk.path / "pg"
        path.mkdir()
        for index in range(20):
            (path / f"relation.{index}").write_bytes(os.urandom(1 << 20) * 12)
        os.sync()
        # What is copied before the first old file goes has to be less than what is free, too.
        room = os.statvfs(path)
        assert 140 << 20 < room.f_bavail * room.f_frsize < 240 << 20
        got = run.same({"path": str(path), "nocow": True}, existing="convert")
        assert got.entry["conversion"] == "in_place"
        assert "does not fit" in got["diff"][0]["after"]["conversion"]
        assert wrong(path, True) == []
        assert traces(path) == []
        (disk.path / "one").mkdir()
        (disk.path / "one" / "large").write_bytes(os.urandom(1 << 20) * 120)
        os.sync()
        msg = run({"path": str(disk.path / "one"), "nocow": True}, existing="convert", ok=False)["msg"]
        assert "MiB of free space are needed" in msg


@pytest.mark.parametrize("inside", [False, True])
def test_quota_in_the_middle_leaves_the_tree_alone(run: Run, tmp_path: pathlib.Path, inside: bool) -> None:
    with image(tmp_path / "pool") as disk:
        subprocess.run(["btrfs", "quota", "enable", str(disk.path)], check=True)
        subvolume(disk.path / "sub")
        path = disk.path / "sub" / "pg"
        path.mkdir()
        grow(path)
        os.sync()
        subprocess.run(["btrfs", "qgroup", "limit", "14M", str(disk.path / "sub")], check=True, capture_output=True)
        before, content = describe(path), describe(path, halfway=True)
        with mounted("--bind", str(path), str(path)) if inside else contextlib.nullcontext():
            got = run({"path": str(path), "nocow": True}, existing="convert", ok=False)
            assert "Disk quota exceeded" in got["msg"]
            assert describe(path, halfway=True) == content
            # No copies that fill the disk; in place the traces tell that it is not done.
            assert [name for name in traces(path) if not name.endswith(MARKERS)] == []
            if not inside:
                assert describe(path) == before
                assert traces(path) == []
            subprocess.run(["btrfs", "qgroup", "limit", "none", str(disk.path / "sub")], check=True, capture_output=True)
            run.same({"path": str(path), "nocow": True}, existing="convert")
            assert describe(path) == before
        assert wrong(path, True) == []
        assert traces(path) == []


def test_plain_owner_may_convert_and_foreign_files_are_named(run: Run, pool: pathlib.Path) -> None:
    os.chown(pool, 1234, 1234)
    path = pool / "pg"
    path.mkdir()
    (path / "closed").mkdir()
    (path / "closed" / "file").write_bytes(b"x" * 5000)
    for entry in (path, path / "closed", path / "closed" / "file"):
        os.chown(entry, 1234, 1234)
    os.chmod(path / "closed", 0o500)
    before = describe(path)
    got = run({"path": str(path), "nocow": True}, existing="convert", uid=1234)
    assert got.entry["conversion"] == "copy"
    assert "processes could not be looked into" in got["warnings"][0]
    assert describe(path) == before
    assert wrong(path, True) == []
    assert traces(path) == []
    (pool / "outside").write_bytes(b"x")
    os.rename(pool / "outside", path / "foreign")
    got = run({"path": str(path), "nocow": True}, existing="convert", uid=1234, ok=False)
    assert "belong to other accounts: run as root. They are: foreign" in got["msg"]


@pytest.mark.parametrize("inside", [False, True])
def test_root_of_a_user_namespace(run: Run, pool: pathlib.Path, inside: bool) -> None:
    path = pool / "pg"
    (path / "base").mkdir(parents=True)
    (path / "base" / "1").write_bytes(b"x" * 5000)
    before = describe(path)
    with mounted("--bind", str(path), str(path)) if inside else contextlib.nullcontext():
        got = run({"path": str(path), "nocow": True}, existing="convert", within=["unshare", "--user", "--map-root-user"])
    assert got.entry["conversion"] == ("in_place" if inside else "copy")
    assert describe(path) == before
    assert wrong(path, True) == []
    assert traces(path) == []


# ------------------------------------------------------------------------------------- changes while it is converted


class At(Progress):
    """Does something at a step."""

    def __init__(self, name: str, action: t.Callable[[], object]) -> None:
        self.name = name
        self.action = action

    def step(self, name: str) -> None:
        if name == self.name:
            self.name = ""
            try:
                self.action()
            except OSError as error:
                # It would pass for an error of the conversion.
                raise AssertionError from error


@pytest.mark.parametrize("change", ["write", "append", "create", "delete", "chmod", "open", "mapped"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_change_in_the_middle_gives_up_and_keeps_the_tree(tree: pathlib.Path, change: str, inside: bool) -> None:
    held: list[t.Any] = []
    large = tree / "base" / "large"

    def act() -> None:
        if change == "write":
            info = large.stat()
            with open(large, "r+b") as stream:
                stream.write(b"changed")
            os.utime(large, ns=(info.st_atime_ns, info.st_mtime_ns))
        elif change == "append":
            with open(large, "ab") as stream:
                stream.write(b"changed")
        elif change == "create":
            new = tree / "base" / "new"
            new.touch()
            chattr("-C", new)
            new.write_bytes(b"new")
        elif change == "delete":
            large.unlink()
        elif change == "chmod":
            large.chmod(0o604)
        elif change == "open":
            held.append(os.open(large, os.O_RDONLY))
        else:
            fd = os.open(large, os.O_RDONLY)
            held.append(mmap.mmap(fd, 4096, prot=mmap.PROT_READ))
            os.close(fd)

    with mounted("--bind", str(tree), str(tree)) if inside else contextlib.nullcontext():
        try:
            with pytest.raises(_btrfs.BtrfsError, match="given up"):
                convert(Want(str(tree), nocow=True), progress=At("batch synced" if inside else "synced", act))
        finally:
            for item in held:
                os.close(item) if isinstance(item, int) else item.close()
        after = describe(tree, halfway=True)
        assert wrong(tree, True)
        convert(Want(str(tree), nocow=True))
        assert describe(tree, halfway=True) == after
    assert wrong(tree, True) == []
    assert traces(tree) == []


@pytest.mark.parametrize("how", ["cwd", "container", "bind"])
def test_somebody_who_comes_while_it_is_copied_keeps_the_tree(tree: pathlib.Path, how: str) -> None:
    """No lease on a file shows these two."""
    before = describe(tree)
    container = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"mount --bind {tree} /mnt && cd / && echo ready && exec sleep 600"]
    command = container if how == "container" else [sys.executable, "-c", _HOLDER, how, str(tree)]
    with contextlib.ExitStack() as stack:

        def come() -> None:
            if how == "bind":
                (tree.parent / "elsewhere").mkdir()
                stack.enter_context(mounted("--bind", str(tree), str(tree.parent / "elsewhere")))
            else:
                stack.enter_context(holder(*command))

        with pytest.raises(_btrfs.BtrfsError, match=r"somebody started to use it: .*(works in|has it mounted on /mnt|it is mounted elsewhere too)"):
            convert(Want(str(tree), nocow=True), progress=At("synced", come))
    assert describe(tree) == before
    assert traces(tree) == []


@pytest.mark.parametrize("step", ["sibling", "copied", "compared", "exchanged"])
def test_what_is_mounted_inside_meanwhile_is_neither_copied_nor_removed(tree: pathlib.Path, step: str) -> None:
    """A directory of the same subvolume: its device number gives nothing away."""
    before = describe(tree)
    other = tree.parent / "precious"
    other.mkdir()
    (other / "photo").write_bytes(b"only here")
    with contextlib.ExitStack() as stack:

        def mount() -> None:
            place = tree if step != "exchanged" else tree.parent / ".pg.patriark-convert"
            stack.enter_context(mounted("--bind", str(other), str(place / "empty_dir")))

        with pytest.raises(_btrfs.BtrfsError, match=r"given up: .*(became a mount point|something is mounted on empty_dir|is a mount point .* not removed)"):
            convert(Want(str(tree), nocow=True), progress=At(step, mount))
        assert (other / "photo").read_bytes() == b"only here"
    assert describe(tree) == before
    convert(Want(str(tree), nocow=True))
    assert describe(tree) == before
    assert wrong(tree, True) == []
    assert traces(tree) == []
    assert (other / "photo").read_bytes() == b"only here"


def test_a_copy_that_is_not_what_it_has_to_be_is_never_used(tree: pathlib.Path) -> None:
    before = describe(tree)
    copy = tree.parent / ".pg.patriark-convert"
    inline, acl = copy / "inline", copy / "base" / "16384" / "deep" / "acl"
    damages: dict[str, t.Callable[[], object]] = {
        "came or went in [.]": (copy / "extra").touch,
        "entries came or went": inline.unlink,
        "st_mode": lambda: inline.chmod(0o777),
        "st_uid": lambda: os.chown(inline, 7, -1),
        "st_gid": lambda: os.chown(inline, -1, 7),
        "st_rdev": lambda: _renumbered(copy / "null"),
        "st_mtime_ns": lambda: os.utime(inline),
        "st_size": lambda: _resized(inline),
        "extended attributes": lambda: os.removexattr(acl, "user.note"),
        "wrong NOCOW state": lambda: chattr("-C", copy / "base"),
        "st_nlink": lambda: os.link(inline, tree.parent / "more"),
        "lost a hard link": lambda: _parted(copy / "hard", copy / "base" / "16384" / "deep" / "third", tree.parent),
        "points elsewhere": lambda: _retargeted(copy / "symlink"),
        "inode flags": lambda: chattr("-d", copy / "base" / "16384" / "deep" / "caps"),
        "symlink differs in its extended": lambda: os.removexattr(copy / "symlink", "trusted.note", follow_symlinks=False),
    }
    for text, damage in damages.items():

        def quietly(damage: t.Callable[[], object] = damage) -> None:
            """So that no time of the directory gives it away."""
            info = copy.stat()
            damage()
            os.utime(copy, ns=(info.st_atime_ns, info.st_mtime_ns))

        with pytest.raises(_btrfs.BtrfsError, match=f"given up: .*({text})"):
            convert(Want(str(tree), nocow=True), progress=At("synced", quietly))
        assert describe(tree) == before
        assert traces(tree) == []


def _resized(path: pathlib.Path) -> None:
    info = path.stat()
    os.truncate(path, 2)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _renumbered(path: pathlib.Path) -> None:
    info = path.lstat()
    path.unlink()
    os.mknod(path, info.st_mode, os.makedev(1, 5))
    os.chown(path, info.st_uid, info.st_gid)
    os.chmod(path, stat.S_IMODE(info.st_mode))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _parted(path: pathlib.Path, other: pathlib.Path, outside: pathlib.Path) -> None:
    """Two files where there was one, alike in everything and with as many names as before."""
    path.unlink()
    shutil.copy2(other, path)
    os.chown(path, 100998, 100998)
    os.link(path, outside / "1")
    os.link(path, outside / "2")
    os.link(other, outside / "3")


def _retargeted(path: pathlib.Path) -> None:
    info = path.lstat()
    path.unlink()
    path.symlink_to("nowhere/at_all")
    os.lchown(path, info.st_uid, info.st_gid)
    os.setxattr(path, "trusted.note", b"on a symlink", follow_symlinks=False)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def test_kernels_without_copy_file_range(tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: t.Any) -> int:
        raise OSError(18, "EXDEV")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    before = describe(tree)
    convert(Want(str(tree), nocow=True))
    assert describe(tree) == before
    assert wrong(tree, True) == []
    assert blocks(tree / "base" / "holes") < 100


@pytest.mark.parametrize("inside", [False, True])
def test_special_files_are_never_opened(tree: pathlib.Path, inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = describe(tree)
    opened = Opened()
    with mounted("--bind", str(tree), str(tree)) if inside else contextlib.nullcontext():
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", opened)
            convert(Want(str(tree), nocow=True))
        assert describe(tree) == before
    assert opened.kinds == {stat.S_IFREG, stat.S_IFDIR}


def test_a_file_that_becomes_something_else_gives_the_copy_up(tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(name: str, directory: int | None) -> None:
        if name == "inline":
            os.unlink(name, dir_fd=directory)
            os.mkfifo(name, dir_fd=directory)

    work = Directories([Want(str(tree), nocow=True)], "convert", "fail")
    monkeypatch.setattr(os, "open", Opened(swap))
    with pytest.raises(_btrfs.BtrfsError, match="inline became something else"):
        work.apply(Progress())
    assert traces(tree) == []


def test_batches(tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = describe(tree)
    monkeypatch.setattr(_btrfs_convert, "BATCH_FILES", 3)
    synced = []
    monkeypatch.setattr(_btrfs_convert, "choose", lambda *arguments: ("in_place", "test"))
    convert(Want(str(tree), nocow=True), progress=At("x", lambda: None))
    assert describe(tree) == before
    assert wrong(tree, True) == []
    wanted = {(1, number): [str(number)] for number in range(7)}
    sizes = dict.fromkeys(wanted, 1)
    synced = [len(batch) for batch in _btrfs_convert._batches(wanted, sizes)]
    assert synced == [3, 3, 1]
    sizes[1, 2] = _btrfs_convert.BATCH
    assert [len(batch) for batch in _btrfs_convert._batches(wanted, sizes)] == [2, 1, 3, 1]
    assert list(_btrfs_convert._batches({}, {})) == []


def test_two_conversions_wait_for_each_other(tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_btrfs_convert, "LOCK_DEADLINE", 0.0)
    other = Directories([Want(str(tree), nocow=True)], "convert", "fail")

    def second() -> None:
        with pytest.raises(_btrfs.BtrfsError, match="another conversion"):
            other.apply(Progress())

    convert(Want(str(tree), nocow=True), progress=At("copied", second))
    assert wrong(tree, True) == []


def test_content_is_copied_once(tree: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What progress counts is what the survey announced, holes and second names of a file left out."""
    done = []

    class Count(Progress):
        def copied(self, count: int) -> None:
            done.append(count)

    work = convert(Want(str(tree), nocow=True), progress=Count())
    plan = work.plans[0]
    assert 0.9 * plan.amount < sum(done) < 1.1 * plan.amount
    assert max(done) <= _btrfs_copy.CHUNK
