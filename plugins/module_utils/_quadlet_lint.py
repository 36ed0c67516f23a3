# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The traps that podman's generator lets pass, found before anything is written. Pure functions.

Private to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _values as values
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding, nearest
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_bugs import lint_known
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_keys import TYPES, Key
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_lower import can_lower
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import DEFAULT_RETRIES, QUADLET_TYPES, Unit, parse_name
from ansible_collections.patriark.homelab.plugins.module_utils._unit_file import Entry, UnitFile, split_words, unquoted

Version = tuple[int, int, int]
Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Subnet = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

SYSTEMD_KEYS = {
    "Unit": ("Description", "After", "Before", "Requires", "Wants", "BindsTo", "PartOf", "Conflicts", "StartLimitIntervalSec", "StartLimitBurst"),
    "Service": ("Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec", "MemoryMax", "MemoryHigh", "CPUQuota", "ExecStartPre", "ExecStartPost", "Slice"),
    "Install": ("WantedBy", "RequiredBy", "Alias", "UpheldBy"),
}
PLAIN_SECTIONS = {"service": "Service", "socket": "Socket", "timer": "Timer", "path": "Path", "target": "Target"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]")
# Variables which systemd itself gives every service of an account, or quadlet every container
_KNOWN_VARIABLES = frozenset(
    "HOME USER LOGNAME SHELL PATH LANG XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS INVOCATION_ID MANAGERPID SYSTEMD_EXEC_PID MAINPID NOTIFY_SOCKET"
    " JOURNAL_STREAM PODMAN_SYSTEMD_UNIT RUNTIME_DIRECTORY STATE_DIRECTORY CACHE_DIRECTORY LOGS_DIRECTORY CONFIGURATION_DIRECTORY CREDENTIALS_DIRECTORY".split()
)
# ${X} anywhere in a word, $X when it is all of it
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)\}|^\$(\w+)\Z")
DEFAULT_START = 90.0
DEFAULT_INTERVAL = 30.0

_WORD_KEYS: dict[str, t.Callable[[t.Sequence[str]], values.Verdict]] = {
    "Secret": values.secret,
    "AddCapability": values.capabilities,
    "DropCapability": values.capabilities,
}
_TEXT_KEYS: dict[str, t.Callable[[str], values.Verdict]] = {
    "PublishPort": values.port,
    "Volume": values.volume,
    "UserNS": values.user_namespace,
    "AddHost": values.add_host,
}


def lint_unit(unit: Unit, version: Version) -> list[Finding]:
    """All findings of one unit and its drop-ins, looked at alone."""
    found = []
    for name, text in [(unit.name.text, unit.file), *unit.drop_ins.items()]:
        found += _lint_text(name, text, unit, version, main=text is unit.file)
    if not any(finding.severity == "error" for finding in found):
        found += _lint_whole(unit, version) + lint_known(unit, version)
    return found


def lint_drop_in(name: str, text: str, version: Version) -> list[Finding]:
    """Findings of a drop-in whose unit belongs to somebody else."""
    parsed = parse_name(name)
    if parsed is None:
        return [Finding(name, "not the name of a drop-in", "write name.container.d/extra.conf")]
    unit = Unit(parsed, "")
    return _lint_text(name, UnitFile(text), unit, version, main=False)


