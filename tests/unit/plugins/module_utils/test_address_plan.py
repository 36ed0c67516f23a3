# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address plan: each rule by example, and all of them on generated plans."""

from __future__ import annotations

import copy
import ipaddress
import re

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import (
    Finding,
    Neighbour,
    OtherUnit,
    containers,
    explain,
    make_plan,
)
from ansible_collections.patriark.homelab.plugins.module_utils._network_drift import unit_text
from hypothesis import given, settings
from hypothesis import strategies as st

CARD = [
    {"unit": "reverse_proxy", "subnet": "10.89.2.0/24", "default_route": True, "static": {"immich-server": "10.89.2.12", "traefik": "10.89.2.10"}},
    {
        "unit": "photos",
        "subnet": "10.89.5.0/24",
        "static": {"immich-server": "10.89.5.5", "immich-ml": "10.89.5.2", "postgresql-immich": "10.89.5.3", "redis-immich": "10.89.5.4"},
    },
    {"unit": "monitoring", "subnet": "10.89.4.0/24", "static": {"immich-server": "10.89.4.22"}},
]


def card(**photos):
    plan = copy.deepcopy(CARD)
    plan[1].update(photos)
    return plan


def one(**entry):
    return [{"unit": "photos", "subnet": "10.89.5.0/24", **entry}]


def problems(entries, **kwargs):
    return [finding.problem for finding in make_plan(entries, **kwargs).findings]


def test_the_card_is_a_plan_without_findings():
    plan = make_plan(CARD)
    assert plan.findings == () and plan.warnings == ()
    assert [network.name for network in plan.networks] == ["systemd-reverse_proxy", "systemd-photos", "systemd-monitoring"]
    assert [network.driver_options for network in plan.networks] == [{"metric": "50"}, {}, {}]
    assert [network.subnets[0].lease_range for network in plan.networks] == [
        "10.89.2.129-10.89.2.254",
        "10.89.5.129-10.89.5.254",
        "10.89.4.129-10.89.4.254",
    ]


def test_facts_for_the_containers_of_the_card():
    facts = containers(make_plan(CARD).networks)
    assert facts["immich-server"] == {
        "addresses": {"reverse_proxy": ["10.89.2.12"], "photos": ["10.89.5.5"], "monitoring": ["10.89.4.22"]},
        "network_lines": ["reverse_proxy.network:ip=10.89.2.12", "photos.network:ip=10.89.5.5", "monitoring.network:ip=10.89.4.22"],
    }
    assert facts["redis-immich"]["network_lines"] == ["photos.network:ip=10.89.5.4"]


def test_both_families():
    entries = one(subnet=["fd00:5::/64", "10.89.5.0/24"], static={"db": ["fd00:5::3", "10.89.5.3"]})
    plan = make_plan(entries)
    assert plan.findings == ()
    assert [str(subnet.gateway) for subnet in plan.networks[0].subnets] == ["10.89.5.1", "fd00:5::1"]
    assert plan.networks[0].line("db") == "photos.network:ip=10.89.5.3,ip6=fd00:5::3"
    assert plan.networks[0].ipv6


@pytest.mark.parametrize(
    "entry, unit, name",
    [
        ({"unit": "photos"}, "photos", "systemd-photos"),
        ({"name": "systemd-photos"}, "photos", "systemd-photos"),
        ({"name": "photos"}, "photos", "photos"),
        ({"unit": "p", "name": "photos"}, "p", "photos"),
    ],
)
def test_unit_and_name_follow_from_each_other(entry, unit, name):
    network = make_plan([{"subnet": "10.89.5.0/24", **entry}]).networks[0]
    assert (network.unit, network.name) == (unit, name)


@pytest.mark.parametrize(
    "address, problem",
    [
        ("10.89.5.0", "is the network address"),
        ("10.89.5.255", "is the broadcast address"),
        ("10.89.5.1", "is the gateway"),
        ("10.89.5.129", "is inside the dynamic range"),
        ("10.89.5.254", "is inside the dynamic range"),
        ("10.89.6.7", "is outside the subnet"),
        ("fd00::7", "is outside the subnet"),
        ("10.89.5.5", "is planned for immich-server already"),
        ("10.89.5.300", "is not an IP address"),
        ("10.89.5.7/24", "is not an IP address"),
        ("", "no address is given"),
    ],
)
def test_an_address_nobody_may_have(address, problem):
    entries = card()
    entries[1]["static"]["extra"] = address
    findings = make_plan(entries).findings
    assert [(finding.network, finding.container, finding.address) for finding in findings] == [("systemd-photos", "extra", address)]
    assert findings[0].problem.startswith(problem)
    assert findings[0].fix


