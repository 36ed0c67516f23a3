# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of steps that are not ours: what begins, what is left out, what is cleared away."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
import time
import typing as t

import pytest
from runner import run
from runner.report import FAILED, PASSED, SKIPPED
from runner.steps import ROOT, Step, Table


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Everything a run writes is there, and its commands to make or remove machines are written down."""
    fake = tmp_path / "as-root"
    told = f'echo "${{HOMELAB_TEST_RUN-none}} $@" >>{tmp_path}/asked'
    destroy = '[ "$2" != destroy ] || exit 0'
    fake.write_text(f'#!/bin/sh\n{told}\n{destroy}\nexec "$@"\n')
    fake.chmod(0o755)
    for name, value in {"ROOT": tmp_path, "CACHE": tmp_path, "LOGS": tmp_path / "logs", "DURATIONS": tmp_path / "durations.json"}.items():
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(run, "AS_ROOT", str(fake))
    return tmp_path


def sh(name: str, script: str = "", **more: t.Any) -> Step:
    return Step(name, ("sh", "-c", script or ":"), **more)


def results(this: run.Run) -> dict[str, str]:
    return {outcome.name: outcome.result for outcome in this.outcomes}


def done(table: Table, jobs: int = 2, *, fail_fast: bool = False) -> run.Run:
    this = run.Run(jobs, fail_fast=fail_fast)
    this.begin()
    this.all(table)
    this.finish()
    return this


def test_quick_steps_end_the_run_at_the_first_failure(here: pathlib.Path) -> None:
    this = done(Table((sh("a"), sh("b", "exit 3"), sh("c")), (sh("d"),)))
    assert results(this) == {"a": PASSED, "b": FAILED, "c": SKIPPED, "d": SKIPPED}
    assert {outcome.reason for outcome in this.outcomes if outcome.result == SKIPPED} == {"not run, since b failed"}
    assert this.summary()[-1] == "steps: 1 passed, 1 failed, 2 skipped"


def test_wide_steps_go_on_after_a_failure(here: pathlib.Path) -> None:
    this = done(Table((), (sh("a", "exit 3", weight=9), sh("b"), sh("c", needs=("a",)))), jobs=1)
    assert results(this) == {"a": FAILED, "b": PASSED, "c": SKIPPED}
    assert [outcome.reason for outcome in this.outcomes if outcome.name == "c"] == ["not run, since it needs a"]


def test_they_do_not_when_asked(here: pathlib.Path) -> None:
    assert results(done(Table((), (sh("a", "exit 3", weight=9), sh("b"))), jobs=1, fail_fast=True)) == {"a": FAILED, "b": SKIPPED}


def test_as_many_as_asked_run_at_a_time(here: pathlib.Path) -> None:
    script = f'cd {here} && mkdir "$0" && ls -d run-* | wc -l >>many; sleep 0.5; rmdir "$0"'
    done(Table((), tuple(Step(name, ("sh", "-c", script, f"run-{name}")) for name in "abcdef")), jobs=3)
    counts = [int(line) for line in (here / "many").read_text().split()]
    assert len(counts) == 6
    assert max(counts) == 3


def test_a_step_can_skip_itself(here: pathlib.Path) -> None:
    this = done(Table((), (sh("real", "echo; echo skipped: no real Immich here"), sh("bad", "echo skipped: so it says; exit 1"))))
    assert results(this) == {"real": SKIPPED, "bad": FAILED}
    assert "skipped real: no real Immich here" in this.summary()


def test_durations_of_what_passed_are_remembered(here: pathlib.Path) -> None:
    done(Table((), (sh("a", "sleep 0.5"), sh("b", "exit 1"), sh("c", "echo skipped: c"))))
    assert list(run.read_durations()) == ["a"]
    assert run.read_durations()["a"] >= 0.5
    (here / "durations.json").write_text("half of")
    assert run.read_durations() == {}


def test_a_step_that_hangs_is_ended(here: pathlib.Path) -> None:
    this = done(Table((), (sh("a", "sleep 300", limit=1),)))
    assert [(outcome.result, outcome.reason) for outcome in this.outcomes] == [(FAILED, "hung: not done after 1 s")]


def test_a_signal_ends_all_at_once(here: pathlib.Path) -> None:
    this = run.Run(2)
    threading.Timer(0.7, this.stop, [signal.SIGTERM]).start()
    began = time.monotonic()
    with pytest.raises(run.Stopped):
        this.all(Table((), tuple(sh(name, f"echo $$ >{here}/{name}.pid; exec sleep 300") for name in "abc")))
    this.finish()
    assert time.monotonic() - began < 15
    assert results(this) == {"a": FAILED, "b": FAILED, "c": SKIPPED}
    assert {outcome.reason for outcome in this.outcomes} == {"stopped by signal 15", "not run"}
    assert [path.name for path in here.glob("*.pid") if pathlib.Path(f"/proc/{path.read_text().strip()}").exists()] == []


def test_a_step_removes_its_machines_and_a_run_begins_with_those_of_dead_ones(here: pathlib.Path) -> None:
    this = done(Table((sh("quick"),), (sh("a", root=True),)))
    asked = [line.split()[::3] for line in (here / "asked").read_text().splitlines() if "destroy --" in line]
    assert asked == [["none", "--stale"], [f"{this.name}-1", "--run"]]


def test_two_steps_are_two_runs_for_who_makes_machines(here: pathlib.Path) -> None:
    done(Table((), tuple(sh(name, f"echo $HOMELAB_TEST_RUN >>{here}/known") for name in "abc")))
    assert len(set((here / "known").read_text().split())) == 3


def test_the_machines_of_a_stopped_step_go_too(here: pathlib.Path) -> None:
    this = run.Run(2)
    threading.Timer(0.7, this.stop, [signal.SIGINT]).start()
    with pytest.raises(run.Stopped):
        this.all(Table((), (sh("a", "exec sleep 300", root=True),)))
    this.finish()
    assert f"{this.name}-0 {ROOT}/tests/machine/machine destroy --run" in (here / "asked").read_text()


def test_the_summary_of_scenarios_says_which_immich_it_was(here: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMELAB_TEST_IMMICH", "stand-in")
    assert "Immich is the stand-in" in done(Table((), (sh("molecule/a"),))).summary()[-2]
    assert "Immich" not in "".join(done(Table((), (sh("a"),))).summary())


def test_steps_know_their_run(here: pathlib.Path) -> None:
    script = f"echo $HOMELAB_TEST_RUN $HOMELAB_TEST_RUN_PID $MOLECULE_EPHEMERAL_DIRECTORY $EXTRA >{here}/known"
    this = done(Table((), (sh("molecule/a", script, env={"EXTRA": "more"}),)))
    assert (here / "known").read_text().split() == [f"{this.name}-0", str(os.getpid()), f"{here}/molecule/{this.name}/a", "more"]


def test_what_dead_runs_left_is_cleared_and_what_living_ones_use_is_not(here: pathlib.Path) -> None:
    alive, dead = run.Run(1), run.Run(1)
    for each in (alive, dead):
        (here / "molecule" / each.name).mkdir(parents=True)
    os.close(dead.lock)
    run.clear_dead_runs()
    assert [path.name for path in (here / "molecule").iterdir()] == [alive.name]
    assert {path.name for path in (here / "logs").iterdir()} == {alive.name, dead.name}


def test_logs_of_the_last_runs_are_kept(here: pathlib.Path) -> None:
    for number in range(run.KEPT + 3):
        this = run.Run(1)
        os.close(this.lock)
        os.utime(this.logs / "alive", (number, number))
    run.clear_dead_runs()
    assert sorted(int(path.stat().st_mtime) for path in here.glob("logs/*/alive")) == list(range(3, run.KEPT + 3))
