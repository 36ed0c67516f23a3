# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of steps."""

from __future__ import annotations

import pytest
from runner import report
from runner.report import FAILED, PASSED, SKIPPED, Outcome

# ansible-core 2.19, shortened
LOG = """\
TASK [Look] ****************
ok: [photos]

TASK [Refuse] ***********
fatal: [photos]: FAILED! => {"msg": "expected"}
...ignoring

TASK [Deploy the stack] ******
[ERROR]: it went wrong
fatal: [photos]: FAILED! =>
    msg: no such image
    rc: 1

PLAY RECAP *********
photos : ok=1 failed=1
"""


def test_the_gist_is_the_last_task_that_failed() -> None:
    assert report.gist(LOG) == ["TASK [Deploy the stack] ******", "fatal: [photos]: FAILED! =>", "    msg: no such image", "    rc: 1"]


def test_all_items_of_that_task_are_told() -> None:
    log = "TASK [Each] ***\nfailed: [photos] (item=1)\n\nfailed: [photos] (item=2)\n"
    assert report.gist(log) == ["TASK [Each] ***", "failed: [photos] (item=1)", "failed: [photos] (item=2)"]


def test_the_gist_of_other_logs_is_their_end() -> None:
    assert report.gist("\n".join(str(number) for number in range(50))) == [str(number) for number in range(35, 50)]
    assert report.gist("") == []


def test_the_gist_is_short() -> None:
    assert sum(map(len, report.gist("\n".join(["x" * 5000] * 15)))) <= 2500


@pytest.mark.parametrize(
    ("log", "status", "said"),
    [
        (LOG, 2, "TASK [Deploy the stack] (exit status 2)"),
        ("a\nlast words\n\n", 1, "last words (exit status 1)"),
        ("", -9, "without a word (ended by signal 9)"),
    ],
)
def test_the_reason_is_one_line(log: str, status: int, said: str) -> None:
    assert report.reason(log, status) == said


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("much\nskipped: no real Immich here\n", "no real Immich here"),
        ("skipped: no real Immich here\nand on it went\n", ""),
        ("skipped: \n", ""),
        ("5 skipped: some\n", ""),
        ("", ""),
    ],
)
def test_a_step_says_last_that_it_cannot_be_done(log: str, why: str) -> None:
    assert report.skip_reason(log) == why


@pytest.mark.parametrize(("seconds", "said"), [(None, "-"), (0.4, "0s"), (99, "99s"), (100, "1m40s"), (3725, "62m05s"), (119.7, "2m00s")])
def test_durations(seconds: float | None, said: str) -> None:
    assert report.clock(seconds) == said


OUTCOMES = [
    Outcome("ruff", PASSED, wall=1, cpu=0.5),
    Outcome("molecule/real", SKIPPED, "no real Immich here", wall=3, cpu=1),
    Outcome("molecule/default", FAILED, "TASK [Deploy] (exit status 2)", wall=600, cpu=100, log=".cache/logs/abc/molecule-default.log"),
    Outcome("molecule/minimal", SKIPPED, "not run, since it needs images"),
    Outcome("molecule/proxy", SKIPPED, "not run, since it needs images"),
]


def test_the_table_has_the_times_of_what_ran() -> None:
    assert [line.split() for line in report.table(OUTCOMES)] == [
        ["step", "result", "wall", "cpu"],
        ["ruff", "passed", "1s", "0s"],
        ["molecule/real", "skipped", "3s", "1s"],
        ["molecule/default", "FAILED", "10m00s", "1m40s"],
    ]
    assert report.table(OUTCOMES[3:]) == []


def test_each_problem_is_a_line() -> None:
    assert report.problems(OUTCOMES) == [
        "FAILED molecule/default: TASK [Deploy] (exit status 2); see .cache/logs/abc/molecule-default.log",
        "skipped molecule/real: no real Immich here",
        "skipped molecule/minimal molecule/proxy: not run, since it needs images",
    ]


def test_the_last_line_counts() -> None:
    assert report.closing(OUTCOMES) == "steps: 1 passed, 1 failed, 3 skipped"