@pytest.mark.parametrize("address", ["10.89.5.2", "10.89.5.127", "10.89.5.128"])
def test_an_address_next_to_a_border_is_fine(address):
    assert problems(one(static={"extra": address})) == []


def test_the_fix_names_addresses_that_are_free():
    entries = one(static={"a": "10.89.5.2", "b": "10.89.5.2", "c": "10.89.5.200"})
    fixes = [finding.fix for finding in make_plan(entries).findings]
    assert fixes == ["use a free address, such as 10.89.5.3", "use a free address, such as 10.89.5.4"]
    entries[0]["static"] = {"a": "10.89.5.2", "b": "10.89.5.3", "c": "10.89.5.4"}
    assert problems(entries) == []


def test_two_addresses_of_one_subnet_for_one_container():
    assert problems(one(static={"a": ["10.89.5.2", "10.89.5.3"]})) == ["is a second address in 10.89.5.0/24: podman uses one"]


@pytest.mark.parametrize(
    "entry, problem",
    [
        ({"subnet": "10.89.5.0/33"}, "is not a subnet"),
        ({"subnet": None}, "has no subnet"),
        ({"subnet": "10.89.5.0/30"}, "the subnet is too small: /30"),
        ({"subnet": "fd00::/126"}, "the subnet is too small: /126"),
        ({"subnet": "10.89.5.7"}, "the subnet is too small: /32"),
        ({"subnet": "127.1.0.0/24"}, "these addresses cannot be used for containers"),
        ({"subnet": "224.0.0.0/24"}, "these addresses cannot be used for containers"),
        ({"subnet": "169.254.3.0/24"}, "these addresses cannot be used for containers"),
        ({"subnet": "fe80::/64"}, "these addresses cannot be used for containers"),
        ({"subnet": ["10.89.5.0/24", "10.89.6.0/24"]}, "is a second IPv4 subnet of this network"),
        ({"gateway": "10.89.6.1"}, "the gateway is outside the subnet"),
        ({"gateway": "10.89.5.0"}, "the gateway is the network or broadcast address"),
        ({"gateway": "10.89.5.255"}, "the gateway is the network or broadcast address"),
        ({"gateway": "here"}, "the gateway is not an IP address"),
        ({"gateway": ["10.89.5.1", "10.89.5.2"]}, "is a second gateway for 10.89.5.0/24"),
        ({"dynamic_range": "10.89.6.0/25"}, "the dynamic range is outside the subnet"),
        ({"dynamic_range": "10.89.5.200-10.89.6.20"}, "the dynamic range is outside the subnet"),
        ({"dynamic_range": "10.89.5.1-10.89.5.1"}, "the dynamic range is too small"),
        ({"dynamic_range": "10.89.5.255-10.89.5.255"}, "the dynamic range is too small"),
        ({"dynamic_range": "10.89.5.9-10.89.5.8"}, "the dynamic range ends before it starts"),
        ({"dynamic_range": "upper half"}, "the dynamic range cannot be read"),
        ({"dynamic_range": ["10.89.5.128/26", "10.89.5.192/26"]}, "is a second dynamic range for 10.89.5.0/24"),
        ({"metric": 0}, "metric 0 must be a number from 1"),
        ({"metric": "low"}, "metric low must be a number from 1"),
        ({"metric": 5, "default_route": True}, "default_route and metric both set the metric"),
        ({"internal": True, "default_route": True}, "an internal network has no route out"),
        ({"internal": True, "metric": 7}, "an internal network has no route out"),
        ({"default_route": True, "options": {"no_default_route": "1"}}, "no_default_route contradicts"),
        ({"dns": ["resolver"]}, "the DNS server is not an IP address"),
        ({"dns": ["10.0.0.53"], "dns_enabled": False}, "dns servers are given, but dns_enabled is false"),
        ({"options": {"metric": 5}}, "metric is not set among the options"),
        ({"options": {"mtus": 1400}}, "podman's bridge driver has no option mtus"),
        ({"options": {"mtu": "big"}}, "option mtu: big must be a number"),
        ({"options": {"isolate": "maybe"}}, "option isolate: maybe must be true or false"),
        ({"static": {"two words": "10.89.5.2"}}, "is not a possible container name"),
        ({"unit": "photos.network"}, "unit is given with its suffix"),
        ({"unit": "a/b", "name": "ab"}, "is not a possible unit name"),
        ({"name": "a b"}, "is not a possible name of a podman network"),
        ({"name": "host"}, "podman gives this name a meaning of its own"),
        ({"unit": None}, "has neither unit nor name"),
    ],
)
def test_a_network_that_cannot_be(entry, problem):
    findings = make_plan(one(**entry)).findings
    assert [finding.problem[: len(problem)] for finding in findings] == [problem]
    assert findings[0].fix


