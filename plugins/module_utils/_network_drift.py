# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a planned network looks like as a quadlet and to C(podman network inspect), and where the live one differs.

A changed network file alone changes nothing: its service runs C(podman network create --ignore). So the live network is
compared key by key, in one normal form for both sides.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import Address, Neighbour, Net, Network
from ansible_collections.patriark.homelab.plugins.module_utils._unit_file import escape_specifiers, quote_word


@dataclasses.dataclass(frozen=True)
class Difference:
    """One key in which a live network is not what the plan says. Keys are named as the module's options; empty is absent."""

    key: str
    live: str
    planned: str

    def __str__(self) -> str:
        return f"{self.key} is {self.live or 'not set'}, planned is {self.planned or 'not set'}"


def planned_form(network: Network) -> dict[str, str]:
    subnets = [(subnet.net, subnet.gateway, subnet.lease_range) for subnet in network.subnets]
    return _form(
        driver="bridge",
        ipam_driver="host-local",
        subnets=subnets,
        ipv6=network.ipv6,
        internal=network.internal,
        dns_enabled=network.dns_enabled,
        dns=network.dns,
        options=network.driver_options,
        labels=network.labels,
    )


def live_form(inspected: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The same form of one entry of C(podman network inspect)."""
    return _form(
        driver=str(inspected.get("driver", "")),
        ipam_driver=str((inspected.get("ipam_options") or {}).get("driver", "")),
        subnets=[_live_subnet(subnet) for subnet in inspected.get("subnets") or []],
        ipv6=bool(inspected.get("ipv6_enabled")),
        internal=bool(inspected.get("internal")),
        dns_enabled=bool(inspected.get("dns_enabled")),
        dns=[str(ipaddress.ip_address(server)) for server in inspected.get("network_dns_servers") or []],
        options=inspected.get("options") or {},
        labels=inspected.get("labels") or {},
    )


def _form(
    driver: str,
    ipam_driver: str,
    subnets: t.Iterable[tuple[Net, Address | None, str]],
    ipv6: bool,
    internal: bool,
    dns_enabled: bool,
    dns: t.Iterable[str],
    options: t.Mapping[str, str],
    labels: t.Mapping[str, str],
) -> dict[str, str]:
    """One flat line of text for each key, so that two networks compare as two dictionaries."""
    ordered = sorted(subnets, key=lambda subnet: (subnet[0].version, subnet[0]))
    form = {
        "subnet": ", ".join(str(net) for net, gateway, lease in ordered),
        "gateway": ", ".join(str(gateway) for net, gateway, lease in ordered if gateway is not None),
        "dynamic_range": ", ".join(lease for net, gateway, lease in ordered if lease),
        "internal": str(internal).lower(),
        "ipv6": str(ipv6).lower(),
        "dns_enabled": str(dns_enabled).lower(),
        "dns": ", ".join(dns),
        "driver": driver,
        "ipam_driver": ipam_driver,
    }
    form.update((f"options.{key}", value) for key, value in sorted(options.items()))
    form.update((f"labels.{key}", value) for key, value in sorted(labels.items()))
    return form


def _live_subnet(subnet: t.Mapping[str, t.Any]) -> tuple[Net, Address | None, str]:
    net = ipaddress.ip_network(subnet["subnet"], strict=False)
    gateway = ipaddress.ip_address(subnet["gateway"]) if subnet.get("gateway") else None
    lease = subnet.get("lease_range") or {}
    if not lease:
        return net, gateway, ""
    # Either end may be missing (the subnet's own end is meant then). A range stored up to the broadcast address, as podman
    # does for a CIDR, is the same range as one that stops before it: podman does not hand that address out.
    first = ipaddress.ip_address(lease.get("start_ip") or net.network_address + 1)
    last = ipaddress.ip_address(lease.get("end_ip") or net.broadcast_address)
    if net.version == 4 and last == net.broadcast_address:
        last -= 1
    return net, gateway, f"{first}-{last}"


def differences(network: Network, inspected: t.Mapping[str, t.Any]) -> list[Difference]:
    """Where the live network differs from the plan. Empty when it is exactly as planned."""
    live, planned = live_form(inspected), planned_form(network)
    found = []
    for key in dict.fromkeys([*planned, *live]):
        one, other = live.get(key), planned.get(key)
        if one != other:
            found.append(Difference(key, one or "", other or ""))
    return found


def neighbours(inspected: t.Iterable[t.Mapping[str, t.Any]], but: t.Container[str]) -> list[Neighbour]:
    """Subnets of the account's other podman networks (not those named in C(but))."""
    return [
        Neighbour(ipaddress.ip_network(subnet["subnet"], strict=False), f"the podman network {network['name']}")
        for network in inspected
        if network["name"] not in but
        for subnet in network.get("subnets") or []
    ]


def unit_text(network: Network) -> str:
    """The quadlet. It holds what defines the network and nothing else, so that a plan of other addresses does not touch it."""
    lines = ["[Unit]", f"Description=Podman network {network.name}", "", "[Network]", f"NetworkName={network.name}"]
    for subnet in network.subnets:
        lines.append(f"Subnet={subnet.net}")
        if subnet.gateway is not None:
            lines.append(f"Gateway={subnet.gateway}")
        lines.append(f"IPRange={subnet.lease_range}")
    if network.ipv6:
        lines.append("IPv6=true")
    if network.internal:
        lines.append("Internal=true")
    if not network.dns_enabled:
        lines.append("DisableDNS=true")
    lines += [f"DNS={server}" for server in network.dns]
    lines += [f"Options={_pair(key, value)}" for key, value in network.driver_options.items()]
    lines += [f"Label={_pair(key, value)}" for key, value in sorted(network.labels.items())]
    # Wanted at boot even before its first container: the network is there when the plan says so.
    lines += ["", "[Install]", "WantedBy=default.target", ""]
    return "\n".join(lines)


def _pair(key: str, value: str) -> str:
    return quote_word(escape_specifiers(f"{key}={value}"))
