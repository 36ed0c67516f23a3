# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks: their commands, how often, how long they may fail at the start, and what they say."""

from __future__ import annotations

import re

from live.absent import Absent
from live.api import Podman
from live.card import Claim
from live.expected import Facts

SECOND = 10**9


def name_of(claim: Claim, facts: Facts, absent: Absent) -> str:
    name = str(claim.about["name"])
    if name not in facts["containers"]:
        absent(name, "the inventory asks for none")
    return name


def test_check(claim: Claim, podman: Podman, facts: Facts, absent: Absent) -> None:
    check = podman.containers[name_of(claim, facts, absent)]["Config"]["Healthcheck"]
    kind, *words = check["Test"]
    command = " ".join(words)
    assert kind in ("CMD", "CMD-SHELL")
    if kind == "CMD":  # a program and its arguments: the first words of each have to be there
        assert all(re.search(rf"(^|\s){re.escape(word)}", command) for word in claim.about["command"].split()), command
    else:  # the card's command, and what comes after it only makes it stricter, or says more of a failure
        assert re.fullmatch(re.escape(claim.about["command"]) + r"( -sS)?( && .*)?", command), command
    assert (check["Interval"], check["StartPeriod"]) == (claim.about["interval"] * SECOND, claim.about["start"] * SECOND)


def test_start_period(claim: Claim, podman: Podman, facts: Facts, absent: Absent) -> None:
    assert podman.containers[name_of(claim, facts, absent)]["Config"]["Healthcheck"]["StartPeriod"] == claim.about["seconds"] * SECOND


def test_all_have_checks(claim: Claim, podman: Podman, facts: Facts) -> None:
    assert [name for name in facts["containers"] if not podman.containers[name]["Config"].get("Healthcheck")] == []


def test_all_are_healthy(podman: Podman, facts: Facts) -> None:
    assert {name: podman.inspect(name)["State"]["Health"]["Status"] for name in facts["containers"]} == dict.fromkeys(facts["containers"], "healthy")


def test_all_have_a_quick_check_while_they_start(podman: Podman, facts: Facts) -> None:
    """Else a whole interval passes before Podman looks again."""
    found = {name: (podman.containers[name]["Config"].get("StartupHealthCheck") or {}).get("Interval", 0) / SECOND for name in facts["containers"]}
    assert {name: seconds for name, seconds in found.items() if not 0 < seconds <= 3} == {}


def test_health(claim: Claim, podman: Podman, facts: Facts, absent: Absent) -> None:
    assert podman.health(name_of(claim, facts, absent)) == "healthy"


def test_health_of_all(claim: Claim, podman: Podman, facts: Facts) -> None:
    """One after the other: podman takes one name at a time."""
    assert {name: podman.health(name) for name in facts["containers"]} == dict.fromkeys(facts["containers"], "healthy")