@pytest.mark.parametrize(
    "dynamic_range, lease_range",
    [
        ("10.89.5.128/25", "10.89.5.129-10.89.5.254"),
        ("10.89.5.128/26", "10.89.5.129-10.89.5.191"),
        ("10.89.5.9/32", "10.89.5.9-10.89.5.9"),
        ("10.89.5.100-10.89.5.199", "10.89.5.100-10.89.5.199"),
        ("10.89.5.0/25", "10.89.5.1-10.89.5.127"),
    ],
)
def test_a_range_is_read_as_podman_reads_it(dynamic_range, lease_range):
    assert make_plan(one(dynamic_range=dynamic_range)).networks[0].subnets[0].lease_range == lease_range


def test_the_gateway_may_be_in_the_range_but_takes_its_place():
    assert problems(one(gateway="10.89.5.254")) == []
    assert problems(one(gateway="10.89.5.9", dynamic_range="10.89.5.9-10.89.5.10")) == []
    assert problems(one(gateway="10.89.5.9", dynamic_range="10.89.5.9/32")) == ["the dynamic range is too small: no address is left in it"]


def test_host_bits_are_masked():
    assert str(make_plan(one(subnet="10.89.5.7/24")).networks[0].subnets[0].net) == "10.89.5.0/24"


def test_an_internal_network_without_dns_has_no_gateway():
    plan = make_plan(one(internal=True, dns_enabled=False, static={"first": "10.89.5.1"}))
    assert plan.findings == () and plan.networks[0].subnets[0].gateway is None
    assert make_plan(one(internal=True)).networks[0].subnets[0].gateway is not None


def test_overlaps_within_the_plan_and_with_the_neighbourhood():
    entries = card()
    entries[2].update(subnet="10.89.5.128/25", static={})
    assert problems(entries) == ["overlaps systemd-photos (10.89.5.0/24)"]
    neighbours = [
        Neighbour(ipaddress.ip_network("10.89.0.0/16"), "the route of interface eth0 on this host"),
        Neighbour(ipaddress.ip_network("fd00::/8"), "something else"),
    ]
    found = make_plan(CARD, neighbours=neighbours).findings
    assert [finding.problem for finding in found] == ["overlaps the route of interface eth0 on this host (10.89.0.0/16)"] * 3
    suggested = re.search(r"such as (\S+)", found[0].fix).group(1)
    assert not ipaddress.ip_network(suggested).overlaps(ipaddress.ip_network("10.89.0.0/16"))


def test_default_routes():
    no_default = card()
    del no_default[0]["default_route"]
    found = make_plan(no_default).findings
    assert [(finding.container, finding.network) for finding in found] == [("immich-server", "systemd-reverse_proxy")]
    assert "systemd-reverse_proxy and systemd-photos and systemd-monitoring (metric 100 each)" in found[0].problem
    assert [finding.container for finding in make_plan(card(default_route=True)).findings] == ["immich-server"]
    assert problems(card(metric=49)) == []
    assert len(problems(card(metric=50))) == 1
    for quiet in ({"internal": True}, {"options": {"no_default_route": "true"}}):
        two = [
            {"unit": "a", "subnet": "10.1.0.0/24", "static": {"x": "10.1.0.2"}, **quiet},
            {"unit": "b", "subnet": "10.2.0.0/24", "static": {"x": "10.2.0.2"}},
        ]
        assert problems(two) == []


