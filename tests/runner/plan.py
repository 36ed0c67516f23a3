# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps run, and which comes next. Nothing here starts anything."""

from __future__ import annotations

import fnmatch
import typing as t

from runner.steps import Step, Table


class Unknown(Exception):
    """Somebody asked for a step that is not there."""


def choose(groups: t.Mapping[str, Table], words: t.Sequence[str], only: t.Sequence[str] = ()) -> Table:
    """The steps of a group, or those named; `only` keeps those whose name matches one of its patterns."""
    if len(words) == 1 and words[0] in groups:
        table = groups[words[0]]
    elif words:
        table = Table((), tuple(named(groups, words)))
    else:
        table = groups["all"]
    if not only:
        return table
    unmatched = [pattern for pattern in only if not fnmatch.filter([step.name for step in table.steps], pattern)]
    if unmatched:
        raise Unknown(f"no step is called {' or '.join(unmatched)} here (there are: {' '.join(step.name for step in table.steps)})")

    def wanted(step: Step) -> bool:
        return any(fnmatch.fnmatch(step.name, pattern) for pattern in only)

    return Table(tuple(filter(wanted, table.quick)), tuple(filter(wanted, table.wide)))


def named(groups: t.Mapping[str, Table], words: t.Sequence[str]) -> list[Step]:
    known = {step.name: step for table in groups.values() for step in table.steps}
    missing = [word for word in words if word not in known]
    if missing:
        raise Unknown(f"no such step: {' '.join(missing)} (there are: {' '.join(known)})")
    return [known[word] for word in dict.fromkeys(words)]


def longest_first(steps: t.Iterable[Step], seconds: t.Mapping[str, float]) -> list[Step]:
    """By their last duration, where one is known. What others need comes before all of them."""
    listed = list(steps)
    needed = {name for step in listed for name in step.needs}
    return sorted(listed, key=lambda step: (step.name not in needed, -seconds.get(step.name, step.weight)))


def ready(pending: t.Sequence[Step], passed: t.Container[str], in_run: t.Container[str]) -> Step | None:
    """The first that waits for nothing: what it needs has passed, or was not asked for in this run."""
    return next((step for step in pending if all(name in passed or name not in in_run for name in step.needs)), None)


def hopeless(pending: t.Sequence[Step], lost: t.Container[str]) -> list[tuple[Step, str]]:
    """Steps that need one which did not pass, each with its name."""
    return [(step, next(name for name in step.needs if name in lost)) for step in pending if any(name in lost for name in step.needs)]
