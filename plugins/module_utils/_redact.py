# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File contents as a diff may show them. Private to the collection."""

from __future__ import annotations

import re

HIDDEN = "(hidden)"
CHANGED = "(hidden, changed)"
_WORDS = "PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIAL"
_SENSITIVE = re.compile(rf"([\w.-]*(?:{_WORDS})[\w.-]*(?<!_FILE)\s*[=:]\s*)(?=\S)(.+)", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"^(\s*(?:export\s+)?[A-Za-z_][\w.-]*=)(.*)$")


def redacted(before: str | None, after: str | None, mode: int) -> tuple[str, str]:
    """Both contents with values hidden: all of them in a private file (no rights for group and others), else those whose name tells a secret."""
    private = not mode & 0o077
    old, new = before or "", after or ""
    hide = _hide_private if private else _hide_named
    shown_old, shown_new = hide(old, set(), HIDDEN), hide(new, set(old.splitlines()) if before is not None else set(new.splitlines()), CHANGED)
    return shown_old, shown_new


def _hide_private(text: str, known: set[str], changed: str) -> str:
    lines = []
    for line in text.splitlines():
        match = _ASSIGNMENT.match(line)
        value = changed if changed == CHANGED and line not in known else HIDDEN
        if not line.strip() or line.lstrip().startswith("#"):
            lines.append(line)
        else:
            lines.append(match.group(1) + value if match else value)
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


def _hide_named(text: str, known: set[str], changed: str) -> str:
    lines = []
    for line in text.splitlines():
        value = changed if changed == CHANGED and line not in known else HIDDEN
        # the quadlet key Secret= names a secret and does not hold one
        lines.append(line if re.match(r"\s*Secret\s*=", line) else _SENSITIVE.sub(rf"\g<1>{value}", line))
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")
