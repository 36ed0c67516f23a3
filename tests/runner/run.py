# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: starts steps, several at a time, waits for them, and ends them all when it has to."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import threading
import time
import typing as t

import immich

from runner import plan, report
from runner.report import FAILED, PASSED, SKIPPED, Outcome
from runner.steps import ROOT, TREE, Step, Table

CACHE = ROOT / ".cache"
DURATIONS = CACHE / "durations.json"
LOGS = CACHE / "logs"
KEPT = 10  # runs whose logs are kept
AS_ROOT = str(ROOT / "tests/as-root")
MACHINE = str(ROOT / "tests/machine/machine")
PYTHON = str(ROOT / ".venv/bin/python")
KEEPER = str(ROOT / "tests/runner/keeper.py")
UNWANTED = {"ANSIBLE_CONFIG", "GIT_DIR", "GIT_WORK_TREE", "HOMELAB_TEST_RUN"}


class Stopped(Exception):
    """A signal has come."""


def environment(inherited: t.Mapping[str, str] | None = None) -> dict[str, str]:
    """What every step finds: the tools, caches inside of the checkout, and whose process this run is, for what is made outside."""
    given = os.environ if inherited is None else inherited
    kept = {name: value for name, value in given.items() if name not in UNWANTED}
    return {
        **kept,
        "PATH": f"{ROOT}/.venv/bin:{given['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/.build",
        "ANSIBLE_HOME": f"{CACHE}/ansible",
        "ANSIBLE_FORCE_COLOR": "0",
        "MYPY_CACHE_DIR": f"{CACHE}/mypy",
        "RUFF_CACHE_DIR": f"{CACHE}/ruff",
        "HYPOTHESIS_STORAGE_DIRECTORY": f"{CACHE}/hypothesis",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "HOMELAB_TEST_RUN_PID": str(os.getpid()),
    }


def command_of(step: Step) -> list[str]:
    keeper = [PYTHON, "-B", KEEPER]
    variables = [f"{name}={value}" for name, value in step.env.items()]
    return [*([AS_ROOT] if step.root else []), *keeper, *(["env", *variables] if variables else []), *step.command]


@dataclasses.dataclass
class Child:
    step: Step
    process: subprocess.Popen[bytes]
    log: pathlib.Path
    env: t.Mapping[str, str]
    began: float
    echo: threading.Thread | None = None

    def let_go(self) -> None:
        """Closing the pipe is the word to stop."""
        if self.process.stdin:
            self.process.stdin.close()

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


