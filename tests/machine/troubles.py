# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fails because of the host says so: a file system without room, no loop device that is free."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import subprocess
import typing as t

ROOM = ("No space left on device", "enough free space")
MARKS = (*ROOM, "E: ", "error: ", "fatal: ", "npm ERR!")
FULL = 256 << 20  # bytes: with less than this left, it is no wonder that something failed


@contextlib.contextmanager
def explained(path: pathlib.Path) -> t.Iterator[None]:
    """Around work on files below this path. What is written through a loop device fails as an input/output error, which tells nobody anything."""
    try:
        yield
    except (OSError, SystemExit, subprocess.CalledProcessError) as error:
        reasons = [*no_room(path, str(error)), *no_loop_device(str(error))]
        said = str(error)
        if not reasons or any(reason in said for reason in reasons):
            raise
        raise SystemExit("\n".join([said, *reasons])) from error


def gist(log: str) -> str:
    """How a long log ends, and before that the first lines in it that name an error: the end may be nothing but consequences."""
    end = log[-2500:]
    errors = [line[:300] for line in log[: -len(end)].splitlines() if any(mark in line for mark in MARKS)]
    return "\n".join([*errors[:5], end])


def no_room(path: pathlib.Path, said: str) -> list[str]:
    """Who ran out of room may have tidied up since."""
    free = shutil.disk_usage(path).free
    if free > FULL and not any(words in said for words in ROOM):
        return []
    return [f"machine: the file system on {mountpoint(path)} is full: {free >> 20} MiB are left now, for {path}"]


def mountpoint(path: pathlib.Path) -> pathlib.Path:
    path = path.resolve()
    return next(one for one in (path, *path.parents) if one.is_mount())


def no_loop_device(said: str) -> list[str]:
    if "loop device" not in said and subprocess.run(["losetup", "--find"], check=False, capture_output=True).returncode == 0:
        return []
    return ["machine: no loop device is free: `losetup --list` shows whose they are, and `machine destroy --stale` frees those of dead runs"]
