# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the NOCOW state of every directory and regular file of a tree with the state wanted. Only metadata is read.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import stat
import struct
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_walk
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_walk import printable

# Names kept for messages and results.
NAMES = 20


@dataclasses.dataclass
class Audit:
    """What a tree holds. A wrong entry is one whose NOCOW flag is not the one wanted."""

    files: int = 0
    dirs: int = 0
    # Wrong directories and empty files take the flag at once; wrong data needs a new file.
    wrong_dirs: int = 0
    wrong_empty: int = 0
    wrong_data: int = 0
    # Apparent size of the wrong data, each inode once.
    data: int = 0
    # First names of wrong files, relative to the tree.
    offenders: list[str] = dataclasses.field(default_factory=list)
    # Wrong directories with a compression attribute: the flag is refused there.
    compressed: list[str] = dataclasses.field(default_factory=list)
    # Wrong entries that are immutable or append-only.
    frozen: list[str] = dataclasses.field(default_factory=list)
    unreadable: int = 0
    unreadable_names: list[str] = dataclasses.field(default_factory=list)
    # Not looked into: mount points, read-only subvolumes, placeholders, directories listed on their own.
    skipped: list[str] = dataclasses.field(default_factory=list)

    @property
    def wrong_files(self) -> int:
        return self.wrong_empty + self.wrong_data

    @property
    def fixable(self) -> int:
        return self.wrong_dirs + self.wrong_empty


class _Audit(_btrfs_walk.Walk):
    def __init__(self, root: int, wanted: bool, skip: t.Container[str], fix: bool) -> None:
        super().__init__(root, skip)
        self.wanted = wanted
        self.fix = fix
        self.result = Audit()
        self.seen: set[tuple[int, int]] = set()
        self.buffer = bytearray(_btrfs.FLAG_BYTES)
        self.word = struct.Struct("=I")

    def _note(self, names: list[str], name: str) -> None:
        if len(names) < NAMES:
            names.append(printable(name))

    def denied(self, path: str) -> None:
        self.result.unreadable += 1
        self._note(self.result.unreadable_names, path)

    def skipped(self, path: str) -> None:
        self._note(self.result.skipped, path)

    def directory(self, fd: int, path: str) -> list[str]:
        result, wanted = self.result, self.wanted
        self._judge(fd, path or ".")
        prefix = path + "/" if path else ""
        below = []
        # Local names: this loop runs once for every file of a library.
        opener, fstat, close, ioctl, regular = os.open, os.fstat, os.close, fcntl.ioctl, stat.S_ISREG
        buffer, unpack, request = self.buffer, self.word.unpack_from, _btrfs.GETFLAGS
        how, skip = _btrfs.OPEN_FILE | os.O_NOATIME, self.skip
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                    continue
                if not entry.is_file(follow_symlinks=False):
                    continue
                name = entry.name
                # A mount point may be a single file.
                if prefix + name in skip:
                    self.skipped(prefix + name)
                    continue
                try:
                    try:
                        handle = opener(name, how, dir_fd=fd)
                    except PermissionError:
                        handle = opener(name, _btrfs.OPEN_FILE, dir_fd=fd)
                except OSError as error:
                    if error.errno in _btrfs_walk.DENIED:
                        self.denied(prefix + name)
                    elif error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                        raise
                    continue
                try:
                    found = fstat(handle)
                    if not regular(found.st_mode):
                        continue
                    ioctl(handle, request, buffer, True)
                    flags = unpack(buffer)[0]
                    result.files += 1
                    if bool(flags & _btrfs.FS_NOCOW) != wanted:
                        self._wrong_file(handle, prefix + name, found, flags)
                finally:
                    close(handle)
        return below

    def _judge(self, fd: int, path: str) -> None:
        result = self.result
        result.dirs += 1
        flags = _btrfs.get_flags(fd)
        if bool(flags & _btrfs.FS_NOCOW) == self.wanted:
            return
        result.wrong_dirs += 1
        if self.wanted and flags & _btrfs.COMPRESSION:
            self._note(result.compressed, path)
        elif flags & _btrfs.FROZEN:
            self._note(result.frozen, path)
        elif self.fix:
            _btrfs.set_nocow(fd, self.wanted, printable(path))

    def _wrong_file(self, fd: int, path: str, info: os.stat_result, flags: int) -> None:
        result = self.result
        self._note(result.offenders, path)
        if flags & _btrfs.FROZEN:
            self._note(result.frozen, path)
        # An empty file with a compression attribute cannot take the flag either.
        if info.st_size or (self.wanted and flags & _btrfs.COMPRESSION):
            result.wrong_data += 1
            key = (info.st_dev, info.st_ino)
            if key not in self.seen:
                result.data += info.st_size
                if info.st_nlink > 1:
                    self.seen.add(key)
            return
        result.wrong_empty += 1
        if self.fix and not flags & _btrfs.FROZEN:
            _btrfs.set_nocow(fd, self.wanted, printable(path))


def audit(root: int, wanted: bool, skip: t.Container[str] = frozenset(), fix: bool = False) -> Audit:
    """Compare the tree below the open directory with the NOCOW state wanted.

    Args:
        root: descriptor of the directory.
        wanted: whether directories and files are to carry the flag.
        skip: relative names not to look into (mount points, directories judged on their own).
        fix: set the flag on wrong directories and wrong empty files, which needs no copy.
    """
    walk = _Audit(root, wanted, skip, fix)
    walk.run()
    return walk.result