def test_default_routes_are_judged_for_each_family():
    two = [
        {"unit": "a", "subnet": ["10.1.0.0/24", "fd00:1::/64"], "default_route": True, "static": {"x": "10.1.0.2"}},
        {"unit": "b", "subnet": ["fd00:2::/64"], "static": {"x": "fd00:2::2"}},
        {"unit": "c", "subnet": ["fd00:3::/64"], "static": {"x": "fd00:3::2"}},
    ]
    assert problems(two) == []
    two[0]["subnet"] = "10.1.0.0/24"
    assert ["IPv6" in problem for problem in problems(two)] == [True]


def test_names_that_shadow():
    twice = [*one(), {"unit": "photos", "name": "other", "subnet": "10.1.0.0/24"}]
    assert problems(twice) == ["unit photos is listed twice"]
    twice[1] = {"unit": "pictures", "name": "systemd-photos", "subnet": "10.1.0.0/24"}
    assert problems(twice) == ["is the name of photos and of pictures"]
    for other, problem in [
        (OtherUnit("/etc/p/photos.network", "photos.network", "photos-network.service"), "the unit photos.network exists already: /etc/p/photos.network"),
        (OtherUnit("/etc/p/x", "photos-network.container", "photos-network.service"), "the service photos-network.service belongs to /etc/p/x"),
        (OtherUnit("/etc/p/y", "y.network", "y-network.service", "systemd-photos"), "is made by /etc/p/y already"),
    ]:
        assert problems(one(), others=[other]) == [problem]


def test_all_findings_at_once_in_a_readable_table():
    entries = card(subnet="10.89.2.0/25", options={"mtus": 1})
    plan = make_plan(entries)
    assert len(plan.findings) == 6
    text = explain(plan.findings)
    assert text.startswith("The network plan has 6 errors; nothing was changed.\n\nNETWORK ")
    rows = [line for line in text.splitlines()[3:] if not line.lstrip().startswith("->")]
    assert len({row.index("is outside") for row in rows if "is outside" in row}) == 1  # one column below the other
    assert "did you mean mtu?" in text


def test_public_addresses_are_a_warning():
    plan = make_plan(one(subnet="8.8.8.0/24"))
    assert plan.findings == () and "public addresses" in plan.warnings[0]


# Generated plans. The oracle knows nothing of the planner: it reads the rendered quadlet and walks the range as podman does.

FAMILIES = {4: ("10.{}.{}.0", 24), 6: ("fd00:{:x}:{:x}::", 120)}


@st.composite
def good(draw):
    """Plans of one to six networks that nobody could object to."""
    plan = []
    for number in range(draw(st.integers(1, 6))):
        entry = {"unit": f"n{number}", "subnet": [], "gateway": [], "dynamic_range": [], "static": {}}
        for family in draw(st.sampled_from([(4,), (6,), (4, 6)])):
            pattern, size = FAMILIES[family]
            net = ipaddress.ip_network(f"{pattern.format(5, number)}/{size + draw(st.integers(0, 4))}")
            top = net.num_addresses - 1
            entry["subnet"].append(str(net))
            gateway, low, high = 1, net.num_addresses // 2 + 1, top - (family == 4)
            if draw(st.booleans()):
                gateway = draw(st.integers(1, top - 1))
                entry["gateway"].append(str(net[gateway]))
            if draw(st.booleans()):
                low = draw(st.integers(1, top - 2))
                high = draw(st.integers(low + 1, top - 1))
                entry["dynamic_range"].append(f"{net[low]}-{net[high]}")
            free = [index for index in range(1, top) if index != gateway and not low <= index <= high]
            for holder, index in enumerate(draw(st.lists(st.sampled_from(free), max_size=6, unique=True)) if free else []):
                # Nobody is on two networks, so that no default route is in doubt.
                entry["static"].setdefault(f"c{number}-{holder}", []).append(str(net[index]))
        plan.append(entry)
    return plan


