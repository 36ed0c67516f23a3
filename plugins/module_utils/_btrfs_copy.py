# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy a tree into an empty directory, everything kept but the NOCOW state; compare the two; remove one.

Kept: content with its holes, hard links, owners, modes, times, ACLs and other extended attributes, special files, and the
inode flags that are a policy of the administrator. Not kept: inode numbers, change and birth times, preallocation beyond the data.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_walk
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BtrfsError
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_walk import open_quiet, printable

CHUNK = 32 << 20
_NAMES = 20
# The end of the name of the attribute that marks a conversion at work, see _btrfs_convert.
MARKER = "patriark.homelab.convert"
# The beginning of the names of copies that have not taken their place yet, of a conversion in place.
TEMPORARY = ".patriark-convert-"
# sync, nodump, noatime, dirsync
_CARRIED = 0x8 | 0x40 | 0x80 | 0x10000
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Key = tuple[int, int]
Tick = t.Callable[[int], None]


class Changed(BtrfsError):
    """The tree changed while it was copied, so somebody uses it."""


@dataclasses.dataclass
class Survey:
    """What a conversion has to know of a tree beforehand."""

    # Every inode, to tell which processes use one: (device, inode) -> a name.
    inodes: dict[Key, str] = dataclasses.field(default_factory=dict)
    # Allocated bytes, each inode once, and those of the largest file.
    allocated: int = 0
    largest: int = 0
    # The same of the files with data in the wrong state only.
    wrong_allocated: int = 0
    wrong_largest: int = 0
    # First names of each kind of obstacle.
    frozen: list[str] = dataclasses.field(default_factory=list)
    foreign: list[str] = dataclasses.field(default_factory=list)
    denied: list[str] = dataclasses.field(default_factory=list)
    outside_links: list[str] = dataclasses.field(default_factory=list)
    temporary: list[str] = dataclasses.field(default_factory=list)
    # Files with data in the wrong state whose directory is immutable or append-only.
    held: list[str] = dataclasses.field(default_factory=list)
    # Nested subvolumes, mount points, entries listed on their own: a copy of the whole tree cannot carry them.
    attached: list[str] = dataclasses.field(default_factory=list)


class _Survey(_btrfs_walk.Walk):
    def __init__(self, root: int, nocow: bool | None, skip: t.Container[str]) -> None:
        super().__init__(root, skip)
        self.nocow = nocow
        self.result = Survey()
        # Hard links seen of each inode that has more than one, and how many there are.
        self.links: dict[Key, list[int]] = {}

    def _note(self, names: list[str], name: str) -> None:
        if len(names) < _NAMES:
            names.append(printable(name))

    def denied(self, path: str) -> None:
        self._note(self.result.denied, path)

    def skipped(self, path: str) -> None:
        self._note(self.result.attached, path)

    def nested(self, path: str) -> None:
        self._note(self.result.attached, path)

    def directory(self, fd: int, path: str) -> list[str]:
        prefix = path + "/" if path else ""
        below = []
        own = _btrfs.get_flags(fd)
        self._entry(path or ".", os.fstat(fd), own)
        with os.scandir(fd) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                    continue
                if entry.name.startswith(TEMPORARY):
                    self._note(self.result.temporary, name)
                info = entry.stat(follow_symlinks=False)
                flags = 0
                if stat.S_ISREG(info.st_mode):
                    try:
                        handle = open_quiet(entry.name, _btrfs.OPEN_FILE, fd)
                    except PermissionError:
                        self.denied(name)
                        continue
                    flags = _btrfs.get_flags(handle)
                    os.close(handle)
                    if own & _btrfs.FROZEN and (info.st_size or flags & _btrfs.COMPRESSION) and self._wrong(flags):
                        self._note(self.result.held, name)
                    # A mount point may be a single file.
                    if name in self.skip:
                        self.skipped(name)
                        continue
                self._entry(name, info, flags)
        return below

    def _wrong(self, flags: int) -> bool:
        return self.nocow is not None and bool(flags & _btrfs.FS_NOCOW) != self.nocow

    def _entry(self, name: str, info: os.stat_result, flags: int) -> None:
        result = self.result
        key = (info.st_dev, info.st_ino)
        if flags & _btrfs.FROZEN:
            self._note(result.frozen, name)
        if os.geteuid() != 0 and info.st_uid != os.geteuid():
            self._note(result.foreign, name)
        if not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
            self.links.setdefault(key, [0, info.st_nlink])[0] += 1
        if key in result.inodes:
            return
        result.inodes[key] = name
        size = info.st_blocks * 512
        result.allocated += size
        result.largest = max(result.largest, size)
        if stat.S_ISREG(info.st_mode) and self._wrong(flags):
            result.wrong_allocated += size
            result.wrong_largest = max(result.wrong_largest, size)


