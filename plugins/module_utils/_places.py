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

from ansible_collections.patriark.homelab.plugins.module_utils import _reach as reach
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


def mount_point(real: str, mounts: t.Iterable[str]) -> str:
    """The mount an existing path, without links, is on. A btrfs subvolume is a device of its own and yet no mount, so devices do not tell."""
    above = [mount for mount in mounts if real == mount or real.startswith(mount.rstrip("/") + "/")]
    return max(above, key=len, default="/")


def describe(path: str, mounts: t.Iterable[str]) -> dict[str, t.Any]:
    """One path; of one that is not there nothing but that. A link at its end is not followed, nor one on the way that others could have made."""
    try:
        real = reach.canonical(path)
        folder = reach.open_path(os.path.dirname(real))
    except reach.Misled as error:
        return {"exists": False, "reason": error.strerror}
    except OSError:
        return {"exists": False, "reason": None}
    try:
        handle = os.open(os.path.basename(real) or ".", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return {"exists": False, "reason": None}
    finally:
        os.close(folder)
    try:
        return _describe(handle, mount_point(real, mounts))
    finally:
        os.close(handle)


def _describe(handle: int, mount: str) -> dict[str, t.Any]:
    """What an open path (O_PATH, so that nothing waits for it and no device acts) is."""
    info = os.fstat(handle)
    result: dict[str, t.Any] = {
        "exists": True,
        "kind": kind(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "mode": f"{stat.S_IMODE(info.st_mode):04o}",
        "size": info.st_size,
        "mount": mount,
        "reason": None,
    }
    try:
        room = os.fstatvfs(handle)
        # What an ordinary account may still write, of what all accounts together could.
        result.update(total=room.f_blocks * room.f_frsize, free=room.f_bavail * room.f_frsize)
        result["free_percent"] = percent(room.f_bavail, room.f_blocks)
        if result["kind"] not in ("file", "directory"):
            return result
        opened = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        result["reason"] = error.strerror
        return result
    try:
        result["fstype"] = fstype(opened)
        if result["fstype"] == BTRFS:
            space = unallocated(opened)
            result["unallocated"] = space[1] if space else None
            result["unallocated_percent"] = percent(space[1], space[0]) if space else None
    finally:
        os.close(opened)
    return result