def _lint_text(name: str, text: UnitFile, unit: Unit, version: Version, main: bool) -> list[Finding]:
    lines = text.text.split("\n")
    plain = unit.name.plain
    found = [
        Finding(name, problem.reason, problem.remedy, problem.line, value=lines[problem.line - 1].strip())
        for problem in text.problems
        if not (plain and problem.quadlet)
    ]
    for number, written in enumerate(lines, 1):
        if written.endswith("\r"):
            found.append(Finding(name, "a carriage return at the end of the line", "end lines as Unix does", number))
            break
        if _CONTROL.search(written):
            found.append(Finding(name, "a control character, which systemd takes for the end of the line or refuses", "remove it", number))
        if not plain and version < (5, 4, 0) and written.lstrip().startswith(";"):
            found.append(Finding(name, "a comment with a semicolon, which podman takes from 5.4 on", "write #", number))
    indented = next((entry.line for entry in text.entries if lines[entry.line - 1][:1].isspace()), None)
    if indented and not plain and version < (5, 4, 0):
        found.append(Finding(name, "a blank at the start of the line, which podman takes from 5.4 on", "remove it", indented))
    own = PLAIN_SECTIONS[unit.name.kind] if plain else unit.section
    known = [own, "Unit", "Install"] + ([] if plain and own == "Service" else ["Service"] if not plain else []) + ([] if plain else ["Quadlet"])
    for section, line in text.sections.items():
        if section not in known and not section.startswith("X-"):
            close = nearest(section, known)
            found.append(Finding(name, f"unknown section [{section}]", f"write [{close}]" if close else f"sections are {', '.join(known)}", line))
    if main and own not in text.sections and not (plain and own == "Target"):
        found.append(Finding(name, f"there is no [{own}] section", "add it"))
    for entry in text.entries:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", entry.key):
            found.append(_at(name, entry, "not a key", "a key is letters and digits"))
        elif not plain and entry.section in (own, "Quadlet"):
            found += _lint_key(name, entry, unit, version)
            later = text.last(entry.section, entry.key)
            single = entry.key in TYPES[unit.name.kind].keys and not TYPES[unit.name.kind].keys[entry.key].repeatable
            if single and entry.value and later and later.line > entry.line:
                found.append(_at(name, entry, f"only the last of these lines counts, which is line {later.line}", "remove this one", "warning"))
        if entry.section in ("Unit", "Service", "Install", own):
            verdict = values.specifiers(entry.value)
            if verdict and not (entry.section == "Unit" and entry.key.startswith(("Condition", "Assert"))):
                found.append(_at(name, entry, *verdict))
    return found


def _at(name: str, entry: Entry, reason: str, remedy: str, severity: str = "error") -> Finding:
    return Finding(name, reason, remedy, entry.line, entry.key, entry.value, severity)


def _lint_key(name: str, entry: Entry, unit: Unit, version: Version) -> list[Finding]:
    kind = "quadlet" if entry.section == "Quadlet" else unit.name.kind
    table = TYPES[kind].keys
    key = table.get(entry.key)
    if key is None:
        return [_at(name, entry, f"{entry.key} is not a key of [{entry.section}]: podman would not make this unit", _where(entry.key, kind))]
    found = []
    if key.since > version[:2] and not can_lower(kind, entry.key, version):
        found.append(
            _at(name, entry, f"{entry.key} needs podman {values.dotted(key.since)}; this host has {values.dotted(version)}", "leave it out or upgrade podman")
        )
    if key.deprecated:
        found.append(_at(name, entry, f"{entry.key} is deprecated", "use UserNS, UIDMap and GIDMap" if "Remap" in entry.key else "use Tmpfs", "warning"))
    if not entry.value:
        if entry.key == "LogDriver":
            found.append(_at(name, entry, "podman takes the option that follows for the driver", "leave LogDriver out"))
        return found
    verdict = _verdict(entry, key, version)
    if verdict:
        found.append(_at(name, entry, *verdict))
    return found


def lint_analysis(unit: Unit, finding: Finding) -> Finding:
    """What systemd says of a generated unit, told of the line it comes from."""
    entry = next((entry for entry in reversed(unit.merged.entries) if entry.key == finding.key and entry.section in SYSTEMD_KEYS), None)
    if entry is None:
        return dataclasses.replace(finding, unit=unit.name.text)
    places = [section for section, keys in SYSTEMD_KEYS.items() if entry.key in keys and section != entry.section]
    close = nearest(entry.key, SYSTEMD_KEYS[entry.section])
    unknown = finding.reason.startswith("Unknown key")
    remedy = f"it belongs to [{places[0]}]" if places else f"did you mean {close}?" if unknown and close else finding.remedy
    return unit.finding(entry.section, entry.key, finding.reason, remedy, finding.severity, entry)


