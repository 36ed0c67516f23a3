# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are told of an installation that is not the recorded one: both sides, what would be lost, and the ways on.

Pure: a function for each case of _installation_verdict, and no judgement of its own. Private to the collection.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._installation_record import Record
from ansible_collections.patriark.homelab.plugins.module_utils._installation_verdict import NUMBERED, SUBJECTS, Finding, Found, Verdict
from ansible_collections.patriark.homelab.plugins.module_utils._pg_control import position

AS_RECORDED = "as recorded"
# Of a directory: there is room for what is moved.
_FREE = ("absent", "empty")


class Words(t.NamedTuple):
    """recorded and found are the two sides in a few words; lost and back complete the sentence."""

    recorded: str
    found: str
    lost: str
    back: str

    def sentence(self, token: str) -> str:
        """Without a token none is offered."""
        ways = f'{self.back}; or, on purpose, set homelab_accept_new_installation: "{token}"' if token else self.back
        return f"{self.recorded}, but {self.found}: {self.lost}; {ways}."


def result(verdict: Verdict, record: Record | None, damage: str, found: Found) -> dict[str, t.Any]:
    """For the checks: of each subject what was found, what is recorded and the sentence."""
    told: dict[str, t.Any] = {subject: {"found": AS_RECORDED, "recorded": AS_RECORDED, "fix": ""} for subject in SUBJECTS}
    for finding in verdict.stops:
        words = word(finding, record, damage, found)
        told[finding.subject] = {"found": words.found, "recorded": words.recorded, "fix": words.sentence("" if finding.final else verdict.token)}
    keep = {"token": verdict.token, "accepted": verdict.accepted, "stale": verdict.stale, "begin": verdict.begin, "password": verdict.password}
    return {**told, **keep, "notices": [] if verdict.stops else [news(case, record, found) for case in verdict.news]}


def word(finding: Finding, record: Record | None, damage: str, found: Found) -> Words:
    if record is None:
        return _damaged(damage) if finding.subject == "record" else _WITHOUT[finding.subject, finding.case](finding, found)
    return _WITH[finding.subject, finding.case](finding, record, found)


# ---------------------------------------------------------------------------------------------------------------- parts of sentences


def _state(place: Found, nothing: str) -> str:
    state = {"absent": "there is no directory", "empty": "nothing is in", "there": nothing, "closed": "nobody may read"}
    return f"{state.get(place['state'], place['state'] + ':')} {place['path']}"


def _the_database(place: Found | None) -> str:
    if place is None:
        return "the external database"
    return f"database {place['identifier']} in {place['path']}" if place["identifier"] else _state(place, "no database is in")


def _the_library(place: Found) -> str:
    return f"library {place['path']}" if place["markers"] else _state(place, "no marker of Immich is in")


def _told_age(database: Found) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(database.get("time", 0)))
    return f"{position(database.get('checkpoint', 0))} ({when} UTC)"


def _ranges(account: Found) -> str:
    return ", ".join(f"{first}+{count}" for first, count in account.get("subuids", [])) or "none"


# ---------------------------------------------------------------------------------------------------------------- without a record


def _damaged(damage: str) -> Words:
    return Words(
        "this host has a record of its installation",
        f"it cannot be read ({damage})",
        "nobody can tell whether what lies here belongs together, and an empty Immich could start beside the old photos",
        "put the file back from a backup of the host",
    )


def _foreign_mark(finding: Finding, found: Found) -> Words:
    place = found[finding.which[0]]
    return Words(
        f"{place['path']} belongs to the installation on host {place['mark'].get('host_name')}",
        f"this is host {found['host']['name']}, which has no record of it",
        "two hosts that run on the same data destroy it, and passwords kept on the other host are not here",
        "give the pool back to that host; or, when that one is gone for good, follow docs/moving.md (another host)",
    )


def _foreign_owner(finding: Finding, found: Found) -> Words:
    place = found[finding.which[0]]
    owner = place.get("owner_name") or f"uid {place['owner']}"
    return Words(
        f"{place['path']} belongs to the account {owner}",
        f"the inventory's account is {found['account']['name']}",
        "a running database would lose its files to an Immich that is given them",
        f"put homelab_user: {owner} back; or move the installation to the other account (docs/moving.md)",
    )


