# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the gates and the test scenarios.

  tests/run check          lint and unit tests: fast, no root, no machines
  tests/run                everything that CI runs: the same, the slow gates, and the molecule scenarios on throw-away machines
  tests/run more           the scenarios that are not in CI: they take long, or run on the next Debian
  tests/run STEP...        only these steps, by their names (--list)

The quick gates run one after the other, up to the first that fails; of the others several run at a time, and a failure does not keep them from running.
A step that cannot be done here is skipped and says why. Logs are in .cache/logs/RUN; the last line tells the count.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

from runner import plan, report, steps

sys.path.append(str(steps.ROOT / "tests/images"))  # which Immich there is, is known there
from runner import run

JOBS = 3


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help="check, more, all, or names of steps")
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN", help="of these steps only those called so, such as 'molecule/*'")
    parser.add_argument("--list", action="store_true", help="say what would run, with the seconds it took last (or is thought to take), and run nothing")
    parser.add_argument("--jobs", type=int, default=os.environ.get("HOMELAB_TEST_JOBS") or str(JOBS), help=f"how many at a time (HOMELAB_TEST_JOBS; {JOBS})")
    parser.add_argument("--fail-fast", action="store_true", help="end the run at the first failure")
    return parser.parse_args()


def listed(table: steps.Table) -> list[str]:
    seconds = run.read_durations()
    ordered = [*table.quick, *plan.longest_first(table.wide, seconds)]
    return [f"{step.name:26}{report.clock(seconds.get(step.name, step.weight)):>8}  {' '.join(step.command)}" for step in ordered]


def main() -> int:
    args = parse()
    os.chdir(steps.ROOT)
    try:
        table = plan.choose(steps.groups(steps.scenarios()), args.steps, args.only)
    except plan.Unknown as error:
        print(f"tests/run: {error}", file=sys.stderr)
        return 2
    if args.list:
        print(*listed(table), sep="\n")
        return 0
    return execute(run.Run(max(args.jobs, 1), fail_fast=args.fail_fast, live=len(table.steps) == 1), table)


def execute(this: run.Run, table: steps.Table) -> int:
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        signal.signal(number, this.stop)
    try:
        this.begin()
        if subprocess.run([run.PYTHON, "tests/gates/tree.py"], check=False).returncode == 0:
            this.all(table)
        else:
            this.outcomes.append(report.Outcome("tree", report.FAILED, "the collection could not be laid out where its tools want it"))
    except run.Stopped:
        pass
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        this.finish()
    print(*this.summary(), sep="\n", flush=True)
    return 128 + this.signal if this.signal else int(any(outcome.result == report.FAILED for outcome in this.outcomes))


sys.exit(main())
