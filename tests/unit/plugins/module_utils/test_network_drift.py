# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live networks against the plan, key by key. The recorded networks were made by podman 5.4.2 on Debian 13."""

from __future__ import annotations

import copy
import json
import pathlib

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import make_plan
from ansible_collections.patriark.homelab.plugins.module_utils._network_drift import differences, live_form, neighbours, planned_form, unit_text
from ansible_collections.patriark.homelab.plugins.module_utils._unit_file import UnitFile, split_words

RECORDED = {
    network["name"]: network for network in json.loads((pathlib.Path(__file__).parent / "data" / "podman-5.4.2-network-ls.json").read_text(encoding="utf-8"))
}

# What was asked of podman when the networks were recorded.
BOTH = {
    "name": "both",
    "subnet": ["fd00:77:4::/64", "10.77.4.0/24"],
    "dynamic_range": ["fd00:77:4::1:0-fd00:77:4::1:2", "10.77.4.10-10.77.4.20"],
    "default_route": True,
    "dns": ["1.1.1.1"],
    "options": {"isolate": "1", "mtu": 1400},
    "labels": {"a": "b"},
}
PHOTOS = {"unit": "photos", "subnet": "10.89.5.0/24"}
CLOSED = {"name": "closed", "subnet": "10.77.5.0/24", "internal": True, "dns_enabled": False}


def planned(entry):
    plan = make_plan([entry])
    assert plan.findings == ()
    return plan.networks[0]


@pytest.mark.parametrize("entry", [BOTH, PHOTOS], ids=["both", "photos"])
def test_no_difference_where_there_is_none(entry):
    network = planned(entry)
    assert differences(network, RECORDED[network.name]) == []


def test_a_network_without_a_range_differs_in_that_only():
    found = differences(planned(CLOSED), RECORDED["closed"])
    assert [(difference.key, difference.live, difference.planned) for difference in found] == [("dynamic_range", "", "10.77.5.129-10.77.5.254")]
    assert str(found[0]) == "dynamic_range is not set, planned is 10.77.5.129-10.77.5.254"


@pytest.mark.parametrize(
    "change, keys",
    [
        ({"subnet": ["fd00:77:4::/64", "10.77.5.0/24"], "dynamic_range": None}, ["subnet", "gateway", "dynamic_range"]),
        ({"subnet": ["10.77.4.0/24"], "dynamic_range": "10.77.4.10-10.77.4.20"}, ["subnet", "gateway", "dynamic_range", "ipv6"]),
        ({"gateway": "10.77.4.2"}, ["gateway"]),
        ({"dynamic_range": ["fd00:77:4::1:0-fd00:77:4::1:2", "10.77.4.10-10.77.4.21"]}, ["dynamic_range"]),
        ({"default_route": False}, ["options.metric"]),
        ({"default_route": False, "metric": 51}, ["options.metric"]),
        ({"internal": True, "default_route": False}, ["internal", "options.metric"]),
        ({"dns": ["1.1.1.2"]}, ["dns"]),
        ({"dns": None}, ["dns"]),
        ({"dns": None, "dns_enabled": False}, ["dns_enabled", "dns"]),
        ({"options": {"isolate": "strict", "mtu": 1400}}, ["options.isolate"]),
        ({"options": {"mtu": 1400}}, ["options.isolate"]),
        ({"options": {"isolate": True, "mtu": 1400, "vlan": 3}}, ["options.vlan"]),
        ({"labels": {}}, ["labels.a"]),
        ({"labels": {"a": "c"}}, ["labels.a"]),
        ({"labels": {"a": "b", "c": ""}}, ["labels.c"]),
    ],
)
def test_every_key_of_the_plan_is_compared(change, keys):
    assert [difference.key for difference in differences(planned({**BOTH, **change}), RECORDED["both"])] == keys


def test_driver_and_ipam_of_the_live_network_are_compared():
    live = copy.deepcopy(RECORDED["both"])
    live["driver"], live["ipam_options"] = "macvlan", {"driver": "dhcp"}
    assert [difference.key for difference in differences(planned(BOTH), live)] == ["driver", "ipam_driver"]


def test_a_range_up_to_the_broadcast_address_is_the_same_range():
    assert RECORDED["systemd-photos"]["subnets"][0]["lease_range"]["end_ip"] == "10.89.5.255"
    assert live_form(RECORDED["systemd-photos"])["dynamic_range"] == "10.89.5.129-10.89.5.254"


def test_one_end_of_a_range_is_enough():
    live = copy.deepcopy(RECORDED["systemd-photos"])
    del live["subnets"][0]["lease_range"]["end_ip"]
    assert live_form(live)["dynamic_range"] == "10.89.5.129-10.89.5.254"
    live["subnets"][0]["lease_range"] = {"end_ip": "10.89.5.9"}
    assert live_form(live)["dynamic_range"] == "10.89.5.1-10.89.5.9"


def test_other_networks_are_neighbours_and_ones_own_are_not():
    found = neighbours(RECORDED.values(), {"systemd-photos", "both"})
    assert [(str(neighbour.net), neighbour.owner) for neighbour in found] == [
        ("10.77.5.0/24", "the podman network closed"),
        ("10.88.0.0/16", "the podman network podman"),
    ]


def test_the_quadlet_says_all_that_is_compared():
    """Read back from the text, each planned key is there: a key that is compared and not written could never be repaired."""
    network = planned({**BOTH, "internal": False, "labels": {"a": 'x "y" 50% $z', "b": "back\\slash"}})
    unit = UnitFile(unit_text(network))

    def values(key):
        return [entry.value for entry in unit.all("Network", key)]

    def pairs(key):
        words = [split_words(value)[0] for value in values(key)]
        assert all(len(word) == 1 for word in words)
        return dict(word[0].replace("%%", "%").replace("$$", "$").split("=", 1) for word in words)

    form = planned_form(network)
    assert unit.value("Network", "NetworkName") == "both"
    assert ", ".join(values("Subnet")) == form["subnet"]
    assert ", ".join(values("Gateway")) == form["gateway"]
    assert ", ".join(values("IPRange")) == form["dynamic_range"]
    assert ", ".join(values("DNS")) == form["dns"]
    assert values("IPv6") == ["true"] and values("Internal") == [] and values("DisableDNS") == []
    assert {f"options.{key}": value for key, value in pairs("Options").items()} == {key: value for key, value in form.items() if key.startswith("options.")}
    assert pairs("Label") == network.labels
    assert 'Label="a=x \\"y\\" 50%% $$z"' in unit.text  # literal for systemd, which reads the line once more
    closed = UnitFile(unit_text(planned(CLOSED)))
    assert [closed.value("Network", key) for key in ("Internal", "DisableDNS", "Gateway", "IPv6")] == ["true", "true", "", ""]


def test_planning_an_address_does_not_touch_the_quadlet():
    assert unit_text(planned(PHOTOS)) == unit_text(planned({**PHOTOS, "static": {"immich-ml": "10.89.5.2"}}))