class Run:
    def __init__(self, jobs: int, *, fail_fast: bool = False, live: bool = False) -> None:
        self.name = secrets.token_hex(3)
        self.jobs, self.fail_fast, self.live = jobs, fail_fast, live
        self.environment = environment()
        self.children: dict[int, Child] = {}
        self.outcomes: list[Outcome] = []
        self.signal = 0
        self.seconds: dict[str, float] = read_durations()
        self.logs = LOGS / self.name
        self.logs.mkdir(parents=True)
        # Held as long as this process lives, so that other runs know.
        self.lock = os.open(self.logs / "alive", os.O_WRONLY | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def stop(self, number: int, _frame: object = None) -> None:
        """A signal is heeded where no process can get lost by it: between two looks at those that run."""
        self.signal = self.signal or number

    # ---- before and after

    def begin(self) -> None:
        clear_dead_runs()
        self.machines("destroy", "--stale")

    def finish(self) -> None:
        """Nobody wants what still runs."""
        running = list(self.children.values())
        for child in running:
            child.let_go()
        for child in running:
            child.process.wait()
            self.clear(child)
            self.add(child.step, FAILED, f"stopped by signal {self.signal}" if self.signal else "stopped", time.monotonic() - child.began, log=child.log)
        self.children.clear()
        remove(CACHE / "molecule" / self.name)
        write_durations(self.seconds)

    def machines(self, *words: str, env: t.Mapping[str, str] | None = None) -> bool:
        return subprocess.run([AS_ROOT, MACHINE, *words], check=False, env=env or self.environment, stdin=subprocess.DEVNULL).returncode == 0

    def clear(self, child: Child) -> None:
        """What a step made for itself goes with it; a demo that somebody left running stays."""
        if not child.step.root:
            return
        if not self.machines("destroy", "--run", env=child.env):
            self.outcomes.append(Outcome("cleanup", FAILED, f"machines of {child.step.name} could not be removed"))

    # ---- steps

    def all(self, table: Table) -> None:
        """Whatever happens, each step has an outcome in the end."""
        steps = list(table.steps)
        try:
            for step in table.quick:
                self.start(step)
                if self.collect().result == FAILED:
                    return self.leave(steps, f"not run, since {step.name} failed")
            return self.wide(plan.longest_first(table.wide, self.seconds))
        finally:
            self.leave([step for step in steps if step.name not in self.running], "not run")

    @property
    def running(self) -> set[str]:
        return {child.step.name for child in self.children.values()}

    def wide(self, pending: list[Step]) -> None:
        names = {step.name for step in pending}
        while pending or self.children:
            step = plan.ready(pending, self.names(PASSED), names) if len(self.children) < self.jobs else None
            if step:
                pending.remove(step)
                say(f"{step.name} begins")
                self.start(step)
                continue
            outcome = self.collect()
            if outcome.result == FAILED and self.fail_fast:
                return
            for lost, need in plan.hopeless(pending, self.names(FAILED, SKIPPED)):
                pending.remove(lost)
                self.add(lost, SKIPPED, f"not run, since it needs {need}")

    def names(self, *results: str) -> set[str]:
        return {outcome.name for outcome in self.outcomes if outcome.result in results}

    def leave(self, steps: t.Iterable[Step], why: str) -> None:
        done = {outcome.name for outcome in self.outcomes}
        for step in steps:
            if step.name not in done:
                self.add(step, SKIPPED, why)

    def start(self, step: Step) -> None:
        log = self.logs / f"{step.name.replace('/', '-')}.log"
        # Two scenarios that call a network the same do not meet on it: each step is a run for those who make machines.
        number = len(self.outcomes) + len(self.children)
        own = {
            "HOMELAB_TEST_RUN": f"{self.name}-{number}",
            # Molecule's own is named after the folder of the checkout alone, and two checkouts, or two runs in one, would share it.
            "MOLECULE_EPHEMERAL_DIRECTORY": str(CACHE / "molecule" / self.name / step.name.rpartition("/")[2]),
        }
        env = {**self.environment, **own}
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                command_of(step),
                cwd=TREE if step.in_tree else ROOT,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self.live else stream,
                stderr=subprocess.STDOUT,
                process_group=0,  # what a terminal sends is for this process
            )
        child = Child(step, process, log, env, time.monotonic())
        if self.live:
            child.echo = threading.Thread(target=echo, args=(process.stdout, log))
            child.echo.start()
        self.children[process.pid] = child

    def collect(self) -> Outcome:
        """Wait for the next step to end."""
        while not self.signal:
            for pid, child in self.children.items():
                if time.monotonic() - child.began > child.step.limit:
                    child.let_go()
                ended, status, usage = os.wait4(pid, os.WNOHANG)
                if ended:
                    child.process.returncode = os.waitstatus_to_exitcode(status)
                    del self.children[pid]
                    return self.judge(child, child.process.returncode, usage.ru_utime + usage.ru_stime)
            time.sleep(0.1)
        raise Stopped

    def judge(self, child: Child, status: int, cpu: float) -> Outcome:
        wall = time.monotonic() - child.began
        child.let_go()
        if child.echo:
            child.echo.join()
        self.clear(child)
        step, text = child.step, child.text
        if status == 0:
            why = report.skip_reason(text)
            if not why:
                self.seconds[step.name] = round(wall, 1)
            outcome = self.add(step, SKIPPED if why else PASSED, why, wall, cpu, child.log)
        else:
            why = f"hung: not done after {step.limit} s" if wall > step.limit else report.reason(text, status)
            outcome = self.add(step, FAILED, why, wall, cpu, child.log)
            if not self.live:
                print(f"== {step.name}", text, sep="\n", flush=True)
        say(f"{step.name} {outcome.result}" + (f": {why}" if why else "") + f" ({report.clock(wall)})")
        return outcome

    def add(self, step: Step, result: str, why: str = "", wall: float | None = None, cpu: float | None = None, log: pathlib.Path | None = None) -> Outcome:
        outcome = Outcome(step.name, result, why, wall, cpu, str(log.relative_to(ROOT)) if log else "")
        self.outcomes.append(outcome)
        return outcome

    def summary(self) -> list[str]:
        lines = []
        for outcome in self.outcomes:
            if outcome.result == FAILED and outcome.log:
                lines += ["", f"== {outcome.name}: what failed", *report.gist((ROOT / outcome.log).read_text(encoding="utf-8", errors="replace"))]
        lines += ["", *report.table(self.outcomes), "", *report.problems(self.outcomes)]
        if any(outcome.name.startswith("molecule/") and outcome.wall for outcome in self.outcomes):
            lines.append(which_immich())
        return [*lines, report.closing(self.outcomes)]


def which_immich() -> str:
    try:
        return immich.choose().sentence
    except immich.Unclear as error:
        return str(error)


def say(words: str) -> None:
    print(f"== {words}", flush=True)


def echo(source: t.IO[bytes], log: pathlib.Path) -> None:
    with open(log, "ab", buffering=0) as stream:
        while some := os.read(source.fileno(), 65536):
            stream.write(some)
            sys.stdout.buffer.write(some)
            sys.stdout.buffer.flush()


def read_durations() -> dict[str, float]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(DURATIONS.read_text())
        return {name: float(seconds) for name, seconds in found.items()}
    return {}


def write_durations(seconds: t.Mapping[str, float]) -> None:
    """Another run may read it at any moment."""
    draft = DURATIONS.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(seconds, indent=1, sort_keys=True) + "\n")
    draft.replace(DURATIONS)


def clear_dead_runs() -> None:
    """What runs left in .cache that are not alive any more; their logs stay for a while."""
    runs = sorted(LOGS.glob("*/alive"), key=lambda path: path.stat().st_mtime, reverse=True)
    for number, path in enumerate(runs):
        lock = os.open(path, os.O_WRONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            remove(CACHE / "molecule" / path.parent.name)
            if number >= KEPT:
                shutil.rmtree(path.parent)
        finally:
            os.close(lock)


def remove(path: pathlib.Path) -> None:
    if path.exists():
        subprocess.run([AS_ROOT, "rm", "-rf", "--one-file-system", str(path)], check=True)