def _where(key: str, kind: str) -> str:
    for section, keys in SYSTEMD_KEYS.items():
        if key in keys:
            return f"it belongs to [{section}]"
    for section, keys in SYSTEMD_KEYS.items():
        for known in keys:
            if known.lower() == key.lower():
                return f"it is {known} of [{section}]"
    close = nearest(key, TYPES[kind].keys)
    owners = [TYPES[other].section for other in QUADLET_TYPES if key in TYPES[other].keys]
    if close and (close.lower() == key.lower() or not owners):
        return f"did you mean {close}?"
    return f"it is a key of [{'], ['.join(owners)}]" if owners else "see podman-systemd.unit(5)"


def _verdict(entry: Entry, key: Key, version: Version) -> values.Verdict:
    """What is wrong with a value, told from the way the generator reads the key."""
    value = entry.value
    words: list[str] = []
    if key.lookup in ("all_args", "all_keyval", "last_args", "all_strv"):
        words, problems = split_words(value, unescape=key.lookup != "all_strv")
        if problems:
            return problems[0].reason, problems[0].remedy
    if key.lookup == "all_keyval":
        return _key_values(entry.key, words, version)
    quotes = _quotes(value, key, version)
    if quotes and entry.key not in ("HealthCmd", "HealthStartupCmd"):
        return quotes
    if key.lookup in ("last", "last_bool") and entry.key not in ("HealthCmd", "HealthStartupCmd"):
        value = unquoted(value)
    if "%" in value or "$" in value:
        # a value known only when the unit starts: nothing to judge here (specifiers are looked at elsewhere)
        return _health(entry, version)
    if entry.key in _WORD_KEYS and entry.section != "Build":
        return _WORD_KEYS[entry.key](words)
    if entry.key in _TEXT_KEYS:
        return _TEXT_KEYS[entry.key](value)
    if entry.key in ("Image", "ImageTag") and entry.section in ("Container", "Image"):
        return values.image(value)
    if entry.key == "Network" and entry.section in ("Container", "Pod"):
        return _network(value)
    if entry.key == "EnvironmentFile" and value.startswith("-"):
        return "podman knows no optional environment files: this is the file named with the dash", "remove the dash"
    return _typed(value, key) or _health(entry, version)


def _quotes(value: str, key: Key, version: Version) -> values.Verdict:
    """Quotes around a value that is not split into words."""
    first, last, cure = value[0], value[-1], "do not quote the value"
    if key.lookup == "all" and first in "\"'":
        return "podman takes these quotes for a part of the value", cure
    if key.lookup not in ("last", "last_bool"):
        return None
    if first == last == "'" and len(value) > 1:
        return "podman takes these quotes for a part of the value", cure
    if '"' not in (first, last):
        return None
    if version < (5, 0, 0):
        return f"podman {values.dotted(version)} takes these quotes for a part of the value", cure
    # one pair around all of it is what every podman since understands
    if first == last and len(value) > 1 and '"' not in value[1:-1]:
        return None
    if version >= (5, 8, 2) and first != '"':
        return None
    return "podman cuts double quotes at the ends of this value, matched or not", cure


def _typed(value: str, key: Key) -> values.Verdict:
    kind, dummy, choices = key.value.partition(":")
    if key.lookup == "last_bool":
        return values.boolean(value)
    if kind == "enum":
        return values.enum(value, choices.split(","))
    if kind == "duration|disable" and value == "disable":
        return None
    checks: dict[str, t.Callable[[str], values.Verdict]] = {
        "int": values.integer,
        "duration": values.duration,
        "duration|disable": values.duration,
        "size": values.size,
        "ip": values.address,
        "ip6": lambda text: values.address(text, 6),
        "cidr": values.subnet,
        "cidr|ip-ip": values.address_range,
    }
    if key.value == "bool|healthy":
        return None if value == "healthy" else values.boolean(value)
    return checks[key.value](value) if key.value in checks else None


