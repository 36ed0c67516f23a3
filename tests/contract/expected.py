# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the real servers did when they were asked (pytest tests/contract --record): a file per release, claim by claim."""

from __future__ import annotations

import functools
import json
import pathlib
import typing as t

FOLDER = pathlib.Path(__file__).resolve().parent / "expected"


@functools.cache
def read(release: str) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], json.loads((FOLDER / f"{release}.json").read_text(encoding="utf-8")))


def write(release: str, claims: dict[str, t.Any]) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{release}.json").write_text(json.dumps(claims, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    read.cache_clear()


def differences(wanted: t.Any, found: t.Any, where: str = "") -> list[str]:
    """One line for each place where two documents differ."""
    if wanted == found:
        return []
    if isinstance(wanted, dict) and isinstance(found, dict):
        lines = []
        for key in sorted({*wanted, *found}):
            place = f"{where}/{key}"
            if key not in found:
                lines.append(f"{place}: missing, was {wanted[key]!r}")
            elif key not in wanted:
                lines.append(f"{place}: more than the original has: {found[key]!r}")
            else:
                lines += differences(wanted[key], found[key], place)
        return lines
    if isinstance(wanted, list) and isinstance(found, list):
        gone, new = [item for item in wanted if item not in found], [item for item in found if item not in wanted]
        if gone or new:
            return [f"{where}: the original has {gone!r}, here is {new!r}"]
    return [f"{where}: the original has {wanted!r}, here is {found!r}"]
