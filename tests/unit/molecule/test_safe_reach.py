# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of who reaches whom, and what is promised below it. That it is what a machine has is for the scenario to tell."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
PLAN = yaml.safe_load((ROOT / "examples/card/inventory.yml").read_text(encoding="utf-8"))["all"]["vars"]["homelab_networks"]
NEVER_THERE = {"grafana", "alloy"}  # the test machines have no image of them
APART = {"alertmanager", "blackbox-exporter"}  # on a network that is in no plan
BEYOND = {"the LAN", "the host", "the host's loopback", "metadata"}


def table() -> dict[str, set[str]]:
    part = re.search(r"(?s)<!-- reach -->(.*?)<!-- end of reach -->", PAGE)
    assert part
    rows = re.findall(r"(?m)^\| ([a-z][^|]*) \| ([^|]*) \|$", part.group(1))
    return {source: set(reached.split(", ")) for source, reached in rows}


@pytest.fixture(scope="module")
def reach() -> t.Any:
    spec = importlib.util.spec_from_file_location("reach", ROOT / "molecule/safe/files/reach.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_container_of_the_card_has_a_row() -> None:
    assert set(table()) == {name for network in PLAN for name in network["static"]} - NEVER_THERE | APART | {"another account", "another machine"}


@pytest.mark.parametrize("name", ["postgresql-immich", "redis-immich", "immich-ml"])
def test_what_is_inside_reaches_nothing_beyond(name: str) -> None:
    assert {place.partition(":")[0] for place in table()[name]} <= {"postgresql-immich", "redis-immich", "immich-ml", "immich-server"}


def test_others_reach_the_proxy_only() -> None:
    assert table()["another account"] == table()["another machine"] == {"host:80", "host:443"}


def test_prometheus_alone_reaches_those_who_do_as_they_are_told() -> None:
    for place in ("alertmanager:9093", "blackbox-exporter:9115"):
        assert {source for source, reached in table().items() if place in reached} <= {"prometheus", *APART}


def test_what_is_measured_is_read_by_nobody_who_is_measured() -> None:
    assert {source for source, reached in table().items() if "prometheus:9090" in reached} == APART


def test_nobody_reaches_the_loopback() -> None:
    assert not [source for source, reached in table().items() if "the host's loopback" in reached]


def test_what_is_not_a_port_is_explained() -> None:
    assert {place for reached in table().values() for place in reached if ":" not in place} <= BEYOND


def test_ports_that_listen_for_others(reach: t.Any) -> None:
    head = "  sl  local_address rem_address   st\n"
    lines = ["0100007F:2382 0:0 0A", "00000000:2383 0:0 0A", "00000000000000000000000001000000:2384 0:0 0A", "4659590A:2385 0:0 0A", "00000000:2386 0:0 01"]
    assert reach.listening(head + "".join(f"   {number}: {line} 0\n" for number, line in enumerate(lines))) == {0x2383, 0x2385}