def survey(root: int, nocow: bool | None, skip: t.Container[str] = frozenset()) -> Survey:
    """Look at every inode below the open directory; reads metadata only."""
    walk = _Survey(root, nocow, skip)
    walk.run()
    for key, (seen, links) in walk.links.items():
        if seen < links and len(walk.result.outside_links) < _NAMES:
            walk.result.outside_links.append(printable(walk.result.inodes[key]))
    return walk.result


# ---------------------------------------------------------------------------------------------------------------- copy


def _signature(info: os.stat_result) -> tuple[int, int, int]:
    return info.st_ctime_ns, info.st_mtime_ns, info.st_size


def _ignore(_count: int) -> None:
    return None


def copy_data(source: int, target: int, info: os.stat_result, tick: Tick = _ignore) -> None:
    """Copy the content of a file into an empty one; holes stay holes."""
    if info.st_blocks * 512 >= info.st_size:
        _copy_range(source, target, 0, info.st_size, tick)
        return
    position = 0
    while position < info.st_size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        end = min(os.lseek(source, start, os.SEEK_HOLE), info.st_size)
        _copy_range(source, target, start, end, tick)
        position = end
    os.ftruncate(target, info.st_size)


def _copy_range(source: int, target: int, start: int, end: int, tick: Tick) -> None:
    while start < end:
        count = min(end - start, CHUNK)
        try:
            done = os.copy_file_range(source, target, count, start, start)
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
            done = os.pwrite(target, os.pread(source, min(count, 1 << 20), start), start)
        if done == 0:
            raise Changed("a file got shorter while it was copied")
        start += done
        tick(done)


def _carried(nocow: bool) -> int:
    """The inode flags that a copy has from its original; compression too, where the copy is not NOCOW."""
    return _CARRIED if nocow else _CARRIED | _btrfs.COMPRESSION


def copy_metadata(source: int, target: int, info: os.stat_result, flags: int) -> None:
    """Owner first (a change of it drops set-id bits and capabilities), flags, attributes, mode, and the times last."""
    os.fchown(target, info.st_uid, info.st_gid)
    present = _btrfs.get_flags(target)
    nocow = bool(present & _btrfs.FS_NOCOW)
    mask = _carried(nocow)
    wanted = present & ~mask | flags & mask
    if wanted != present:
        _btrfs.set_flags(target, wanted)
    # After the flags: the compression flag alone would choose the algorithm that btrfs.compression then corrects.
    _copy_attributes(source, target, nocow)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def _copy_attributes(source: int | str, target: int | str, nocow: bool) -> None:
    """Copy extended attributes between two descriptors, or two paths whose last component is not followed."""
    follow = isinstance(source, int)
    # btrfs.compression is the other face of the compression flag, which a NOCOW inode cannot have.
    keys = [key for key in os.listxattr(source, follow_symlinks=follow) if not (nocow and key.startswith("btrfs.")) and not key.endswith(MARKER)]
    for key in os.listxattr(target, follow_symlinks=follow):
        # An access list inherited from the default one of the directory above.
        if key not in keys and key.startswith("system."):
            os.removexattr(target, key, follow_symlinks=follow)
    for key in keys:
        os.setxattr(target, key, os.getxattr(source, key, follow_symlinks=follow), follow_symlinks=follow)


def copy_file(directory: int, name: str, into: int, new: str, nocow: bool | None, path: str, tick: Tick = _ignore) -> os.stat_result:
    """Copy one regular file to a new name, in the NOCOW state given (None: that of the source). Returns the state it was copied in.

    The two descriptors may be the same directory.
    """
    source = open_quiet(name, _btrfs.OPEN_FILE, directory)
    try:
        info = os.fstat(source)
        if not stat.S_ISREG(info.st_mode):
            raise Changed(f"{printable(path)} became something else while it was copied")
        flags = _btrfs.get_flags(source)
        target = os.open(new, _NEW_FILE, 0o600, dir_fd=into)
        try:
            # Born with the state of its directory; empty, so it can still be changed.
            _btrfs.set_nocow(target, bool(flags & _btrfs.FS_NOCOW) if nocow is None else nocow, printable(path), clear_compression=True)
            copy_data(source, target, info, tick)
            copy_metadata(source, target, info, flags)
        finally:
            os.close(target)
    finally:
        os.close(source)
    return info


