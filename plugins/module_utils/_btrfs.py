# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says and does about inode flags, subvolumes and file system types, on open descriptors.

A return code of SETFLAGS proves nothing on btrfs: on a file with data it succeeds and does nothing. Every set here is
followed by a read of the whole flag word.

Private to the collection.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import stat
import struct
import typing as t
import uuid

# The ioctl numbers are encoded with sizeof(long), although the kernel moves only 32 bits.
_LONG = struct.calcsize("@l")
_WORD = 8

FS_COMPR = 0x4
FS_IMMUTABLE = 0x10
FS_APPEND = 0x20
FS_NOCOMP = 0x400
FS_NOCOW = 0x00800000
FROZEN = FS_IMMUTABLE | FS_APPEND
COMPRESSION = FS_COMPR | FS_NOCOMP

SUBVOLUME_ROOT_INODE = 256
# A snapshot shows a nested subvolume as an empty directory with this number; nothing can be written to it.
PLACEHOLDER_INODE = 2

BTRFS = "btrfs"
_TYPES = {
    0x9123683E: BTRFS,
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x794C7630: "overlay",
    0x2FC12FC1: "zfs",
    0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x65735546: "fuse",
    0x01021997: "9p",
}
# File systems which overwrite in place anyway.
IN_PLACE = ("ext4", "xfs", "tmpfs", "ramfs")

# Never O_CREAT, never through a symlink, never blocking on a FIFO.
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OPEN_DIR = OPEN_FILE | os.O_DIRECTORY

_RENAME_EXCHANGE = 2


def _ioc(direction: int, kind: int, number: int, size: int) -> int:
    return (direction << 30) | (size << 16) | (kind << 8) | number


_GETFLAGS = _ioc(2, ord("f"), 1, _LONG)
_SETFLAGS = _ioc(1, ord("f"), 2, _LONG)
_SUBVOL_CREATE = _ioc(1, 0x94, 14, 4096)
_SNAP_DESTROY = _ioc(1, 0x94, 15, 4096)
_INO_LOOKUP = _ioc(3, 0x94, 18, 4096)
_SUBVOL_GETFLAGS = _ioc(2, 0x94, 25, 8)
_SUBVOL_RDONLY = 2
_FS_INFO = _ioc(2, 0x94, 31, 1024)
_DEV_INFO = _ioc(3, 0x94, 30, 4096)

GETFLAGS = _GETFLAGS
FLAG_BYTES = _WORD

_OTHER_ENCODING = ("mips", "ppc", "powerpc", "sparc", "alpha", "parisc")


class BtrfsError(Exception):
    """The wanted state cannot be had; the text names the path, the reason and what to do."""