def _key_values(key: str, words: t.Sequence[str], version: Version) -> values.Verdict:
    bare = [word for word in words if "=" not in word]
    if not bare:
        return None
    if key == "Environment" and version >= (5, 6, 0) and len(bare) == len(words):
        return None
    if len(words) > 1:
        return f"the word {bare[0]!r} is lost without a message", f'quote the whole assignment: {key}="NAME=value with blanks"'
    if key == "Environment":
        return "an assignment without = is dropped before podman 5.6", "write NAME=value"
    return "an assignment without =", "write name=value"


def _network(value: str) -> values.Verdict:
    name, dummy, options = value.partition(":")
    if name in ("host", "none", "private", "slirp4netns", "pasta", "container", "ns", "bridge", "") or name.endswith(".container"):
        return ("options cannot follow another container's network", "remove them") if name.endswith(".container") and options else None
    for option in filter(None, options.split(",")):
        key, equals, text = option.partition("=")
        if key not in values.NETWORK_OPTIONS:
            close = nearest(key, values.NETWORK_OPTIONS)
            return f"unknown network option {key!r}, which podman would accept silently", f"did you mean {close}?" if close else "options are " + ", ".join(
                values.NETWORK_OPTIONS
            )
        if not equals or not text:
            return f"the network option {key} has no value", f"write {key}=..."
        if key in ("ip", "ip6"):
            verdict = values.address(text, 6 if key == "ip6" else 4)
            if verdict:
                return f"{text} is {verdict[0]}", verdict[1]
        if key == "mac" and not re.fullmatch(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}", text):
            return f"{text!r} is not a MAC address", "write it like 92:d0:c6:0a:29:33"
    return None


def _health(entry: Entry, version: Version) -> values.Verdict:
    return values.health_command(entry.value, version) if entry.key in ("HealthCmd", "HealthStartupCmd") else None


