# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies at a path and how much room its file system has. Reads only.

Private to the collection.
"""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BTRFS, fstype, unallocated

_KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link"))


def kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "other")


def percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def mount_point(path: str) -> str:
    """The mount an existing path is on."""
    path = os.path.realpath(path)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def describe(path: str) -> dict[str, t.Any]:
    """One path; of one that is not there nothing but that. A link at its end is not followed."""
    try:
        info = os.lstat(path)
    except OSError:
        return {"exists": False, "reason": None}
    result: dict[str, t.Any] = {
        "exists": True,
        "kind": kind(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "mode": f"{stat.S_IMODE(info.st_mode):04o}",
        "size": info.st_size,
        "mount": mount_point(path),
        "reason": None,
    }
    try:
        room = os.statvfs(path)
        # What an ordinary account may still write, of what all accounts together could.
        result.update(total=room.f_blocks * room.f_frsize, free=room.f_bavail * room.f_frsize)
        result["free_percent"] = percent(room.f_bavail, room.f_blocks)
        if result["kind"] not in ("file", "directory"):
            return result
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        result["reason"] = error.strerror
        return result
    try:
        result["fstype"] = fstype(handle)
        if result["fstype"] == BTRFS:
            space = unallocated(handle)
            result["unallocated"] = space[1] if space else None
            result["unallocated_percent"] = percent(space[1], space[0]) if space else None
    finally:
        os.close(handle)
    return result
