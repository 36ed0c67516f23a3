# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write plugins/module_utils/_quadlet_keys.py from the table of quadlet keys (quadlet-keys.json beside the unit tests)."""

from __future__ import annotations

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "unit" / "plugins" / "module_utils" / "data" / "quadlet-keys.json"
TARGET = ROOT / "plugins" / "module_utils" / "_quadlet_keys.py"

HEAD = '''# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every quadlet key: since which podman, what value it takes, how the generator reads it, which podman flag it becomes.

Made by tests/tools/make_quadlet_keys.py; change the table there. Private to the collection.
"""

from __future__ import annotations

import typing as t


class Key(t.NamedTuple):
    """One key of a quadlet section.

    lookup tells how the generator reads it: last, last_bool, all, all_strv, all_args, all_keyval or last_args.
    """

    since: tuple[int, int]
    value: str
    lookup: str
    repeatable: bool
    flag: str | None
    deprecated: bool


class UnitType(t.NamedTuple):
    section: str
    since: tuple[int, int]
    keys: dict[str, Key]


def _types(table: str) -> dict[str, UnitType]:
    found: dict[str, UnitType] = {}
    for line in table.strip().splitlines():
        name, marks, since, value, *rest = line.split(None, 5)
        if marks == "=":
            found[name] = unit_type = UnitType(value, _version(since), {})
        else:
            unit_type.keys[name] = Key(_version(since), value, rest[0], "*" in marks, rest[1] if rest[1:] else None, "!" in marks)
    return found


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


# Line of a type: name = since section. Line of a key: name, marks (* repeatable, ! deprecated, - none), since, value, lookup,
# podman flag if there is one.
TYPES = _types(
    """
'''

TAIL = '''"""
)
'''


def render() -> str:
    lines = []
    for name, unit_type in json.loads(SOURCE.read_text(encoding="utf-8")).items():
        # the [Quadlet] section belongs to every type and has no version of its own: its keys came with it
        since = unit_type.get("since") or min(facts["since"] for facts in unit_type["keys"].values())
        lines.append(f"{name} = {since} {unit_type['section']}")
        for key, facts in unit_type["keys"].items():
            marks = ("*" if facts["repeatable"] else "") + ("!" if facts.get("deprecated") else "")
            lines.append(" ".join([key, marks or "-", facts["since"], facts["value"], facts["lookup"], facts.get("podman") or ""]).rstrip())
    return HEAD + "\n".join(lines) + "\n" + TAIL


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