class _Report:
    """Collects findings about keys of a unit."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.found: list[Finding] = []

    def add(self, section: str, key: str, reason: str, remedy: str, severity: str = "error") -> None:
        self.found.append(self.unit.finding(section, key, reason, remedy, severity))


def _lint_whole(unit: Unit, version: Version) -> list[Finding]:
    """Rules which need more than one line of a unit."""
    report = _Report(unit)
    merged, own = unit.merged, unit.section
    if unit.name.plain:
        return []
    for key in ("User", "Group", "DynamicUser"):
        if merged.last("Service", key):
            report.add("Service", key, "podman would run as another account and fail", f"remove it; for the account inside the container use {key}= of [{own}]")
    if unit.name.kind == "container":
        _container(unit, version, report)
    if unit.name.kind in ("container", "pod"):
        _network_keys(unit, report)
    for entry in merged.entries:
        if (entry.section, entry.key, entry.value) == (own, "Label", "") and unit.place(entry)[0] != unit.name.text:
            reason = "an empty Label= in a drop-in takes away the digest by which staleness is seen"
            report.found.append(unit.finding(own, "Label", reason, "name the labels to replace instead", entry=entry))
    if not (merged.all("Service", "EnvironmentFile") or merged.all("Service", "PassEnvironment")):
        _variables(unit, report)
    if unit.name.template and not merged.last("Install", "DefaultInstance") and merged.words("Install", "WantedBy"):
        report.add(
            "Install", "WantedBy", "the template itself cannot be started", "put [Install] in a drop-in of the instance, or add DefaultInstance", "warning"
        )
    return report.found


def _variables(unit: Unit, report: _Report) -> None:
    """systemd puts in what it knows of ${X}, and nothing for what only the container knows."""
    known = _KNOWN_VARIABLES | {word.partition("=")[0] for word in unit.merged.words("Service", "Environment")}
    for entry in unit.merged.entries:
        key = TYPES[unit.name.kind].keys.get(entry.key)
        if entry.section != unit.section or key is None:
            continue
        words = split_words(entry.value)[0] if key.lookup in ("all_args", "last_args", "all_keyval", "all_strv") else [entry.value]
        names = [name for word in words for match in _VARIABLE.finditer(word) for name in match.groups() if name and name not in known]
        if names:
            reason = f"systemd puts nothing in for {names[0]}, unless the environment of its manager has it"
            remedy = f"write $${{{names[0]}}} for a variable of the container, or set it by Environment= in [Service]"
            report.found.append(unit.finding(unit.section, entry.key, reason, remedy, "warning", entry))


def _container(unit: Unit, version: Version, report: _Report) -> None:
    own = unit.section
    if not unit.get("Image") and not unit.get("Rootfs"):
        report.add(own, "Image", "there is no image", "add Image=")
    if unit.get("Image") and unit.get("Rootfs"):
        report.add(own, "Rootfs", "Image and Rootfs exclude one another", "keep one of them")
    if unit.get("Group") and not unit.get("User"):
        report.add(own, "Group", "Group needs User", "add User=")
    if unit.get("Pod"):
        for key in ("PublishPort", "Network", "IP", "IP6", "NetworkAlias", "AddHost", "HostName", "DNS", "UserNS", "UIDMap", "GIDMap"):
            if unit.merged.all(own, key):
                report.add(own, key, "a member of a pod uses the network and the namespaces of the pod", "move it to the .pod unit")
    for key in dict.fromkeys(entry.key for entry in unit.merged.entries if entry.section == own and entry.key.startswith("Health")):
        startup = key.startswith("HealthStartup")
        covered = unit.get("HealthStartupCmd") if startup else unit.has_health_check
        if unit.get(key) and not covered and key not in ("HealthCmd", "HealthStartupCmd"):
            needed = "HealthStartupCmd" if startup else "HealthCmd"
            report.add(own, key, f"dropped without a word: there is no {needed}", f"add {needed}")
    if unit.get("HealthOnFailure") == "restart":
        report.add(own, "HealthOnFailure", "podman and systemd would both restart the container", "use kill, and Restart=always in [Service]")
    if unit.get("HealthStartupCmd") and not unit.has_health_check:
        report.add(own, "HealthStartupCmd", "a start-up check needs a health check", "add HealthCmd")
    if unit.get("Notify") == "healthy":
        _healthy(unit, version, report)


def _network_keys(unit: Unit, report: _Report) -> None:
    own, networks = unit.section, [network for network, dummy in unit.networks]
    if (unit.get("IP") or unit.get("IP6")) and len(networks) > 1:
        key = "IP" if unit.get("IP") else "IP6"
        report.add(own, key, "podman takes one address key only with a single network", "write Network=name:ip=address on each network")
    for network in sorted({network for network in networks if networks.count(network) > 1}):
        report.add(own, "Network", f"{network} is named twice", "keep one line")
    if len(networks) > 1 and {"host", "none"} & set(networks):
        report.add(own, "Network", "host or none exclude other networks", "keep one of them")


def _healthy(unit: Unit, version: Version, report: _Report) -> None:
    own = unit.section
    if version < (5, 0, 0):
        report.add(own, "Notify", f"healthy needs podman 5.0; this host has {values.dotted(version)}", "use true")
    if not unit.has_health_check:
        report.add(own, "Notify", "healthy without a health check: podman fails with status 125", "add HealthCmd")
        return
    start = unit.merged.value("Service", "TimeoutStartSec") or unit.merged.value("Service", "TimeoutSec")
    limit = values.systemd_seconds(start) if start else DEFAULT_START
    startup = "Startup" if unit.get("HealthStartupCmd") else ""
    interval_text = unit.get(f"Health{startup}Interval")
    interval = values.go_seconds(interval_text) if interval_text else DEFAULT_INTERVAL
    period = values.go_seconds(unit.get("HealthStartPeriod") or "0s")
    if limit is None or period is None or (interval is None and interval_text != "disable"):
        return
    if interval_text == "disable":
        report.add(own, f"Health{startup}Interval", "the check never runs, so the unit never gets healthy", "give an interval, or use Notify=true")
        return
    interval = interval or 0.0
    retries = unit.get("HealthRetries")
    needed = period + interval * (int(retries) if retries.isdigit() else DEFAULT_RETRIES)
    reason, remedy = f"systemd gives up after {limit:.0f} s", f"set TimeoutStartSec={needed:.0f} or more"
    if limit < period or limit < interval:
        reason += f", before the start period ({period:.0f} s) or the first interval ({interval:.0f} s) is over"
        report.add("Service", "TimeoutStartSec", reason, remedy)
    elif limit < needed:
        report.add("Service", "TimeoutStartSec", f"{reason}; the check may take {needed:.0f} s to tell", remedy, "warning")


def lint_addresses(units: t.Mapping[str, Unit], ours: t.Container[str]) -> list[Finding]:
    """Static addresses: inside the subnet of their network, not reserved, not given twice, and not given away by podman before."""
    found = []
    holders: dict[tuple[str, str], str] = {}
    for name, unit in units.items():
        if unit.name.kind not in ("container", "pod") or unit.name.template:
            continue
        for entry, network, text in unit.addresses:
            try:
                wanted = ipaddress.ip_address(text)
            except ValueError:
                continue
            other = holders.setdefault((network, str(wanted)), name)
            if name not in ours:
                continue
            if other != name:
                reason = f"{wanted} on {network} belongs to {other} already"
                found.append(unit.finding(unit.section, entry.key, reason, "give each container an address of its own", entry=entry))
            verdict = _inside(wanted, network, units[network]) if network in units else None
            if verdict:
                found.append(unit.finding(unit.section, entry.key, *verdict, entry=entry))
    return found


def _inside(wanted: Address, network: str, unit: Unit) -> tuple[str, str, str] | None:
    """What is wrong with an address on a network: reason, remedy, severity."""
    same = [subnet for dummy, subnet in _subnets(unit) if subnet.version == wanted.version]
    inside = [subnet for subnet in same if wanted in subnet]
    if same and not inside:
        return f"{wanted} is outside {network} ({', '.join(map(str, same))})", "choose an address of that subnet", "error"
    gateways = {entry.value for entry in unit.merged.all("Network", "Gateway")}
    for subnet in inside:
        reserved = {str(subnet.network_address): "the network's own address"}
        if subnet.version == 4:
            reserved[str(subnet.broadcast_address)] = "the broadcast address"
        if not gateways:
            reserved[str(subnet.network_address + 1)] = "the gateway"
        reserved.update(dict.fromkeys(gateways, "the gateway"))
        if str(wanted) in reserved:
            return f"{wanted} is {reserved[str(wanted)]} of {network}", "choose another address", "error"
    ranges = [found for found in _ranges(unit) if found[1].version == wanted.version]
    if inside and (not ranges or any(int(first) <= int(wanted) <= int(last) for dummy, first, last in ranges)):
        reason = f"podman gives {wanted} to whichever container of {network} comes first without an address of its own"
        return reason, f"set IPRange= of {network} to a part of the subnet without it", "warning"
    return None


def _subnets(unit: Unit) -> list[tuple[Entry, Subnet]]:
    found: list[tuple[Entry, Subnet]] = []
    for entry in unit.merged.all("Network", "Subnet"):
        with contextlib.suppress(ValueError):
            found.append((entry, ipaddress.ip_network(entry.value, strict=False)))
    return found


def _ranges(unit: Unit) -> list[tuple[Entry, Address, Address]]:
    found: list[tuple[Entry, Address, Address]] = []
    for entry in unit.merged.all("Network", "IPRange"):
        first, dash, last = entry.value.partition("-")
        with contextlib.suppress(ValueError):
            if dash:
                found.append((entry, ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())))
            else:
                subnet = ipaddress.ip_network(first, strict=False)
                found.append((entry, subnet[0], subnet[-1]))
    return found


def lint_networks(units: t.Mapping[str, Unit], ours: t.Container[str]) -> list[Finding]:
    """What podman would only say when it makes a network: subnets that overlap, gateways and ranges outside of them."""
    found = []
    taken: list[tuple[str, Subnet]] = []
    for name, unit in units.items():
        if unit.name.kind != "network" or unit.name.template:
            continue
        subnets = _subnets(unit)
        for entry, subnet in subnets if name in ours else []:
            for other, theirs in taken:
                if theirs.version == subnet.version and theirs.overlaps(subnet):
                    found.append(unit.finding("Network", "Subnet", f"{subnet} overlaps with {theirs} of {other}", "choose another subnet", entry=entry))
        taken += [(name, subnet) for dummy, subnet in subnets]
        ends = [(entry, entry.value) for entry in unit.merged.all("Network", "Gateway")]
        ends += [(entry, str(end)) for entry, first, last in _ranges(unit) for end in (first, last)]
        for entry, text in ends if subnets and name in ours else []:
            with contextlib.suppress(ValueError):
                end = ipaddress.ip_address(text)
                if not any(end in subnet for dummy, subnet in subnets):
                    where = ", ".join(str(subnet) for dummy, subnet in subnets)
                    found.append(unit.finding("Network", entry.key, f"{text} is outside {where}", "choose it from the subnet", entry=entry))
    return found


def lint_duplicates(units: t.Mapping[str, Unit], ours: t.Container[str]) -> list[Finding]:
    """Two units of the whole scope with one service, container or other resource name: one of them would vanish."""
    found = []
    holders: dict[tuple[str, str], str] = {}
    for name, unit in units.items():
        if unit.name.template:
            continue
        made = [("service", "service", unit.service, "ServiceName")]
        if unit.resource and not unit.name.template_name:
            # podman has one set of names for containers and pods
            space = "container" if unit.name.kind == "pod" else unit.name.kind
            made.append((space, unit.name.kind, unit.resource, f"{unit.name.kind.capitalize()}Name"))
        for space, what, label, key in made:
            other = holders.setdefault((space, label), name)
            if other != name and name in ours:
                given = key if unit.get(key) else ""
                found.append(unit.finding(unit.section, given, f"the {what} {label} is made by {other} too", "give one of them another name"))
    return found


def lint_references(units: t.Mapping[str, Unit], known: t.Container[str]) -> list[Finding]:
    """References to quadlet units which are nowhere in the search path."""
    found = []
    names = list(units)
    for unit in units.values():
        for entry, target in [*unit.references(), *unit.depends_on()]:
            if target not in known:
                stem, dummy, kind = target.rpartition(".")
                close = nearest(stem, [other.rpartition(".")[0] for other in names if other.endswith(f".{kind}")])
                remedy = f"did you mean {close}.{kind}?" if close else "add it, or deploy the stack that has it first"
                found.append(unit.finding(entry.section, entry.key, f"there is no unit {target}", remedy, entry=entry))
    return found


def lint_install(unit: Unit, user_scope: bool, wanted_elsewhere: bool) -> list[Finding]:
    """Whether it starts again after a reboot."""
    if unit.name.kind not in ("container", "pod", "kube", "socket", "timer") or unit.on_demand:
        return []
    targets = unit.merged.words("Install", "WantedBy") + unit.merged.words("Install", "RequiredBy")
    if user_scope and "multi-user.target" in targets and "default.target" not in targets:
        reason = "an account's manager has no multi-user.target: it is not started at boot"
        return [unit.finding("Install", "WantedBy", reason, "write WantedBy=default.target")]
    if not targets and not wanted_elsewhere:
        wanted = {"socket": "sockets.target", "timer": "timers.target"}.get(unit.name.kind, "default.target")
        return [Finding(unit.name.text, "nothing starts it after a reboot", f"add [Install] with WantedBy={wanted}", severity="warning")]
    return []
