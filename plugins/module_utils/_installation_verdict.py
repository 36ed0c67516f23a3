# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is what lies here the installation that was recorded? Pure: the record, what was found, and one sentence for each difference.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._installation_record import Record
from ansible_collections.patriark.homelab.plugins.module_utils._pg_control import position

Found = t.Mapping[str, t.Any]
SUBJECTS = ("record", "host", "account", "database", "files", "library")
AS_RECORDED = "as recorded"
# Of a directory: there is room for what is moved.
_FREE = ("absent", "empty")


@dataclasses.dataclass
class Finding:
    """found and recorded are the two sides in a few words; lost and back complete the sentence. final: no token accepts it."""

    subject: str
    recorded: str
    found: str
    lost: str
    back: str
    final: bool = False

    def sentence(self, token: str) -> str:
        ways = self.back if self.final else f'{self.back}; or, on purpose, set homelab_accept_new_installation: "{token}"'
        return f"{self.recorded}, but {self.found}: {self.lost}; {ways}."


@dataclasses.dataclass
class Verdict:
    """findings stop everything; notices are told. token: the word that accepts exactly these findings.

    stale: whether the record or a mark has to be written after the deployment, begin: whether before.
    """

    findings: list[Finding] = dataclasses.field(default_factory=list)
    notices: list[str] = dataclasses.field(default_factory=list)
    token: str = ""
    accepted: bool = False
    stale: bool = False
    begin: bool = False

    def result(self) -> dict[str, t.Any]:
        """For the checks: of each subject what was found, what is recorded and the sentence."""
        told: dict[str, t.Any] = {subject: {"found": AS_RECORDED, "recorded": AS_RECORDED, "fix": ""} for subject in SUBJECTS}
        for finding in self.findings:
            if not (self.accepted and not finding.final):
                told[finding.subject] = {"found": finding.found, "recorded": finding.recorded, "fix": finding.sentence(self.token)}
        stops = any(told[subject]["fix"] for subject in SUBJECTS)
        keep = {"token": self.token, "accepted": self.accepted, "stale": self.stale, "begin": self.begin, "notices": [] if stops else self.notices}
        return {**told, **keep}


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
    verdict = Verdict()
    if damage:
        verdict.findings.append(_damaged(damage))
    elif record is None:
        verdict.findings += [finding for finding in (_foreign_mark(found), _foreign_owner(found), _half(found)) if finding]
        if holds_database(found["database"]) and holds_library(found["library"]) and not verdict.findings:
            verdict.notices.append(f"there is no record yet: {name_database(found['database'])} and {name_library(found['library'])} are taken as they are")
    else:
        checks = (_host, _account, _database, _library)
        verdict.findings += [finding for check in checks if (finding := check(record, found))]
        verdict.notices += _notices(record, found)
    if found["database"] and found["database"]["outside"]:
        verdict.findings.append(_outside(found["database"]))
    verdict.token = token(record, damage, found, [finding.subject for finding in verdict.findings]) if verdict.findings else ""
    verdict.accepted = bool(verdict.findings) and accept == verdict.token
    fresh = record is None or bool(damage) or verdict.accepted
    verdict.begin = fresh
    verdict.stale = fresh or (record is not None and differs(record, found))
    return verdict


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
        _age(database) if found.get("before") else None,
        [_installation(place) for place in (found["database"], found["library"]) if place],
        subjects,
    ]
    return "new-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]


def differs(record: Record, found: Found) -> bool:
    """Whether the record, or a mark, is not what a deployment that has just succeeded would write."""
    database, library = found["database"], found["library"]
    marked = record.library.get("marked") is False or _installation(library) == record.installation
    same_database = (record.database or {}).get("path") == (database or {}).get("path")
    if database and record.database:
        marked = marked and (record.database.get("marked") is False or _installation(database) == record.installation)
        same_database = same_database and record.database.get("identifier") == database["identifier"]
    return not (
        marked
        and same_database
        and record.held
        and record.library["path"] == library["path"]
        and record.account == found["account"]
        and record.immich == found.get("immich", record.immich)
    )


def _age(database: Found) -> tuple[int, int]:
    """Grows as long as the database lives: with each checkpoint, and with each start and stop."""
    return database.get("checkpoint", 0), database.get("time", 0)


def _installation(place: Found) -> str:
    return str((place["mark"] or {}).get("installation", ""))


# ---------------------------------------------------------------------------------------------------------------- words


def name_database(place: Found | None) -> str:
    if place is None:
        return "the external database"
    if place["identifier"]:
        return f"database {place['identifier']} in {place['path']}"
    state = {"absent": "there is no directory", "empty": "nothing is in", "there": "no database is in", "closed": "nobody may read"}
    return f"{state.get(place['state'], place['state'] + ':')} {place['path']}"


