# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sections given as data (section -> key -> value) to unit text, each value quoted the way its key is read.

Private to the collection.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_keys import TYPES, Key
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import UnitName
from ansible_collections.patriark.homelab.plugins.module_utils._unit_file import escape_specifiers, quote_verbatim, quote_word

# Lines of a plain systemd section which systemd splits into a command and expands $ in
_COMMAND = "Exec"
# Keys with one list of words on a line; given as a list they may stand on one line
_JOINED = ("last_args",)


def render(name: UnitName, sections: t.Mapping[str, t.Any], specifiers: bool = False) -> tuple[str, list[Finding]]:
    """Unit text. Literal percent and dollar signs are escaped unless specifiers is true."""
    lines: list[str] = []
    findings: list[Finding] = []
    for section, keys in sections.items():
        if not isinstance(keys, dict):
            findings.append(Finding(name.text, f"section {section} is not a mapping of keys", "write Key: value below it"))
            continue
        if lines:
            lines.append("")
        lines.append(f"[{section}]")
        for key, value in keys.items():
            facts = _facts(name, section, key)
            try:
                lines += [f"{key}={text}" for text in _values(key, facts, value, specifiers)]
            except ValueError as error:
                findings.append(Finding(name.text, str(error), key=key, value=str(value)))
    return "\n".join(lines) + "\n", findings


def _facts(name: UnitName, section: str, key: str) -> Key | None:
    if name.plain:
        return None
    if section == "Quadlet":
        return TYPES["quadlet"].keys.get(key)
    return TYPES[name.kind].keys.get(key) if section == TYPES[name.kind].section else None


def _values(key: str, facts: Key | None, value: t.Any, specifiers: bool) -> t.Iterator[str]:
    """The right-hand sides of one key, one for each line."""

    def literal(text: str) -> str:
        if specifiers:
            return text
        return escape_specifiers(text, dollar=facts is not None or key.startswith(_COMMAND))

    lookup = facts.lookup if facts else "all"
    if isinstance(value, dict):
        if facts and lookup != "all_keyval":
            raise ValueError(f"{key} takes no mapping; write a string or a list")
        if not facts and key != "Environment":
            raise ValueError(f"{key} takes no mapping; write a string or a list")
        for inner, text in value.items():
            yield literal(_forced(f"{inner}={_scalar(text)}"))
        return
    if isinstance(value, (list, tuple)):
        if key in ("HealthCmd", "HealthStartupCmd") and facts:
            yield literal(_health(value))
            return
        if lookup in _JOINED:
            yield literal(" ".join(quote_word(_scalar(word)) for word in value))
            return
        if facts and not facts.repeatable:
            raise ValueError(f"{key} takes one value, not a list")
        for item in value:
            text = _scalar(item)
            if lookup == "all_keyval":
                yield literal(_forced(text))
            elif lookup == "all_args":
                yield literal(quote_word(text))
            elif lookup == "all_strv":
                yield literal(quote_verbatim(text))
            else:
                yield literal(_one_line(text))
        return
    if value is None:
        raise ValueError(f"{key} has no value; leave it out, or write an empty string to reset it")
    yield literal(_one_line(_scalar(value)))


def _forced(text: str) -> str:
    """An assignment, always in quotes: the form no podman misreads."""
    quoted = quote_word(text)
    return quoted if quoted.startswith('"') else f'"{quoted}"'


def _health(words: t.Sequence[t.Any]) -> str:
    """The JSON array form without the word CMD, which every podman understands."""
    texts = [_scalar(word) for word in words]
    if texts and texts[0] == "CMD":
        texts = texts[1:]
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":"))


def _one_line(text: str) -> str:
    if "\n" in text.rstrip("\n") or "\r" in text:
        raise ValueError("a value is one line")
    text = text.rstrip("\n")
    if text.endswith("\\"):
        raise ValueError("a value cannot end with a backslash")
    return text


def _scalar(value: t.Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError(f"{value!r} is not a string, a number or a boolean")
