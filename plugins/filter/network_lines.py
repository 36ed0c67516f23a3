# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over the list of networks in the inventory, so that an address is written there and nowhere else."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import (
    Network,
    check_default_route,
    containers,
    explain,
    make_plan,
)
from ansible_collections.patriark.homelab.plugins.module_utils._findings import nearest
from ansible_collections.patriark.homelab.plugins.module_utils._network_diagram import mermaid

DOCUMENTATION = r"""
name: network_lines
short_description: Values of Network= that give a container its planned addresses
version_added: 0.1.0
author:
  - The patriark.homelab maintainers (@patriark)
description:
  - From the list of networks that M(patriark.homelab.quadlet_network) takes, the C(Network=) values of one container's quadlet,
    in the order of the list.
  - On a network without a planned address for the container, podman chooses one from the dynamic range.
  - The plan is judged as the module does, without looking at a host; a plan with errors fails here too.
options:
  _input:
    description: The list of networks, as the option O(patriark.homelab.quadlet_network#module:networks) takes it.
    type: list
    elements: dict
    required: true
  container:
    description: Name of the container.
    type: str
    required: true
  units:
    description:
      - Units of the networks the container is on, in the order wanted.
      - When omitted, it is on those networks that plan an address for it, and there must be at least one.
    type: list
    elements: str
positional: container, units
seealso:
  - module: patriark.homelab.quadlet_network
  - plugin: patriark.homelab.network_address
    plugin_type: filter
"""

EXAMPLES = r"""
# In a template of a quadlet
# {% for value in homelab_networks | patriark.homelab.network_lines('immich-server') %}
# Network={{ value }}
# {% endfor %}
- name: Show where immich-server is attached
  ansible.builtin.debug:
    msg: "{{ homelab_networks | patriark.homelab.network_lines('immich-server') }}"
"""

RETURN = r"""
_value:
  description: One value for each network of the container.
  type: list
  elements: str
  sample:
    - reverse_proxy.network:ip=10.89.2.12
    - photos.network:ip=10.89.5.5
    - monitoring.network:ip=10.89.4.22
"""


def planned(networks: t.Any) -> tuple[Network, ...]:
    if not isinstance(networks, (list, tuple)) or not all(isinstance(entry, dict) for entry in networks):
        raise AnsibleFilterError("the networks must be a list of dictionaries")
    try:
        plan = make_plan(networks)
    except (AttributeError, TypeError, ValueError) as error:  # a list where a dictionary belongs, and the like
        raise AnsibleFilterError(f"the networks cannot be read: {error}") from error
    if plan.findings:
        raise AnsibleFilterError(explain(plan.findings))
    return plan.networks


def known(found: dict[str, t.Any], name: str, what: str) -> t.Any:
    if name not in found:
        near = nearest(name, found)
        raise AnsibleFilterError(f"{what} {name!r}" + (f": did you mean {near!r}?" if near else f"; known are: {', '.join(found) or 'none'}"))
    return found[name]


def network_lines(networks: t.Any, container: str, units: t.Sequence[str] | None = None) -> list[str]:
    plan = planned(networks)
    if units is None:
        return list(known(containers(plan), container, "no network has an address for the container")["network_lines"])
    by_unit = {network.unit: network for network in plan}
    chosen = [known(by_unit, unit, "no network has the unit") for unit in units]
    findings = check_default_route(chosen, container)
    if findings:
        raise AnsibleFilterError(explain(findings))
    return [network.line(container) for network in chosen]


def network_address(networks: t.Any, container: str, network: str, ipv6: bool = False) -> str:
    addresses = known(containers(planned(networks)), container, "no network has an address for the container")["addresses"]
    for address in known(addresses, network, f"the container {container} has no address on the network"):
        if (":" in address) is ipv6:
            return str(address)
    raise AnsibleFilterError(f"the container {container} has no IPv{6 if ipv6 else 4} address on the network {network!r}")


def network_unused(networks: t.Any, lines: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Addresses of the plan that the containers, with these Network= lines, do not take; none of a plan with errors, which are told elsewhere."""
    try:
        plan = planned(networks)
    except AnsibleFilterError:
        return []
    return [
        f"{container} {address} on {network.unit}"
        for network in plan
        for container, addresses in network.static.items()
        if container in lines and network.file_name not in [line.partition(":")[0] for line in lines[container]]
        for address in addresses
    ]


def network_diagram(networks: t.Any) -> str:
    return mermaid(planned(networks))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"network_lines": network_lines, "network_address": network_address, "network_diagram": network_diagram, "network_unused": network_unused}