def name_library(place: Found) -> str:
    if place["markers"]:
        return f"library {place['path']}"
    state = {"absent": "there is no directory", "empty": "nothing is in", "there": "no marker of Immich is in", "closed": "nobody may read"}
    return f"{state.get(place['state'], place['state'] + ':')} {place['path']}"


def _told_age(database: Found) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(database.get("time", 0)))
    return f"{position(database.get('checkpoint', 0))} ({when} UTC)"


def _owner(place: Found) -> str:
    return str(place.get("owner_name") or f"uid {place['owner']}")


# ---------------------------------------------------------------------------------------------------------------- without a record


def _damaged(damage: str) -> Finding:
    return Finding(
        "record",
        "this host has a record of its installation",
        f"it cannot be read ({damage})",
        "nobody can tell whether what lies here belongs together, and an empty Immich could start beside the old photos",
        "put the file back from a backup of the host",
    )


def _foreign_mark(found: Found) -> Finding | None:
    for place in (found["database"], found["library"]):
        mark = place["mark"] if place else None
        if mark and mark.get("host") != found["host"]["id"]:
            return Finding(
                "host",
                f"{place['path']} belongs to the installation on host {mark.get('host_name')}",
                f"this is host {found['host']['name']}, which has no record of it",
                "two hosts that run on the same data destroy it, and passwords kept on the other host are not here",
                "give the pool back to that host; or, when that one is gone for good, follow docs/moving.md (another host)",
            )
    return None


def _foreign_owner(found: Found) -> Finding | None:
    for place, held in ((found["database"], holds_database(found["database"])), (found["library"], holds_library(found["library"]))):
        if place and held and place["owner"] not in (0, None) and not of_account(place, found["account"]):
            return Finding(
                "account",
                f"{place['path']} belongs to the account {_owner(place)}",
                f"the inventory's account is {found['account']['name']}",
                "a running database would lose its files to an Immich that is given them",
                f"put homelab_user: {_owner(place)} back; or move the installation to the other account (docs/moving.md)",
                final=True,
            )
    return None


def _half(found: Found) -> Finding | None:
    database, library = found["database"], found["library"]
    if holds_library(library) and database is not None and not holds_database(database):
        return Finding(
            "database",
            f"{name_library(library)} holds photos",
            name_database(database),
            "an empty Immich with an open sign-up would start beside photos that it does not know",
            f"put the database back into {database['path']}, or correct homelab_storage (immich_database_directory)",
        )
    if holds_database(database) and not holds_library(library):
        return Finding(
            "library",
            f"{name_database(database)} knows photos",
            name_library(library),
            "Immich does not start without its folders, and would miss every photo in another directory",
            f"put the library back into {library['path']}, or correct homelab_storage (immich_library)",
        )
    return None


# ---------------------------------------------------------------------------------------------------------------- with a record


def _host(record: Record, found: Found) -> Finding | None:
    if record.host["id"] == found["host"]["id"]:
        return None
    return Finding(
        "host",
        f"the record is of host {record.host['name']}",
        f"this is host {found['host']['name']} with another machine-id",
        "on a clone both would send mail, renew certificates and, with a shared pool, destroy the database",
        "shut the other one down, or deploy on that one (docs/moving.md, another host)",
    )


def _account(record: Record, found: Found) -> Finding | None:
    was, now = record.account, found["account"]
    if was == now or (was["name"] == now["name"] and now["uid"] == -1 and not record.held):
        return None
    if was["name"] == now["name"] and was["uid"] == now["uid"] and not _lost(was, now):
        return None
    # Moved by hand already: all of it belongs to the new account.
    if now["uid"] >= 0 and of_account(found["library"], now) and (found["database"] is None or of_account(found["database"], now)):
        return None
    here = f"{found['database']['path'] if found['database'] else found['library']['path']}"
    # What is there cannot be used by another account, whatever anybody accepts.
    robbed = holds_database(found["database"]) or holds_library(found["library"])
    if was["name"] != now["name"]:
        return Finding(
            "account",
            f"the account {was['name']} has the installation ({here})",
            f"the inventory's account is {now['name']}",
            "the running database would lose its files to an empty account without its passwords",
            f"put homelab_user: {was['name']} back; or move it to the other account first (docs/moving.md)",
            final=robbed,
        )
    return Finding(
        "account",
        f"the account {was['name']} had uid {was['uid']} and subordinate ids {_ranges(was)}",
        f"it has uid {now['uid']} and {_ranges(now)}" if now["uid"] >= 0 else "there is no such account any more",
        f"the files of the database in {here} belong to ids that are not its own any more",
        "give the account its ids back (useradd --uid, and its lines in /etc/subuid and /etc/subgid); or give it the files (docs/moving.md)",
        final=robbed,
    )


