# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.plugin_utils import _checks

FACTS = {"n": 3, "name": "immich-server", "on": True, "list": ["a", "b"]}
FACTS["units"] = {"a": {"name": "a", "state": "active"}, "b": {"name": "b", "state": "failed"}}


def row(query, expect, **more):
    return {"area": "x", "name": "thing", "query": query, "expect": expect, "fix": "do it", **more}


@pytest.mark.parametrize(
    ("query", "expect", "ok"),
    [
        ("n", 3, True),
        ("n", 4, False),
        ("on", True, True),
        ("missing", None, True),
        ("missing", True, False),
        ("n", {"at_least": 3}, True),
        ("n", {"at_least": 4}, False),
        ("missing", {"at_least": 0}, False),
        ("on", {"at_least": 0}, False),
        ("n", {"at_most": 3}, True),
        ("n", {"at_most": 2}, False),
        ("list", {"contains": "a"}, True),
        ("list", {"contains": "z"}, False),
        ("missing", {"contains": "a"}, False),
        ("name", {"differs_from": "x"}, True),
        ("name", {"differs_from": "immich-server"}, False),
        ("name", {"matches": "^immich"}, True),
        ("name", {"matches": "^x"}, False),
        ("missing", {"matches": "x"}, False),
        ("name", {"one_of": ["immich-server"]}, True),
        ("name", {"one_of": ["x"]}, False),
        ("values(units)[?state != 'active'].name", [], False),
        ("values(units)[?state == 'gone'].name", [], True),
        ("units.a", {"name": "a", "state": "active"}, True),
    ],
)
def test_expectations(query, expect, ok):
    (result,) = _checks.evaluate([row(query, expect)], FACTS)
    assert result.ok is ok


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"area": "x", "name": "y"}, "query, expect, fix missing"),
        (row("n", 3, sevrity="error"), "did you mean 'severity'"),
        (row("n", 3, severity="fatal"), "fatal"),
        (row("n[", 3), "thing"),
        (row("name", {"matches": "("}), "matches"),
    ],
)
def test_unusable_rows_are_refused(bad, says):
    with pytest.raises(_checks.RowError, match=says.replace("(", r"\(")):
        _checks.evaluate([bad], FACTS)


def test_table_shows_expectation_and_fix_of_failed_rows_only():
    text = _checks.table(_checks.evaluate([row("n", 3), row("n", 4, severity="warning"), row("n", 5)], FACTS))
    assert text.count("fix: do it") == 2
    assert "expected: 4" in text and "expected: 3" not in text
    assert [line.split()[0] for line in text.splitlines() if not line.startswith(" ")] == ["ok", "warning", "FAILED"]


def test_a_warning_is_no_failure():
    results = _checks.evaluate([row("n", 4, severity="warning"), row("n", 5)], FACTS)
    assert [result.expected for result in _checks.failed(results)] == ["5"]
    assert _checks.summary(results) == "2 checks, 1 failed, 1 warning"


def test_subclasses_of_plain_types_are_looked_through():
    class Tagged(list):
        pass

    (result,) = _checks.evaluate([row("contains(x, 'a')", True)], {"x": Tagged(["a"])})
    assert result.ok


BLIND = row("missing", True, when="units.c", name="blind")


def test_a_row_that_does_not_apply_is_left_out():
    results = _checks.evaluate([row("n", 4, applies="missing"), row("n", 3, applies="on")], FACTS)
    assert [(result.ok, result.looked_at) for result in results] == [(True, True)]


def test_a_row_that_cannot_be_looked_at_is_shown_and_counted():
    results = _checks.evaluate([BLIND], FACTS)
    assert _checks.summary(results) == "1 checks, 0 failed, 0 warnings, 1 not looked at"
    assert _checks.table(results).split() == "- x blind not looked at: it needs units.c".split()


@pytest.mark.parametrize("others", [[], [row("n", 4, severity="warning")]], ids=["alone", "beside a warning"])
def test_without_a_failed_row_it_has_failed_itself(others):
    results = _checks.evaluate([BLIND, *others], FACTS, "failed")
    assert [result.name for result in _checks.failed(results)] == ["blind"]
    assert "not looked at" not in _checks.summary(results)
    assert "not looked at: it needs units.c" in _checks.table(results)


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ([row("n", 4, name="first"), row("units.c", True, name="same facts", area="y")], "same facts"),
        ([row("n", 4, name="first", area="y"), row("n", 5, name="same area")], "same area"),
        ([row("n", 4, name="first", area="y")], "first"),
        ([row("n", 4, name=name, area="y") for name in ("first", "second", "third")], "first, second"),
    ],
)
def test_the_failed_rows_that_stand_for_it_are_named(others, reason):
    blind, *_rest = _checks.evaluate([BLIND, *others], FACTS, "failed")
    assert (blind.ok, blind.reason) == (True, f"not looked at, because of: {reason}")
