# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address plan: networks, their dynamic ranges and the planned address of each container, judged as a whole.

Everything here is pure. C(make_plan) turns what the inventory says into networks and findings; a plan with findings is never
carried out. The rules exist because podman has none of them: it accepts the gateway or the broadcast address for a container,
hands planned addresses to others unless a dynamic range keeps them apart, and picks among equal default routes at random.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import textwrap
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import nearest

Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Net = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

DEFAULT_METRIC = 100  # what netavark gives every default route that has no metric of its own
PREFERRED_METRIC = 50  # default_route: true
SMALLEST = {4: 29, 6: 125}  # below this there is no room for a gateway, planned addresses and a dynamic range
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# --network takes these words as modes, or podman owns the network of that name.
RESERVED = ("bridge", "container", "default", "host", "none", "ns", "pasta", "podman", "private", "slirp4netns")
BOOLEANS = {"1": "true", "t": "true", "true": "true", "0": "false", "f": "false", "false": "false"}


def _boolean(value: str) -> str:
    try:
        return BOOLEANS[value.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _isolate(value: str) -> str:
    return value if value == "strict" else _boolean(value)


def _number(low: int, high: int) -> t.Callable[[str], str]:
    def convert(value: str) -> str:
        if not value.isdecimal() or not low <= int(value) <= high:
            raise ValueError(f"must be a number from {low} to {high}")
        return str(int(value))

    return convert


def _word(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("must be a name")
    return value


# Options of podman's bridge driver, each with the form in which podman stores its value. C(metric) has options of its own.
OPTIONS: dict[str, t.Callable[[str], str]] = {
    "isolate": _isolate,
    "mtu": _number(68, 65535),
    "no_default_route": _boolean,
    "vlan": _number(0, 4094),
    "vrf": _word,
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing wrong with the plan, and what to write instead."""

    network: str
    problem: str
    fix: str
    container: str = ""
    address: str = ""

    def as_dict(self) -> dict[str, str]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Subnet:
    """One subnet of a network. Podman hands out C(first) to C(last) to containers without a planned address."""

    net: Net
    gateway: Address | None
    first: Address
    last: Address

    @property
    def lease_range(self) -> str:
        return f"{self.first}-{self.last}"

    def dynamic(self, address: Address) -> bool:
        return address.version == self.net.version and int(self.first) <= int(address) <= int(self.last)

    def unusable(self, address: Address) -> str:
        """Why no container may have this address of the subnet; empty when one may."""
        if address == self.net.network_address:
            return "is the network address"
        if self.net.version == 4 and address == self.net.broadcast_address:
            return "is the broadcast address"
        if address == self.gateway:
            return "is the gateway"
        if self.dynamic(address):
            return f"is inside the dynamic range {self.lease_range}: podman may give it to another container first"
        return ""

    def free(self, taken: set[Address], start: Address | None = None) -> Address | None:
        """The first address that could be planned for one more container (looking at no more than 4096); it is taken then."""
        low = int(start if start is not None else self.net.network_address)
        high = min(int(self.net.broadcast_address), low + 4096)
        for number in range(low, high + 1):
            address = self.net.network_address + (number - int(self.net.network_address))
            if not self.unusable(address) and address not in taken:
                taken.add(address)
                return address
        return None if start is None else self.free(taken)


@dataclasses.dataclass(frozen=True)
class Network:
    """One planned network, normalised. C(static) maps a container to its addresses, at most one of each subnet."""

    unit: str
    name: str
    subnets: tuple[Subnet, ...] = ()
    metric: int | None = None
    internal: bool = False
    dns_enabled: bool = True
    dns: tuple[str, ...] = ()
    options: dict[str, str] = dataclasses.field(default_factory=dict)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    static: dict[str, tuple[Address, ...]] = dataclasses.field(default_factory=dict)

    @property
    def service(self) -> str:
        return f"{self.unit}-network.service"

    @property
    def file_name(self) -> str:
        return f"{self.unit}.network"

    @property
    def ipv6(self) -> bool:
        return any(subnet.net.version == 6 for subnet in self.subnets)

    @property
    def driver_options(self) -> dict[str, str]:
        """All options as podman stores them, the metric among them."""
        metric = {} if self.metric is None else {"metric": str(self.metric)}
        return dict(sorted({**self.options, **metric}.items()))

    def default_metric(self, version: int) -> int | None:
        """Metric of the default route that containers get through this network, or None when they get none."""
        if self.internal or self.options.get("no_default_route") == "true":
            return None
        if not any(subnet.net.version == version for subnet in self.subnets):
            return None
        return DEFAULT_METRIC if self.metric is None else self.metric

    def line(self, container: str) -> str:
        """Value of the container's C(Network=) key for this network."""
        options = ",".join(f"{'ip' if address.version == 4 else 'ip6'}={address}" for address in self.static.get(container, ()))
        return self.file_name + (f":{options}" if options else "")


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """A subnet that is taken already: a route or interface of the host, or another network of the account."""

    net: Net
    owner: str


@dataclasses.dataclass(frozen=True)
class OtherUnit:
    """A quadlet which this plan does not own.

    network: the podman network that it makes. references: the units it names. addresses: (network unit, address) it asks for.
    """

    path: str
    file_name: str
    service: str
    network: str = ""
    references: tuple[str, ...] = ()
    addresses: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    networks: tuple[Network, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]


def make_plan(
    entries: t.Sequence[t.Mapping[str, t.Any]],
    neighbours: t.Iterable[Neighbour] = (),
    others: t.Iterable[OtherUnit] = (),
) -> Plan:
    """Judge the whole plan. C(entries) is what O(networks) of the module quadlet_network takes."""
    findings: list[Finding] = []
    networks = [_parse(entry, number, findings) for number, entry in enumerate(entries, 1)]
    _check_names(networks, list(others), findings)
    _check_overlaps(networks, list(neighbours), findings)
    for network in networks:
        _check_static(network, findings)
    _check_default_routes(networks, findings)
    warnings = [
        f"{network.name}: {subnet.net} are public addresses; containers cannot reach the real hosts behind them"
        for network in networks
        for subnet in network.subnets
        if subnet.net.is_global
    ]
    return Plan(tuple(networks), tuple(dict.fromkeys(findings)), tuple(warnings))


def containers(networks: t.Iterable[Network]) -> dict[str, dict[str, t.Any]]:
    """Per container: its planned addresses by network unit, and its C(Network=) values in the order of the plan."""
    found: dict[str, dict[str, t.Any]] = {}
    for network in networks:
        for container, addresses in network.static.items():
            entry = found.setdefault(container, {"addresses": {}, "network_lines": []})
            entry["addresses"][network.unit] = [str(address) for address in addresses]
            entry["network_lines"].append(network.line(container))
    return found


def table(findings: t.Sequence[Finding]) -> str:
    """The findings as a small table that a person can read."""
    rows = [("NETWORK", "CONTAINER", "ADDRESS")]
    rows += [(finding.network, finding.container or "-", finding.address or "-") for finding in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for row, finding in zip(rows, [None, *findings]):
        text = ["PROBLEM"] if finding is None else [*_wrapped(finding.problem, ""), *_wrapped(finding.fix, "-> ")]
        cells = "  ".join(row[column].ljust(widths[column]) for column in range(3)) + "  "
        lines += [(cells if number == 0 else " " * len(cells)) + line for number, line in enumerate(text)]
    return "\n".join(lines)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=" " * len(indent), break_on_hyphens=False, break_long_words=False)


def explain(findings: t.Sequence[Finding]) -> str:
    """The whole message for a plan that cannot be carried out."""
    count = "1 error" if len(findings) == 1 else f"{len(findings)} errors"
    return f"The network plan has {count}; nothing was changed.\n\n{table(findings)}"


# Reading one entry. A bad value becomes a finding and the rest is still read, so that all errors are seen at once.


def _strings(value: t.Any) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, (list, tuple)):
        return [str(item).strip() for item in value]
    return [part.strip() for part in str(value).split(",")]


def _names(entry: t.Mapping[str, t.Any], number: int, findings: list[Finding]) -> tuple[str, str]:
    unit, name = str(entry.get("unit") or ""), str(entry.get("name") or "")
    if not unit and not name:
        findings.append(Finding(f"entry {number}", "has neither unit nor name", "give the quadlet's name, such as unit: photos"))
        return "", ""
    unit = unit or name.removeprefix("systemd-")
    name = name or f"systemd-{unit}"
    if unit.endswith(".network"):
        findings.append(Finding(unit, "unit is given with its suffix", f"write unit: {unit[: -len('.network')]}"))
    elif not NAME.fullmatch(unit):
        findings.append(Finding(unit, "is not a possible unit name", "use letters, digits, '_', '.' and '-', a letter or digit first"))
    if not NAME.fullmatch(name):
        findings.append(Finding(name, "is not a possible name of a podman network", "use letters, digits, '_', '.' and '-', a letter or digit first"))
    elif name in RESERVED:
        findings.append(Finding(name, "podman gives this name a meaning of its own", f"write name: systemd-{unit}, or leave name out"))
    return unit, name


def _parse(entry: t.Mapping[str, t.Any], number: int, findings: list[Finding]) -> Network:
    unit, name = _names(entry, number, findings)

    def wrong(problem: str, fix: str, address: str = "", container: str = "") -> None:
        findings.append(Finding(name or f"entry {number}", problem, fix, container, address))

    internal = bool(entry.get("internal"))
    dns_enabled = entry.get("dns_enabled") is not False
    nets = _parse_nets(entry, wrong)
    gateways = _assign("gateway", _parse_addresses(entry.get("gateway"), "gateway", wrong), nets, wrong)
    ranges = _assign("dynamic range", _parse_ranges(entry.get("dynamic_range"), wrong), nets, wrong)
    subnets = []
    for net in nets:
        gateway = t.cast("Address | None", gateways.get(net))
        if gateway is None and (dns_enabled or not internal):
            gateway = net.network_address + 1
        subnet = _subnet(net, gateway, t.cast("tuple[Address, Address] | None", ranges.get(net)), wrong)
        if subnet is not None:
            subnets.append(subnet)
    return Network(
        unit=unit,
        name=name,
        subnets=tuple(sorted(subnets, key=lambda subnet: subnet.net.version)),
        metric=_parse_metric(entry, internal, wrong),
        internal=internal,
        dns_enabled=dns_enabled,
        dns=_parse_dns(entry, dns_enabled, wrong),
        options=_parse_options(entry.get("options") or {}, wrong),
        labels={str(key): str(value) for key, value in (entry.get("labels") or {}).items()},
        static=_parse_static(entry.get("static") or {}, wrong),
    )


def _parse_nets(entry: t.Mapping[str, t.Any], wrong: t.Callable[..., None]) -> list[Net]:
    nets: list[Net] = []
    values = _strings(entry.get("subnet"))
    if not values:
        wrong("has no subnet", "give one, such as subnet: 10.89.2.0/24")
    for value in values:
        try:
            net = ipaddress.ip_network(value, strict=False)
        except ValueError:
            wrong("is not a subnet", "write it as 10.89.2.0/24 or fd00:89:2::/64", value)
            continue
        if "/" not in value or net.prefixlen > SMALLEST[net.version]:
            wrong(f"the subnet is too small: /{net.prefixlen}", f"use /{SMALLEST[net.version]} or larger", value)
        elif net.is_loopback or net.is_multicast or net.is_link_local or net.is_unspecified or (net.is_reserved and net.version == 4):
            wrong("these addresses cannot be used for containers", "use a private subnet, such as one of 10.0.0.0/8", value)
        elif any(other.version == net.version for other in nets):
            wrong(f"is a second IPv{net.version} subnet of this network", "keep one subnet of each family; make a second network for the other", value)
        else:
            nets.append(net)
    return nets


def _parse_addresses(value: t.Any, what: str, wrong: t.Callable[..., None]) -> list[tuple[str, Address, Address]]:
    found = []
    for text in _strings(value):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            wrong(f"the {what} is not an IP address", "write a plain address, such as 10.89.2.1", text)
        else:
            found.append((text, address, address))
    return found


def _parse_ranges(value: t.Any, wrong: t.Callable[..., None]) -> list[tuple[str, Address, Address]]:
    """A CIDR is read as podman reads it: without its first address."""
    found: list[tuple[str, Address, Address]] = []
    for text in _strings(value):
        try:
            if "/" in text:
                net = ipaddress.ip_network(text, strict=False)
                skip = 1 if net.num_addresses > 1 else 0
                first: Address = net.network_address + skip
                last: Address = net.broadcast_address
            else:
                low, high = text.split("-")
                first, last = ipaddress.ip_address(low.strip()), ipaddress.ip_address(high.strip())
        except ValueError:
            wrong("the dynamic range cannot be read", "write it as 10.89.2.128/25 or 10.89.2.100-10.89.2.199", text)
            continue
        if first.version != last.version or int(first) > int(last):
            wrong("the dynamic range ends before it starts", "write the lower address first", text)
        else:
            found.append((text, first, last))
    return found


def _assign(what: str, values: list[tuple[str, Address, Address]], nets: list[Net], wrong: t.Callable[..., None]) -> dict[Net, t.Any]:
    """Give each gateway or range to the subnet that contains it."""
    found: dict[Net, t.Any] = {}
    for text, first, last in values:
        home = next((net for net in nets if first in net and last in net), None)
        if home is None:
            if nets:  # without a readable subnet there is one error already
                wrong(f"the {what} is outside the subnet", f"choose one inside {' or '.join(map(str, nets))}", text)
        elif home in found:
            wrong(f"is a second {what} for {home}", "keep one", text)
        else:
            found[home] = first if what == "gateway" else (first, last)
    return found


def _subnet(net: Net, gateway: Address | None, wanted: tuple[Address, Address] | None, wrong: t.Callable[..., None]) -> Subnet | None:
    if gateway is not None and (gateway == net.network_address or (net.version == 4 and gateway == net.broadcast_address)):
        wrong("the gateway is the network or broadcast address", f"use {net.network_address + 1}, or leave gateway out", str(gateway))
        gateway = net.network_address + 1
    upper_half = (net.network_address + (net.num_addresses // 2 + 1), net.broadcast_address)
    first, last = wanted or upper_half
    # Nobody may have the network or broadcast address; podman itself skips a gateway inside the range.
    low, high = int(net.network_address) + 1, int(net.broadcast_address) - (1 if net.version == 4 else 0)
    start, end = max(int(first), low), min(int(last), high)
    inside = gateway is not None and start <= int(gateway) <= end
    if end - start + 1 - int(inside) < 1:
        wrong("the dynamic range is too small: no address is left in it", "give containers without a planned address at least one", f"{first}-{last}")
        return None
    return Subnet(net, gateway, net.network_address + (start - low + 1), net.network_address + (end - low + 1))


def _parse_metric(entry: t.Mapping[str, t.Any], internal: bool, wrong: t.Callable[..., None]) -> int | None:
    default_route, metric = bool(entry.get("default_route")), entry.get("metric")
    if default_route and metric is not None:
        wrong("default_route and metric both set the metric", f"keep one (default_route: true means metric {PREFERRED_METRIC})")
    if (default_route or metric is not None) and internal:
        wrong("an internal network has no route out, so no default route", "remove default_route and metric, or internal")
    if (default_route or metric is not None) and _option_is_true(entry, "no_default_route"):
        wrong("no_default_route contradicts default_route and metric", "keep one of them")
    if metric is None:
        return PREFERRED_METRIC if default_route else None
    try:
        return int(_number(1, 4294967295)(str(metric)))
    except ValueError as error:
        wrong(f"metric {metric} {error}", f"the lowest wins, {DEFAULT_METRIC} is podman's default")
        return None


def _option_is_true(entry: t.Mapping[str, t.Any], key: str) -> bool:
    return BOOLEANS.get(str((entry.get("options") or {}).get(key)).lower()) == "true"


def _parse_dns(entry: t.Mapping[str, t.Any], enabled: bool, wrong: t.Callable[..., None]) -> tuple[str, ...]:
    servers = [address for text, address, other in _parse_addresses(entry.get("dns"), "DNS server", wrong)]
    if servers and not enabled:
        wrong("dns servers are given, but dns_enabled is false", "remove dns, or enable it")
    return tuple(map(str, dict.fromkeys(servers)))


def _parse_options(options: t.Mapping[str, t.Any], wrong: t.Callable[..., None]) -> dict[str, str]:
    found = {}
    for key, value in options.items():
        text = str(value)
        if key == "metric":
            wrong("metric is not set among the options", "write metric: (or default_route: true) beside subnet")
        elif key not in OPTIONS:
            near = nearest(str(key), [*OPTIONS, "metric"])
            wrong(f"podman's bridge driver has no option {key}", f"did you mean {near}?" if near else f"known are {', '.join(OPTIONS)} and metric")
        else:
            try:
                found[str(key)] = OPTIONS[key](text)
            except ValueError as error:
                wrong(f"option {key}: {text} {error}", "correct the value")
    return found


def _parse_static(static: t.Mapping[str, t.Any], wrong: t.Callable[..., None]) -> dict[str, tuple[Address, ...]]:
    found = {}
    for container, value in static.items():
        if not NAME.fullmatch(str(container)):
            wrong("is not a possible container name", "use letters, digits, '_', '.' and '-', a letter or digit first", container=str(container))
        texts = _strings(value)
        if not texts:
            wrong("no address is given", "write one, or remove the container from static", container=str(container))
        addresses: list[Address] = []
        for text in texts:
            try:
                addresses.append(ipaddress.ip_address(text))
            except ValueError:
                wrong("is not an IP address", "write a plain address, without a prefix length", text, str(container))
        found[str(container)] = tuple(sorted(addresses, key=lambda address: address.version))
    return found


# The rules over the whole plan.


def _check_names(networks: list[Network], others: list[OtherUnit], findings: list[Finding]) -> None:
    for index, network in enumerate(networks):
        if not network.name:
            continue
        for earlier in networks[:index]:
            if earlier.unit == network.unit:
                findings.append(Finding(network.name, f"unit {network.unit} is listed twice", "give every network a unit of its own"))
            elif earlier.name == network.name:
                findings.append(Finding(network.name, f"is the name of {earlier.unit} and of {network.unit}", "give every network a name of its own"))
            elif earlier.service == network.service:
                findings.append(Finding(network.name, f"has the same service as {earlier.unit}: {network.service}", "rename one unit"))
        for other in others:
            if other.file_name == network.file_name:
                findings.append(Finding(network.name, f"the unit {network.file_name} exists already: {other.path}", "choose another unit, or remove that file"))
            elif other.service == network.service:
                findings.append(Finding(network.name, f"the service {network.service} belongs to {other.path}", "choose another unit, or rename that one"))
            elif other.network == network.name:
                findings.append(Finding(network.name, f"is made by {other.path} already", "choose another name, or remove that file"))


def _check_overlaps(networks: list[Network], neighbours: list[Neighbour], findings: list[Finding]) -> None:
    pairs = [(network, subnet.net) for network in networks for subnet in network.subnets]
    used = [net for other, net in pairs] + [neighbour.net for neighbour in neighbours]
    for index, (network, net) in enumerate(pairs):
        owners = [f"{other.name} ({theirs})" for other, theirs in pairs[:index] if _overlap(theirs, net)]
        owners += [f"{neighbour.owner} ({neighbour.net})" for neighbour in neighbours if _overlap(neighbour.net, net)]
        for owner in dict.fromkeys(owners):
            free = _free_net(net, used)
            findings.append(Finding(network.name, f"overlaps {owner}", f"use a free subnet, such as {free}" if free else "use a free subnet", address=str(net)))


def _overlap(one: Net, other: Net) -> bool:
    return one.version == other.version and one.overlaps(t.cast("t.Any", other))


def _free_net(net: Net, used: list[Net]) -> Net | None:
    """The next subnet of the same size that nobody has (a help for the reader: 256 tries)."""
    for step in range(1, 257):
        base = int(net.network_address) + step * net.num_addresses
        if base + net.num_addresses > 1 << net.max_prefixlen:
            return None
        candidate = type(net)((base, net.prefixlen))
        if candidate.is_private and not any(_overlap(candidate, other) for other in used):
            return candidate
    return None


def _check_static(network: Network, findings: list[Finding]) -> None:
    taken = {address for addresses in network.static.values() for address in addresses}
    holders: dict[Address, str] = {}
    if not network.subnets:  # reported already; every address would be wrong
        return
    for container, addresses in network.static.items():
        seen: set[Net] = set()
        for address in addresses:
            home = next((subnet for subnet in network.subnets if address in subnet.net), None)
            if home is None:
                same = [subnet for subnet in network.subnets if subnet.net.version == address.version]
                free = same[0].free(taken) if same else None
                where = ", ".join(str(subnet.net) for subnet in network.subnets)
                findings.append(Finding(network.name, f"is outside the subnet {where}", _use(free), container, str(address)))
                continue
            reason = home.unusable(address)
            if reason:
                findings.append(Finding(network.name, reason, _use(home.free(taken)), container, str(address)))
            if address in holders:
                findings.append(Finding(network.name, f"is planned for {holders[address]} already", _use(home.free(taken, address)), container, str(address)))
            holders.setdefault(address, container)
            if home.net in seen:
                findings.append(Finding(network.name, f"is a second address in {home.net}: podman uses one", "keep one", container, str(address)))
            seen.add(home.net)


def _use(address: Address | None) -> str:
    return f"use a free address, such as {address}" if address is not None else "no address is free: use a larger subnet or a smaller dynamic_range"


def _check_default_routes(networks: list[Network], findings: list[Finding]) -> None:
    for container in dict.fromkeys(container for network in networks for container in network.static):
        findings += check_default_route([network for network in networks if container in network.static], container)


def check_default_route(attached: t.Sequence[Network], container: str) -> list[Finding]:
    """Podman keeps no order of networks: of equal metrics one wins at random, differently at each start."""
    findings = []
    for version in (4, 6):
        metrics = {network.name: metric for network in attached for metric in [network.default_metric(version)] if metric is not None}
        best = [name for name, metric in metrics.items() if metric == min(metrics.values())]
        if len(best) > 1:
            findings.append(
                Finding(
                    best[0],
                    f"has an IPv{version} default route through {' and '.join(best)} (metric {metrics[best[0]]} each): one is taken at random",
                    "set default_route: true on exactly one of them, give one a lower metric, or make the others internal",
                    container,
                )
            )
    return findings
