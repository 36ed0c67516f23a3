# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes and interface addresses of the host, read from /proc/net, so that no network is planned on top of them.

Private to the collection.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import Neighbour, Net

LEAF = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\Z")
PREFIX = re.compile(r"/(\d+) \S+ (UNICAST|LOCAL)\b")
REJECT = 0x200  # flag of a route that leads nowhere (unreachable, blackhole)
IGNORED = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128", "fe80::/10", "ff00::/8")]


class Route(t.NamedTuple):
    net: Net
    interface: str


def parse_ipv4(text: str) -> list[Route]:
    """/proc/net/route: the main table, with interfaces. Numbers are in the host's byte order."""
    routes = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and not int(fields[3], 16) & REJECT:
            base, mask = (socket.inet_ntoa(struct.pack("=I", int(fields[column], 16))) for column in (1, 7))
            routes.append(Route(ipaddress.ip_network(f"{base}/{mask}", strict=False), fields[0]))
    return routes


def parse_ipv6(text: str) -> list[Route]:
    """/proc/net/ipv6_route: all tables, addresses of interfaces among them."""
    routes = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 9 and not int(fields[8], 16) & REJECT:
            base = ipaddress.IPv6Address(int(fields[0], 16))
            routes.append(Route(ipaddress.IPv6Network((int(base), int(fields[1], 16)), strict=False), fields[9]))
    return routes


def parse_trie(text: str) -> list[Net]:
    """/proc/net/fib_trie: IPv4 routes of all tables and addresses of interfaces, without the interfaces' names."""
    nets: list[Net] = []
    leaf = ""
    for line in text.splitlines():
        found = LEAF.search(line)
        if found:
            leaf = found.group(1)
            continue
        found = PREFIX.search(line)
        if found and leaf:
            nets.append(ipaddress.ip_network(f"{leaf}/{found.group(1)}", strict=False))
    return nets


def neighbours(ipv4: str, ipv6: str, trie: str, but: t.Container[str]) -> list[Neighbour]:
    """What is taken on the host, one entry for the largest route of an interface over the same addresses.

    Default routes, loopback, link-local, multicast, and the interfaces named in C(but) are left out.
    """
    routes = parse_ipv4(ipv4) + parse_ipv6(ipv6)
    named = {route.net for route in routes}
    routes += [Route(net, _interface(net, routes)) for net in dict.fromkeys(parse_trie(trie)) if net not in named]
    taken = [
        route
        for route in dict.fromkeys(routes)
        if route.net.prefixlen and route.interface not in but and not any(_within(route.net, ignored) for ignored in IGNORED)
    ]
    found = []
    for route in taken:
        if any(route.interface == other.interface and route.net != other.net and _within(route.net, other.net) for other in taken):
            continue
        what = "address" if route.net.prefixlen == route.net.max_prefixlen else "route"
        found.append(Neighbour(route.net, f"this host's {what}" + (f" on {route.interface}" if route.interface else "")))
    return found


def _within(net: Net, other: Net) -> bool:
    return net.version == other.version and net.subnet_of(t.cast("t.Any", other))


def _interface(net: Net, routes: t.Iterable[Route]) -> str:
    """The interface an address belongs to, by the longest route over it; empty when only the default route fits."""
    over = [route for route in routes if route.net.prefixlen and _within(net, route.net)]
    return max(over, key=lambda route: route.net.prefixlen).interface if over else ""


def read(but: t.Container[str] = ()) -> list[Neighbour]:
    """What is taken on this host now."""
    return neighbours(_text("/proc/net/route"), _text("/proc/net/ipv6_route"), _text("/proc/net/fib_trie"), but)


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as handle:
            return handle.read()
    except FileNotFoundError:  # a kernel without IPv6
        return ""
