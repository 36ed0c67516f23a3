# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of the address plan, as Mermaid text.

Private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import Network, containers


def mermaid(networks: t.Sequence[Network]) -> str:
    """Containers on the left, networks on the right, planned addresses on the lines; a thick line is the default route."""
    lines = ["flowchart LR"]
    names = {container: f"c{number}" for number, container in enumerate(containers(networks))}
    lines += [f'    {node}["{container}"]' for container, node in names.items()]
    for number, network in enumerate(networks):
        facts = [f"<b>{network.name}</b>"]
        for subnet in network.subnets:
            facts += [str(subnet.net), f"gateway {subnet.gateway}" if subnet.gateway is not None else "no gateway", f"dynamic {subnet.first} to {subnet.last}"]
        facts += ["internal: no route out"] if network.internal else []
        facts += [f"metric {network.metric}"] if network.metric is not None else []
        lines.append(f'    n{number}(["{"<br/>".join(facts)}"])')
    for number, network in enumerate(networks):
        for container, addresses in network.static.items():
            line = "===" if network in _default_routes(networks, container) else "---"
            lines.append(f'    {names[container]} {line}|"{"<br/>".join(map(str, addresses))}"| n{number}')
    return "\n".join(lines) + "\n"


def _default_routes(networks: t.Sequence[Network], container: str) -> list[Network]:
    """The networks that carry the container's default routes (one for each family)."""
    attached = [network for network in networks if container in network.static]
    found = []
    for version in (4, 6):
        metrics = [(metric, network) for network in attached for metric in [network.default_metric(version)] if metric is not None]
        if metrics:
            found.append(min(metrics, key=lambda pair: pair[0])[1])
    return found
