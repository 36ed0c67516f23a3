# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a unit, said so that its author can mend it. Private to the collection."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._redact import HIDDEN, masked, named


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
        shown = self.as_dict()
        place = self.unit + (f":{self.line}" if self.line else "")
        what = f"{self.key}={shown['value'] or ''}: " if self.key else f"{shown['value']!r}: " if self.value else ""
        return f"{place}: {what}{shown['reason']}" + (f" ({self.remedy})" if self.remedy else "")

    def as_dict(self) -> dict[str, t.Any]:
        """All of it, without secrets: the reason may quote a part of the value."""
        value = named(f"{self.key}={self.value}")[len(f"{self.key}=") :] if self.value is not None else None
        reason = masked(self.reason)
        if value != self.value:
            reason = re.sub(r"(['\"]).*\1", HIDDEN, reason)
        return {**dataclasses.asdict(self), "value": value, "reason": reason}


def nearest(word: str, known: t.Iterable[str]) -> str | None:
    """The known word which was probably meant."""
    lowered = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None