def _database_lacking(_finding: Finding, found: Found) -> Words:
    return Words(
        f"{_the_library(found['library'])} holds photos",
        _the_database(found["database"]),
        "an empty Immich with an open sign-up would start beside photos that it does not know",
        f"put the database back into {found['database']['path']}, or correct homelab_storage (immich_database_directory)",
    )


def _library_lacking(_finding: Finding, found: Found) -> Words:
    return Words(
        f"{_the_database(found['database'])} knows photos",
        _the_library(found["library"]),
        "Immich does not start without its folders, and would miss every photo in another directory",
        f"put the library back into {found['library']['path']}, or correct homelab_storage (immich_library)",
    )


def _outside(_finding: Finding, found: Found) -> Words:
    return Words(
        f"all of the database belongs into {found['database']['path']}",
        f"links lead out of it: {', '.join(found['database']['outside'])}",
        "the container does not have what they lead to, and a copy or snapshot would lack it",
        "stop the database, move what they lead to back in place of the links, and deploy again",
    )


_WITHOUT: dict[tuple[str, str], t.Callable[[Finding, Found], Words]] = {
    ("host", "foreign_mark"): _foreign_mark,
    ("account", "foreign_owner"): _foreign_owner,
    ("database", "lacking"): _database_lacking,
    ("library", "lacking"): _library_lacking,
    ("files", "outside"): _outside,
}


# ---------------------------------------------------------------------------------------------------------------- with a record


def _another_host(_finding: Finding, record: Record, found: Found) -> Words:
    return Words(
        f"the record is of host {record.host['name']}",
        f"this is host {found['host']['name']} with another machine-id",
        "on a clone both would send mail, renew certificates and, with a shared pool, destroy the database",
        "shut the other one down, or deploy on that one (docs/moving.md, another host)",
    )


def _another_account(_finding: Finding, record: Record, found: Found) -> Words:
    return Words(
        f"the account {record.account['name']} has the installation ({(found['database'] or found['library'])['path']})",
        f"the inventory's account is {found['account']['name']}",
        "the running database would lose its files to an empty account without its passwords",
        f"put homelab_user: {record.account['name']} back; or move it to the other account first (docs/moving.md)",
    )


def _other_ids(_finding: Finding, record: Record, found: Found) -> Words:
    was, now = record.account, found["account"]
    return Words(
        f"the account {was['name']} had uid {was['uid']} and subordinate ids {_ranges(was)}",
        f"it has uid {now['uid']} and {_ranges(now)}" if now["uid"] >= 0 else "there is no such account any more",
        f"the files of the database in {(found['database'] or found['library'])['path']} belong to ids that are not its own any more",
        "give the account its ids back (useradd --uid, and its lines in /etc/subuid and /etc/subgid); or give it the files (docs/moving.md)",
    )


def _external(_finding: Finding, record: Record, _found: Found) -> Words:
    was = record.database or {}
    return Words(
        f"the installation's database {was.get('identifier')} is in {was.get('path')}",
        "immich_database_external names another one",
        "Immich would start with what that one holds, beside the photos of the old one",
        "take immich_database_external out, or bring the dump of the old one there first (docs/moving.md)",
    )


def _behind(_finding: Finding, _record: Record, found: Found) -> Words:
    now, before = found["database"], found["before"]
    return Words(
        f"database {now['identifier']} in {before['path']} is at {_told_age(before)}",
        f"its copy in {now['path']} is at {_told_age(now)}",
        "all that Immich learned between the two would be forgotten",
        f"stop Immich and copy {before['path']} again (docs/moving.md), or rename the old directory when the copy is what you want",
    )


