# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claims of the card, a description of one homelab, as data: which line says what, and which test asks whether it is so."""

from __future__ import annotations

import pathlib
import typing as t

import yaml
from live import expected

FILE = pathlib.Path(__file__).with_name("card.yml")


class Claim(t.NamedTuple):
    line: int
    says: str  # words of the line
    test: str  # name of the function, without test_
    about: dict[str, t.Any]  # what the function wants to know beside the words
    values: dict[str, t.Any]  # path in the facts of an inventory -> what the card has there
    departs: str  # how the row of docs/departures.md begins that says why something else is done


class Card(t.NamedTuple):
    claims: list[Claim]
    listed: dict[int, str]  # lines which claim nothing that can be looked at -> why


def read() -> Card:
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    claims = [Claim(row["line"], row["says"], row["test"], row.get("about", {}), row.get("is", {}), row.get("departs", "")) for row in data["claims"]]
    return Card(claims, {number: row["because"] for row in data["listed"] for number in row["lines"]})


def name_of(claim: Claim, facts: expected.Facts) -> str:
    """The card's words; and what this inventory has in place of the card's values."""
    own = [str(found) for path, there in claim.values.items() if (found := expected.look_up(facts, path)) not in (there, None)]
    here = f" [here {', '.join(own)}]" if own else ""
    return f"line {claim.line}: {claim.says}{' (departs)' if claim.departs else ''}{here}"
