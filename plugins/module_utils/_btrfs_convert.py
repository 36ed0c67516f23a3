# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a tree with data in it another NOCOW state, so that a kill or a power cut at any moment loses nothing.

Two protocols, both resumed by running again:

copy: the whole tree into a marked sibling, synced, compared, exchanged with the tree in one step, then the old tree is removed.
    The marker is an attribute of the sibling's inode and travels with it through the exchange. So: the tree carries it,
    the exchange has happened and the sibling is the old data; the sibling carries it, the exchange has not happened and the
    sibling is disposable; neither does, the sibling is not ours and is not touched.

in_place: each file with the wrong state is copied beside itself, synced, and renamed over. Nobody uses the tree, so old and new
    content are the same and any mixture of the two is a valid tree. For mount points, trees with other subvolumes,
    mounts or listed directories in them, and where a second copy does not fit.

Private to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import stat
import time
import typing as t
import uuid

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_busy, _btrfs_copy, _btrfs_walk
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BtrfsError
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_copy import MARKER, TEMPORARY, Key, Survey
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_walk import printable
from ansible_collections.patriark.homelab.plugins.module_utils._reach import open_below, open_path

COPY = "copy"
IN_PLACE = "in_place"
# Only the unfinished copy of an interrupted conversion is removed: the tree is as wanted.
DISCARD = "discard"
# Left free beside the copy: metadata, and whoever else writes to the file system.
SPARE = 128 << 20
# In place: data written between two syncs of the file system. Less than SPARE: so much has to be free, beside the largest file.
BATCH = 64 << 20
BATCH_FILES = 1000
LOCK_DEADLINE = 120.0


class Progress:
    """Told what is going on; the module's reporter derives from it, and the kill tests do."""

    def begin(self, path: str, total: int) -> None:
        """A conversion starts that has to copy total bytes."""

    def copied(self, count: int) -> None:
        """So many more bytes are copied."""

    def step(self, name: str) -> None:
        """A step is done."""


# -------------------------------------------------------------------------------------------------------------- marker


def _marker_names() -> list[str]:
    """As root only what root alone can have written counts. Root of a user namespace may not write it and is like any account."""
    if os.geteuid() == 0:
        with open("/proc/self/uid_map", encoding="ascii") as stream:
            if stream.read().split() == ["0", "0", "4294967295"]:
                return [f"trusted.{MARKER}"]
    return [f"user.{MARKER}"]


def read_marker(fd: int) -> dict[str, t.Any] | None:
    for name in _marker_names():
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(os.getxattr(fd, name))
            return found if isinstance(found, dict) else None
    return None


def _write_marker(fd: int, content: dict[str, t.Any]) -> None:
    os.setxattr(fd, _marker_names()[0], json.dumps(content).encode())