def _lost(was: Found, now: Found) -> bool:
    """Whether a range of subordinate ids is not there any more; further ones do no harm."""
    return any(pair not in now.get(key, []) for key in ("subuids", "subgids") for pair in was.get(key, []))


def _ranges(account: Found) -> str:
    return ", ".join(f"{first}+{count}" for first, count in account.get("subuids", [])) or "none"


def _database(record: Record, found: Found) -> Finding | None:
    was, now, before = record.database, found["database"], found.get("before")
    if not record.held:
        return None
    if was is None:
        return _half(found)
    if now is None:
        return Finding(
            "database",
            f"the installation's database {was.get('identifier')} is in {was['path']}",
            "immich_database_external names another one",
            "Immich would start with what that one holds, beside the photos of the old one",
            "take immich_database_external out, or bring the dump of the old one there first (docs/moving.md)",
        )
    if now["identifier"] and now["identifier"] == was.get("identifier"):
        if before and before["identifier"] == now["identifier"] and _age(before) > _age(now):
            return Finding(
                "database",
                f"database {now['identifier']} in {was['path']} is at {_told_age(before)}",
                f"its copy in {now['path']} is at {_told_age(now)}",
                "all that Immich learned between the two would be forgotten",
                f"stop Immich and copy {was['path']} again (docs/moving.md), or rename the old directory when the copy is what you want",
            )
        return None
    moved = was["path"] != now["path"]
    back = f"set the directory back to {was['path']}" if moved else f"mount or rename it back, or restore it into {was['path']}"
    if before and before["identifier"] == was.get("identifier") and now["state"] in _FREE:
        new = now["path"]
        back += f"; or move it as root: stop Immich, mkdir -p {new}, on btrfs chattr +C {new}, cp -aT {was['path']} {new}, and deploy again (docs/moving.md)"
    return Finding(
        "database",
        f"the installation's database is {was.get('identifier')} in {was['path']}",
        f"{name_database(now)}",
        "an empty or another Immich would start beside the photos, without albums, people and passwords",
        back,
    )


def _library(record: Record, found: Found) -> Finding | None:
    was, now = record.library, found["library"]
    if not record.held:
        return None
    gone = [folder for folder in was.get("markers", []) if folder not in now["markers"]]
    moved = was["path"] != now["path"]
    if gone:
        what = name_library(now) if not now["markers"] else f"{now['path']} lacks {', '.join(f'{folder}/.immich' for folder in gone)}"
        lost = "Immich would not start, or take photos into a directory that knows none of the old ones"
    elif _installation(now) != record.installation and was.get("marked", True):
        what = f"{now['path']} is not marked as that one" if not now["mark"] else f"{now['path']} belongs to another installation"
        lost = "the database would know photos that are not there, and the photos there would be unknown"
    else:
        return None
    back = f"set the directory back to {was['path']}" if moved else f"mount or rename it back, or restore it into {was['path']} with its attributes"
    if moved and now["state"] in _FREE:
        back += f"; or move it: stop Immich, cp -aT --reflink=auto {was['path']} {now['path']} as root, and deploy again (docs/moving.md)"
    return Finding("library", f"the installation's library is {was['path']}", what, lost, back)


def _outside(database: Found) -> Finding:
    return Finding(
        "files",
        f"all of the database belongs into {database['path']}",
        f"links lead out of it: {', '.join(database['outside'])}",
        "the container does not have what they lead to, and a copy or snapshot would lack it",
        "stop the database, move what they lead to back in place of the links, and deploy again",
        final=True,
    )


def _notices(record: Record, found: Found) -> list[str]:
    """What is told and stops nothing: it is the same installation."""
    told = []
    was, now = record.database, found["database"]
    if was and now and now["identifier"] and now["identifier"] == was.get("identifier"):
        if _age(now) < _age(was):
            told.append(
                f"database {now['identifier']} in {now['path']} is at {_told_age(now)}, the record says it has been at"
                f" {_told_age(was)}: an older copy was put there, which does not know what happened since"
            )
        if now["path"] != was["path"]:
            told.append(f"the database has moved from {was['path']} to {now['path']}")
    if found["library"]["path"] != record.library["path"]:
        told.append(f"the library has moved from {record.library['path']} to {found['library']['path']}")
    if record.account["name"] != found["account"]["name"]:
        told.append(f"the installation has moved from the account {record.account['name']} to {found['account']['name']}")
    return told
