# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A conversion killed before each call that changes anything, and cut off from power at each step."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import signal
import subprocess
import typing as t

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_busy, _btrfs_convert
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_convert import Progress
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directories import Directories
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directory import Want
from ansible_collections.patriark.homelab.tests.btrfs.support import Image, chattr, image, subvolume
from ansible_collections.patriark.homelab.tests.btrfs.trees import MARKERS, describe, grow, snapshot, traces, wrong

# Everything the conversion changes a file system with.
_CALLS = [
    *((os, name) for name in ("mkdir", "rename", "link", "unlink", "rmdir", "symlink", "mknod", "setxattr", "removexattr", "utime", "replace")),
    *((os, name) for name in ("chown", "fchown", "chmod", "fchmod", "ftruncate", "copy_file_range", "fsync")),
    *((_btrfs, name) for name in ("set_flags", "create_subvolume", "delete_subvolume", "rename_exchange", "syncfs")),
]


def apply(want: Want, progress: Progress | None = None) -> None:
    work = Directories([want], "convert", "fail")
    if work.errors:
        raise _btrfs.BtrfsError("\n".join(work.errors))
    work.apply(progress or Progress())


def die_before_call(number: int, want: Want) -> str | None:
    """Convert in a child that is killed before its call of that number. Returns what it was about to do, None when it got through."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            left = number

            def counted(module: t.Any, name: str) -> t.Callable[..., t.Any]:
                call = getattr(module, name)

                def wrapper(*arguments: t.Any, **options: t.Any) -> t.Any:
                    nonlocal left
                    left -= 1
                    if left < 0:
                        os.write(write, f"{name} {arguments!r:.200}".encode(errors="replace"))
                        os.kill(os.getpid(), signal.SIGKILL)
                    return call(*arguments, **options)

                return wrapper

            for module, name in _CALLS:
                setattr(module, name, counted(module, name))
            apply(want)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        said = stream.read().decode(errors="replace")
    _child, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return said
    assert os.waitstatus_to_exitcode(status) == 0
    return None


@contextlib.contextmanager
def bound(path: pathlib.Path, wanted: bool) -> t.Iterator[None]:
    """Make the tree a mount point, which is converted in place."""
    if wanted:
        subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
    try:
        yield
    finally:
        if wanted:
            subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize(
    "kind, wanted, becomes",
    [
        ("directory", True, False),
        ("directory", False, False),
        ("subvolume", True, False),
        ("directory", True, True),
        ("mount", True, False),
        ("mount", False, False),
    ],
)
def test_killed_before_each_change(pool: pathlib.Path, kind: str, wanted: bool, becomes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_btrfs_convert, "BATCH_FILES", 4)
    # Looking through all processes of the machine is most of the time, changes nothing and is tested elsewhere.
    monkeypatch.setattr(_btrfs_busy, "users", lambda real, inodes: _btrfs_busy.Users())
    # Each tree is a snapshot of one, or stands in a snapshot.
    origin = pool / "origin"
    subvolume(origin)
    tree = origin if kind == "subvolume" else origin / "pg"
    tree.mkdir(exist_ok=True)
    if not wanted:
        chattr("+C", tree)
    grow(tree, small=True)
    before, content = describe(tree), describe(tree, halfway=True)
    killed = []
    number = 0
    while True:
        base = pool / str(number)
        path = base / "pg"
        if kind == "subvolume":
            base.mkdir()
        snapshot(origin, path if kind == "subvolume" else base)
        want = Want(str(path), nocow=wanted, subvolume=becomes)
        with bound(path, kind == "mount"):
            doing = die_before_call(number, want)
            if doing is None:
                break
            killed.append(doing)
            assert describe(path, halfway=True) == content, doing
            # A second kill a little later, on the way of taking it up.
            die_before_call(number % 7, want)
            assert describe(path, halfway=True) == content, doing
            apply(want)
            assert describe(path) == before, doing
            assert wrong(path, wanted) == [], doing
            assert traces(path) == [], doing
            assert sorted(os.listdir(base)) == ["pg"], doing
        assert path.stat().st_ino == 256 or not becomes
        subprocess.run(["rm", "-rf", str(base)], check=True)
        number += 1
    said = {doing.split()[0] for doing in killed}
    assert {"setxattr", "removexattr", "utime", "syncfs", "fsync", "unlink", "copy_file_range"} <= said
    assert ("link" if kind == "mount" else "rename_exchange") in said
    assert ("rename" in said) == (kind == "mount")


class Dies(Progress):
    def __init__(self, at: str) -> None:
        self.at = at

    def step(self, name: str) -> None:
        if name == self.at:
            raise KeyboardInterrupt


def interrupted(path: pathlib.Path, step: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        apply(Want(str(path), nocow=True), Dies(step))


def test_written_between_the_kill_and_the_next_run(pool: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names of one file were parted by the kill; what is written through either of them afterwards must survive."""
    path = pool / "pg"
    path.mkdir()
    for name in ("one", "two", "three"):
        os.link(path / "one", path / name) if name != "one" else (path / name).write_bytes(b"first")
    with bound(path, True):
        interrupted(path, "link moved")
        parted = {name: (path / name).stat().st_ino for name in ("one", "two", "three")}
        assert len(set(parted.values())) == 2
        old = max(parted, key=lambda name: list(parted.values()).count(parted[name]))
        (path / old).write_bytes(b"written afterwards")
        content = {name: (path / name).read_bytes() for name in parted}
        apply(Want(str(path), nocow=True))
        assert {name: (path / name).read_bytes() for name in parted} == content
        assert wrong(path, True) == []
        assert traces(path) == []


