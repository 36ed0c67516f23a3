# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies at a path and how much room its file system has. Reads only.

Private to the collection.
"""

from __future__ import annotations

import os
import re
import stat
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BTRFS, fstype, unallocated

_KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISLNK, "link"))


def kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "other")


def percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def mount_points(text: str) -> list[str]:
    """The mount points in the text of /proc/self/mountinfo."""
    fields = (line.split() for line in text.splitlines())
    return [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field[4]) for field in fields if len(field) > 4]


def mount_point(path: str, mounts: t.Iterable[str]) -> str:
    """The mount an existing path is on. A btrfs subvolume is a device of its own and yet no mount, so devices do not tell."""
    path = os.path.realpath(path)
    above = [mount for mount in mounts if path == mount or path.startswith(mount.rstrip("/") + "/")]
    return max(above, key=len, default="/")


def describe(path: str, mounts: t.Iterable[str]) -> dict[str, t.Any]:
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
        "mount": mount_point(path, mounts),
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
