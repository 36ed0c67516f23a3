# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of a scenario, as its molecule.yml declares them under `platforms`."""

from __future__ import annotations

import json
import typing as t


class Platform(t.NamedTuple):
    """One machine: inside and in Ansible's inventory it has its own name, among the machines of the checkout also its scenario's."""

    name: str
    machine: str
    layer: str
    suite: str
    vm: bool
    networks: list[str]
    aliases: list[str]
    groups: list[str]


def parse(text: str, scenario: str) -> list[Platform]:
    """Molecule's schema knows names, networks with aliases and groups, and leaves the rest to us."""
    return [platform(entry, scenario) for entry in json.loads(text)]


def platform(entry: dict[str, t.Any], scenario: str) -> Platform:
    unknown = sorted(set(entry) - {"name", "from", "suite", "vm", "networks", "groups"})
    if unknown:
        raise SystemExit(f"machine: platform {entry.get('name')} of the scenario {scenario}: unknown: {', '.join(unknown)}")
    networks = entry.get("networks", [])
    return Platform(
        name=entry["name"],
        machine=f"{scenario}-{entry['name']}",
        layer=entry.get("from", "stocked"),
        suite=entry.get("suite", "trixie"),
        vm=entry.get("vm", False),
        networks=[network["name"] for network in networks],
        aliases=[alias for network in networks for alias in network.get("aliases", [])],
        groups=entry.get("groups", []),
    )


def inventory(hosts: t.Mapping[str, t.Mapping[str, object]], groups: t.Mapping[str, t.Sequence[str]]) -> dict[str, object]:
    """An Ansible inventory of hosts with their variables and of groups with their hosts."""
    children: dict[str, object] = {group: {"hosts": {name: {} for name in names}} for group, names in groups.items()}
    return {"all": {"hosts": dict(hosts), **({"children": children} if children else {})}}


def grouped(platforms: t.Sequence[Platform]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for one in platforms:
        for group in one.groups:
            groups.setdefault(group, []).append(one.name)
    return groups
