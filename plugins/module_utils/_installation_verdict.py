# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is what lies here the installation that was recorded? Pure: the record and what was found, to findings without a word for people.

_installation_words has a sentence for each case. Private to the collection.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._installation_record import Record

Found = t.Mapping[str, t.Any]
SUBJECTS = ("record", "host", "account", "database", "files", "library")
# How a file system and what it numbers in it are told: a restored snapshot has other ones, and is the same library.
NUMBERED = ("filesystem", "subvolume")


@dataclasses.dataclass(frozen=True)
class Finding:
    """subject: what is another one. case: in which way. which: the names it is about. final: no token accepts it."""

    subject: str
    case: str
    which: tuple[str, ...] = ()
    final: bool = False


@dataclasses.dataclass(frozen=True)
class Verdict:
    """findings stop everything; news (cases) are told. token: the word that accepts exactly these findings.

    stale: whether the record or a mark has to be written after the deployment, begin: whether before. password: whether that of the
    database stayed with another account or host.
    """

    findings: tuple[Finding, ...]
    news: tuple[str, ...]
    token: str
    accepted: bool
    stale: bool
    begin: bool
    password: bool

    @property
    def stops(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.final or not self.accepted)


def holds_database(place: Found | None) -> bool:
    return bool(place and place["identifier"])


def holds_library(place: Found) -> bool:
    return bool(place["markers"])


def of_account(place: Found | None, account: Found) -> bool:
    """Whether the account, by itself or by a subordinate id, owns the directory."""
    owner = place["owner"] if place else None
    return owner is not None and (owner == account["uid"] or any(first <= owner < first + count for first, count in account["subuids"]))


def judge(record: Record | None, damage: str, found: Found, accept: str = "") -> Verdict:
    """found: host, account, database (None: elsewhere), library; before: the database at the recorded place, when that is another."""
    looks: list[Finding | None]
    if damage:
        looks = [Finding("record", "damaged")]
    elif record is None:
        looks = [_foreign_mark(found), _foreign_owner(found), _half(found)]
    else:
        looks = [check(record, found) for check in (_host, _account, _database, _library)]
    if found["database"] and found["database"]["outside"]:
        looks.append(Finding("files", "outside", final=True))
    findings = tuple(look for look in looks if look)
    word = token(record, damage, found, [finding.subject for finding in findings]) if findings else ""
    accepted = bool(findings) and accept == word
    fresh = record is None or bool(damage) or accepted
    return Verdict(
        findings=findings,
        news=_news(record, found) if record else _first(found) if not findings else (),
        token=word,
        accepted=accepted,
        stale=fresh or (record is not None and differs(record, found)),
        begin=fresh,
        password=holds_database(found["database"]) and _elsewhere(record, found),
    )


def token(record: Record | None, damage: str, found: Found, subjects: t.Sequence[str]) -> str:
    """Accepts what was found now, and nothing that may be found later."""
    database = found["database"] or {}
    parts: list[t.Any] = [
        record.installation if record else damage,
        found["host"]["id"],
        found["account"]["name"],
        found["account"]["uid"],
        found["account"]["subuids"],
        [database.get(key) for key in ("path", "identifier", "state")],
        [found["library"][key] for key in ("path", "state", "markers")],
        # A copy beside the recorded database does not run, so its age stays.
        age(database) if found.get("before") else None,
        [belongs_to(place) for place in (found["database"], found["library"]) if place],
        subjects,
    ]
    return "new-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]


def differs(record: Record, found: Found) -> bool:
    """Whether the record, or a mark, is not what a deployment that has just succeeded would write."""
    database, library = found["database"], found["library"]
    marked = record.library.get("marked") is False or belongs_to(library) == record.installation
    same_database = (record.database or {}).get("path") == (database or {}).get("path")
    if database and record.database:
        marked = marked and (record.database.get("marked") is False or belongs_to(database) == record.installation)
        same_database = same_database and record.database.get("identifier") == database["identifier"]
    return not (
        marked
        and same_database
        and record.held
        and record.library["path"] == library["path"]
        and record.account == found["account"]
        and record.immich == found.get("immich", record.immich)
        and all(_numbers(was) == _numbers(now) for was, now in ((record.database, database), (record.library, library)))
    )


def age(database: Found) -> tuple[int, int]:
    """Grows as long as the database lives: with each checkpoint, and with each start and stop."""
    return database.get("checkpoint", 0), database.get("time", 0)


def belongs_to(place: Found) -> str:
    """The installation whose directory that is. One that the library has moved away from is nobody's."""
    mark = place["mark"] or {}
    return "" if mark.get("left") else str(mark.get("installation", ""))


