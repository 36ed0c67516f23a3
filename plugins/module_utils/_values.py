# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the values of quadlet keys must look like; podman's generator passes most nonsense through.

Each check returns None when the value is fine, else (reason, remedy). Private to the collection.
"""

from __future__ import annotations

import ipaddress
import json
import re
import typing as t

Verdict = t.Optional[tuple[str, str]]

_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SYSTEMD_UNITS = {
    **dict.fromkeys(("us", "usec", "µs"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}
TRUE = ("1", "yes", "true", "on")
FALSE = ("0", "no", "false", "off")
SPECIFIERS = "aAbBCdDEfgGhHiIjJlLmMnNopPqsStTuUvVwWyY%"
VOLUME_OPTIONS = (
    "rw ro z Z U O copy nocopy dev nodev exec noexec suid nosuid bind rbind shared rshared slave rslave private rprivate"
    " unbindable runbindable idmap upperdir workdir subpath"
).split()
NETWORK_OPTIONS = ("ip", "ip6", "mac", "alias", "interface_name", "host_interface_name")
SECRET_OPTIONS = ("type", "target", "uid", "gid", "mode")
USER_NAMESPACES = ("auto", "host", "keep-id", "nomap", "private")
CAPABILITIES = (
    "all audit_control audit_read audit_write block_suspend bpf checkpoint_restore chown dac_override dac_read_search fowner fsetid ipc_lock"
    " ipc_owner kill lease linux_immutable mac_admin mac_override mknod net_admin net_bind_service net_broadcast net_raw perfmon setfcap setgid"
    " setpcap setuid sys_admin sys_boot sys_chroot sys_module sys_nice sys_pacct sys_ptrace sys_rawio sys_resource sys_time sys_tty_config syslog"
    " wake_alarm"
).split()


def go_seconds(value: str) -> float | None:
    """Seconds of a duration as podman reads it (30s, 1m30s)."""
    if value == "0":
        return 0.0
    if not re.fullmatch(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+", value):
        return None
    return sum(float(number) * _GO_UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", value))


def systemd_seconds(value: str) -> float | None:
    """Seconds of a time span as systemd reads it (900, 15min, 1h 30min); infinity is float('inf')."""
    if value in ("infinity", "0"):
        return float("inf")
    if not re.fullmatch(r"(\s*\d+(\.\d+)?\s*[a-zµ]*)+", value):
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)", value)
    if any(unit not in _SYSTEMD_UNITS for dummy, unit in parts):
        return None
    return sum(float(number) * _SYSTEMD_UNITS[unit] for number, unit in parts)


def boolean(value: str) -> Verdict:
    if value.lower() in TRUE + FALSE:
        return None
    return "not a boolean; podman takes it as false", "write true or false"


def integer(value: str) -> Verdict:
    return None if re.fullmatch(r"-?\d+", value) else ("not a whole number", "write digits only")


def duration(value: str) -> Verdict:
    return None if go_seconds(value) is not None else ("not a duration", "write it like 30s, 5m or 1h30m")


def size(value: str) -> Verdict:
    return None if re.fullmatch(r"-1|\d+(\.\d+)?\s?([kmgtp]i?)?b?", value, re.IGNORECASE) else ("not a size", "write it like 512m or 2g")


def address(value: str, version: int | None = None) -> Verdict:
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return "not an IP address", "write it like 10.89.2.10" if version != 6 else "write it like fd00::10"
    if version and found.version != version:
        return f"not an IPv{version} address", f"use the key for IPv{found.version}"
    return None


def subnet(value: str) -> Verdict:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return "not a subnet", "write it like 10.89.2.0/24"
    return None if "/" in value else ("a subnet without a prefix length", "write it like 10.89.2.0/24")


def address_range(value: str) -> Verdict:
    first, dash, last = value.partition("-")
    if dash:
        try:
            ok = int(ipaddress.ip_address(first.strip())) <= int(ipaddress.ip_address(last.strip()))
        except ValueError:
            ok = False
        return None if ok else ("not a range of addresses", "write it like 10.89.2.128/25 or 10.89.2.128-10.89.2.250")
    return subnet(value)


def enum(value: str, choices: t.Sequence[str]) -> Verdict:
    if value in choices or ("path" in choices and value.startswith("/")):
        return None
    return f"must be one of {', '.join(choices)}", ""


def image(value: str) -> Verdict:
    """A full reference, or the unit that provides it."""
    if value.endswith((".image", ".build")):
        return None
    if re.match(r"^(dir|docker-archive|oci|oci-archive|containers-storage|docker-daemon|docker):", value):
        return None
    host, slash, dummy = value.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        return (
            "the image has no registry: what it means depends on the host's search list",
            f"write it in full, like docker.io/library/{value.rpartition('/')[2]}",
        )
    if not re.fullmatch(r"[\w.-]+(:\d+)?(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)+(:[\w][\w.-]{0,127})?(@[a-z0-9]+:[0-9a-fA-F]{32,})?", value):
        return "not an image reference", "write registry/name:tag or registry/name@sha256:digest"
    return None


def port(value: str) -> Verdict:
    """[[ip:]host:]container[/protocol], each port may be a range."""
    match = re.fullmatch(r"(?:(?:(\[[0-9a-fA-F:.]+\]|[\d.]*):)?(\d+(?:-\d+)?)?:)?(\d+(?:-\d+)?)(?:/(tcp|udp|sctp))?", value)
    remedy = "write it like 8080:80, 127.0.0.1:8080:80/tcp or 8080"
    if not match:
        return "not a port mapping", remedy
    if match.group(1) and address(match.group(1).strip("[]")):
        return "not an IP address in front of the port", remedy
    numbers = [int(number) for part in match.group(2, 3) if part for number in part.split("-")]
    return None if all(1 <= number <= 65535 for number in numbers) else ("a port is between 1 and 65535", remedy)


def volume(value: str) -> Verdict:
    parts = value.split(":")
    if len(parts) > 3:
        return "too many colons", "write source:/destination:options"
    destination = parts[1] if len(parts) > 1 else parts[0]
    if not destination.startswith("/"):
        return f"the destination {destination!r} is not an absolute path", "write source:/destination:options"
    if len(parts) == 3:
        for option in parts[2].split(","):
            if option.partition("=")[0] not in VOLUME_OPTIONS:
                return f"unknown volume option {option!r}", "options are " + ", ".join(VOLUME_OPTIONS)
    if len(parts) > 1 and parts[0] and not re.match(r"^([/.%]|[\w][\w.-]*\Z)", parts[0]):
        return f"the source {parts[0]!r} is neither a path nor a volume name", "start a path with / or ./"
    return None


def secret(words: t.Sequence[str]) -> Verdict:
    for word in words:
        options = [option.partition("=") for option in word.split(",")[1:]]
        for key, equals, value in options:
            if key not in SECRET_OPTIONS or not equals:
                return f"unknown secret option {key!r}", "options are " + ", ".join(f"{name}=" for name in SECRET_OPTIONS)
            if key == "type" and value not in ("mount", "env"):
                return "a secret's type is mount or env", "write type=mount or type=env"
            if key in ("uid", "gid") and not value.isdigit():
                return f"{key} of a secret is a number", f"write {key}=0"
            if key == "mode" and not re.fullmatch(r"0?[0-7]{3,4}", value):
                return "mode of a secret is octal", "write mode=0400"
    return None


def user_namespace(value: str) -> Verdict:
    if value.partition(":")[0] in (*USER_NAMESPACES, "container", "ns"):
        return None
    return "unknown user namespace mode", "use " + ", ".join(USER_NAMESPACES)


def add_host(value: str) -> Verdict:
    name, colon, target = value.partition(":")
    if not name or not colon:
        return "not a hosts entry", "write it like name:10.89.2.10"
    if target == "host-gateway" or not address(target.strip("[]")):
        return None
    return f"{target!r} is not an IP address", "write it like name:10.89.2.10"


def capabilities(words: t.Sequence[str]) -> Verdict:
    for word in words:
        if word.lower().replace("cap_", "", 1) not in CAPABILITIES:
            return f"unknown capability {word!r}", "write it like NET_ADMIN, or all"
    return None


def specifiers(value: str) -> Verdict:
    """systemd expands %x in every value that reaches it; an unknown one fails the unit."""
    position = value.find("%")
    while position >= 0:
        letter = value[position + 1 : position + 2]
        if not letter or letter not in SPECIFIERS:
            return f"%{letter} is not a systemd specifier", "write a literal percent sign as %%"
        position = value.find("%", position + 2)
    return None


def health_command(value: str, version: tuple[int, int, int]) -> Verdict:
    """The forms of HealthCmd which work on this podman."""
    remedy = 'write a JSON array without the word CMD, like ["pg_isready","-U","immich"], or a shell line that neither starts nor ends with a double quote'
    if value.startswith("["):
        try:
            words = json.loads(value)
        except ValueError:
            words = []
        if not words or not all(isinstance(word, str) for word in words):
            return "starts like a JSON array and is none: podman would hand it to the shell as it is", remedy
        if words[0] in ("CMD", "NONE") and version < (5, 8, 0):
            return f"podman {dotted(version)} takes an array with the word {words[0]} as one bogus command that never succeeds", remedy
        return None
    first, last = value.startswith('"'), value.endswith('"')
    if version < (5, 0, 0) and first:
        return "the quotes reach the shell, which looks for a command of that whole name", remedy
    if (5, 0, 0) <= version < (5, 8, 2) and (first or last):
        return f"podman {dotted(version)} cuts every double quote at the ends of the value, so the check always fails", remedy
    if first and last and value.count('"') > 2:
        return "podman cuts the first and the last double quote, which do not belong together", remedy
    return None


def dotted(version: t.Iterable[int]) -> str:
    return ".".join(str(number) for number in version)
