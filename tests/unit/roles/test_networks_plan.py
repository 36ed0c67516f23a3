# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which networks the role makes of a plan: the internal one has no way out, where nobody needs it as one."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = pathlib.Path(__file__).resolve().parents[3]
OUTER, INNER = {"unit": "reverse_proxy", "subnet": "10.89.2.0/24"}, {"unit": "photos", "subnet": "10.89.5.0/24"}


def plan(**inventory: t.Any) -> list[dict[str, t.Any]]:
    templar = Templar(loader=DataLoader())
    variables: dict[str, t.Any] = {}
    for name in ("defaults/main.yml", "vars/main.yml"):
        variables.update(DataLoader().load_from_file(str(ROOT / "roles/networks" / name), trusted_as_template=True))
    templar.available_variables = {**variables, **inventory}
    return t.cast("list[dict[str, t.Any]]", templar.template(trust_as_template("{{ __networks_plan }}")))


def closed(*networks: dict[str, t.Any], **inventory: t.Any) -> list[str]:
    made = plan(homelab_networks=list(networks), **inventory)
    assert [network.get("subnet") for network in made][: len(networks)] == [network["subnet"] for network in networks]  # in their order
    return [network.get("unit", network.get("name")) for network in made if network.get("internal")]


@pytest.mark.parametrize("name", ["card", "domain", "family", "minimal", "no-ml", "remote-ml"])
def test_examples(name: str) -> None:
    known = DataLoader().load_from_file(str(ROOT / f"examples/{name}/inventory.yml"))["all"]["vars"]
    wanted = ["photos"] if name in ("card", "domain") else []
    assert closed(*known["homelab_networks"], **{key: known[key] for key in ("immich_server_networks",) if key in known}) == wanted


def test_the_network_is_known_by_either_name() -> None:
    assert closed(OUTER, INNER) == ["photos"]
    assert closed(OUTER, {"name": "systemd-photos", "subnet": "10.89.5.0/24"}) == ["systemd-photos"]
    assert closed(OUTER, {**INNER, "name": "own"}) == ["photos"]
    assert closed(OUTER, INNER, immich_internal_network="reverse_proxy", immich_server_networks=["photos", "reverse_proxy"]) == ["reverse_proxy"]
    assert closed(OUTER, {"unit": "photos2", "subnet": "10.89.5.0/24"}) == []


@pytest.mark.parametrize("more", [{"internal": False}, {"default_route": True}, {"metric": 50}])
def test_the_plan_may_say_otherwise(more: dict[str, t.Any]) -> None:
    assert closed(OUTER, {**INNER, **more}) == []


def test_a_server_without_another_network_keeps_its_way_out() -> None:
    assert closed(INNER, immich_server_networks=["photos"]) == []


def test_networks_are_apart_unless_told_otherwise() -> None:
    assert [network["options"] for network in plan(homelab_networks=[OUTER, INNER])] == [{"isolate": "true"}] * 2
    assert [network.get("options") for network in plan(homelab_networks=[OUTER, INNER], networks_isolate=False)] == [None] * 2
    assert plan(homelab_networks=[{**INNER, "options": {"mtu": 1400, "isolate": "strict"}}])[0]["options"] == {"mtu": 1400, "isolate": "strict"}


def test_monitoring_has_a_network_for_itself_where_it_is_planned() -> None:
    watched = {"unit": "monitoring", "subnet": "10.89.4.0/24", "static": {"prometheus": "10.89.4.70"}}
    assert [network["unit"] for network in plan(homelab_networks=[OUTER, INNER])] == ["reverse_proxy", "photos"]
    made = plan(homelab_networks=[OUTER, watched])
    assert [network["unit"] for network in made] == ["reverse_proxy", "monitoring", "monitoring_inside"]
    assert (made[2]["subnet"], made[2]["default_route"], made[2]["options"]) == ("10.89.249.0/28", True, {"isolate": "true"})
    assert made[2]["static"] == {"prometheus": "10.89.249.2"}
    assert plan(homelab_networks=[watched], monitoring_prometheus_address="10.1.0.2")[1]["static"] == {"prometheus": "10.1.0.2"}
    assert "static" not in plan(homelab_networks=[watched], monitoring_prometheus_address="")[1]
    own = {"unit": "monitoring_inside", "subnet": "10.1.0.0/24"}
    assert [network["subnet"] for network in plan(homelab_networks=[watched, own])] == ["10.89.4.0/24", "10.1.0.0/24"]
    assert len(plan(homelab_networks=[watched], monitoring_inside_network="monitoring")) == 1
