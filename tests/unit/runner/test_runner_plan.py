# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps a run has, and in which order they begin."""

from __future__ import annotations

import pytest
from runner import plan, steps
from runner.steps import Step, Table

ONE, TWO, THREE = (Step(name, ("true",), weight) for name, weight in (("one", 10), ("two", 20), ("three", 30)))
BASE = Step("base", ("true",), 1)
NEEDY = Step("needy", ("true",), 99, needs=("base",))
GROUPS = {"check": Table((ONE,), ()), "all": Table((ONE,), (TWO, THREE)), "more": Table((), (NEEDY,))}


def names(table: Table) -> tuple[list[str], list[str]]:
    return [step.name for step in table.quick], [step.name for step in table.wide]


@pytest.mark.parametrize(
    ("words", "only", "chosen"),
    [
        ([], [], (["one"], ["two", "three"])),
        (["all"], [], (["one"], ["two", "three"])),
        (["check"], [], (["one"], [])),
        (["needy", "one", "needy"], [], ([], ["needy", "one"])),
        ([], ["t*"], ([], ["two", "three"])),
        ([], ["one", "three"], (["one"], ["three"])),
    ],
)
def test_what_is_asked_for(words: list[str], only: list[str], chosen: tuple[list[str], list[str]]) -> None:
    assert names(plan.choose(GROUPS, words, only)) == chosen


@pytest.mark.parametrize(("words", "only", "said"), [(["four"], [], "four"), (["one", "check"], [], "check"), ([], ["one", "needy"], "needy")])
def test_what_is_not_there_is_refused(words: list[str], only: list[str], said: str) -> None:
    with pytest.raises(plan.Unknown, match=rf"{said} .*\(there are: "):
        plan.choose(GROUPS, words, only)


def test_the_longest_is_first_by_its_last_duration_or_its_weight() -> None:
    assert plan.longest_first([ONE, TWO, THREE], {}) == [THREE, TWO, ONE]
    assert plan.longest_first([ONE, TWO, THREE], {"one": 25.0, "three": 1}) == [ONE, TWO, THREE]


def test_what_others_need_is_before_all() -> None:
    assert plan.longest_first([ONE, NEEDY, BASE], {"one": 500}) == [BASE, ONE, NEEDY]


def test_a_step_waits_for_what_it_needs() -> None:
    both = {"base", "needy", "one"}
    assert plan.ready([NEEDY, ONE], passed=set(), in_run=both) is ONE
    assert plan.ready([NEEDY], passed=set(), in_run=both) is None
    assert plan.ready([NEEDY, ONE], passed={"base"}, in_run=both) is NEEDY
    # Somebody asked for this one alone.
    assert plan.ready([NEEDY], passed=set(), in_run={"needy"}) is NEEDY


def test_a_step_whose_need_failed_is_given_up() -> None:
    assert plan.hopeless([ONE, NEEDY], lost={"base"}) == [(NEEDY, "base")]
    assert plan.hopeless([ONE, NEEDY], lost={"one"}) == []


def test_each_scenario_is_a_step_of_one_group() -> None:
    found = steps.scenarios()
    assert {"default", "minimal", "quadlet"} <= set(found)
    assert "shared" not in found
    table = steps.groups([*found, "brand-new"])
    of = {name: [group for group in table if f"molecule/{name}" in [step.name for step in table[group].steps]] for name in [*found, "brand-new"]}
    assert of["brand-new"] == ["all"]
    assert [name for name in of if of[name] == ["more"]] == sorted(steps.MORE)
    assert [name for name in of if of[name] == ["alone"]] == sorted(steps.ALONE)
    assert all(len(groups) == 1 for groups in of.values())


def test_names_are_told_apart() -> None:
    for table in steps.groups(steps.scenarios()).values():
        listed = [step.name for step in table.steps]
        # They are names of files, too.
        assert len({name.replace("/", "-") for name in listed}) == len(listed)
        assert all(need in listed for step in table.steps for need in step.needs if "images" in listed)


def test_check_wants_neither_root_nor_machines() -> None:
    assert [step.name for step in steps.groups(steps.scenarios())["check"].steps if step.root] == []


def test_a_scenario_that_wants_a_real_immich_is_run_only_where_there_is_one() -> None:
    commands = {step.name: step.command for step in steps.groups(["minimal", "real"])["all"].wide}
    assert commands["molecule/real"] == ("python", "tests/images/if_real.py", "molecule", "test", "-s", "real")
    assert commands["molecule/minimal"] == ("molecule", "test", "-s", "minimal")
