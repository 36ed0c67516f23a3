# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Routes of the host, from /proc/net as recorded on a machine with kernel 6.18.

It had the interface dum0 with 10.44.0.5/24, fd00:44::5/64, 172.20.3.4/32 and (without a route) 10.47.0.1/24, a route to
10.45.0.0/16, one to 10.46.0.0/16 in table 77, an unreachable 10.48.0.0/16, and a running container on root's network
10.66.0.0/24, fd00:66::/64 behind podman1.
"""

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _host_routes

RECORDED = pathlib.Path(__file__).parent / "data" / "proc-net-6.18"


@pytest.fixture
def recorded():
    return [(RECORDED / name).read_text(encoding="ascii") for name in ("route", "ipv6_route", "fib_trie")]


HOST = {
    ("10.44.0.0/24", "this host's route on dum0"),
    ("10.45.0.0/16", "this host's route on dum0"),
    ("fd00:44::/64", "this host's route on dum0"),
    ("10.46.0.0/16", "this host's route"),
    ("10.47.0.1/32", "this host's address"),
    ("172.20.3.4/32", "this host's address"),
}


def test_what_is_taken_on_the_host_once_for_each_interface(recorded):
    found = [(str(neighbour.net), neighbour.owner) for neighbour in _host_routes.neighbours(*recorded, but={"podman1"})]
    assert len(found) == len(set(found)) and set(found) == HOST


def test_bridges_of_another_scope_count(recorded):
    found = {(str(neighbour.net), neighbour.owner) for neighbour in _host_routes.neighbours(*recorded, but=())}
    assert found == HOST | {("10.66.0.0/24", "this host's route on podman1"), ("fd00:66::/64", "this host's route on podman1")}


def test_default_routes_and_empty_tables_take_nothing():
    default = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n"
    six = f"{'0' * 32} 00 {'0' * 32} 00 fd{'0' * 29}1 00000400 00000002 00000000 00000003     eth0\n"
    assert _host_routes.neighbours(default, six, trie, ()) == []
    assert _host_routes.neighbours("", "", "", ()) == []
