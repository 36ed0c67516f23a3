# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts as a diff, an error or a journal's tail may show them. Private to the collection."""

from __future__ import annotations

import re
import typing as t

HIDDEN = "(hidden)"
CHANGED = "(hidden, changed)"
# Shorter values are too likely to be part of something else.
SHORTEST = 6

_WORDS = "PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|CREDS|WEBHOOK|(?:API|PRIVATE|ACCESS|SIGNING|ENCRYPTION|DECRYPTION)[_-]?KEY"
# The name of a value that is a secret, up to the value: NAME=, name:, "name":, --creds. A name that ends in _FILE has a path for a value.
_NAME = rf"""(?:(?:[\w.-]*(?:{_WORDS})[\w.-]*|(?<![A-Z0-9])(?:[\w.-]*[_.-])?PASS)(?<!_FILE)["']?\s*[=:]|--(?:creds|decryption-key)\b)"""
_SENSITIVE = re.compile(rf"({_NAME}\s*)(?=\S)(.+)", re.IGNORECASE)
_SENSITIVE_WORD = re.compile(rf"""({_NAME}\s*["']?)(?=\S)([^\s"']+)""", re.IGNORECASE)
_OPENS = re.compile(rf"{_NAME}\s*([|>][-+\d]*)?\s*\Z", re.IGNORECASE)
_LOGIN = re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+(?=@)")
_ASSIGNMENT = re.compile(r"^(\s*(?:export\s+)?[A-Za-z_][\w.-]*=)(.*)\Z")
# The quadlet key Secret= names a secret and does not hold one.
_REFERENCE = re.compile(r"\s*Secret\s*=")


def redacted(before: str | None, after: str | None, mode: int) -> tuple[str, str]:
    """Both contents with values hidden: all of them in a private file (no rights for group and others), else those whose name tells a secret."""
    private = not mode & 0o077
    old, new = before or "", after or ""
    hide = _hide_private if private else _hide_named
    shown_old, shown_new = hide(old, set(), HIDDEN), hide(new, set(old.splitlines()) if before is not None else set(new.splitlines()), CHANGED)
    return shown_old, shown_new


def named(text: str, value: str = HIDDEN) -> str:
    """One value, or one line: from the first name that tells a secret on, nothing is shown."""
    return _LOGIN.sub(rf"\g<1>{value}", text if _REFERENCE.match(text) else _SENSITIVE.sub(rf"\g<1>{value}", text))


def masked(text: str, known: t.Iterable[str] = ()) -> str:
    """What a program said: without the secrets that are known, and without words behind a name that tells one."""
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _LOGIN.sub(rf"\g<1>{HIDDEN}", _SENSITIVE_WORD.sub(rf"\g<1>{HIDDEN}", text))


def told(texts: t.Iterable[str]) -> set[str]:
    """The values in units and files whose names tell that they are secrets."""
    lines = (line for text in texts for line in text.splitlines() if not _REFERENCE.match(line))
    values = (match.group(2).strip().strip("\"'") for line in lines for match in [_SENSITIVE.search(line)] if match)
    return {value for value in values if len(value) >= SHORTEST}


def _hide_private(text: str, known: set[str], changed: str) -> str:
    lines = []
    for line in text.splitlines():
        match = _ASSIGNMENT.match(line)
        value = changed if changed == CHANGED and line not in known else HIDDEN
        if not line.strip() or line.lstrip().startswith("#"):
            lines.append(named(line, value))
        else:
            lines.append(match.group(1) + value if match else value)
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")


def _hide_named(text: str, known: set[str], changed: str) -> str:
    lines: list[str] = []
    # of the value that goes on in the next line: how far that must be indented, or -1 for a line that ends with a backslash
    below: int | None = None
    for line in text.splitlines():
        value = changed if changed == CHANGED and line not in known else HIDDEN
        indent = len(line) - len(line.lstrip())
        if below is not None and (below < 0 or indent > below or not line.strip()):
            lines.append(" " * indent + value if line.strip() else line)
            below = below if below >= 0 or line.endswith("\\") else None
            continue
        shown = named(line, value)
        lines.append(shown)
        below = indent if _OPENS.search(line) else -1 if shown != line and line.endswith("\\") else None
    return "\n".join(lines) + ("\n" if text.endswith("\n") else "")