class _Copy(_btrfs_walk.Walk):
    def __init__(self, source: int, target: int, nocow: bool | None, tick: Tick) -> None:
        super().__init__(source)
        self.target = target
        self.nocow = nocow
        self.tick = tick
        # Directories of the copy that are being filled, the innermost last.
        self.into: list[int] = []
        self.seen: dict[Key, tuple[int, int, int]] = {}
        self.first: dict[Key, str] = {}

    def denied(self, path: str) -> None:
        raise BtrfsError(f"{printable(path)} cannot be read")

    def skipped(self, path: str) -> None:
        raise Changed(f"{printable(path)} became a mount point or a subvolume while the tree was copied")

    nested = skipped

    def run(self) -> None:
        try:
            super().run()
        finally:
            for fd in self.into:
                os.close(fd)

    def directory(self, fd: int, path: str) -> list[str]:
        info, flags = os.fstat(fd), _btrfs.get_flags(fd)
        self.seen[(info.st_dev, info.st_ino)] = _signature(info)
        if path:
            name = os.path.basename(path)
            os.mkdir(name, 0o700, dir_fd=self.into[-1])
            self.into.append(os.open(name, _btrfs.OPEN_DIR, dir_fd=self.into[-1]))
        else:
            self.into.append(os.dup(self.target))
        _btrfs.set_nocow(self.into[-1], bool(flags & _btrfs.FS_NOCOW) if self.nocow is None else self.nocow, printable(path or "."), clear_compression=True)
        prefix = path + "/" if path else ""
        below = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                else:
                    self._entry(fd, entry.name, prefix + entry.name)
        return below

    def leave(self, fd: int, path: str, parent: int) -> None:
        target = self.into.pop()
        try:
            copy_metadata(fd, target, os.fstat(fd), _btrfs.get_flags(fd))
        finally:
            os.close(target)

    def _entry(self, fd: int, name: str, path: str) -> None:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        key = (info.st_dev, info.st_ino)
        into = self.into[-1]
        if key in self.first:
            os.link(self.first[key], name, src_dir_fd=self.target, dst_dir_fd=into, follow_symlinks=False)
            return
        if info.st_nlink > 1:
            self.first[key] = path
        if stat.S_ISREG(info.st_mode):
            info = copy_file(fd, name, into, name, self.nocow, path, self.tick)
        else:
            if stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(name, dir_fd=fd), name, dir_fd=into)
            else:
                os.mknod(name, stat.S_IFMT(info.st_mode) | 0o600, info.st_rdev, dir_fd=into)
            _copy_unopened(fd, into, name, info)
        self.seen[(info.st_dev, info.st_ino)] = _signature(info)


def _copy_unopened(source: int, target: int, name: str, info: os.stat_result) -> None:
    """Metadata of what is never opened: symlinks and special files."""
    os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
    # There is no *at form for attributes; the directory is named by its descriptor.
    here, there = f"/proc/self/fd/{source}/{name}", f"/proc/self/fd/{target}/{name}"
    _copy_attributes(here, there, nocow=True)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)
    os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def copy_tree(source: int, target: int, nocow: bool | None, tick: Tick = _ignore) -> dict[Key, tuple[int, int, int]]:
    """Copy everything below the open directory source into the empty one target, its own metadata included.

    Returns what every inode of the source looked like when it was copied, for compare().
    """
    walk = _Copy(source, target, nocow, tick)
    walk.run()
    return walk.seen


# ------------------------------------------------------------------------------------------------------------- compare