@st.composite
def doubtful(draw):
    """Good plans to which up to three things were done, harmless or not."""
    plan = draw(good())
    for step in range(draw(st.integers(0, 3))):
        entry, other = draw(st.sampled_from(plan)), draw(st.sampled_from(plan))
        net = ipaddress.ip_network(draw(st.sampled_from(entry["subnet"])))
        index = draw(st.integers(0, net.num_addresses - 1))
        what = draw(st.sampled_from(["address", "join", "gateway", "range", "subnet", "route", "internal"]))
        if what == "address":
            entry["static"][f"new{step}"] = [str(net[index])]
        elif what == "join" and other["static"]:
            entry["static"][draw(st.sampled_from(sorted(other["static"])))] = [str(net[index])]
        elif what == "gateway":
            entry["gateway"] = [str(net[index])]
        elif what == "range":
            entry["dynamic_range"] = [f"{net[index]}-{net[draw(st.integers(index, net.num_addresses - 1))]}"]
        elif what == "subnet":
            entry["subnet"] = [str(ipaddress.ip_network(text).supernet(draw(st.integers(0, 3)))) for text in other["subnet"]]
        elif what == "route":
            entry["default_route"] = True
        elif what == "internal":
            entry["internal"] = True
    return plan


def handed_out(text):
    """Addresses podman could give to anybody on this network: subnet -> addresses, read from the quadlet."""
    found = {}
    lines = [line.partition("=") for line in text.splitlines()]
    gateways = {ipaddress.ip_address(value) for key, equals, value in lines if key == "Gateway"}
    nets = [ipaddress.ip_network(value) for key, equals, value in lines if key == "Subnet"]
    ranges = [value.split("-") for key, equals, value in lines if key == "IPRange"]
    assert len(nets) == len(ranges), "a range is rendered for each subnet"
    for net, (first, last) in zip(nets, ranges):
        low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
        assert low in net and high in net
        found[net] = {ipaddress.ip_address(number) for number in range(int(low), int(high) + 1)} - gateways
        assert found[net], "somebody without a planned address can start"
    return found, gateways


def assert_sound(plan):
    holders, nets = {}, []
    routes = {}
    for network in plan.networks:
        text = unit_text(network)
        dynamic, gateways = handed_out(text)
        for net in dynamic:
            assert not any(net.version == other.version and net.overlaps(other) for other in nets)
            nets.append(net)
        for container, addresses in network.static.items():
            for address in addresses:
                assert address not in holders, "two holders"
                holders[address] = container
                home = next(net for net in dynamic if address in net)
                assert address not in dynamic[home], "podman could hand it out"
                assert address not in gateways
                assert address != home.network_address
                assert home.version == 6 or address != home.broadcast_address
            if "Internal=true" not in text:
                metric = int(re.search(r"metric=(\d+)", text).group(1)) if "metric=" in text else 100
                for version in {net.version for net in dynamic}:
                    routes.setdefault((container, version), []).append(metric)
    for metrics in routes.values():
        assert metrics.count(min(metrics)) == 1, "the default route is left to chance"


@settings(max_examples=300, deadline=None, database=None)
@given(good())
def test_a_plan_without_fault_is_accepted_and_sound(plan):
    made = make_plan(plan)
    assert made.findings == ()
    assert_sound(made)


@settings(max_examples=500, deadline=None, database=None)
@given(doubtful())
def test_whatever_is_accepted_is_sound(plan):
    made = make_plan(plan)
    if not made.findings:
        assert_sound(made)


@settings(max_examples=200, deadline=None, database=None)
@given(good(), st.data())
def test_one_fault_in_a_good_plan_is_found_where_it_is(plan, data):
    network = data.draw(st.sampled_from(make_plan(plan).networks))
    subnet = data.draw(st.sampled_from(network.subnets))
    taken = {address for addresses in network.static.values() for address in addresses}
    bad = {subnet.net.network_address, subnet.gateway, subnet.first, subnet.last, subnet.net.network_address - 1} | taken
    address = data.draw(st.sampled_from(sorted(bad, key=lambda item: (item.version, item))))
    entry = next(entry for entry in plan if entry["unit"] == network.unit)
    entry["static"]["intruder"] = str(address)
    found = [finding for finding in make_plan(plan).findings if finding.container == "intruder"]
    assert [(finding.network, finding.address) for finding in found] == [(network.name, str(address))]


def test_findings_carry_what_a_reader_needs():
    finding = Finding("n", "p", "f", "c", "a")
    assert finding.as_dict() == {"network": "n", "problem": "p", "fix": "f", "container": "c", "address": "a"}
