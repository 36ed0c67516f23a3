# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has which address and which names on a network of machines; no namespace is made."""

from __future__ import annotations

import pathlib
import subprocess

import network
import pytest

EMPTY = network.State(3, {})


def test_addresses_are_kept_and_given_again() -> None:
    state = EMPTY.joined("a", ["a"]).joined("b", ["b"]).joined("c", ["c"])
    assert [state.address(member.number) for member in state.members.values()] == ["198.18.3.11", "198.18.3.12", "198.18.3.13"]
    again = state.left("b").joined("a", ["more"])
    assert {name: member.number for name, member in again.members.items()} == {"a": 11, "c": 13}
    assert again.joined("d", ["d"]).members["d"].number == 12


def test_names_add_up_and_a_name_belongs_to_who_asked_last() -> None:
    state = EMPTY.joined("old", ["old", "photos.example"]).joined("new", ["new"]).joined("new", ["photos.example"])
    assert state.hosts() == ["198.18.3.11 old", "198.18.3.12 new photos.example"]


def test_a_full_network_says_so() -> None:
    full = network.State(3, {str(number): network.Member(number, []) for number in range(network.FIRST, network.LAST)})
    with pytest.raises(SystemExit, match="full"):
        full.joined("one more", [])


def test_what_is_written_down_is_read_back() -> None:
    state = EMPTY.joined("a", ["a", "b"])
    assert network.from_json(state.to_json()) == state


@pytest.mark.parametrize("name", ["street", "back-yard", "a" * 15])
def test_names_of_networks(name: str) -> None:
    assert network.check_name(name) == name


@pytest.mark.parametrize("name", ["", "lo", "../up", "a" * 16, "a b", "a.b"])
def test_what_is_not_a_name_of_a_network(name: str) -> None:
    with pytest.raises(SystemExit, match="not a name"):
        network.check_name(name)


def test_each_network_of_a_run_has_a_subnet_of_its_own(tmp_path: pathlib.Path) -> None:
    network.Network(tmp_path, "street").join("a", ["a"])
    network.Network(tmp_path, "back").join("a", ["a"])
    assert [network.Network(tmp_path, name).state.subnet for name in ("street", "back")] == [1, 2]
    network.Network(tmp_path, "street").leave("a")
    network.Network(tmp_path, "third").join("a", ["a"])
    assert network.Network(tmp_path, "third").state.subnet == 1


def test_a_network_goes_with_its_last_machine(tmp_path: pathlib.Path) -> None:
    street = network.Network(tmp_path, "street")
    street.join("a", ["a"])
    street.join("b", ["b"])
    street.leave("a")
    assert street.members() == ["b"]
    street.leave("b")
    assert not list(tmp_path.iterdir())
    street.leave("b")


def test_the_default_route_leads_through_the_first_network(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network.Network, "hold", lambda self: 77)
    networks = [network.Network(tmp_path, name) for name in ("street", "back")]
    for one in networks:
        one.join("a", ["a"])
    assert network.links("a", networks).splitlines() == ["77 street port11 198.18.1.11/24 198.18.1.1", "77 back port11 198.18.2.11/24 -"]


def test_a_process_of_the_holders_number_is_not_the_holder(tmp_path: pathlib.Path) -> None:
    street = network.Network(tmp_path, "street")
    street.join("a", ["a"])
    (street.dir / "holder").write_text("1 1")
    assert street.holder is None


def test_the_names_in_etc_hosts_are_replaced_and_nothing_else(tmp_path: pathlib.Path) -> None:
    hosts = tmp_path / "etc" / "hosts"
    hosts.parent.mkdir()
    hosts.write_text("127.0.0.1 localhost\n")
    for state in (EMPTY.joined("a", ["a"]), EMPTY.joined("b", ["b"])):
        subprocess.run(["sh", "-ec", network.NAMES, "sh", str(tmp_path)], input=network.hosts_block("me", [state]), text=True, check=True)
        hosts.write_text(hosts.read_text() + "198.51.100.1 by-hand\n")
    lines = hosts.read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["127.0.0.1 localhost", "198.51.100.1 by-hand", "198.18.3.11 b", "198.51.100.1 by-hand"]


def test_a_machine_on_no_network_knows_itself() -> None:
    assert network.hosts_block("photos", []).splitlines()[1:-1] == ["127.0.1.1 photos"]
    assert network.hosts_block("photos", [EMPTY.joined("a", ["photos"])]).splitlines()[1:-1] == ["198.18.3.11 photos"]
