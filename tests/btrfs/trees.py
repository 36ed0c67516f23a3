# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tree with everything in it that a copy can lose, and a full description of one to compare."""

from __future__ import annotations

import hashlib
import os
import pathlib
import socket
import stat
import struct
import subprocess
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs
from ansible_collections.patriark.homelab.tests.btrfs.support import chattr, flags

TEMPORARY = ".patriark-convert-"
MARKERS = ("trusted.patriark.homelab.convert", "user.patriark.homelab.convert")
# user::rw-, user:1234:r--, group::r--, mask::r--, other::---
_ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *row) for row in ((1, 6, 2**32 - 1), (2, 4, 1234), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1))
)
# CAP_NET_BIND_SERVICE, permitted and effective
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


def _age(path: pathlib.Path | str, index: int) -> None:
    when = 1_600_000_000_123_456_789 + index * 1_000_000_007
    os.utime(path, ns=(when, when + 11), follow_symlinks=False)


def grow(root: pathlib.Path, small: bool = False) -> None:
    """Fill a directory. small: as little data as possible, one of everything."""
    base = root / "base"
    deep = base / "16384" / "deep"
    deep.mkdir(parents=True)
    (root / "empty_dir").mkdir()
    (root / "empty").touch()
    (root / "inline").write_bytes(b"4 B\n")
    for index in range(2 if small else 40):
        (base / "16384" / f"relation.{index}").write_bytes(os.urandom(9000 + index))
    (base / "large").write_bytes(os.urandom((1 << 16) if small else (9 << 20) + 17))
    hole = 1 << (16 if small else 20)
    with open(base / "holes", "wb") as stream:
        stream.seek(hole)
        stream.write(b"middle")
        stream.truncate(2 * hole)
    with open(base / "only_hole", "wb") as stream:
        stream.truncate(123456)
    (deep / "linked").write_bytes(os.urandom(5000))
    os.link(deep / "linked", root / "hard")
    os.link(deep / "linked", deep / "third")
    (root / "symlink").symlink_to("nowhere/at all")
    (root / "symdir").symlink_to("base")
    os.mkfifo(root / "fifo", 0o622)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(root / "s"))
    os.mknod(root / "null", 0o620 | stat.S_IFCHR, os.makedev(1, 3))
    with open(os.fsencode(root) + b"/new\nline\xff", "wb") as stream:
        stream.write(b"odd name")
    (deep / "setuid").write_bytes(b"#!\n")
    os.chown(deep / "setuid", 1234, 5678)
    os.chmod(deep / "setuid", 0o6751)
    (deep / "caps").write_bytes(b"elf")
    os.setxattr(deep / "caps", "security.capability", _CAPABILITY)
    (deep / "acl").write_bytes(b"for two")
    os.setxattr(deep / "acl", "system.posix_acl_access", _ACL)
    os.setxattr(deep / "acl", "user.note", b"\0binary\xff")
    os.setxattr(deep, "system.posix_acl_default", _ACL)
    os.setxattr(root / "symlink", "trusted.note", b"on a symlink", follow_symlinks=False)
    os.setxattr(deep / "acl", "trusted.note", b"root's")
    os.setxattr(root, "user.top", b"1")
    chattr("+Ad", deep / "caps")
    chattr("+S", base / "holes")
    chattr("+D", root / "empty_dir")
    for path in (root, base, base / "large", deep / "linked"):
        os.chown(path, 100998, 100998)
    os.chmod(deep, 0o500)
    os.chmod(root, 0o2700)
    for index, path in enumerate([*sorted(root.rglob("*"), reverse=True), root]):
        _age(path, index)


def describe(root: pathlib.Path, halfway: bool = False) -> dict[str, t.Any]:
    """Everything about a tree that a conversion has to keep.

    halfway: without what only the finished conversion restores (hard links and times of directories).
    """
    found: dict[str, t.Any] = {}
    groups: dict[tuple[int, int], list[str]] = {}
    top = os.fsencode(root)
    stack = [top]
    while stack:
        path = stack.pop()
        info = os.lstat(path)
        name = os.fsdecode(path[len(top) + 1 :]) or "."
        row: dict[str, t.Any] = {key: getattr(info, f"st_{key}") for key in ("mode", "uid", "gid", "mtime_ns")}
        if stat.S_ISDIR(info.st_mode):
            stack.extend(os.path.join(path, entry) for entry in os.listdir(path) if not entry.startswith(TEMPORARY.encode()))
            if halfway:
                del row["mtime_ns"]
        else:
            groups.setdefault((info.st_dev, info.st_ino), []).append(name)
            row["rdev"] = info.st_rdev
        if stat.S_ISREG(info.st_mode):
            with open(path, "rb") as stream:
                row["data"] = (info.st_size, hashlib.sha256(stream.read()).hexdigest())
        if stat.S_ISLNK(info.st_mode):
            row["target"] = os.readlink(path)
        if stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
            row["flags"] = flags(os.fsdecode(path)) & ~_btrfs.FS_NOCOW
        row["attributes"] = {key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False) if key not in MARKERS}
        found[name] = row
    for names in [] if halfway else groups.values():
        for name in names:
            found[name]["links"] = sorted(names)
    return found


def wrong(root: pathlib.Path, wanted: bool) -> list[str]:
    """Directories and regular files whose NOCOW state is not the one wanted."""
    found = []
    for path in [root, *root.rglob("*")]:
        mode = path.lstat().st_mode
        if (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and bool(flags(path) & _btrfs.FS_NOCOW) != wanted:
            found.append(str(path.relative_to(root)))
    return sorted(found)


def traces(root: pathlib.Path) -> list[str]:
    """What a conversion may have left: temporary files, siblings, markers."""
    found = [str(path) for path in root.parent.rglob("*") if "patriark-convert" in path.name]
    for path in [root, *root.rglob("*")]:
        found.extend(f"{path}: {key}" for key in os.listxattr(path, follow_symlinks=False) if key in MARKERS)
    return found


def snapshot(source: pathlib.Path, target: pathlib.Path, readonly: bool = False) -> None:
    subprocess.run(["btrfs", "-q", "subvolume", "snapshot", *(["-r"] if readonly else []), str(source), str(target)], check=True, capture_output=True)
