# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the card is forgotten: each of its lines is asked by a test of tests/live, or listed with the reason why none can."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest
from live import card, expected, hostvars

ROOT = pathlib.Path(__file__).resolve().parents[3]
LINES = 317
CARD = card.read()
# The card itself is not part of this project; where it lies beside the checkout, the words are compared with it.
ORIGINAL = ROOT.parent / "shared/reference/card.md"
WORDS = ORIGINAL.read_text(encoding="utf-8").splitlines() if ORIGINAL.exists() else []


def plain(line: str) -> list[str]:
    """The words of a line, without punctuation and what Markdown and drawings add."""
    words = re.sub(r"\*\*|`|[├└│─|]", "", line.replace("→", "->")).split()
    return [word.strip(":;,.()") for word in words]


@pytest.fixture(scope="module")
def facts() -> expected.Facts:
    return expected.facts(hostvars.listed("photos", [str(ROOT / "examples/card/inventory.yml")]))


def functions() -> dict[str, list[str]]:
    """Each test function of the suite, and what it asks for."""
    found = {}
    for path in sorted((ROOT / "tests/live").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert node.name not in found, node.name
                found[node.name] = [argument.arg for argument in node.args.args]
    return found


def test_every_line_is_claimed_or_listed_once() -> None:
    claimed = [claim.line for claim in CARD.claims]
    assert sorted([*claimed, *CARD.listed]) == list(range(1, LINES + 1))


def test_every_claim_has_its_test_and_the_other_way_round() -> None:
    claimed = {f"test_{claim.test}" for claim in CARD.claims}
    asking = {name for name, arguments in functions().items() if "claim" in arguments}
    assert (claimed - asking, asking - claimed) == (set(), set())


def test_names_are_the_cards_words_and_differ(facts: expected.Facts) -> None:
    names = [card.name_of(claim, facts) for claim in CARD.claims]
    assert len(set(names)) == len(names)
    assert [name for name, claim in zip(names, CARD.claims) if claim.says not in name] == []
    # What an own inventory has in place of the card's is said; the one of the card has nothing of that kind.
    assert [name for name in names if "[here" in name] == []


def test_the_example_is_the_card(facts: expected.Facts) -> None:
    """What the card says stands in examples/card/inventory.yml, or is a default that is typed in the suite."""
    pairs = [(path, value) for claim in CARD.claims for path, value in claim.values.items()]
    assert len(pairs) > 30
    assert [(path, expected.look_up(facts, path), value) for path, value in pairs if expected.look_up(facts, path) != value] == []


ROWS = [claim for claim in CARD.claims if claim.test in ("address", "check", "container", "network")]


@pytest.mark.parametrize("claim", ROWS, ids=lambda claim: f"line {claim.line}")
def test_what_a_row_is_asked_for_stands_in_its_words(claim: card.Claim) -> None:
    """Typed twice, so that a number which is changed in one place is noticed."""
    about = [claim.about.get(key, "") for key in ("name", "interval", "start")]
    wanted = [str(value) for value in (*claim.values.values(), *about)]
    if claim.test == "check" and claim.line != 155:  # which has two words of a longer command
        wanted.append(claim.about["command"])
    assert [value for value in wanted if value not in claim.says] == []


@pytest.mark.parametrize("claim", [claim for claim in CARD.claims if claim.departs], ids=lambda claim: f"line {claim.line}")
def test_a_departure_has_its_row(claim: card.Claim) -> None:
    page = (ROOT / "docs/departures.md").read_text(encoding="utf-8")
    assert [row for row in page.splitlines() if row.startswith(f"| {claim.departs}")] != []


def test_words_are_those_of_the_card() -> None:
    """Some may be left out, and none is added. Says nothing where the card is not at hand."""
    other = []
    for claim in CARD.claims if WORDS else []:
        rest = iter(plain(WORDS[claim.line - 1]))
        if not all(word in rest for word in plain(claim.says)):
            other.append((claim.says, WORDS[claim.line - 1]))
    assert other == []
    empty = [number for number, why in CARD.listed.items() if why == "empty"]
    assert not WORDS or empty == [number for number, line in enumerate(WORDS, 1) if not line.strip()]
    assert not WORDS or len(WORDS) == LINES
