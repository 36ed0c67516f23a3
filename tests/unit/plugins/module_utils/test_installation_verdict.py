# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is what lies here the installation that was recorded? Each difference stops with both sides, and nothing else does."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._installation_record import Record
from ansible_collections.patriark.homelab.plugins.module_utils._installation_verdict import NUMBERED, judge
from installations import ACCOUNT, CASES, FOUND, MARK, MOVES, NO_DATABASE, NO_LIBRARY, OTHER, RECORD, found


def subjects(verdict):
    return [finding.subject for finding in verdict.findings]


def test_as_recorded():
    verdict = judge(RECORD, "", FOUND)
    assert not verdict.findings
    assert not verdict.news
    assert not (verdict.stale or verdict.begin or verdict.token)


# No word accepts these: what is there could not be used.
FINAL = ("files", "account")


@pytest.mark.parametrize("case", CASES)
def test_stops(case):
    here, subject, way, _words = CASES[case]
    verdict = judge(RECORD, "", here)
    assert [(finding.subject, finding.case) for finding in verdict.stops] == [(subject, way)]
    assert verdict.findings[0].final is (subject in FINAL)


@pytest.mark.parametrize("case", [case for case, (_found, subject, _way, _words) in CASES.items() if subject not in FINAL])
def test_accepted_on_purpose(case):
    here = CASES[case][0]
    word = judge(RECORD, "", here).token
    verdict = judge(RECORD, "", here, word)
    assert verdict.accepted
    assert verdict.begin
    assert not verdict.stops
    for other in CASES:
        if other != case:
            assert not judge(RECORD, "", CASES[other][0], word).accepted, other


@pytest.mark.parametrize("case", [case for case, (_found, subject, _way, _words) in CASES.items() if subject in FINAL])
def test_never_accepted(case):
    here, subject = CASES[case][:2]
    verdict = judge(RECORD, "", here, judge(RECORD, "", here).token)
    assert [finding.subject for finding in verdict.stops] == [subject]


def test_another_account_with_directories_of_its_own_may_be_accepted():
    here = found(account=OTHER, database={**NO_DATABASE, "path": "/a"}, library={**NO_LIBRARY, "path": "/b"})
    word = judge(RECORD, "", here).token
    assert sorted(subjects(judge(RECORD, "", here))) == ["account", "database", "library"]
    assert not judge(RECORD, "", here, word).stops


def test_damaged():
    assert subjects(judge(None, "/var/lib/x.json: Expecting value", FOUND)) == ["record"]


@pytest.mark.parametrize("case", MOVES)
def test_moved_as_documented(case):
    verdict = judge(RECORD, "", MOVES[case])
    assert not verdict.findings
    assert verdict.stale
    assert not verdict.begin
    assert verdict.news == (f"{case.partition(',')[0]}_moved",)


def test_older_copy_in_place_is_told():
    assert judge(RECORD, "", found(database={"checkpoint": 999})).news == ("older",)


@pytest.mark.parametrize("numbers", [{"subvolume": 300}, {"filesystem": "9c9c"}])
@pytest.mark.parametrize("what", ["database", "library"])
def test_restored_snapshot_is_told_and_taken_over(what, numbers):
    verdict = judge(RECORD, "", found(**{what: numbers}))
    assert not verdict.findings
    assert verdict.news == (f"{what}_restored",)
    assert verdict.stale
    assert not verdict.begin


def test_restored_snapshot_of_another_library_stops():
    assert subjects(judge(RECORD, "", found(library={"subvolume": 300, "mark": None}))) == ["library"]


def test_record_without_numbers_is_written_anew_silently():
    older = dataclasses.replace(
        RECORD,
        **{name: {key: value for key, value in getattr(RECORD, name).items() if key not in NUMBERED} for name in ("database", "library")},
    )
    verdict = judge(older, "", FOUND)
    assert not verdict.findings
    assert not verdict.news
    assert verdict.stale
    assert not verdict.begin


def test_file_system_without_numbers():
    bare = {"filesystem": None, "subvolume": None}
    verdict = judge(dataclasses.replace(RECORD, database={**RECORD.database, **bare}), "", found(database=bare))
    assert not verdict.news
    assert not verdict.stale


FRESH = found(database={**NO_DATABASE, "owner": None, "state": "absent"}, library={**NO_LIBRARY, "owner": None, "state": "absent"})


def test_first_deployment():
    verdict = judge(None, "", FRESH)
    assert not verdict.findings
    assert not verdict.news
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
    assert verdict.news == ("taken",)


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


@pytest.mark.parametrize(
    ("record", "here", "elsewhere"),
    [
        (RECORD, FOUND, False),
        (RECORD, MOVES["account"], True),
        (RECORD, found(account=OTHER, database={**NO_DATABASE, "path": "/a"}), False),
        (RECORD, found(host={"id": "there", "name": "clone"}), False),
        (None, found(database={"mark": {**MARK, "host": "elsewhere"}}), True),
        (None, found(database={"mark": None}, library={"mark": None}), False),
    ],
)
def test_password_stays_with_the_account_and_host_that_had_it(record, here, elsewhere):
    assert judge(record, "", here).password is elsewhere
