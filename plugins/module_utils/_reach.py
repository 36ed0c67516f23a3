# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths that run through directories of somebody else, who may put links into them at any time.

A link is followed where only root, or the account that runs us, could have made it: /srv that leads to another disk is an
administrator's word. Everywhere else it is refused, with both names. What is opened then is opened component by component
without following, so that a link that comes between looking and opening leads nobody away either.

Private to the collection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular

OPEN_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_HOPS = 40
_REMEDY = "give the real path, or put a directory in its place"


class Misled(OSError):
    """A link that others could have made; strerror says which, and the way on."""


class _Here(t.NamedTuple):
    """A directory on the way. ours: nobody but root and us can have put it, or anything above it, in its place."""

    path: str
    info: os.stat_result | None
    ours: bool


def _keeps(folder: _Here, entry: os.stat_result, trusted: t.Container[int]) -> bool:
    """Whether nobody but the trusted can have put the entry into the folder."""
    if not folder.ours or folder.info is None or folder.info.st_uid not in trusted:
        return False
    if not folder.info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return True
    return bool(folder.info.st_mode & stat.S_ISVTX) and entry.st_uid in trusted


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None  # what is not there, and what cannot be looked at, is the caller's to tell


def resolve(path: str) -> str:
    """The path without links. Raises Misled for a link that others than root, or the account that runs us, could have made."""
    trusted = {0, os.geteuid()}
    trail = [_Here("/", _stat("/"), True)]
    pending = path.split("/")[::-1]
    hops = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del trail[max(len(trail) - 1, 1) :]
            continue
        if part in ("", "."):
            continue
        folder = trail[-1]
        place = os.path.join(folder.path, part)
        info = _stat(place)
        ours = info is not None and _keeps(folder, info, trusted)
        if info is None or not stat.S_ISLNK(info.st_mode):
            trail.append(_Here(place, info, ours))
            continue
        target = os.readlink(place)
        if not ours:
            raise Misled(errno.ELOOP, f"{place} is a link to {target} that others than root could have made, and is not followed: {_REMEDY}", path)
        hops += 1
        if hops > _HOPS:
            raise Misled(errno.ELOOP, f"{place} is one of too many links", path)
        pending += target.split("/")[::-1]
        if target.startswith("/"):
            del trail[1:]
    return trail[-1].path


def canonical(path: str) -> str:
    """The path with the links of its ancestors resolved; the last component is kept as it is."""
    trimmed = path.rstrip("/")
    if os.path.basename(trimmed) in ("", ".", ".."):
        return resolve(path)
    return os.path.join(resolve(os.path.dirname(trimmed)), os.path.basename(trimmed))


def open_path(real: str) -> int:
    """Open the directory of a canonical path component by component, so that no link put there meanwhile is followed (O_PATH)."""
    fd = os.open("/", OPEN_PATH)
    try:
        return open_below(fd, real.strip("/"))
    finally:
        os.close(fd)


def open_below(root: int, relative: str) -> int:
    """Open a directory below root (O_PATH), component by component without following links."""
    fd = os.dup(root)
    for part in relative.split("/"):
        if not part:
            continue
        try:
            child = os.open(part, OPEN_PATH, dir_fd=fd)
        finally:
            os.close(fd)
        fd = child
    return fd


@contextlib.contextmanager
def parent(path: str) -> t.Iterator[tuple[int, str]]:
    """The directory that a path lies in, open (O_PATH), and its name in there."""
    real = canonical(path)
    fd = open_path(os.path.dirname(real))
    try:
        yield fd, os.path.basename(real)
    finally:
        os.close(fd)


def read_text(path: str, limit: int = regular.LIMIT) -> str:
    """A regular file in the reach of somebody else, for root. Raises OSError with the whole path in it."""
    with parent(path) as (fd, name):
        try:
            return regular.read_text(name, limit, dir_fd=fd)
        except OSError as error:
            error.filename = path
            raise


def obstacle(path: str) -> str | None:
    """What in a directory's path is no directory, or a link that root did not make, with the way on; None without any."""
    place = "/"
    for part in path.strip("/").split("/"):
        place = os.path.join(place, part)
        info = _stat(place)
        if info is None:
            return None
        if stat.S_ISLNK(info.st_mode) and info.st_uid == 0:
            continue
        if stat.S_ISLNK(info.st_mode):
            return f"{place} is a link to {os.readlink(place)}: take it away (rm {place})"
        if not stat.S_ISDIR(info.st_mode):
            return f"{place} is {regular.kind(info.st_mode)} and no directory: move it away"
    return None
