# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is what lies here the installation that was recorded? Each difference stops with both sides, and nothing else does."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._installation_look import FOLDERS
from ansible_collections.patriark.homelab.plugins.module_utils._installation_record import Record
from ansible_collections.patriark.homelab.plugins.module_utils._installation_verdict import AS_RECORDED, SUBJECTS, judge

ACCOUNT = {"name": "homelab", "uid": 1000, "subuids": [[100000, 65536]], "subgids": [[100000, 65536]]}
OTHER = {"name": "photos", "uid": 1001, "subuids": [[165536, 65536]], "subgids": [[165536, 65536]]}
MARK = {"installation": "one", "host": "here", "host_name": "photos", "account": "homelab"}
DATABASE = {
    "path": "/pool/db",
    "state": "there",
    "owner": 100998,
    "mark": MARK,
    "major": "14",
    "identifier": "7312",
    "checkpoint": 2000,
    "time": 1700000000,
    "outside": [],
    "device": 1,
    "inode": 2,
}
LIBRARY = {"path": "/pool/photos", "state": "there", "owner": 1000, "mark": MARK, "markers": list(FOLDERS), "device": 1, "inode": 3}
FOUND = {"host": {"id": "here", "name": "photos"}, "account": ACCOUNT, "database": DATABASE, "library": LIBRARY}
RECORD = Record(
    installation="one",
    host={"id": "here", "name": "photos"},
    account=ACCOUNT,
    database={"path": "/pool/db", "identifier": "7312", "major": "14", "checkpoint": 1000, "marked": True},
    library={"path": "/pool/photos", "markers": list(FOLDERS), "marked": True},
    held=True,
)
NO_DATABASE = {"state": "empty", "mark": None, "identifier": "", "major": "", "checkpoint": 0}
NO_LIBRARY = {"state": "empty", "mark": None, "markers": []}


def found(**parts):
    """As recorded, with some parts changed; a dictionary changes keys of its part."""
    result = copy.deepcopy(FOUND)
    for name, part in parts.items():
        result[name] = {**(result.get(name) or {}), **part} if isinstance(part, dict) else part
    return result


def subjects(verdict):
    return [finding.subject for finding in verdict.findings]


def test_as_recorded():
    verdict = judge(RECORD, "", FOUND)
    assert not verdict.findings
    assert not verdict.notices
    assert not (verdict.stale or verdict.begin or verdict.token)
    assert all(verdict.result()[subject]["found"] == AS_RECORDED for subject in SUBJECTS)


CASES = {
    "database is empty": (found(database=NO_DATABASE), "database", ["7312", "/pool/db", "nothing is in", "albums"]),
    "database is away": (found(database={**NO_DATABASE, "state": "absent"}), "database", ["no directory /pool/db"]),
    "a letter is missing": (
        found(database={**NO_DATABASE, "path": "/pool/d", "state": "absent"}, before=DATABASE),
        "database",
        ["/pool/db", "/pool/d:", "cp -aT"],
    ),
    "another installation's": (found(database={"identifier": "999"}), "database", ["7312", "999"]),
    "nobody may read": (found(database={**NO_DATABASE, "state": "closed"}), "database", ["nobody may read"]),
    "an older copy elsewhere": (found(database={"path": "/new", "checkpoint": 1500}, before=DATABASE), "database", ["is at 0/7D0", "is at 0/5DC", "forgotten"]),
    "a copy while the original ran on": (found(database={"path": "/new"}, before={**DATABASE, "time": 1700000060}), "database", ["22:14:20", "22:13:20"]),
    "external": (found(database=None, before=DATABASE), "database", ["immich_database_external", "/pool/db"]),
    "library is empty": (found(library=NO_LIBRARY), "library", ["nothing is in /pool/photos"]),
    "library elsewhere and empty": (found(library={**NO_LIBRARY, "path": "/pool/foto"}), "library", ["/pool/photos", "/pool/foto", "cp -aT"]),
    "a marker is gone": (found(library={"markers": [name for name in FOLDERS if name != "thumbs"]}), "library", ["thumbs/.immich"]),
    "all markers gone": (found(library={"markers": []}), "library", ["no marker"]),
    "library of another": (found(library={"mark": {**MARK, "installation": "two"}}), "library", ["another installation"]),
    "library without a mark": (found(library={"mark": None}), "library", ["not marked"]),
    "another account": (found(account=OTHER), "account", ["homelab", "photos", "/pool/db"]),
    "account that is not there": (found(account={"name": "foto", "uid": -1, "subuids": [], "subgids": []}), "account", ["homelab_user: homelab"]),
    "account made anew": (found(account={"uid": 1005}), "account", ["uid 1000", "uid 1005"]),
    "account that was removed": (found(account={"uid": -1, "subuids": [], "subgids": []}), "account", ["uid 1000", "no such account"]),
    "other subordinate ids": (found(account={"subuids": [[300000, 65536]]}), "account", ["100000+65536", "300000+65536"]),
    "another host": (found(host={"id": "there", "name": "new"}), "host", ["host photos", "host new"]),
    "write-ahead log elsewhere": (found(database={"outside": ["pg_wal -> /wal"]}), "files", ["pg_wal -> /wal"]),
}


