# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damages product files on purpose, each in a copy of the checkout, and tells which damage no test notices.

  make mutants                         all that need no machine
  tests/mutate --only PATTERN...       those called so, whatever they need
  tests/mutate --machine               those that need a machine, too

Each file of tests/mutants is a unified diff with a head: `# test: COMMAND` is what must fail for it, `# why: ...` what is wrong then, and
`# needs: machine` keeps it from those that are quick. First each test is run without any damage: one that fails then proves nothing.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import fcntl
import fnmatch
import functools
import os
import pathlib
import queue
import re
import shlex
import shutil
import subprocess
import sys
import time
import typing as t

from runner.steps import ROOT

FOLDER = ROOT / "tests/mutants"
COPIES = ROOT / ".cache/mutants"
# Not in the copy, since git does not know them, and needed by tests.
SHARED = (".venv", ".cache/acme", ".cache/prometheus")
KILLED, SURVIVED, STALE, BROKEN = "killed", "SURVIVED", "DOES NOT APPLY", "THE TEST FAILS WITHOUT IT"


class Unreadable(Exception):
    """A patch without a proper head."""


@dataclasses.dataclass(frozen=True)
class Mutant:
    name: str
    test: str
    why: str
    machine: bool
    patch: str

    @property
    def files(self) -> list[str]:
        return re.findall(r"^\+\+\+ b/(\S+)", self.patch, re.MULTILINE)


def read(name: str, text: str) -> Mutant:
    head, mark, diff = text.partition("--- ")
    found = dict(re.findall(r"^# (test|why|needs): (\S.*)$", head, re.MULTILINE))
    if set(found) - {"needs"} != {"test", "why"} or found.get("needs", "machine") != "machine" or not mark:
        raise Unreadable(f"{name}: its head must have `# test: COMMAND` and `# why: ...`, and may have `# needs: machine`")
    return Mutant(name, found["test"], found["why"], "needs" in found, mark + diff)


def listed(folder: pathlib.Path = FOLDER) -> list[Mutant]:
    return [read(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.patch"))]


def chosen(mutants: t.Iterable[Mutant], only: t.Sequence[str], machine: bool) -> list[Mutant]:
    if only:
        return [mutant for mutant in mutants if any(fnmatch.fnmatch(mutant.name, pattern) for pattern in only)]
    return [mutant for mutant in mutants if machine or not mutant.machine]


def apply(mutant: Mutant, copy: pathlib.Path, *options: str) -> bool:
    command = ["git", "apply", "--recount", *options, "-"]
    return subprocess.run(command, check=False, cwd=copy, input=mutant.patch, text=True, capture_output=True).returncode == 0


class Copy:
    """The checkout once more, where tests find all that they find here."""

    def __init__(self, number: int) -> None:
        self.root = COPIES / str(number)
        shutil.rmtree(self.root, ignore_errors=True)
        for name in wanted():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, self.root / name, follow_symlinks=False)
        for shared in SHARED:
            (self.root / shared).parent.mkdir(parents=True, exist_ok=True)
            (self.root / shared).symlink_to(ROOT / shared)
        subprocess.run(["git", "init", "-q", "-b", "main", str(self.root)], check=True)
        with open(self.root / ".git/info/exclude", "a", encoding="utf-8") as stream:
            stream.write("".join(f"/{shared}\n" for shared in SHARED))  # as links they are no folders, and .gitignore means folders

    def test(self, command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": f"{self.root}/.build",
            "PYTEST_ADDOPTS": "--exitfirst",  # one failure is all that is asked for
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
        }
        # As in tests/run: the pipe's end, which comes by itself when this process is killed, ends all that the test has started.
        words = [sys.executable, "-B", str(ROOT / "tests/runner/keeper.py"), *shlex.split(command)]
        with subprocess.Popen(
            words, cwd=self.root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            said = t.cast("t.IO[str]", process.stdout).read()
        return subprocess.CompletedProcess(words, process.returncode, said)


def wanted() -> list[str]:
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
    return [name for name in names if name and os.path.lexists(ROOT / name)]


def verdict(status: int, command: str) -> str:
    """A test that could not run has noticed nothing; pytest says so with numbers of its own."""
    if status == 0:
        return SURVIVED
    could_not = status not in (0, 1) and "pytest" in command
    return f"THE TEST CANNOT RUN ({status})" if could_not else KILLED


class Trial:
    def __init__(self, jobs: int) -> None:
        self.copies: queue.Queue[Copy] = queue.Queue()
        for number in range(jobs):
            self.copies.put(Copy(number))
        self.jobs = jobs

    def with_copy(self, work: t.Callable[[Copy], t.Any]) -> t.Any:
        copy = self.copies.get()
        try:
            return work(copy)
        finally:
            self.copies.put(copy)

    def healthy(self, command: str) -> subprocess.CompletedProcess[str]:
        return t.cast("subprocess.CompletedProcess[str]", self.with_copy(lambda copy: copy.test(command)))

    def tried(self, mutant: Mutant, healthy: t.Mapping[str, bool]) -> str:
        return t.cast("str", self.with_copy(functools.partial(self.judged, mutant, healthy)))

    def judged(self, mutant: Mutant, healthy: t.Mapping[str, bool], copy: Copy) -> str:
        if not healthy[mutant.test]:
            return BROKEN
        if not apply(mutant, copy.root):
            return STALE
        try:
            return verdict(copy.test(mutant.test).returncode, mutant.test)
        finally:
            if not apply(mutant, copy.root, "--reverse"):
                raise RuntimeError(f"{mutant.name} cannot be taken back")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/mutate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN", help="mutants called so")
    parser.add_argument("--machine", action="store_true", help="also those that need a machine: some minutes each")
    parser.add_argument("--list", action="store_true", help="name them, and try none")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    return parser.parse_args()


def main() -> int:
    args = parse()
    mutants = chosen(listed(), args.only, args.machine)
    if args.list:
        for mutant in mutants:
            print(f"{mutant.name:40}{'machine ' if mutant.machine else '        '}{mutant.why}")
        return 0
    if not mutants:
        print("tests/mutate: no such mutant", file=sys.stderr)
        return 2
    COPIES.mkdir(parents=True, exist_ok=True)
    lock = os.open(COPIES.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("tests/mutate: it runs in this checkout already, and the copies are its own", file=sys.stderr)
        return 2
    return trials(mutants, max(1, args.jobs))


def trials(mutants: t.Sequence[Mutant], jobs: int) -> int:
    trial = Trial(jobs)
    healthy: dict[str, bool] = {}
    verdicts = []
    with concurrent.futures.ThreadPoolExecutor(trial.jobs) as pool:
        commands = sorted({mutant.test for mutant in mutants})
        for command, done in zip(commands, pool.map(trial.healthy, commands), strict=True):
            healthy[command] = done.returncode == 0
            if done.returncode:
                print(f"== {command}: fails without any damage", done.stdout[-3000:], sep="\n", flush=True)
        began = time.monotonic()
        for mutant, said in zip(mutants, pool.map(lambda mutant: trial.tried(mutant, healthy), mutants), strict=True):
            verdicts.append(said)
            print(f"{said:12} {mutant.name}: {mutant.why}" + ("" if said == KILLED else f"  [{mutant.test}]"), flush=True)
    killed, survived = verdicts.count(KILLED), verdicts.count(SURVIVED)
    print(f"mutants: {killed} killed, {survived} survived, {len(verdicts) - killed - survived} not tried ({time.monotonic() - began:.0f} s)")
    shutil.rmtree(COPIES)
    return int(killed < len(mutants))


if __name__ == "__main__":
    sys.exit(main())