class _Compare(_btrfs_walk.Walk):
    def __init__(self, source: int, target: int, nocow: bool | None, seen: dict[Key, tuple[int, int, int]], in_use: t.Callable[[int], bool]) -> None:
        super().__init__(source)
        self.target = target
        self.nocow = nocow
        self.seen = seen
        self.in_use = in_use
        self.against: list[int] = []
        self.twins: dict[Key, Key] = {}

    def run(self) -> None:
        try:
            super().run()
        finally:
            for fd in self.against:
                os.close(fd)

    def skipped(self, path: str) -> None:
        raise Changed(f"{printable(path)} became a mount point or a subvolume")

    def directory(self, fd: int, path: str) -> list[str]:
        # Opened anew also at the top: a btrfs directory shows to a descriptor only what was in it when it was opened.
        above, name = (self.against[-1], os.path.basename(path)) if path else (self.target, ".")
        self.against.append(os.open(name, _btrfs.OPEN_DIR, dir_fd=above))
        other = self.against[-1]
        self._same(path or ".", os.fstat(fd), os.fstat(other))
        self._same_inside(path or ".", fd, other)
        names = sorted(os.listdir(fd))
        if names != sorted(os.listdir(other)):
            raise Changed(f"entries came or went in {printable(path or '.')}")
        prefix = path + "/" if path else ""
        below = []
        for name in names:
            mine = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(mine.st_mode):
                below.append(name)
                continue
            self._same(prefix + name, mine, os.stat(name, dir_fd=other, follow_symlinks=False))
            if stat.S_ISREG(mine.st_mode):
                self._same_file(prefix + name, name, fd, other)
                continue
            self._same_attributes(prefix + name, f"/proc/self/fd/{fd}/{name}", f"/proc/self/fd/{other}/{name}")
            if stat.S_ISLNK(mine.st_mode) and os.readlink(name, dir_fd=fd) != os.readlink(name, dir_fd=other):
                raise Changed(f"{printable(prefix + name)} points elsewhere")
        return below

    def leave(self, fd: int, path: str, parent: int) -> None:
        os.close(self.against.pop())

    def _same(self, path: str, mine: os.stat_result, other: os.stat_result) -> None:
        key = (mine.st_dev, mine.st_ino)
        if self.seen.get(key) != _signature(mine):
            raise Changed(f"{printable(path)} changed while it was copied")
        fields = ["st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_rdev"]
        if not stat.S_ISDIR(mine.st_mode):
            fields += ["st_size", "st_nlink"]
        for field in fields:
            if getattr(mine, field) != getattr(other, field):
                raise BtrfsError(f"the copy of {printable(path)} differs in {field}: {getattr(other, field)}, not {getattr(mine, field)}")
        twin = (other.st_dev, other.st_ino)
        # One entry for every file of a large library would take much memory.
        if mine.st_nlink > 1 and self.twins.setdefault(key, twin) != twin:
            raise BtrfsError(f"the copy of {printable(path)} lost a hard link")

    def _same_file(self, path: str, name: str, fd: int, other: int) -> None:
        mine = open_quiet(name, _btrfs.OPEN_FILE, fd)
        try:
            if self.in_use(mine):
                raise Changed(f"{printable(path)} is open")
            copy = open_quiet(name, _btrfs.OPEN_FILE, other)
            try:
                self._same_inside(path, mine, copy)
            finally:
                os.close(copy)
        finally:
            os.close(mine)

    def _same_inside(self, path: str, mine: int, copy: int) -> None:
        flags, got = _btrfs.get_flags(mine), _btrfs.get_flags(copy)
        wanted = bool(flags & _btrfs.FS_NOCOW) if self.nocow is None else self.nocow
        if bool(got & _btrfs.FS_NOCOW) != wanted:
            raise BtrfsError(f"the copy of {printable(path)} has the wrong NOCOW state")
        if (flags ^ got) & _carried(wanted):
            raise BtrfsError(f"the copy of {printable(path)} differs in its inode flags")
        self._same_attributes(path, mine, copy)

    def _same_attributes(self, path: str, mine: int | str, copy: int | str) -> None:
        if _attributes(mine) != _attributes(copy):
            raise BtrfsError(f"the copy of {printable(path)} differs in its extended attributes")


def _attributes(entry: int | str) -> dict[str, bytes]:
    follow = isinstance(entry, int)
    names = [key for key in os.listxattr(entry, follow_symlinks=follow) if not key.startswith("btrfs.") and not key.endswith(MARKER)]
    return {key: os.getxattr(entry, key, follow_symlinks=follow) for key in names}


def compare(source: int, target: int, nocow: bool | None, seen: dict[Key, tuple[int, int, int]], in_use: t.Callable[[int], bool]) -> None:
    """Prove that target is a whole copy of source and that source did not change since it was copied.

    Everything but the content is compared: the content came from the kernel's own copy, and reading it back would
    read what the memory holds, not what the disk does.

    Raises Changed when the source is being used, BtrfsError when the copy is not what it has to be.
    """
    _Compare(source, target, nocow, seen, in_use).run()


# -------------------------------------------------------------------------------------------------------------- remove


class _Remove(_btrfs_walk.Walk):
    def __init__(self, root: int) -> None:
        super().__init__(root)
        self.device = os.fstat(root).st_dev

    def skipped(self, path: str) -> None:
        raise BtrfsError(f"{printable(path)} is a mount point or a subvolume; it is not removed")

    nested = skipped

    def denied(self, path: str) -> None:
        raise BtrfsError(f"{printable(path)} cannot be read, so it is not removed")

    def directory(self, fd: int, path: str) -> list[str]:
        if os.geteuid() != 0:
            # A directory its owner may not write to, as a copy of one like it has been made.
            os.fchmod(fd, 0o700)
        below = []
        for name in os.listdir(fd):
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                below.append(name)
            else:
                os.unlink(name, dir_fd=fd)
        return below

    def leave(self, fd: int, path: str, parent: int) -> None:
        if path:
            os.rmdir(os.path.basename(path), dir_fd=parent)


def remove_tree(parent: int, name: str) -> None:
    """Remove a directory or subvolume and everything in it, the directory itself last."""
    root = os.open(name, _btrfs.OPEN_DIR, dir_fd=parent)
    try:
        if os.fstat(root).st_ino == _btrfs.SUBVOLUME_ROOT_INODE:
            try:
                _btrfs.delete_subvolume(parent, name)
                return
            except OSError:
                # Not privileged, or the mount option is missing: entry by entry, then.
                pass
        _Remove(root).run()
    finally:
        os.close(root)
    os.rmdir(name, dir_fd=parent)