# No word accepts these: what is there could not be used.
FINAL = ("files", "account")


@pytest.mark.parametrize("case", CASES)
def test_stops(case):
    here, subject, words = CASES[case]
    verdict = judge(RECORD, "", here)
    assert subjects(verdict) == [subject]
    told = verdict.result()[subject]
    assert told["found"] != AS_RECORDED != told["recorded"]
    for word in words:
        assert word in told["fix"], word
    assert told["fix"].endswith(".")
    assert (f'homelab_accept_new_installation: "{verdict.token}"' in told["fix"]) is (subject not in FINAL)


@pytest.mark.parametrize("case", [case for case, (_found, subject, _words) in CASES.items() if subject not in FINAL])
def test_accepted_on_purpose(case):
    here = CASES[case][0]
    word = judge(RECORD, "", here).token
    verdict = judge(RECORD, "", here, word)
    assert verdict.accepted
    assert verdict.begin
    assert all(verdict.result()[subject]["found"] == AS_RECORDED for subject in SUBJECTS)
    for other in CASES:
        if other != case:
            assert not judge(RECORD, "", CASES[other][0], word).accepted, other


@pytest.mark.parametrize("case", [case for case, (_found, subject, _words) in CASES.items() if subject in FINAL])
def test_never_accepted(case):
    here, subject = CASES[case][:2]
    verdict = judge(RECORD, "", here, judge(RECORD, "", here).token)
    assert verdict.result()[subject]["found"] != AS_RECORDED
    assert verdict.result()["notices"] == []


def test_another_account_with_directories_of_its_own_may_be_accepted():
    here = found(account=OTHER, database={**NO_DATABASE, "path": "/a"}, library={**NO_LIBRARY, "path": "/b"})
    word = judge(RECORD, "", here).token
    assert sorted(subjects(judge(RECORD, "", here))) == ["account", "database", "library"]
    assert all(judge(RECORD, "", here, word).result()[subject]["found"] == AS_RECORDED for subject in SUBJECTS)


def test_damaged():
    verdict = judge(None, "/var/lib/x.json: Expecting value", FOUND)
    assert subjects(verdict) == ["record"]
    assert "Expecting value" in verdict.result()["record"]["fix"]


MOVES = {
    "database": found(database={"path": "/new", "inode": 9}, before={**DATABASE, "state": "absent", "identifier": "", "checkpoint": 0}),
    "database, the old one left": found(database={"path": "/new"}, before=DATABASE),
    "library": found(library={"path": "/new"}),
    "account": found(account=OTHER, database={"owner": 166534}, library={"owner": 1001}),
}


@pytest.mark.parametrize("case", MOVES)
def test_moved_as_documented(case):
    verdict = judge(RECORD, "", MOVES[case])
    assert not verdict.findings
    assert verdict.stale
    assert not verdict.begin
    assert len(verdict.notices) == 1
    assert "has moved from" in verdict.notices[0]


def test_older_copy_in_place_is_told():
    (notice,) = judge(RECORD, "", found(database={"checkpoint": 999})).notices
    assert "0/3E7" in notice
    assert "0/3E8" in notice


FRESH = found(database={**NO_DATABASE, "owner": None, "state": "absent"}, library={**NO_LIBRARY, "owner": None, "state": "absent"})


def test_first_deployment():
    verdict = judge(None, "", FRESH)
    assert not verdict.findings
    assert not verdict.notices
    assert verdict.begin
    assert verdict.stale


@pytest.mark.parametrize("here", [FRESH, FOUND, found(library=NO_LIBRARY), found(database=NO_DATABASE)])
def test_first_deployment_that_was_killed(here):
    verdict = judge(Record("one", {"id": "here", "name": "photos"}, ACCOUNT, {"path": "/pool/db"}, {"path": "/pool/photos"}), "", here)
    assert not verdict.findings
    assert verdict.stale
    assert not verdict.begin


def test_older_deployment_without_a_record():
    verdict = judge(None, "", found(database={"mark": None}, library={"mark": None}))
    assert not verdict.findings
    assert verdict.begin
    assert "7312" in verdict.notices[0]


@pytest.mark.parametrize(
    ("parts", "subject"),
    [
        ({"database": NO_DATABASE}, "database"),
        ({"library": NO_LIBRARY}, "library"),
        ({"account": OTHER}, "account"),
        ({"library": {"mark": {**MARK, "host": "elsewhere", "host_name": "old"}}}, "host"),
    ],
)
def test_without_a_record_it_stops_too(parts, subject):
    assert subject in subjects(judge(None, "", found(**parts)))


@pytest.mark.parametrize(
    "parts", [{"database": {"mark": None}}, {"library": {"mark": {}}}, {"account": {"subuids": [[100000, 65536], [300000, 10]]}}, {"immich": "newer"}]
)
def test_written_anew(parts):
    here = found(**{name: part for name, part in parts.items() if name != "library"})
    if "library" in parts:
        here["library"]["mark"] = {**MARK, "installation": "one"}
        here["library"]["path"] = "/elsewhere"
    if "immich" in parts:
        here["immich"] = parts["immich"]
    verdict = judge(RECORD, "", here)
    assert not verdict.findings
    assert verdict.stale
