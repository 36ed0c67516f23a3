# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks and addresses: as Podman has them, as the containers see them, and who reaches whom."""

from __future__ import annotations

import ipaddress
import json
import typing as t

import pytest
from live.absent import Absent
from live.api import Podman
from live.card import Claim
from live.expected import Facts
from live.host import Host

# Who listens where.
PORTS = {5432: "postgresql-immich", 6379: "redis-immich", 3003: "immich-ml", 2283: "immich-server", 8081: "immich-server", 8082: "immich-server"}
# Tries every address and port at once, from wherever it runs, and prints those that took the connection.
TRY = """
import concurrent.futures, json, socket, sys
def opens(pair):
    try:
        socket.create_connection(pair, 2).close()
        return True
    except OSError:
        return False
pairs = [tuple(pair) for pair in json.loads(sys.argv[1])]
with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
    print(json.dumps([pair for pair, open in zip(pairs, pool.map(opens, pairs)) if open]))
"""
Pairs = set[tuple[str, int]]


class Inside:
    """The network of a container, looked at from outside of it with the host's programs."""

    def __init__(self, host: Host, podman: Podman) -> None:
        self._host, self._podman = host, podman

    def run(self, name: str, *argv: str) -> str:
        pid = str(self._podman.containers[name]["State"]["Pid"])
        return self._host.said("podman", "unshare", "nsenter", "-t", pid, "-n", *argv)

    def addresses(self, name: str) -> set[str]:
        links = json.loads(self.run(name, "ip", "-j", "-4", "address"))
        return {info["local"] for link in links for info in link["addr_info"] if link["ifname"] != "lo"}

    def reached(self, name: str, pairs: Pairs) -> Pairs:
        return set(map(tuple, json.loads(self.run(name, self._host.python, "-c", TRY, json.dumps(sorted(pairs))))))


@pytest.fixture(scope="module")
def inside(host: Host, podman: Podman) -> Inside:
    return Inside(host, podman)


def network_of(facts: Facts, unit: str, absent: Absent) -> dict[str, t.Any]:
    if unit not in facts["networks"]:
        absent(f"network {unit}", "the inventory has none of that name")
    return t.cast("dict[str, t.Any]", facts["networks"][unit])


def live_address(podman: Podman, name: str, network: str) -> str:
    return str(podman.containers[name]["NetworkSettings"]["Networks"][network]["IPAddress"])


def test_network(claim: Claim, podman: Podman, facts: Facts, absent: Absent) -> None:
    network = network_of(facts, claim.about["unit"], absent)
    assert [subnet["subnet"] for subnet in podman.network(network["name"])["subnets"]] == [network["subnet"]]


def test_address(claim: Claim, podman: Podman, facts: Facts, inside: Inside, absent: Absent) -> None:
    name, network = claim.about["name"], network_of(facts, claim.about["unit"], absent)
    if name not in facts["containers"]:
        absent(name, "the inventory asks for none")
    if claim.about["unit"] not in facts["containers"][name]["networks"]:
        absent(f"{name} on {network['name']}", "the inventory does not put it there")
    found = live_address(podman, name, network["name"])
    assert found in inside.addresses(name)
    if name in network["addresses"]:
        assert found == network["addresses"][name]
    else:
        assert ipaddress.ip_address(found) in ipaddress.ip_network(network["subnet"])


def test_nobody_has_other_addresses(podman: Podman, facts: Facts, inside: Inside) -> None:
    planned = {
        name: {live_address(podman, name, facts["networks"][unit]["name"]) for unit in container["networks"]} for name, container in facts["containers"].items()
    }
    assert {name: inside.addresses(name) for name in planned} == planned


def test_an_address_that_is_planned_is_never_given_to_others(podman: Podman, facts: Facts) -> None:
    """What is handed out by itself begins above all planned addresses."""
    for network in facts["networks"].values():
        leases = [subnet.get("lease_range", {}) for subnet in podman.network(network["name"])["subnets"]]
        assert all(leases), network
        for address in network["addresses"].values():
            assert all(ipaddress.ip_address(address) < ipaddress.ip_address(lease["start_ip"]) for lease in leases), (address, leases)


def test_networks_of_the_server(claim: Claim, podman: Podman, facts: Facts) -> None:
    wanted = {facts["networks"][unit]["name"] for unit in facts["containers"]["immich-server"]["networks"]}
    assert set(podman.containers["immich-server"]["NetworkSettings"]["Networks"]) == wanted


