# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Immich's settings file: settings of a person over those of the role, secrets put in by name, and what is wrong with them.

Private to the collection.
"""

from __future__ import annotations

import copy
import difflib
import typing as t

Tree = dict[str, t.Any]
HIDDEN = "(from immich_settings_secrets)"


def flat(tree: t.Mapping[str, t.Any], known: t.Mapping[str, t.Any], where: str = "") -> t.Iterator[tuple[str, t.Any]]:
    """Dotted names and values. What is no dictionary in the known settings is a value, whatever it holds."""
    for key, value in tree.items():
        name, below = f"{where}.{key}" if where else str(key), known.get(key)
        if isinstance(value, dict) and (isinstance(below, dict) or key not in known):
            yield from flat(value, below or {}, name)
        else:
            yield name, value


def names(tree: t.Mapping[str, t.Any], where: str = "") -> dict[str, t.Any]:
    """Dotted names of all known settings, groups too."""
    found: dict[str, t.Any] = {}
    for key, value in tree.items():
        name = f"{where}.{key}" if where else str(key)
        found[name] = value
        if isinstance(value, dict):
            found.update(names(value, name))
    return found


def put(tree: Tree, name: str, value: t.Any) -> None:
    *path, last = name.split(".")
    for key in path:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            raise ValueError(f"{name}: {key} is a value, not a group")
        tree = below
    tree[last] = value


def overlay(base: t.Mapping[str, t.Any], over: t.Mapping[str, t.Any]) -> Tree:
    made = copy.deepcopy(dict(base))
    for key, value in over.items():
        made[key] = overlay(made[key], value) if isinstance(made.get(key), dict) and isinstance(value, dict) else copy.deepcopy(value)
    return made


def kind(value: t.Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return {str: "text", list: "a list", dict: "a group"}.get(type(value), "anything")


def findings(settings: Tree, known: Tree, strict: bool) -> list[str]:
    """Names nobody knows, with the nearest known one, and values of another kind than the default. Not strict: only slips of known names."""
    all_known, said = names(known), []
    for name, value in flat(settings, known):
        if name not in all_known:
            near = next(iter(difflib.get_close_matches(name, all_known, 1, 0.6 if strict else 0.85)), None)
            if strict or near:
                said.append(f"{name} is not a setting" + (f" (did you mean {near}?)" if near else ""))
        elif all_known[name] is not None and kind(value) != kind(all_known[name]):
            said.append(f"{name} must be {kind(all_known[name])}")
    return said


def compose(settings: Tree, secrets: t.Mapping[str, t.Any], base: Tree, known: Tree, secret_names: t.Sequence[str], strict: bool) -> dict[str, t.Any]:
    """The document for the server, the same as it may be shown, and what is wrong: unknown and misplaced."""
    shown = overlay(base, settings)
    document = copy.deepcopy(shown)
    wrong = findings(settings, known, strict)
    for name, value in secrets.items():
        if name not in names(known) and strict:
            wrong += findings({name: value}, known, strict)
        try:
            put(document, name, value)
            put(shown, name, HIDDEN)
        except ValueError as error:
            wrong.append(str(error))
    plain = [name for name, value in flat(settings, known) if name in secret_names and value]
    return {"document": document, "shown": shown, "unknown": wrong, "misplaced": plain}
