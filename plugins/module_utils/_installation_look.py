# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies where an installation of Immich should be: host, account, database and library, as plain data. Reads only.

The directories are in the account's reach: they are opened without following links, and what is read there is limited. Private to the
collection.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import pwd
import stat
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_owner, _btrfs_walk, _pg_control, _reach
from ansible_collections.patriark.homelab.plugins.module_utils._installation_record import read_mark
from ansible_collections.patriark.homelab.plugins.module_utils._regular_file import read_bytes, read_text
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session

# Immich keeps a marker in each of its folders, and does not start when one is gone.
FOLDERS = ("backups", "encoded-video", "library", "profile", "thumbs", "upload")
MARKER = ".immich"
_LINKS = ("pg_wal", "pg_tblspc")
_MANY = 1000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def host() -> dict[str, str]:
    """The machine's id is nobody else's business: a digest of it is kept."""
    try:
        number = read_text("/etc/machine-id", 4096).strip()
    except OSError:
        number = ""
    return {"id": hashlib.sha256(f"patriark.homelab {number}".encode()).hexdigest()[:32], "name": platform.node()}


def account(session: Session) -> dict[str, t.Any]:
    """uid is -1 while there is no such account."""
    principals = (_btrfs_owner.owner(session.user), _btrfs_owner.group(session.user)) if session.exists and session.user else (None, None)
    ranges = [[list(pair) for pair in principal.delegated] if principal else [] for principal in principals]
    return {"name": session.user or "root", "uid": session.uid, "subuids": ranges[0], "subgids": ranges[1]}


def name_of(uid: int, session_user: str | None) -> str:
    """The account that has this uid, as its own or as a subordinate one; the wanted account's before others. Empty when nobody has."""
    wanted = _btrfs_owner.owner(session_user) if session_user else None
    if wanted and wanted.covers(uid):
        return str(session_user)
    for entry in pwd.getpwall():
        if entry.pw_uid == uid:
            return entry.pw_name
    with contextlib.suppress(OSError):
        for line in read_text("/etc/subuid").splitlines():
            fields = line.split(":")
            if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit() and int(fields[1]) <= uid < int(fields[1]) + int(fields[2]):
                return fields[0]
    return ""


@contextlib.contextmanager
def opened(path: str) -> t.Iterator[int]:
    with _reach.parent(path) as (above, name):
        handle = os.open(name, _DIRECTORY, dir_fd=above)
    try:
        yield handle
    finally:
        os.close(handle)


def place(path: str, look: t.Callable[[int], dict[str, t.Any]]) -> dict[str, t.Any]:
    """A directory and what look finds in it. state: there, empty, absent, or why it cannot be read."""
    found: dict[str, t.Any] = {"path": path, "state": "absent", "owner": None, "mark": None}
    try:
        found["owner"] = os.lstat(path).st_uid
        with opened(path) as handle:
            info = os.fstat(handle)
            found.update(owner=info.st_uid, inode=info.st_ino, mark=read_mark(handle), **numbered(handle))
            with os.scandir(handle) as entries:
                found["state"] = "empty" if next(entries, None) is None else "there"
            found.update(look(handle))
    except FileNotFoundError:
        pass
    except PermissionError:
        found["state"] = "closed"
    except OSError as error:
        found["state"] = error.strerror or str(error)
    return found


def numbered(handle: int) -> dict[str, t.Any]:
    """The file system's own id and the number of the subvolume, where that is btrfs. The kernel's number of a device changes with each boot."""
    with contextlib.suppress(OSError):
        if _btrfs.fstype(handle) == _btrfs.BTRFS:
            return {"filesystem": _btrfs.filesystem_id(handle), "subvolume": _btrfs.subvolume_id(handle)}
    return {}


def database(handle: int) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {"major": "", "identifier": "", "checkpoint": 0, "time": 0, "outside": list(_outside(handle))}
    with contextlib.suppress(OSError):
        found["major"] = read_text("PG_VERSION", 64, handle).strip()
    with contextlib.suppress(OSError):
        below = os.open("global", _DIRECTORY, dir_fd=handle)
        try:
            control = _pg_control.parse(read_bytes("pg_control", _pg_control.SIZE, below))
        finally:
            os.close(below)
        if control:
            found.update(control._asdict())
    return found


def _outside(handle: int) -> t.Iterator[str]:
    """Links in the data directory that lead out of it."""
    names = list(_LINKS)
    with contextlib.suppress(OSError):
        below = os.open("pg_tblspc", _DIRECTORY, dir_fd=handle)
        try:
            names += [f"pg_tblspc/{name}" for name in sorted(os.listdir(below))[:_MANY]]
        finally:
            os.close(below)
    for name in names:
        with contextlib.suppress(OSError):
            target = os.readlink(name, dir_fd=handle)
            if _pg_control.leads_out(name, target):
                yield f"{name} -> {_btrfs_walk.printable(target)}"


def library(handle: int) -> dict[str, t.Any]:
    found = []
    for folder in FOLDERS:
        with contextlib.suppress(OSError):
            below = os.open(folder, _DIRECTORY, dir_fd=handle)
            try:
                if stat.S_ISREG(os.stat(MARKER, dir_fd=below, follow_symlinks=False).st_mode):
                    found.append(folder)
            finally:
                os.close(below)
    return {"markers": found}


# What an account may read only as container root: the same facts, each on lines of its own.
_SCRIPT = """
cd "$0" || exit
cat PG_VERSION; echo
od -An -v -tx1 -N 40 global/pg_control | tr -d ' \\n'; echo
for name in pg_wal pg_tblspc pg_tblspc/*; do test -L "$name" && echo "$name $(readlink "$name")"; done
"""


def through_container(session: Session, path: str) -> dict[str, t.Any]:
    """The database of an account that looks itself: it belongs to a subordinate id."""
    rc, out, _err = session.podman("unshare", "timeout", "20", "sh", "-c", _SCRIPT, path)
    lines = [line for line in out.splitlines() if line]
    if rc != 0 and len(lines) < 2:
        return {}
    try:
        control = _pg_control.parse(bytes.fromhex(lines[1]))
    except (ValueError, IndexError):
        control = None
    links = (line.partition(" ") for line in lines[2:])
    return {
        "state": "there",
        "major": lines[0] if lines else "",
        "identifier": control.identifier if control else "",
        "checkpoint": control.checkpoint if control else 0,
        "time": control.time if control else 0,
        "outside": [f"{name} -> {target}" for name, _blank, target in links if _pg_control.leads_out(name, target)],
    }


def look_database(session: Session, path: str) -> dict[str, t.Any]:
    found = {"major": "", "identifier": "", "checkpoint": 0, "time": 0, "outside": [], **place(path, database)}
    if found["state"] == "closed" and os.geteuid() != 0 and session.exists:
        found.update(through_container(session, path))
    return found


def look_library(path: str) -> dict[str, t.Any]:
    return {"markers": [], **place(path, library)}
