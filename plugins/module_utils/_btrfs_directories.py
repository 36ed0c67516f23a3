# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole list of directories: looked at and planned before the first change.

Private to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_directory
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_convert import Progress
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directory import Facts, Plan, Want
from ansible_collections.patriark.homelab.plugins.module_utils._reach import Misled, canonical

__all__ = ["Directories", "Want"]


def _absent(want: Want) -> list[str]:
    """Accounts asked for that are not there."""
    pairs = ((want.owner, "owner"), (want.group, "group"))
    return [f"{what} {principal.text}" for principal, what in pairs if principal is not None and principal.number is None]


@contextlib.contextmanager
def _named(want: Want) -> t.Iterator[None]:
    """An error of the system, with the entry that it is about."""
    try:
        yield
    except Misled as error:
        raise _btrfs.BtrfsError(f"{want.path}: {error.strerror}") from error
    except OSError as error:
        raise _btrfs.BtrfsError(f"{want.path}: {_btrfs.reason(error)}") from error


class Directories:
    """Facts and plans for all entries, parents first; results in the caller's order."""

    def __init__(self, wants: t.Sequence[Want], existing: str, unsupported: str) -> None:
        self.wants = list(wants)
        self.warnings: list[str] = []
        self.errors: list[str] = []
        real = []
        for want in self.wants:
            with _named(want):
                real.append(canonical(want.path))
        self.listed = frozenset(real)
        for index, path in enumerate(real):
            if path in real[:index]:
                self.errors.append(f"{self.wants[index].path}: is listed twice (as {self.wants[real.index(path)].path})")
        # A parent sorts before what is below it.
        self.order = sorted(range(len(real)), key=lambda index: real[index].split("/"))
        self.facts: dict[int, Facts] = {}
        self.plans: dict[int, Plan] = {}
        for index in self.order:
            want = self.wants[index]
            with _named(want):
                facts = self._inherited(_btrfs_directory.look(want, self.listed, existing), real)
            todo = _btrfs_directory.plan(want, facts, unsupported, existing)
            self.facts[index], self.plans[index] = facts, todo
            self.errors.extend(todo.errors)
            self.warnings.extend(todo.warnings)
            self.warnings.extend(f"{want.path}: the {what} does not exist yet" for what in _absent(want))

    def _inherited(self, facts: Facts, real: t.Sequence[str]) -> Facts:
        """A directory made below one that this call makes inherits from that one, not from the anchor."""
        if facts.exists or facts.obstacle:
            return facts
        above = [index for index in self.plans if facts.real.startswith(real[index] + "/") and not self.facts[index].exists]
        if not above:
            return facts
        nearest = max(above, key=lambda index: len(real[index]))
        after = self.plans[nearest].after.get("nocow", self.facts[nearest].breeds_nocow and not self.plans[nearest].make_subvolume)
        return dataclasses.replace(facts, breeds_nocow=bool(after))

    @property
    def changed(self) -> bool:
        return any(todo.changed for todo in self.plans.values())

    @property
    def diff(self) -> list[dict[str, t.Any]]:
        """For each entry that changes, the keys that do."""
        found = []
        for index in self.order:
            todo = self.plans[index]
            if not todo.changed:
                continue
            keys = [key for key in todo.after if todo.before.get(key) != todo.after[key]]
            found.append(
                {
                    "before_header": self.wants[index].path,
                    "after_header": self.wants[index].path,
                    "before": {key: todo.before[key] for key in keys if todo.before.get(key) is not None},
                    "after": {key: todo.after[key] for key in keys},
                }
            )
        return found

    def apply(self, progress: Progress) -> None:
        for want in self.wants:
            for what in _absent(want):
                raise _btrfs.BtrfsError(f"{want.path}: the {what} does not exist: create it first (the role host does)")
        for index in self.order:
            with _named(self.wants[index]):
                _btrfs_directory.apply(self.wants[index], self.facts[index], self.plans[index], self.listed, progress)

    def results(self, done: bool) -> list[dict[str, t.Any]]:
        return [_btrfs_directory.result(self.wants[index], self.facts[index], self.plans[index], done) for index in range(len(self.wants))]
