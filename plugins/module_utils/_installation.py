# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation of Immich on this host: looked at, judged, and written down. Private to the collection."""

from __future__ import annotations

import contextlib
import os
import typing as t
import uuid

from ansible_collections.patriark.homelab.plugins.module_utils import (
    _immich_host,
    _installation_look,
    _installation_record,
    _installation_verdict,
    _installation_words,
)
from ansible_collections.patriark.homelab.plugins.module_utils._installation_record import Damaged, Record
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node, read_quietly, remove_file, write_node


class Installation:
    """The directories that the inventory names, beside the record of this host."""

    def __init__(self, session: Session, stack: str, database: str | None, library: str) -> None:
        self.session, self.stack, self.database, self.library = session, stack, database, library
        self.path = _installation_record.path(session, stack)
        self.damage = ""
        self.record: Record | None = None
        try:
            self.record = _installation_record.load(session, stack)
        except Damaged as error:
            self.damage = f"{self.path}: {error}"

    def look(self) -> dict[str, t.Any]:
        found: dict[str, t.Any] = {
            "host": _installation_look.host(),
            "account": _installation_look.account(self.session),
            "database": _installation_look.look_database(self.session, self.database) if self.database else None,
            "library": _installation_look.look_library(self.library),
        }
        was = self.record.database if self.record else None
        if was and was["path"] != self.database:
            found["before"] = _installation_look.look_database(self.session, was["path"])
        for place in (found["database"], found["library"]):
            if place and place["owner"] is not None:
                place["owner_name"] = _installation_look.name_of(place["owner"], self.session.user)
        return found

    def verdict(self, accept: str) -> dict[str, t.Any]:
        found = self.look()
        return _installation_words.result(_installation_verdict.judge(self.record, self.damage, found, accept), self.record, self.damage, found)

    # ---- writing

    def begun(self) -> Record:
        """One that holds nothing yet."""
        return Record(
            installation=str(uuid.uuid4()),
            host=_installation_look.host(),
            account=_installation_look.account(self.session),
            database={"path": self.database} if self.database else None,
            library={"path": self.library},
        )

    def present(self, server: str) -> Record:
        found = self.look()
        record = self.record or self.begun()
        with self.session.files():
            unit = read_quietly(os.path.join(self.session.unit_dir, self.stack, f"{server}.container"))
        database, library = found["database"], found["library"]
        keys = ("path", "major", "identifier", "checkpoint", "time", *_installation_verdict.NUMBERED, "inode")
        return Record(
            installation=record.installation,
            host=found["host"],
            account=found["account"],
            database={key: database[key] for key in keys if key in database} if database else None,
            library={key: library[key] for key in ("path", "markers", *_installation_verdict.NUMBERED, "inode") if key in library},
            held=record.held or _installation_verdict.holds_library(library),
            immich=_immich_host.image_of(unit.content) if unit else "",
        )

    def write(self, record: Record, begun: bool, dry: bool) -> bool:
        """Marks, record, and what the units compare with. Returns whether anything changed."""
        changed = False
        if not begun:
            for place in (record.database, record.library):
                if place and place.get("inode"):
                    changed = self._mark(place, record, dry) or changed
        changed = self.record is None or self.record.text() != record.text() or changed
        if not dry:
            # The record comes last: whoever is killed before has one that does not fit, and the next run does all of it again.
            self._leave(record)
            self._guards(record)
            _installation_record.save(self.session, self.stack, record)
        return changed

    def _mark(self, place: dict[str, t.Any], record: Record, dry: bool) -> bool:
        wanted = {"installation": record.installation, "host": record.host["id"], "host_name": record.host["name"], "account": record.account["name"]}
        with contextlib.suppress(OSError), _installation_look.opened(place["path"]) as handle:
            if _installation_record.read_mark(handle) == wanted:
                place["marked"] = True
                return False
            place["marked"] = dry or _installation_record.write_mark(handle, wanted)
            return bool(place["marked"])
        place["marked"] = False
        return False

    def _leave(self, record: Record) -> None:
        """What the library moved away from says so from now on: nothing else could tell that it lacks the photos which come later."""
        was = self.record
        if was is None or was.installation != record.installation or was.library["path"] == record.library["path"]:
            return
        with contextlib.suppress(OSError), _installation_look.opened(was.library["path"]) as old, _installation_look.opened(record.library["path"]) as new:
            mark = _installation_record.read_mark(old)
            if mark and mark.get("installation") == record.installation and not os.path.samestat(os.fstat(old), os.fstat(new)):
                _installation_record.write_mark(old, {**mark, "left": record.library["path"]})

    def _guards(self, record: Record) -> None:
        """In the account's own reach, as its units are: they keep from mistakes, not from the account."""
        if not self.session.exists:
            return
        wanted = {"database": (record.database or {}).get("identifier", ""), "library": " ".join(record.library.get("markers", []))}
        with self.session.files():
            for what, text in wanted.items():
                where = _installation_record.guard_path(self.session, self.stack, what)
                node = Node(text + "\n", 0o600)
                if not (record.held and text):
                    remove_file(where)
                elif read_quietly(where) != node:
                    write_node(where, node)
