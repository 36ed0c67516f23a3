# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The media location: six folders, each with a marker that proves that the right file system is mounted."""

from __future__ import annotations

import errno
import os
import time
import typing as t

from immich_server import logs

FOLDERS = ("encoded-video", "library", "upload", "profile", "thumbs", "backups")
DOCS = "Please see https://docs.immich.app/administration/system-integrity#folder-checks for more information."


class StorageError(Exception):
    """A folder check failed: the worker must not start."""


def describe(error: OSError) -> str:
    """An error in the words of the original's runtime: EACCES: permission denied, open '/data/x'."""
    return f"Error: {errno.errorcode.get(error.errno or 0, 'EUNKNOWN')}: {(error.strerror or '').lower()}, open '{error.filename}'"


def check_folders(
    media: str, known: t.Mapping[str, bool], log: logs.Logger, ignore_errors: bool = False, now: t.Callable[[], float] = time.time
) -> dict[str, bool]:
    """Make the markers of folders the database does not know, then read and rewrite all. Returns what the database must know now.

    A folder the database knows and whose marker is gone is the sign of a lost mount: C(StorageError). When errors are to be ignored the checks
    end with the first one, and the database learns nothing.
    """
    checks = dict(known)
    for folder in FOLDERS:
        marker = os.path.join(media, folder, ".immich")
        try:
            if not checks.get(folder):
                log.log(f"Writing initial mount file for the {folder} folder")
            check_folder(folder, marker, bool(checks.get(folder)), str(int(now() * 1000)), log)
        except StorageError as failure:
            if not ignore_errors:
                raise
            log.error(f"Error: {failure}")
            log.warn("Ignoring mount folder errors")
            return dict(known)
        checks[folder] = True
    return checks


def check_folder(folder: str, marker: str, known: bool, stamp: str, log: logs.Logger) -> None:
    """One folder's marker: made if the database does not know it, read, rewritten."""
    step = ""
    try:
        if not known:
            step = "create"
            os.makedirs(os.path.dirname(marker), exist_ok=True)
            try:
                with open(marker, "x", encoding="ascii") as handle:
                    handle.write(stamp)
            except FileExistsError:
                log.warn("Found existing mount file, skipping creation")
        step = "read"
        with open(marker, "rb") as reader:
            reader.read()
        step = "write"
        with open(marker, "r+", encoding="ascii") as handle:
            handle.truncate()
            handle.write(stamp)
    except OSError as error:
        log.error(f"Failed to {step} {f'({marker})' if step == 'read' else marker}: {describe(error)}")
        # The original names the path inside the container for the reading only.
        shown = f': "<UPLOAD_LOCATION>/{folder}/.immich ({marker})' if step == "read" else f' "<UPLOAD_LOCATION>/{folder}/.immich'
        raise StorageError(f'Failed to {step}{shown} - {DOCS}"') from error


def nested(media: str, folder: str, owner: str, name: str) -> str:
    """Path of a file in a folder: below its owner, two levels taken from the name."""
    return os.path.join(media, folder, owner, name[0:2], name[2:4], name)


def size_text(size: float) -> str:
    """Bytes for people: 252.0 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PiB"


def disk(media: str) -> dict[str, t.Any]:
    """Answer of the storage address, for the file system of the media location."""
    info = os.statvfs(media)
    total, free = info.f_blocks * info.f_frsize, info.f_bavail * info.f_frsize
    used = total - info.f_bfree * info.f_frsize
    answer: dict[str, t.Any] = {}
    for name, value in (("diskSize", total), ("diskUse", used), ("diskAvailable", free)):
        answer[name] = size_text(value)
        answer[name + "Raw"] = value
    answer["diskUsagePercentage"] = round(used / total * 100, 2) if total else 0.0
    return answer
