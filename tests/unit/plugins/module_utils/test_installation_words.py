# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are told: both sides, what would be lost, and the ways on."""

from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._installation_verdict import SUBJECTS, judge
from ansible_collections.patriark.homelab.plugins.module_utils._installation_words import AS_RECORDED, result
from installations import CASES, FOUND, MARK, MOVES, NO_DATABASE, NO_LIBRARY, OTHER, RECORD, found


def told(record, here, damage="", accept=""):
    return result(judge(record, damage, here, accept), record, damage, here)


def test_as_recorded():
    said = told(RECORD, FOUND)
    assert all(said[subject] == {"found": AS_RECORDED, "recorded": AS_RECORDED, "fix": ""} for subject in SUBJECTS)
    assert said["notices"] == []


@pytest.mark.parametrize("case", CASES)
def test_both_sides_and_the_ways_on(case):
    here, subject, _way, words = CASES[case]
    said = told(RECORD, here)
    fix = said[subject]["fix"]
    assert said[subject]["found"] != AS_RECORDED != said[subject]["recorded"]
    for word in words:
        assert word in fix, word
    assert fix.endswith(".")
    assert (f'homelab_accept_new_installation: "{said["token"]}"' in fix) is (subject not in ("files", "account"))
    assert said["notices"] == []


@pytest.mark.parametrize("case", CASES)
def test_accepted(case):
    here, subject = CASES[case][:2]
    said = told(RECORD, here, accept=told(RECORD, here)["token"])
    assert (said[subject]["found"] == AS_RECORDED) is (subject not in ("files", "account"))


@pytest.mark.parametrize(
    ("parts", "subject", "words"),
    [
        ({"database": NO_DATABASE}, "database", ["library /pool/photos holds photos", "nothing is in /pool/db"]),
        ({"library": NO_LIBRARY}, "library", ["database 7312", "nothing is in /pool/photos"]),
        ({"account": OTHER}, "account", ["/pool/db", "photos"]),
        ({"library": {"mark": {**MARK, "host": "elsewhere", "host_name": "old"}}}, "host", ["/pool/photos", "host old"]),
        ({"database": {"outside": ["pg_wal -> /wal"]}}, "files", ["pg_wal -> /wal"]),
    ],
)
def test_without_a_record(parts, subject, words):
    fix = told(None, found(**parts))[subject]["fix"]
    for word in words:
        assert word in fix, word


def test_record_that_knows_no_database():
    record = type(RECORD)(**{**vars(RECORD), "database": None})
    assert "nothing is in /pool/db" in told(record, found(database=NO_DATABASE))["database"]["fix"]
    assert "nothing is in /pool/photos" in told(record, found(library=NO_LIBRARY))["library"]["fix"]


def test_damaged():
    assert "Expecting value" in told(None, FOUND, "/var/lib/x.json: Expecting value")["record"]["fix"]


@pytest.mark.parametrize("case", MOVES)
def test_moved(case):
    (notice,) = told(RECORD, MOVES[case])["notices"]
    assert "has moved from" in notice


def test_older_copy():
    (notice,) = told(RECORD, found(database={"checkpoint": 999}))["notices"]
    assert "0/3E7" in notice
    assert "0/3E8" in notice


def test_restored_snapshot():
    (notice,) = told(RECORD, found(library={"subvolume": 300}))["notices"]
    assert "lies in subvolume 300 of file system 0a4b, the record says subvolume 256 of file system 0a4b" in notice


def test_taken_without_a_record():
    (notice,) = told(None, found(database={"mark": None}, library={"mark": None}))["notices"]
    assert "database 7312 in /pool/db and library /pool/photos are taken" in notice