def test_way_out(claim: Claim, facts: Facts, inside: Inside, absent: Absent) -> None:
    ways = [facts["networks"][unit] for unit in facts["containers"]["immich-server"]["networks"] if facts["networks"][unit]["way_out"]]
    if not ways:
        absent("chosen way out", "no network of the server has default_route")
    gateway = str(next(ipaddress.ip_network(ways[0]["subnet"]).hosts()))
    routes = json.loads(inside.run("immich-server", "ip", "-j", "route", "show", "default"))
    lowest = min(route.get("metric", 0) for route in routes)
    assert [route["gateway"] for route in routes if route.get("metric", 0) == lowest] == [gateway]


def every_pair(podman: Podman, facts: Facts) -> Pairs:
    addresses = {network["IPAddress"] for name in facts["containers"] for network in podman.containers[name]["NetworkSettings"]["Networks"].values()}
    return {(address, port) for address in addresses for port in PORTS}


def test_server_reaches(claim: Claim, podman: Podman, facts: Facts, inside: Inside, absent: Absent) -> None:
    name, port = claim.about["name"], claim.about["port"]
    if name not in facts["containers"]:
        absent(name, "the inventory asks for none")
    pair = (live_address(podman, name, facts["networks"][facts["containers"][name]["networks"][0]]["name"]), port)
    assert inside.reached("immich-server", {pair}) == {pair}


def test_reaches_its_services(claim: Claim, podman: Podman, facts: Facts, inside: Inside) -> None:
    needed = {
        (live_address(podman, name, facts["networks"][facts["containers"][name]["networks"][0]]["name"]), port)
        for port, name in PORTS.items()
        if name in facts["containers"] and name != "immich-server"
    }
    assert inside.reached("immich-server", needed) == needed


@pytest.mark.parametrize("name", ["traefik", "prometheus"])
def test_neighbours_reach_the_server_and_nothing_behind_it(name: str, podman: Podman, facts: Facts, inside: Inside, absent: Absent) -> None:
    if name not in podman.containers:
        absent(name, "no such container runs")
    shared = set(podman.containers[name]["NetworkSettings"]["Networks"])
    internal = facts["networks"][facts["variables"]["immich_internal_network"]]["name"]
    assert internal not in shared
    server = podman.containers["immich-server"]["NetworkSettings"]["Networks"]
    allowed = {(server[network]["IPAddress"], port) for network in shared & set(server) for port, owner in PORTS.items() if owner == "immich-server"}
    assert inside.reached(name, every_pair(podman, facts)) == allowed


def test_the_host_itself_reaches_none_of_them(podman: Podman, facts: Facts, host: Host) -> None:
    pairs = sorted(every_pair(podman, facts))
    assert json.loads(host.said(host.python, "-c", TRY, json.dumps(pairs))) == []


def test_no_port_of_theirs_is_open_on_the_host(podman: Podman, facts: Facts, host: Host) -> None:
    published = {name: podman.containers[name]["HostConfig"]["PortBindings"] for name in facts["containers"]}
    listening = {line.split()[3] for line in host.said("ss", "-Hltn").splitlines()}
    open_ports = {address for address in listening if address.rpartition(":")[2] in {str(port) for port in PORTS}}
    if facts["published"] is None:
        assert (open_ports, {name for name, ports in published.items() if ports}) == (set(), set())
    else:
        assert open_ports == {facts["published"]}
        assert {name for name, ports in published.items() if ports} == {"immich-server"}


def test_resolves(claim: Claim, podman: Podman, facts: Facts, absent: Absent) -> None:
    name = claim.about["name"]
    if name not in facts["containers"]:
        absent(name, "the inventory asks for none")
    answers = {line.split()[0] for line in podman.exec("immich-server", "getent", "hosts", name).splitlines()}
    assert answers == {network["IPAddress"] for network in podman.containers[name]["NetworkSettings"]["Networks"].values()}


def test_traefik_resolves(claim: Claim, podman: Podman, facts: Facts, absent: Absent) -> None:
    if "traefik" not in podman.containers:
        absent("traefik", "no such container runs")
    address = facts["networks"]["reverse_proxy"]["addresses"]["immich-server"]
    assert podman.exec("traefik", "getent", "hosts", "immich-server").split() == [address, "immich-server"]
    assert [line.split() for line in podman.exec("traefik", "cat", "/etc/hosts").splitlines() if "immich-server" in line] == [[address, "immich-server"]]
