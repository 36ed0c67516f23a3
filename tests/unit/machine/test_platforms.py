# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What molecule.yml says of a scenario's machines, and the inventory that comes of it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import platforms
import pytest
import yaml
from molecule.model.schema_v3 import validate

ROOT = pathlib.Path(__file__).resolve().parents[3]


def parse(*entries: dict[str, t.Any]) -> list[platforms.Platform]:
    return platforms.parse(json.dumps(entries), "real")


def test_the_least() -> None:
    assert parse({"name": "photos"}) == [platforms.Platform("photos", "real-photos", "stocked", "trixie", False, [], [], [])]


def test_everything() -> None:
    entry = {
        "name": "client",
        "from": "client",
        "suite": "testing",
        "vm": True,
        "networks": [{"name": "street", "aliases": ["example.org"]}, {"name": "back"}],
        "groups": ["outside"],
    }
    assert parse(entry) == [platforms.Platform("client", "real-client", "client", "testing", True, ["street", "back"], ["example.org"], ["outside"])]
    assert validate({"platforms": [entry]}) == []


def test_a_misspelt_key_is_named() -> None:
    with pytest.raises(SystemExit, match="platform photos of the scenario real: unknown: form"):
        parse({"name": "photos", "form": "base"})


def test_groups_hold_their_machines() -> None:
    found = parse({"name": "a", "groups": ["both", "first"]}, {"name": "b", "groups": ["both"]})
    inventory = platforms.inventory({"a": {"ansible_host": "real-a"}, "b": {}}, platforms.grouped(found))
    assert inventory == {
        "all": {
            "hosts": {"a": {"ansible_host": "real-a"}, "b": {}},
            "children": {"both": {"hosts": {"a": {}, "b": {}}}, "first": {"hosts": {"a": {}}}},
        }
    }


@pytest.mark.parametrize("path", sorted(ROOT.glob("molecule/*/molecule.yml")), ids=lambda path: path.parent.name)
def test_the_scenarios_here_declare_what_is_understood(path: pathlib.Path) -> None:
    entries = yaml.safe_load(path.read_text(encoding="utf-8")).get("platforms", [{"name": "photos"}])
    assert all(one.name for one in parse(*entries))
