# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation of Immich is, written down: on the host, and at its directories.

The record is a file of root's (without root, of the account). The mark at a directory is an extended attribute: nothing of ours lies in
Immich's library, it goes with the directory when that is renamed, copied with its attributes or sent, and in the name space of root the
account can neither make nor change nor even see one. Private to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import stat
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._regular_file import read_text
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node, write_node

VERSION = 1
FOLDER = "installations"
_MARK = "patriark.homelab.installation"


@dataclasses.dataclass
class Record:
    """host: id and name. account: name, uid, ranges of subordinate ids. database and library: path and what tells one from another.

    held: whether the installation has ever held data. version: of the format.
    """

    installation: str
    host: dict[str, t.Any]
    account: dict[str, t.Any]
    database: dict[str, t.Any] | None
    library: dict[str, t.Any]
    held: bool = False
    immich: str = ""
    version: int = VERSION

    def text(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"


class Damaged(Exception):
    """There is a record that cannot be read; the text says why."""


def path(session: Session, stack: str) -> str:
    """One for the host where root keeps it, since the account may be what has changed."""
    base = "/var/lib/patriark.homelab" if os.geteuid() == 0 else session.state_dir
    return os.path.join(base, FOLDER, f"{stack}.json")


def guard_path(session: Session, stack: str, what: str) -> str:
    """What the account's units compare with before each start; %h is the account's home there."""
    return os.path.join(session.state_dir, f"{stack}.{what}")


def parse(text: str) -> Record:
    try:
        data = json.loads(text)
        record = Record(**data)
    except (ValueError, TypeError) as error:
        raise Damaged(f"{error}") from error
    kinds: dict[str, t.Any] = {
        "installation": str,
        "host": dict,
        "account": dict,
        "database": (dict, type(None)),
        "library": dict,
        "held": bool,
        "immich": str,
        "version": int,
    }
    for name, kind in kinds.items():
        if not isinstance(getattr(record, name), kind):
            raise Damaged(f"its {name} cannot be understood")
    needed = {"host": ("id", "name"), "account": ("name", "uid"), "library": ("path",), "database": ("path",) if record.database is not None else ()}
    for name, keys in needed.items():
        for key in keys:
            if key not in getattr(record, name):
                raise Damaged(f"it lacks the {key} of its {name}")
    if record.version > VERSION:
        raise Damaged(f"a newer release of the collection wrote it (format {record.version}, known is {VERSION})")
    return record


def load(session: Session, stack: str) -> Record | None:
    """None without one. Raises Damaged."""
    where = path(session, stack)
    try:
        info = os.lstat(where)
        if info.st_uid not in (0, os.geteuid()) or (stat.S_ISREG(info.st_mode) and info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            raise Damaged(f"others than root can write it (uid {info.st_uid}, mode {stat.S_IMODE(info.st_mode):04o})")
        return parse(read_text(where))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{error.strerror or error}") from error


def save(session: Session, stack: str, record: Record) -> None:
    """What was there before, of another installation or damaged, is kept beside it. At each moment there is one or the other, whole."""
    where = path(session, stack)
    with _alone(os.path.dirname(where)):
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            before = _raw(where)
            if f'"installation": "{record.installation}"'.encode() not in before:
                os.link(where, f"{where}.{hashlib.sha256(before).hexdigest()[:8]}.old", follow_symlinks=False)
        write_node(where, Node(record.text(), 0o600))


@contextlib.contextmanager
def _alone(folder: str) -> t.Iterator[None]:
    """Two runs at once write one after the other."""
    os.makedirs(folder, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _raw(where: str) -> bytes:
    """What a damaged record has in it, for a name of its own; a link or a directory has nothing."""
    info = os.lstat(where)
    if not stat.S_ISREG(info.st_mode):
        return b""
    with open(where, "rb") as stream:
        return stream.read()


# ---------------------------------------------------------------------------------------------------------------- marks


def _attributes() -> tuple[str, ...]:
    return (f"trusted.{_MARK}", f"user.{_MARK}") if os.geteuid() == 0 else (f"user.{_MARK}",)


def read_mark(handle: int) -> dict[str, t.Any] | None:
    """The mark at an open directory. That of root counts more than one anybody could have made."""
    for name in _attributes():
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(os.getxattr(handle, name))
            if isinstance(found, dict):
                return found
    return None


def write_mark(handle: int, mark: t.Mapping[str, t.Any]) -> bool:
    """Whether the file system took it: not all of them know attributes."""
    for name in _attributes():
        try:
            os.setxattr(handle, name, json.dumps(mark, sort_keys=True).encode())
        except OSError:
            continue
        return True
    return False
