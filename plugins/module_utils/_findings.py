# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a unit, said so that its author can mend it. Private to the collection."""

from __future__ import annotations

import dataclasses
import difflib
import typing as t


@dataclasses.dataclass(frozen=True)
class Finding:
    """One reason why a request is refused, or (severity warning) one thing its author should know."""

    unit: str
    reason: str
    remedy: str = ""
    line: int | None = None
    key: str | None = None
    value: str | None = None
    severity: str = "error"

    def __str__(self) -> str:
        place = self.unit + (f":{self.line}" if self.line else "")
        what = f"{self.key}={self.value or ''}: " if self.key else ""
        return f"{place}: {what}{self.reason}" + (f" ({self.remedy})" if self.remedy else "")

    def as_dict(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


def nearest(word: str, known: t.Iterable[str]) -> str | None:
    """The known word which was probably meant."""
    lowered = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None