def _remove_marker(fd: int) -> None:
    for name in _marker_names():
        try:
            os.removexattr(fd, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise


def sibling_name(name: str) -> str:
    return _btrfs.beside(name, "patriark-convert")


def _identity(fd: int) -> list[int]:
    """What names a directory for good: its subvolume and inode. (st_dev changes with every mount.)"""
    return [_btrfs.subvolume_id(fd), os.fstat(fd).st_ino]


@dataclasses.dataclass(frozen=True)
class Leftover:
    """What an interrupted run left.

    Attributes:
        kind: "" (nothing), "copying" (a disposable sibling), "swapped" (the old tree is still to be removed), "in_place",
            "foreign" (something of that name which is not ours).
        token: of an interrupted conversion in place.
    """

    kind: str = ""
    token: str = ""


def leftover(real: str) -> Leftover:
    """Look for the traces of an interrupted conversion of the tree. Reads only."""
    parent = open_path(os.path.dirname(real))
    try:
        return _leftover(parent, os.path.basename(real))
    finally:
        os.close(parent)


def _leftover(parent: int, name: str) -> Leftover:
    live = os.open(name, _btrfs.OPEN_DIR, dir_fd=parent)
    try:
        marker = read_marker(live)
        if marker is not None and marker.get("state") == IN_PLACE:
            return Leftover(IN_PLACE, str(marker.get("id")))
        try:
            other = os.open(sibling_name(name), _btrfs.OPEN_DIR, dir_fd=parent)
        except FileNotFoundError:
            return Leftover("swapped") if marker is not None else Leftover()
        except OSError:
            return Leftover("foreign")
        try:
            theirs = read_marker(other)
            if marker is not None:
                return Leftover("swapped" if theirs is None and marker.get("source") == _identity(other) else "foreign")
            if theirs is not None:
                return Leftover("copying" if theirs.get("source") == _identity(live) else "foreign")
            # Killed between making the sibling and marking it: it is empty. rmdir decides.
            return Leftover("foreign" if os.listdir(other) else "copying")
        finally:
            os.close(other)
    finally:
        os.close(live)


# ----------------------------------------------------------------------------------------------------------- preflight


@dataclasses.dataclass
class Preflight:
    """What is known before a conversion: how, how much, and what forbids it."""

    method: str = COPY
    # Bytes to be copied.
    amount: int = 0
    reason: str = ""
    errors: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    left: Leftover = dataclasses.field(default_factory=Leftover)


def choose(survey: Survey, free: int, subvolume: bool, fixed: str) -> tuple[str, str]:
    """(method, why) for a tree. Pure.

    Args:
        survey: of the tree.
        free: bytes available on the file system.
        subvolume: whether the tree has to become a subvolume, which only a copy of the whole can do.
        fixed: why it cannot be exchanged ("" when it can).
    """
    if subvolume:
        return COPY, ""
    if fixed:
        return IN_PLACE, fixed
    if survey.attached:
        return IN_PLACE, f"subvolumes, mounts or listed directories are inside: {', '.join(survey.attached)}"
    if survey.frozen:
        return IN_PLACE, "immutable files are inside"
    if survey.allocated * 11 // 10 + SPARE > free:
        return IN_PLACE, "a second copy of the whole does not fit"
    return COPY, ""


def preflight(real: str, nocow: bool | None, subvolume: bool, skip: t.Container[str], needed: bool) -> Preflight:
    """Find out how the tree can be converted and what forbids it. Reads only.

    Args:
        real: canonical path.
        nocow: the state wanted, None to keep that of each file.
        subvolume: whether it has to become a subvolume.
        skip: relative names that are not part of the tree.
        needed: whether anything has to be rewritten; otherwise there are just the traces of an interrupted run.
    """
    result = Preflight(left=leftover(real))
    if result.left.kind == "foreign":
        sibling = sibling_name(os.path.basename(real))
        result.errors.append(f"{sibling} beside it was not made by an interrupted conversion of this directory; look at it and move it away")
        return result
    if subvolume and result.left.kind in ("swapped", IN_PLACE):
        result.errors.append("an interrupted conversion has to be finished before it can become a subvolume: run once without subvolume, and with nocow")
        return result
    if result.left.kind == "copying" and not needed:
        result.method = DISCARD
        return result
    if result.left.kind == "swapped":
        old = os.path.join(os.path.dirname(real), sibling_name(os.path.basename(real)))
        if os.path.lexists(old):
            found, _free = _surveyed(old, None, frozenset())
            result.errors.extend(_in_use(_btrfs_busy.users(old, found.inodes)))
        return result
    found, free = _surveyed(real, nocow, skip)
    using = _btrfs_busy.users(real, found.inodes)
    fixed = _fixed(real, using)
    result.method, result.reason = choose(found, free, subvolume, fixed)
    if result.left.kind == IN_PLACE:
        result.method = IN_PLACE
    elif found.temporary:
        result.errors.append(f"another account's conversion of it was interrupted; run once as that account. It left: {', '.join(found.temporary)}")
    result.errors.extend(obstacles(found, using, result.method, free, subvolume, fixed))
    if using.blind:
        advice = "; run as root to see every user of the directory" if os.geteuid() else ""
        result.warnings.append(f"at least {using.blind} processes could not be looked into as uid {os.geteuid()}{advice}")
    result.amount = found.allocated if result.method == COPY else found.wrong_allocated
    return result


def _fixed(real: str, using: _btrfs_busy.Users) -> str:
    """Why nothing can be exchanged with the tree ("" when it can)."""
    if _btrfs_busy.is_mount_point(real):
        return "it is a mount point"
    if using.bound:
        return "it is mounted elsewhere too"
    parent = open_path(os.path.dirname(real))
    try:
        # An append-only directory may be written to, but nothing in it can be renamed.
        with contextlib.suppress(PermissionError):
            handle = os.open(".", _btrfs.OPEN_DIR, dir_fd=parent)
            try:
                if os.access(f"/proc/self/fd/{parent}", os.W_OK | os.X_OK) and not _btrfs.get_flags(handle) & _btrfs.FROZEN:
                    return ""
            finally:
                os.close(handle)
    finally:
        os.close(parent)
    return f"the directory above it cannot be changed as uid {os.geteuid()}"


def _surveyed(real: str, nocow: bool | None, skip: t.Container[str]) -> tuple[Survey, int]:
    anchor = open_path(real)
    try:
        room = os.fstatvfs(anchor)
        return _btrfs_copy.survey(anchor, nocow, skip), room.f_bavail * room.f_frsize
    finally:
        os.close(anchor)


def _in_use(using: _btrfs_busy.Users) -> list[str]:
    if not using.found:
        return []
    return ["it is in use: " + "; ".join(using.found[:8]) + ("; and more" if len(using.found) > 8 else "") + ". Stop that first."]


def obstacles(survey: Survey, using: _btrfs_busy.Users, method: str, free: int, subvolume: bool, fixed: str) -> list[str]:
    """Why a conversion by this method is refused. Pure."""
    found = _in_use(using)
    for some, what in (
        (survey.denied, "cannot be read: run as root. They are"),
        (survey.foreign, "belong to other accounts: run as root. They are"),
        (survey.outside_links, "have hard links outside of the directory, which would be cut. They are"),
    ):
        if some:
            found.append(f"entries {what}: {', '.join(some)}")
    if method == IN_PLACE and survey.held:
        found.append(f"the directories of these files are immutable or append-only, so they cannot be replaced (chattr -i -a): {', '.join(survey.held)}")
    if subvolume and fixed:
        found.append(f"{fixed}, so it cannot be replaced by a subvolume")
    if subvolume and survey.attached:
        found.append(f"subvolumes, mounts or listed directories are inside, which a new subvolume would not have: {', '.join(survey.attached)}")
    if subvolume and survey.frozen:
        found.append(f"immutable or append-only entries are inside (chattr -i -a): {', '.join(survey.frozen)}")
    need = (survey.allocated * 11 // 10 if method == COPY else survey.wrong_largest) + SPARE
    # An empty directory takes no space worth speaking of.
    if need > free and len(survey.inodes) > 1:
        found.append(f"{need >> 20} MiB of free space are needed and {free >> 20} MiB are there")
    return found


# ----------------------------------------------------------------------------------------------------------- protocols


@contextlib.contextmanager
def _locked(parent: int, name: str) -> t.Iterator[None]:
    """One conversion at a time among the entries of a directory; the kernel unlocks when we die."""
    try:
        handle = os.open(".", _btrfs.OPEN_DIR, dir_fd=parent)
    except PermissionError:
        # Nothing can be exchanged here, so the tree itself will not be another one.
        handle = os.open(name, _btrfs.OPEN_DIR, dir_fd=parent)
    try:
        deadline = time.monotonic() + LOCK_DEADLINE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BtrfsError("another conversion beside it has been at work all the time") from None
                time.sleep(0.5)
        yield
    finally:
        os.close(handle)


def convert(real: str, nocow: bool | None, subvolume: bool, method: str, skip: t.Container[str], progress: Progress) -> None:
    """Convert the tree, or finish what an interrupted run left."""
    parent = open_path(os.path.dirname(real))
    name = os.path.basename(real)
    try:
        with _locked(parent, name):
            # Another run may have been waited for.
            left = _leftover(parent, name)
            if left.kind == "foreign":
                raise BtrfsError(f"{sibling_name(name)} beside it is not ours")
            if left.kind == "swapped":
                _finish(parent, name, progress)
                return
            if left.kind == "copying":
                _discard(parent, name)
            if method == DISCARD:
                return
            if method == IN_PLACE:
                _InPlace(parent, name, bool(nocow), skip, left.token, progress).run()
            else:
                _copy(parent, name, real, nocow, subvolume, progress)
    finally:
        os.close(parent)


def _sync_directory(parent: int) -> None:
    handle = os.open(".", _btrfs.OPEN_DIR, dir_fd=parent)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(parent: int, name: str) -> None:
    """Remove a sibling that is ours and not in use: a copy that was not finished."""
    with contextlib.suppress(FileNotFoundError):
        _btrfs_copy.remove_tree(parent, sibling_name(name))


def _copy(parent: int, name: str, real: str, nocow: bool | None, subvolume: bool, progress: Progress) -> None:
    live = os.open(name, _btrfs.OPEN_DIR, dir_fd=parent)
    try:
        _make_sibling(parent, name, subvolume or os.fstat(live).st_ino == _btrfs.SUBVOLUME_ROOT_INODE)
        progress.step("sibling")
        fresh = os.open(sibling_name(name), _btrfs.OPEN_DIR, dir_fd=parent)
        try:
            _fill(live, fresh, real, nocow, progress)
            # From here to the exchange is the moment in which a new user of the tree would be lost.
            _btrfs.rename_exchange(parent, sibling_name(name), name)
            progress.step("exchanged")
            _sync_directory(parent)
            progress.step("exchange synced")
        except Exception:
            # A signal or a kill leaves the copy for the next run to discard; an error cleans up by itself.
            if not _exchanged(parent, name, fresh):
                _discard(parent, name)
            raise
        finally:
            os.close(fresh)
    finally:
        os.close(live)
    _finish(parent, name, progress)


def _make_sibling(parent: int, name: str, subvolume: bool) -> None:
    if subvolume:
        handle = os.open(".", _btrfs.OPEN_DIR, dir_fd=parent)
        try:
            _btrfs.create_subvolume(handle, sibling_name(name))
        finally:
            os.close(handle)
    else:
        os.mkdir(sibling_name(name), 0o700, dir_fd=parent)


def _exchanged(parent: int, name: str, fresh: int) -> bool:
    found, mine = os.stat(name, dir_fd=parent, follow_symlinks=False), os.fstat(fresh)
    return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)


def _fill(live: int, fresh: int, real: str, nocow: bool | None, progress: Progress) -> None:
    """Make the sibling a durable, proven copy of the live tree, marked as ready."""
    marker = {"id": uuid.uuid4().hex, "state": "copying", "source": _identity(live)}
    _write_marker(fresh, marker)
    progress.step("marked")
    seen = _btrfs_copy.copy_tree(live, fresh, nocow, progress.copied)
    progress.step("copied")
    # Without this the exchange could become durable before the data does.
    _btrfs.syncfs(fresh)
    progress.step("synced")
    info = os.fstat(fresh)
    _write_marker(fresh, {**marker, "state": "ready"})
    os.fsync(fresh)
    os.utime(fresh, ns=(info.st_atime_ns, info.st_mtime_ns))
    progress.step("ready")
    _btrfs_copy.compare(live, fresh, nocow, seen, _btrfs_busy.in_use)
    progress.step("compared")
    _unused(real, seen)


def _unused(real: str, seen: t.Iterable[Key]) -> None:
    using = _btrfs_busy.users(real, dict.fromkeys(seen, "a file of it"))
    found = using.found[:8]
    if using.bound:
        found.append("it is mounted elsewhere too")
    found.extend(f"something is mounted on {printable(point)}" for point in _btrfs_walk.mounts_below(real, _btrfs_walk.read_mountinfo()))
    if found:
        raise _btrfs_copy.Changed(f"somebody started to use it: {'; '.join(found)}")


def _finish(parent: int, name: str, progress: Progress) -> None:
    """After the exchange: the sibling is the old tree, the live one carries the marker until that is gone."""
    _discard(parent, name)
    _sync_directory(parent)
    progress.step("removed")
    live = os.open(name, _btrfs.OPEN_DIR, dir_fd=parent)
    try:
        _remove_marker(live)
        os.fsync(live)
    finally:
        os.close(live)
    progress.step("done")


class _Plan(_btrfs_walk.Walk):
    """Everything a conversion in place has to do, by file, and what an interrupted one left."""

    def __init__(self, root: int, nocow: bool, skip: t.Container[str], prefix: str) -> None:
        super().__init__(root, skip)
        self.nocow = nocow
        self.prefix = prefix
        # Names of each wrong file with data.
        self.wrong: dict[Key, list[str]] = {}
        self.sizes: dict[Key, int] = {}
        # Temporary files with their links' count, and directories whose times are still to be restored.
        self.temporary: dict[str, tuple[int, int]] = {}
        self.marked: list[str] = []

    def directory(self, fd: int, path: str) -> list[str]:
        _btrfs.set_nocow(fd, self.nocow, printable(path or "."))
        marker = read_marker(fd)
        if marker is not None and "mtime" in marker:
            self.marked.append(path)
        prefix = path + "/" if path else ""
        below = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                    continue
                info = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(info.st_mode) and prefix + entry.name not in self.skip:
                    self._file(fd, entry.name, prefix + entry.name, info)
        return below

    def _file(self, fd: int, name: str, path: str, info: os.stat_result) -> None:
        key = (info.st_dev, info.st_ino)
        if name.startswith(self.prefix):
            self.temporary[path] = (info.st_dev, info.st_nlink)
            return
        handle = _btrfs_walk.open_quiet(name, _btrfs.OPEN_FILE, fd)
        try:
            flags = _btrfs.get_flags(handle)
            if bool(flags & _btrfs.FS_NOCOW) == self.nocow:
                return
            if info.st_size == 0 and not flags & _btrfs.COMPRESSION:
                _btrfs.set_nocow(handle, self.nocow, printable(path))
                return
        finally:
            os.close(handle)
        self.wrong.setdefault(key, []).append(path)
        self.sizes[key] = info.st_blocks * 512


class _InPlace:
    """Replace each wrong file by a copy of itself.

    A temporary file is named after the inode it copies. One with a single link is a copy that may be incomplete; a second
    link is made only after the sync, so a temporary file with several links is complete, and the remaining names of its inode
    can be moved to it by whoever comes next.
    """

    def __init__(self, parent: int, name: str, nocow: bool, skip: t.Container[str], token: str, progress: Progress) -> None:
        self.parent = parent
        self.name = name
        self.nocow = nocow
        self.skip = skip
        self.token = token
        self.progress = progress
        self.root = -1
        self.touched: dict[str, None] = {}

    @property
    def prefix(self) -> str:
        return f"{TEMPORARY}{self.token}."

    def run(self) -> None:
        self.root = os.open(self.name, _btrfs.OPEN_DIR, dir_fd=self.parent)
        try:
            if not self.token:
                self.token = uuid.uuid4().hex
                _write_marker(self.root, {"id": self.token, "state": IN_PLACE})
                os.fsync(self.root)
            self.progress.step("marked")
            work = _Plan(self.root, self.nocow, self.skip, self.prefix)
            work.run()
            self.progress.step("flagged")
            self.touched = dict.fromkeys(work.marked)
            self._resume(work)
            self.progress.step("resumed")
            for batch in _batches(work.wrong, work.sizes):
                try:
                    self._replace(batch)
                except Exception:
                    # A full disk must not stay full; a kill leaves this to the next run.
                    self._drop(batch)
                    raise
            self._restore_times()
            _btrfs.syncfs(self.root)
            self.progress.step("restored")
            _remove_marker(self.root)
            os.fsync(self.root)
            self.progress.step("done")
        finally:
            os.close(self.root)

    def _open(self, path: str) -> int:
        """The directory of a name, for reading."""
        anchor = open_below(self.root, os.path.dirname(path))
        try:
            return _btrfs_walk.open_quiet(".", _btrfs.OPEN_DIR, anchor)
        finally:
            os.close(anchor)

    def _touch(self, directory: int, path: str) -> None:
        """Note the times of a directory in the directory itself before they change."""
        above = os.path.dirname(path)
        if above in self.touched:
            return
        marker = read_marker(directory) or {}
        if "mtime" not in marker:
            info = os.fstat(directory)
            _write_marker(directory, {**marker, "atime": info.st_atime_ns, "mtime": info.st_mtime_ns})
        self.touched[above] = None

    def _restore_times(self) -> None:
        # The root last: its marker is also the one that says that all this is not done yet.
        for path in [*sorted(filter(None, self.touched), reverse=True), ""]:
            directory = self._open(f"{path}/")
            try:
                marker = read_marker(directory) or {}
                if "mtime" in marker:
                    os.utime(directory, ns=(int(marker["atime"]), int(marker["mtime"])))
                if path:
                    _remove_marker(directory)
            finally:
                os.close(directory)

    def _resume(self, work: _Plan) -> None:
        """Finish groups of hard links that were half moved, and drop every other temporary file."""
        for path, (device, links) in sorted(work.temporary.items()):
            directory = self._open(path)
            try:
                self._touch(directory, path)
                base = os.path.basename(path)
                number = base[len(self.prefix) :]
                key = (device, int(number)) if number.isdigit() else None
                if key is not None and links > 1 and key in work.wrong and self._still_equal(directory, base, work.wrong[key][0]):
                    self._move_links(directory, base, work.wrong.pop(key))
                # The link of a temporary file may have served just now.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(base, dir_fd=directory)
            finally:
                os.close(directory)

    def _still_equal(self, directory: int, temporary: str, path: str) -> bool:
        """Whether nobody has written since the kill. Otherwise the names stay apart, each with what was written through it."""
        mine = os.stat(temporary, dir_fd=directory, follow_symlinks=False)
        where = self._open(path)
        try:
            theirs = os.stat(os.path.basename(path), dir_fd=where, follow_symlinks=False)
        finally:
            os.close(where)
        return (mine.st_mtime_ns, mine.st_size) == (theirs.st_mtime_ns, theirs.st_size)

    def _replace(self, batch: list[tuple[Key, list[str]]]) -> None:
        states = {}
        for key, paths in batch:
            directory = self._open(paths[0])
            try:
                self._touch(directory, paths[0])
                name = os.path.basename(paths[0])
                states[key] = _btrfs_copy.copy_file(directory, name, directory, f"{self.prefix}{key[1]}", self.nocow, paths[0], self.progress.copied)
            finally:
                os.close(directory)
            self.progress.step("file copied")
        _btrfs.syncfs(self.root)
        self.progress.step("batch synced")
        for key, paths in batch:
            directory = self._open(paths[0])
            try:
                name, temporary = os.path.basename(paths[0]), f"{self.prefix}{key[1]}"
                self._unchanged(directory, name, paths[0], states[key])
                if len(paths) == 1:
                    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
                else:
                    self._move_links(directory, temporary, paths)
                    os.unlink(temporary, dir_fd=directory)
            finally:
                os.close(directory)
            self.progress.step("file replaced")

    def _drop(self, batch: list[tuple[Key, list[str]]]) -> None:
        """Remove the copies that have not taken a place yet. Some names of one with several links may be moved already."""
        for key, paths in batch:
            with contextlib.suppress(OSError):
                directory = self._open(paths[0])
                try:
                    temporary = f"{self.prefix}{key[1]}"
                    if os.stat(temporary, dir_fd=directory, follow_symlinks=False).st_nlink == 1:
                        os.unlink(temporary, dir_fd=directory)
                finally:
                    os.close(directory)

    def _move_links(self, directory: int, temporary: str, paths: list[str]) -> None:
        """Give every name of a file to its copy, one after the other."""
        for path in paths:
            where = self._open(path)
            try:
                self._touch(where, path)
                link = f"{temporary}.link"
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(link, dir_fd=where)
                os.link(temporary, link, src_dir_fd=directory, dst_dir_fd=where, follow_symlinks=False)
                os.rename(link, os.path.basename(path), src_dir_fd=where, dst_dir_fd=where)
            finally:
                os.close(where)
            self.progress.step("link moved")

    def _unchanged(self, directory: int, name: str, path: str, state: os.stat_result) -> None:
        handle = _btrfs_walk.open_quiet(name, _btrfs.OPEN_FILE, directory)
        try:
            info = os.fstat(handle)
            if (info.st_ino, info.st_mtime_ns, info.st_ctime_ns, info.st_size) != (state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size):
                raise _btrfs_copy.Changed(f"{printable(path)} changed while it was copied")
            if _btrfs_busy.in_use(handle):
                raise _btrfs_copy.Changed(f"{printable(path)} is open")
        finally:
            os.close(handle)


def _batches(wrong: dict[Key, list[str]], sizes: dict[Key, int]) -> t.Iterator[list[tuple[Key, list[str]]]]:
    """Files in portions that are synced together: so many, or so much, but at least one."""
    batch: list[tuple[Key, list[str]]] = []
    amount = 0
    for key, paths in wrong.items():
        if batch and (len(batch) >= BATCH_FILES or amount + sizes[key] > BATCH):
            yield batch
            batch, amount = [], 0
        batch.append((key, paths))
        amount += sizes[key]
    if batch:
        yield batch