def size(number: float) -> str:
    """A count of bytes for people: 1.5 GiB."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"


def reason(error: Exception) -> str:
    """An error for people, with the name it is about where that is known."""
    if not isinstance(error, OSError):
        return str(error)
    name = error.filename
    return f"{error.strerror} ({os.fsdecode(name)})" if isinstance(name, (str, bytes)) else str(error.strerror)


def beside(name: str, suffix: str) -> str:
    """The hidden name next to a directory for what is to take its place. A name too long for that is stood for by its digest."""
    raw = os.fsencode(name)
    if len(raw) + len(suffix) + 2 > 255:
        raw = hashlib.sha256(raw).hexdigest().encode()
    return f".{os.fsdecode(raw)}.{suffix}"


def check_machine(machine: str) -> None:
    """Refuse machines whose ioctl numbers are encoded in another way than computed here."""
    if machine.startswith(_OTHER_ENCODING):
        raise BtrfsError(f"inode flags on {machine} machines are not supported: their ioctl numbers differ")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def fstype(fd: int) -> str:
    """The file system type below an open descriptor, C(0x...) when it has no name here."""
    buffer = ctypes.create_string_buffer(512)
    _checked(_libc().fstatfs(ctypes.c_int(fd), buffer), "fstatfs")
    layout = "@I" if os.uname().machine.startswith("s390") else "@l"
    magic = struct.unpack_from(layout, buffer)[0] & 0xFFFFFFFF
    return _TYPES.get(magic, f"0x{magic:x}")


def syncfs(fd: int) -> None:
    """Write out the whole file system of fd. One call in place of an fsync for each file."""
    _checked(_libc().syncfs(ctypes.c_int(fd)), "syncfs")


def rename_exchange(parent: int, one: str, other: str) -> None:
    """Swap two names in one directory, atomically."""
    _checked(
        _libc().renameat2(
            ctypes.c_int(parent), ctypes.c_char_p(os.fsencode(one)), ctypes.c_int(parent), ctypes.c_char_p(os.fsencode(other)), ctypes.c_uint(_RENAME_EXCHANGE)
        ),
        "renameat2",
    )


def get_flags(fd: int) -> int:
    """The inode flag word (FS_*_FL)."""
    buffer = bytearray(_WORD)
    fcntl.ioctl(fd, _GETFLAGS, buffer, True)
    return t.cast(int, struct.unpack_from("=I", buffer)[0])


def set_flags(fd: int, flags: int) -> int:
    """Set the whole flag word and return what it is afterwards, which need not be what was asked."""
    fcntl.ioctl(fd, _SETFLAGS, struct.pack("=II", flags, 0))
    return get_flags(fd)


def explain(error: OSError, fd: int, flags: int) -> str:
    """Why SETFLAGS refused, in words that say what to do."""
    if error.errno in (errno.EPERM, errno.EACCES):
        if flags & FROZEN:
            return "it is immutable or append-only (chattr -i -a removes that)"
        return f"it belongs to uid {os.fstat(fd).st_uid}: run as that account or as root (CAP_FOWNER), not as uid {os.geteuid()}"
    if error.errno == errno.EROFS:
        return "it is read-only"
    if error.errno == errno.EINVAL and flags & COMPRESSION:
        return "it has a compression attribute, which excludes NOCOW"
    return os.strerror(error.errno or 0)


def set_nocow(fd: int, wanted: bool, name: str, clear_compression: bool = False) -> bool:
    """Give fd the NOCOW state wanted, keeping every other flag. Returns whether it had to change.

    With clear_compression the attributes c and m go first, in a call of their own: the kernel checks the old flags.

    Raises BtrfsError when the kernel refuses, or accepts and does nothing (a file which has data).
    """
    flags = get_flags(fd)
    if bool(flags & FS_NOCOW) == wanted:
        return False
    try:
        if wanted and clear_compression and flags & COMPRESSION:
            flags = set_flags(fd, flags & ~COMPRESSION)
        after = set_flags(fd, flags | FS_NOCOW if wanted else flags & ~FS_NOCOW)
    except OSError as error:
        raise BtrfsError(f"{name}: cannot {'set' if wanted else 'clear'} the NOCOW flag: {explain(error, fd, flags)}") from error
    if bool(after & FS_NOCOW) != wanted:
        reason = "it has data in it" if stat.S_ISREG(os.fstat(fd).st_mode) else "the file system does not keep it"
        raise BtrfsError(f"{name}: the kernel accepted the change of the NOCOW flag and did nothing: {reason}")
    return True


def is_subvolume(info: os.stat_result, kind: str) -> bool:
    return kind == BTRFS and stat.S_ISDIR(info.st_mode) and info.st_ino == SUBVOLUME_ROOT_INODE


def subvolume_id(fd: int) -> int:
    """Number of the subvolume that holds fd."""
    buffer = bytearray(4096)
    struct.pack_into("=QQ", buffer, 0, 0, SUBVOLUME_ROOT_INODE)
    fcntl.ioctl(fd, _INO_LOOKUP, buffer, True)
    return t.cast(int, struct.unpack_from("=Q", buffer)[0])


def filesystem_id(fd: int) -> str:
    """The UUID of the btrfs that holds fd."""
    info = bytearray(1024)
    fcntl.ioctl(fd, _FS_INFO, info, True)
    return str(uuid.UUID(bytes=bytes(info[16:32])))


def is_readonly_subvolume(fd: int) -> bool:
    buffer = bytearray(8)
    fcntl.ioctl(fd, _SUBVOL_GETFLAGS, buffer, True)
    return bool(struct.unpack_from("=Q", buffer)[0] & _SUBVOL_RDONLY)


def unallocated(fd: int) -> tuple[int, int] | None:
    """Bytes of a btrfs on all its devices, and how many of them belong to no chunk yet. None when the kernel does not tell.

    A btrfs without unallocated room cannot make a new metadata chunk and stops writing, whatever df says.
    """
    info = bytearray(1024)
    total = used = 0
    try:
        fcntl.ioctl(fd, _FS_INFO, info, True)
        last, devices = struct.unpack_from("=QQ", info)
        for number in range(last + 1):
            device = bytearray(4096)
            struct.pack_into("=Q", device, 0, number)
            try:
                fcntl.ioctl(fd, _DEV_INFO, device, True)
            except OSError:
                continue  # numbers of removed devices are not used again
            devices -= 1
            occupied, size = struct.unpack_from("=QQ", device, 24)
            total, used = total + size, used + occupied
    except OSError:
        return None
    return (total, total - used) if total and not devices else None


def _volume_args(name: str) -> bytearray:
    raw = os.fsencode(name)
    if not raw or b"/" in raw or len(raw) > 255:
        raise BtrfsError(f"{name!r} is not a name for a subvolume")
    # A mutable buffer: Python passes it as it is, while it limits bytes to 1024.
    return bytearray(struct.pack("=q4088s", 0, raw))


def create_subvolume(parent: int, name: str) -> None:
    """Make the subvolume name below the open (not O_PATH) directory, mode 0700."""
    umask = os.umask(0o077)
    try:
        fcntl.ioctl(parent, _SUBVOL_CREATE, _volume_args(name), True)
    finally:
        os.umask(umask)


def delete_subvolume(parent: int, name: str) -> None:
    """Delete a whole subvolume at once. The kernel refuses a subvolume that has others in it, and unprivileged callers."""
    fcntl.ioctl(parent, _SNAP_DESTROY, _volume_args(name), True)
