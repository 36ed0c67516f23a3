# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that examples/card asks for, one reference a line: what the roles say, and the inventory over it.

Needs ansible-core, so upstream.py runs it with the Python of .venv. Inventories given as arguments come last, and win.
"""

from __future__ import annotations

import pathlib
import sys
import typing as t

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = ("immich", "traefik", "monitoring")
ENDING = "_image"


def load(path: pathlib.Path) -> dict[str, t.Any]:
    return dict(DataLoader().load_from_file(str(path), trusted_as_template=True) or {})


def references(*inventories: pathlib.Path) -> list[str]:
    asked: list[str] = []
    found: dict[str, t.Any] = {}
    for role in ROLES:
        defaults = load(ROOT / "roles" / role / "defaults/main.yml")
        asked += [name for name in defaults if name.endswith(ENDING)]
        found.update(defaults)
        for path in sorted((ROOT / "roles" / role / "vars").rglob("*.yml")):
            found.update(load(path))
    for path in (ROOT / "examples/card/inventory.yml", *inventories):
        found.update(load(path)["all"]["vars"])
    templar = Templar(DataLoader(), variables=found)
    wanted = [name for name in asked if templar.template(found.get(name[: -len(ENDING)] + "_enabled", True))]
    return sorted({str(templar.template(trust_as_template("{{ " + name + " }}"))) for name in wanted})


if __name__ == "__main__":
    print("\n".join(references(*map(pathlib.Path, sys.argv[1:]))))
