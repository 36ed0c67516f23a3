# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of steps: pure functions from logs and outcomes to lines."""

from __future__ import annotations

import dataclasses
import itertools
import re
import typing as t

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
SKIP = re.compile(r"skipped: (\S.*)")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a step ended. Without seconds it did not run."""

    name: str
    result: str
    reason: str = ""
    wall: float | None = None
    cpu: float | None = None
    log: str = ""


def skip_reason(log: str) -> str:
    """A step that cannot be done here says so in its last line, and ends well."""
    match = SKIP.fullmatch(last_line(log))
    return match[1] if match else ""


def last_line(log: str) -> str:
    return next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")


def gist(log: str) -> list[str]:
    """What a log says of a failure: the last task that failed, else how it ends."""
    found: list[str] = []
    heading, keep = "", False
    lines = log.splitlines()
    for line in lines:
        if line.startswith("TASK "):
            heading, keep = line, False
        elif re.match(r"(fatal|failed): ", line):
            # One task fails on several hosts or items, each with lines of its own.
            found = [*(found if found[:1] == [heading] else [heading]), line[:600]]
            keep = True
        elif not line.strip():
            keep = False
        elif keep:
            found.append(line[:600])
    return shortened(found or [line[:600] for line in lines[-15:]])


def shortened(lines: t.Sequence[str], room: int = 2500) -> list[str]:
    sizes = itertools.accumulate(len(line) + 1 for line in lines)
    return [line for line, size in zip(lines, sizes, strict=True) if size <= room]


def reason(log: str, status: int) -> str:
    """One line on why a step failed."""
    lines = gist(log)
    said = lines[0].rstrip("* ") if lines and lines[0].startswith("TASK ") else last_line(log)[:150]
    return f"{said or 'without a word'} ({ended(status)})"


def ended(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"ended by signal {-status}"


def clock(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    whole = round(seconds)
    return f"{whole}s" if whole < 100 else f"{whole // 60}m{whole % 60:02}s"


def table(outcomes: t.Sequence[Outcome]) -> list[str]:
    """The steps that ran with their wall and CPU time, in the order in which they ended."""
    ran = [outcome for outcome in outcomes if outcome.wall is not None]
    if not ran:
        return []
    width = max(len(outcome.name) for outcome in ran) + 2
    lines = [f"{'step':{width}}{'result':10}{'wall':>8}{'cpu':>8}"]
    for outcome in ran:
        word = outcome.result.upper() if outcome.result == FAILED else outcome.result
        lines.append(f"{outcome.name:{width}}{word:10}{clock(outcome.wall):>8}{clock(outcome.cpu):>8}")
    return lines


def problems(outcomes: t.Iterable[Outcome]) -> list[str]:
    """One line for each step that failed or was skipped; those skipped for the same reason share one."""
    lines = []
    skipped: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.result == FAILED:
            lines.append(f"FAILED {outcome.name}: {outcome.reason}" + (f"; see {outcome.log}" if outcome.log else ""))
        elif outcome.result == SKIPPED:
            skipped.setdefault(outcome.reason, []).append(outcome.name)
    return lines + [f"skipped {' '.join(names)}: {why}" for why, names in skipped.items()]


def closing(outcomes: t.Sequence[Outcome]) -> str:
    count = {result: sum(outcome.result == result for outcome in outcomes) for result in (PASSED, FAILED, SKIPPED)}
    return f"steps: {count[PASSED]} passed, {count[FAILED]} failed, {count[SKIPPED]} skipped"
