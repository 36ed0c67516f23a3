# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the networks of the inventory."""

from __future__ import annotations

import copy
import pathlib
import textwrap

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.patriark.homelab.plugins.filter.network_lines import FilterModule, network_address, network_diagram, network_lines, network_unused

ROOT = pathlib.Path(__file__).resolve().parents[4]
CARD = yaml.safe_load((ROOT / "examples/card/inventory.yml").read_text(encoding="utf-8"))["all"]["vars"]["homelab_networks"]


def test_lines_of_the_card():
    assert network_lines(CARD, "immich-server") == ["reverse_proxy.network:ip=10.89.2.12", "photos.network:ip=10.89.5.5", "monitoring.network:ip=10.89.4.22"]
    assert network_lines(CARD, "redis-immich") == ["photos.network:ip=10.89.5.4"]


def test_chosen_networks_in_the_order_asked_for():
    assert network_lines(CARD, "immich-server", ["photos", "reverse_proxy"]) == ["photos.network:ip=10.89.5.5", "reverse_proxy.network:ip=10.89.2.12"]
    assert network_lines(CARD, "someone", ["monitoring"]) == ["monitoring.network"]
    with pytest.raises(AnsibleFilterError, match="photos"):
        network_lines(CARD, "someone", ["photo"])
    with pytest.raises(AnsibleFilterError, match="taken at random"):
        network_lines(CARD, "someone", ["monitoring", "photos"])


def test_address_in_both_families():
    assert network_address(CARD, "immich-server", "reverse_proxy") == "10.89.2.12"
    both = [{"unit": "a", "subnet": "10.1.0.0/24,fd00:1::/64", "static": {"x": "10.1.0.2, fd00:1::2"}}]
    assert network_address(both, "x", "a") == "10.1.0.2"
    assert network_address(both, "x", "a", ipv6=True) == "fd00:1::2"
    with pytest.raises(AnsibleFilterError, match="no IPv6 address"):
        network_address(CARD, "immich-server", "photos", ipv6=True)


def test_a_misspelt_name_gets_a_hint():
    with pytest.raises(AnsibleFilterError, match="did you mean 'immich-server'"):
        network_lines(CARD, "imich-server")
    with pytest.raises(AnsibleFilterError, match="did you mean 'photos'"):
        network_address(CARD, "immich-server", "fotos")


def test_a_plan_with_errors_gives_no_lines():
    broken = [{"unit": "a", "subnet": "10.1.0.0/24", "static": {"x": "10.1.0.1"}}]
    with pytest.raises(AnsibleFilterError, match="is the gateway"):
        network_lines(broken, "x")
    with pytest.raises(AnsibleFilterError, match="list of dictionaries"):
        network_lines({"unit": "a"}, "x")


def test_picture_has_every_address_and_marks_the_default_routes():
    text = network_diagram(CARD)
    nodes = {line.split('"')[1]: line.split("[")[0].strip() for line in text.splitlines() if line.lstrip().startswith("c") and "[" in line}
    for number, network in enumerate(CARD):
        assert f"<b>systemd-{network['unit']}</b><br/>{network['subnet']}" in text
        for container, address in network["static"].items():
            alone = [other["unit"] for other in CARD if container in other["static"]] == [network["unit"]]
            thick = alone or network["unit"] == "reverse_proxy"
            assert f'{nodes[container]} {"===" if thick else "---"}|"{address}"| n{number}' in text


def test_picture_in_the_documentation_is_the_card():
    page = (ROOT / "docs/networks.md").read_text(encoding="utf-8")
    assert f"```mermaid\n{network_diagram(CARD)}```\n" in page


def test_errors_in_the_documentation_are_what_is_printed():
    broken = copy.deepcopy(CARD)
    broken[1]["options"] = {"mtuu": 1400}
    broken[1]["static"].update({"redis-immich": "10.89.5.3", "immich-ml": "10.89.5.200"})
    with pytest.raises(AnsibleFilterError) as raised:
        network_lines(broken, "immich-ml")
    assert textwrap.indent(str(raised.value), "    ") in (ROOT / "docs/networks.md").read_text(encoding="utf-8")


def test_addresses_that_nobody_takes():
    planned = copy.deepcopy(CARD)
    planned[2]["static"].update({"alertmanager": "10.89.4.71", "somebody": "10.89.4.99"})
    lines = {"alertmanager": ["monitoring_inside.network"], "prometheus": ["monitoring.network:ip=10.89.4.70", "monitoring_inside.network"]}
    assert network_unused(planned, lines) == ["alertmanager 10.89.4.71 on monitoring"]
    assert network_unused(planned, {**lines, "alertmanager": ["monitoring.network:ip=10.89.4.71"]}) == []
    assert network_unused(CARD, lines) == []
    planned[0]["subnet"] = "nothing"
    assert network_unused(planned, lines) == []


def test_every_filter_is_documented():
    for name in FilterModule().filters():
        assert any((ROOT / "plugins/filter" / f"{name}{suffix}").exists() for suffix in (".py", ".yml"))