def test_an_error_between_two_names_of_a_file_leaves_what_brings_them_together_again(pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    for name in ("one", "two", "three"):
        os.link(path / "one", path / name) if name != "one" else (path / name).write_bytes(b"first")
    before = describe(path)

    class Fails(Progress):
        def step(self, name: str) -> None:
            if name == "link moved":
                raise OSError(errno.EIO, "Input/output error")

    with bound(path, True):
        with pytest.raises(_btrfs.BtrfsError, match="given up: Input/output error"):
            apply(Want(str(path), nocow=True), Fails())
        assert len({(path / name).stat().st_ino for name in ("one", "two", "three")}) == 2
        apply(Want(str(path), nocow=True))
        assert describe(path) == before
        assert wrong(path, True) == []
        assert traces(path) == []


@pytest.mark.parametrize("kind", ["directory", "subvolume"])
def test_without_nocow_an_interrupted_conversion_in_place_is_not_taken_up(pool: pathlib.Path, kind: str) -> None:
    """It would not be known towards which state."""
    path = pool / "pg"
    subvolume(path) if kind == "subvolume" else path.mkdir()
    grow(path, small=True)
    before = describe(path)
    with bound(path, True):
        interrupted(path, "batch synced")
    states = wrong(path, True)
    want = Want(str(path), subvolume=True)
    if kind == "subvolume":
        work = Directories([want], "convert", "fail")
        assert not work.changed
        assert "was interrupted and left things behind" in work.warnings[0]
        work.apply(Progress())
    else:
        with pytest.raises(_btrfs.BtrfsError, match="has to be finished before it can become a subvolume"):
            apply(want)
    assert wrong(path, True) == states
    apply(Want(str(path), nocow=True))
    apply(want)
    assert path.stat().st_ino == 256
    assert describe(path) == before
    assert wrong(path, True) == []
    assert traces(path) == []


def test_what_another_account_began_in_place_is_its_to_finish(pool: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its marker is one that root does not trust, and names of one file may be parted."""
    path = pool / "pg"
    path.mkdir()
    (path / "one").write_bytes(b"first")
    os.link(path / "one", path / "two")
    before = describe(path)
    with bound(path, True):
        with monkeypatch.context() as patch:
            patch.setattr(_btrfs_convert, "_marker_names", lambda: [MARKERS[1]])
            interrupted(path, "link moved")
        with pytest.raises(_btrfs.BtrfsError, match=r"another account's conversion of it was interrupted.* It left: \.patriark-convert-"):
            apply(Want(str(path), nocow=True))
        monkeypatch.setattr(_btrfs_convert, "_marker_names", lambda: [MARKERS[1]])
        apply(Want(str(path), nocow=True))
    assert describe(path) == before
    assert traces(path) == []


def test_after_the_exchange_the_conversion_is_finished_before_another_wish(pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    (path / "one").write_bytes(b"first")
    interrupted(path, "exchange synced")
    want = Want(str(path), nocow=True, subvolume=True)
    with pytest.raises(_btrfs.BtrfsError, match="has to be finished before it can become a subvolume"):
        apply(want)
    apply(Want(str(path), nocow=True))
    apply(want)
    assert path.stat().st_ino == 256
    assert (path / "one").read_bytes() == b"first"
    assert traces(path) == []


def test_an_unfinished_copy_that_nobody_wants_any_more_is_removed(pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    (path / "one").write_bytes(b"first")
    interrupted(path, "copied")
    (path / "empty").touch()
    chattr("+C", path / "empty")
    inode = (path / "one").stat().st_ino
    want = Want(str(path), nocow=False)
    work = Directories([want], "convert", "fail")
    assert work.diff[0]["after"] == {"nocow_files": 0, "conversion": "the unfinished copy of an interrupted one is removed"}
    work.apply(Progress())
    assert (path / "one").stat().st_ino == inode
    assert wrong(path, False) == []
    assert sorted(os.listdir(pool)) == ["pg"]
    assert not Directories([want], "convert", "fail").changed


def test_what_is_mounted_in_the_old_tree_is_not_removed_with_it(pool: pathlib.Path) -> None:
    path, other = pool / "pg", pool / "precious"
    other.mkdir()
    (other / "photo").write_bytes(b"only here")
    (path / "sub").mkdir(parents=True)
    (path / "one").write_bytes(b"first")
    interrupted(path, "exchange synced")
    place = pool / ".pg.patriark-convert" / "sub"
    subprocess.run(["mount", "--bind", str(other), str(place)], check=True)
    try:
        with pytest.raises(_btrfs.BtrfsError, match="sub is a mount point or a subvolume; it is not removed"):
            apply(Want(str(path), nocow=True))
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert (other / "photo").read_bytes() == b"only here"
    apply(Want(str(path), nocow=True))
    assert traces(path) == []


def test_files_that_came_after_the_exchange_are_not_taken_for_converted(pool: pathlib.Path) -> None:
    path = pool / "pg"
    path.mkdir()
    (path / "one").write_bytes(b"first")

    interrupted(path, "exchange synced")
    (pool / "late").write_bytes(b"moved in")
    os.rename(pool / "late", path / "late")
    with pytest.raises(_btrfs.BtrfsError, match="have come since it was begun: late"):
        apply(Want(str(path), nocow=True))
    assert wrong(path, True) == ["late"]
    apply(Want(str(path), nocow=True))
    assert wrong(path, True) == []
    assert traces(path) == []
    assert {entry.name: entry.read_bytes() for entry in path.iterdir()} == {"one": b"first", "late": b"moved in"}


# ------------------------------------------------------------------------------------------------------- power cuts


class Cuts(Progress):
    """Copies the disk's image at each step, as it is at this moment: what was not written yet is lost.

    With commit, the file system is made to commit before, as it does by itself sooner or later: metadata without data not yet written.
    """

    def __init__(self, disk: Image, folder: pathlib.Path, commit: bool) -> None:
        self.disk = disk
        self.folder = folder
        self.commit = commit
        self.made: list[tuple[str, pathlib.Path]] = []

    def step(self, name: str) -> None:
        if self.commit:
            handle = os.open(self.disk.path / "other", os.O_WRONLY | os.O_CREAT, 0o600)
            os.ftruncate(handle, len(self.made) + 1)
            # A change of the tree of subvolumes makes the whole file system commit.
            os.close(handle)
            subvolume(self.disk.path / f"commit{len(self.made)}")
            subprocess.run(
                ["btrfs", "-q", "subvolume", "delete", "--commit-after", str(self.disk.path / f"commit{len(self.made)}")], check=True, capture_output=True
            )
        copy = self.folder / f"cut{len(self.made)}.img"
        subprocess.run(["cp", "--sparse=always", str(self.disk.file), str(copy)], check=True)
        self.made.append((name, copy))


@pytest.mark.parametrize("commit", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_power_cut_at_each_step(tmp_path: pathlib.Path, commit: bool, inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_btrfs_convert, "BATCH_FILES", 8)
    with image(tmp_path / "pool", megabytes=512) as disk:
        path = disk.path / "pg"
        path.mkdir()
        grow(path, small=True)
        os.sync()
        before = describe(path)
        content = describe(path, halfway=True)
        cuts = Cuts(disk, tmp_path, commit)
        with bound(path, inside):
            apply(Want(str(path), nocow=True), cuts)
        assert describe(path) == before
    states = []
    for step, copy in cuts.made:
        after = Image.__new__(Image)
        after.file, after.path = copy, tmp_path / "after"
        after.path.mkdir(exist_ok=True)
        after.mount()
        try:
            path = after.path / "pg"
            assert describe(path, halfway=True) == content, step
            states.append(len(wrong(path, True)))
            with bound(path, inside):
                apply(Want(str(path), nocow=True))
            assert describe(path) == before, step
            assert wrong(path, True) == [], step
            assert traces(path) == [], step
        finally:
            after.umount()
            os.unlink(copy)
    # The first cut saw the old tree, the last the new one.
    assert states[0] > 0
    assert states[-1] == 0
    shutil.rmtree(tmp_path / "after")