def _another_database(_finding: Finding, record: Record, found: Found) -> Words:
    was, now, before = record.database or {}, found["database"], found.get("before")
    moved = was["path"] != now["path"]
    back = f"set the directory back to {was['path']}" if moved else f"mount or rename it back, or restore it into {was['path']}"
    if before and before["identifier"] == was.get("identifier") and now["state"] in _FREE:
        new = now["path"]
        back += f"; or move it as root: stop Immich, mkdir -p {new}, on btrfs chattr +C {new}, cp -aT {was['path']} {new}, and deploy again (docs/moving.md)"
    return Words(
        f"the installation's database is {was.get('identifier')} in {was['path']}",
        _the_database(now),
        "an empty or another Immich would start beside the photos, without albums, people and passwords",
        back,
    )


def _library_back(record: Record, found: Found) -> str:
    was, now = record.library, found["library"]
    if was["path"] == now["path"]:
        return f"mount or rename it back, or restore it into {was['path']} with its attributes"
    back = f"set the directory back to {was['path']}"
    if now["state"] in _FREE:
        back += f"; or move it: stop Immich, cp -aT --reflink=auto {was['path']} {now['path']} as root, and deploy again (docs/moving.md)"
    return back


def _markers(finding: Finding, record: Record, found: Found) -> Words:
    now = found["library"]
    return Words(
        f"the installation's library is {record.library['path']}",
        f"{now['path']} lacks {', '.join(f'{folder}/.immich' for folder in finding.which)}" if now["markers"] else _the_library(now),
        "Immich would not start, or take photos into a directory that knows none of the old ones",
        _library_back(record, found),
    )


def _another_library(_finding: Finding, record: Record, found: Found) -> Words:
    now = found["library"]
    return Words(
        f"the installation's library is {record.library['path']}",
        f"{now['path']} belongs to another installation" if now["mark"] else f"{now['path']} is not marked as that one",
        "the database would know photos that are not there, and the photos there would be unknown",
        _library_back(record, found),
    )


def _left(_finding: Finding, record: Record, found: Found) -> Words:
    now = found["library"]
    return Words(
        f"the installation's library is {record.library['path']}",
        f"{now['path']} was left behind when the library moved to {now['mark']['left']}",
        "the photos that came since then are not in it",
        f"{_library_back(record, found)}; or rename {now['path']} and move the library there as it was moved before (docs/moving.md)",
    )


_WITH: dict[tuple[str, str], t.Callable[[Finding, Record, Found], Words]] = {
    ("host", "another"): _another_host,
    ("account", "another"): _another_account,
    ("account", "other_ids"): _other_ids,
    ("database", "lacking"): lambda finding, _record, found: _database_lacking(finding, found),
    ("database", "external"): _external,
    ("database", "behind"): _behind,
    ("database", "another"): _another_database,
    ("library", "lacking"): lambda finding, _record, found: _library_lacking(finding, found),
    ("library", "markers"): _markers,
    ("library", "another"): _another_library,
    ("library", "left"): _left,
    ("files", "outside"): lambda finding, _record, found: _outside(finding, found),
}


# ---------------------------------------------------------------------------------------------------------------- news


def news(case: str, record: Record | None, found: Found) -> str:
    database, library = found["database"], found["library"]
    if record is None:
        return f"there is no record yet: {_the_database(database)} and {_the_library(library)} are taken as they are"
    was = record.database or {}
    if case == "older":
        return (
            f"database {database['identifier']} in {database['path']} is at {_told_age(database)}, the record says it has been at"
            f" {_told_age(was)}: an older copy was put there, which does not know what happened since"
        )
    if case == "account_moved":
        return f"the installation has moved from the account {record.account['name']} to {found['account']['name']}"
    what = case.partition("_")[0]
    before, now = {"database": (was, database), "library": (record.library, library)}[what]
    if case.endswith("_moved"):
        return f"the {what} has moved from {before['path']} to {now['path']}"
    return f"the {what} in {now['path']} lies in {_numbers(now)}, the record says {_numbers(before)}: a restored snapshot, or another disk with a copy"


def _numbers(place: Found) -> str:
    return " of ".join(f"{name} {place.get(key)}" for key, name in zip(reversed(NUMBERED), ("subvolume", "file system")))
