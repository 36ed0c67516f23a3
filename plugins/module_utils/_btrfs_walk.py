# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walk a directory tree on btrfs so that nothing outside of it can be reached.

Every open is relative to the descriptor of its directory and never follows a symlink, so a swapped symlink cannot lead a
root process away. Only regular files and directories are opened: a device node may act on being opened.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs

DENIED = (errno.EACCES, errno.EPERM)
# The entry went away, or became something else, since its directory was read.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


def printable(name: str) -> str:
    """A file name as valid UTF-8 on one line."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def open_quiet(name: str, flags: int, dir_fd: int) -> int:
    """Open without touching the access time where that is permitted (owner or CAP_FOWNER)."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError:
        return os.open(name, flags, dir_fd=dir_fd)


def mounts_below(path: str, mountinfo: str) -> set[str]:
    """Mount points strictly below path, relative to it, from the text of a mountinfo file."""
    prefix = path.rstrip("/") + "/"
    found = set()
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        point = unescape(fields[4]) if len(fields) > 4 else ""
        if point.startswith(prefix):
            found.add(point[len(prefix) :])
    return found


def unescape(field: str) -> str:
    """A path in mountinfo: the kernel writes space, tab, newline, hash and backslash as octal."""
    raw = os.fsencode(field)
    for code in (b"040", b"011", b"012", b"043", b"134"):
        raw = raw.replace(b"\\" + code, bytes([int(code, 8)]))
    return os.fsdecode(raw)


def read_mountinfo(pid: str = "self") -> str:
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()


def mount_of(fd: int) -> str:
    """Which mount an open descriptor is on. A device number does not tell: a directory of the same subvolume may be mounted inside another."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="utf-8") as stream:
        return next(line for line in stream if line.startswith("mnt_id:"))


@dataclasses.dataclass
class _Frame:
    fd: int
    path: str
    device: int
    pending: list[str] = dataclasses.field(default_factory=list)


class Walk:
    """Depth first, directory before its content. What happens is up to the methods that a subclass has.

    Into mount points and the like, named in skip, placeholders of subvolumes and read-only subvolumes it does not go.
    """

    def __init__(self, root: int, skip: t.Container[str] = frozenset()) -> None:
        self.root = root
        self.skip = skip
        self.mount = ""

    def directory(self, fd: int, path: str) -> list[str]:
        """Handle a directory and what is in it ("" is the root); return the names of the sub-directories to go into."""
        raise NotImplementedError

    def leave(self, fd: int, path: str, parent: int) -> None:
        """All below the directory has been handled. parent is -1 for the root."""

    def denied(self, path: str) -> None:
        """The directory may not be opened by this account."""

    def skipped(self, path: str) -> None:
        """The directory is not part of the tree."""

    def nested(self, path: str) -> None:
        """The directory is the root of another, writable subvolume; it is gone into."""

    def run(self) -> None:
        # One open descriptor for each level of depth.
        stack: list[_Frame] = []
        try:
            fd = open_quiet(".", _btrfs.OPEN_DIR, self.root)
            stack.append(_Frame(fd, "", os.fstat(fd).st_dev))
            self.mount = mount_of(fd)
            stack[-1].pending = self.directory(fd, "")
            while stack:
                frame = stack[-1]
                if frame.pending:
                    child = self._open(frame, frame.pending.pop())
                    if child is not None:
                        stack.append(child)
                        child.pending = self.directory(child.fd, child.path)
                    continue
                self.leave(frame.fd, frame.path, stack[-2].fd if len(stack) > 1 else -1)
                stack.pop()
                os.close(frame.fd)
        finally:
            for frame in stack:
                os.close(frame.fd)

    def _open(self, above: _Frame, name: str) -> _Frame | None:
        path = f"{above.path}/{name}" if above.path else name
        if path in self.skip:
            self.skipped(path)
            return None
        try:
            fd = open_quiet(name, _btrfs.OPEN_DIR, above.fd)
        except OSError as error:
            if error.errno in DENIED:
                self.denied(path)
            elif error.errno not in _GONE:
                raise
            return None
        entered = False
        try:
            info = os.fstat(fd)
            entered = self._belongs(fd, info, above.device, path)
            return _Frame(fd, path, info.st_dev) if entered else None
        finally:
            if not entered:
                os.close(fd)

    def _belongs(self, fd: int, info: os.stat_result, device: int, path: str) -> bool:
        # Asked of the open descriptor: something may have been mounted since skip was made.
        if mount_of(fd) == self.mount:
            if info.st_dev == device and info.st_ino != _btrfs.PLACEHOLDER_INODE:
                return True
            # Another device number without a mount point is another subvolume.
            if info.st_ino == _btrfs.SUBVOLUME_ROOT_INODE and not _btrfs.is_readonly_subvolume(fd):
                self.nested(path)
                return True
        self.skipped(path)
        return False