def _elsewhere(record: Record | None, found: Found) -> bool:
    """Whether the secrets that go with the database were made for others. A clone has its own copy of them."""
    if record is None:
        return _foreign_mark(found) is not None
    return record.held and record.account["name"] != found["account"]["name"]


def _numbers(place: Found | None) -> list[t.Any]:
    return [(place or {}).get(key) for key in NUMBERED]


# ---------------------------------------------------------------------------------------------------------------- without a record


def _foreign_mark(found: Found) -> Finding | None:
    for name in ("database", "library"):
        mark = found[name]["mark"] if found[name] else None
        if mark and mark.get("host") != found["host"]["id"]:
            return Finding("host", "foreign_mark", (name,))
    return None


def _foreign_owner(found: Found) -> Finding | None:
    for name, held in (("database", holds_database(found["database"])), ("library", holds_library(found["library"]))):
        place = found[name]
        if place and held and place["owner"] not in (0, None) and not of_account(place, found["account"]):
            return Finding("account", "foreign_owner", (name,), final=True)
    return None


def _half(found: Found) -> Finding | None:
    database, library = found["database"], found["library"]
    if holds_library(library) and database is not None and not holds_database(database):
        return Finding("database", "lacking")
    if holds_database(database) and not holds_library(library):
        return Finding("library", "lacking")
    return None


def _first(found: Found) -> tuple[str, ...]:
    return ("taken",) if holds_database(found["database"]) and holds_library(found["library"]) else ()


# ---------------------------------------------------------------------------------------------------------------- with a record


def _host(record: Record, found: Found) -> Finding | None:
    return None if record.host["id"] == found["host"]["id"] else Finding("host", "another")


def _account(record: Record, found: Found) -> Finding | None:
    was, now = record.account, found["account"]
    if was == now or (was["name"] == now["name"] and now["uid"] == -1 and not record.held):
        return None
    if was["name"] == now["name"] and was["uid"] == now["uid"] and not _lost(was, now):
        return None
    # Moved by hand already: all of it belongs to the new account.
    if now["uid"] >= 0 and of_account(found["library"], now) and (found["database"] is None or of_account(found["database"], now)):
        return None
    # What is there cannot be used by another account, whatever anybody accepts.
    robbed = holds_database(found["database"]) or holds_library(found["library"])
    return Finding("account", "another" if was["name"] != now["name"] else "other_ids", final=robbed)


def _lost(was: Found, now: Found) -> bool:
    """Whether a range of subordinate ids is not there any more; further ones do no harm."""
    return any(pair not in now.get(key, []) for key in ("subuids", "subgids") for pair in was.get(key, []))


def _database(record: Record, found: Found) -> Finding | None:
    was, now, before = record.database, found["database"], found.get("before")
    if not record.held:
        return None
    if was is None:
        return _half(found)
    if now is None:
        return Finding("database", "external")
    if now["identifier"] and now["identifier"] == was.get("identifier"):
        behind = before and before["identifier"] == now["identifier"] and age(before) > age(now)
        return Finding("database", "behind") if behind else None
    return Finding("database", "another")


def _library(record: Record, found: Found) -> Finding | None:
    was, now = record.library, found["library"]
    if not record.held:
        return None
    gone = tuple(folder for folder in was.get("markers", []) if folder not in now["markers"])
    if gone:
        return Finding("library", "markers", gone)
    if belongs_to(now) != record.installation and was.get("marked", True):
        return Finding("library", "left" if (now["mark"] or {}).get("left") else "another")
    return None


def _news(record: Record, found: Found) -> tuple[str, ...]:
    """What is told and stops nothing: it is the same installation."""
    was, now = record.database, found["database"]
    same = bool(was and now and now["identifier"] and now["identifier"] == was.get("identifier"))
    told = {
        "older": same and age(now) < age(was or {}),
        "database_moved": same and now["path"] != (was or {})["path"],
        "database_restored": same and _restored(was or {}, now),
        "library_moved": found["library"]["path"] != record.library["path"],
        "library_restored": _restored(record.library, found["library"]),
        "account_moved": record.account["name"] != found["account"]["name"],
    }
    return tuple(case for case, true in told.items() if true)


def _restored(was: Found, now: Found) -> bool:
    """At the same path, but in another subvolume or file system. A record of an older release does not know in which it was."""
    return was["path"] == now["path"] and any(was.get(key) and now.get(key) and was[key] != now[key] for key in NUMBERED)
