# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory must not ask for, judged by its text alone: each function gives what is wrong, in words, with the way to write it right.

Private to the collection.
"""

from __future__ import annotations

import collections.abc
import ipaddress
import posixpath
import re
import typing as t

Option = t.Mapping[str, t.Any]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

# What begins a line of its own in a unit, an environment file or a request, and what nobody sees.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Rendered as JSON or handed over as a secret, so that a line break stays what it is.
_MAY_HAVE_LINES = frozenset({"immich_settings", "immich_settings_secrets", "monitoring_receivers", "traefik_certificates"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10")
]
_MAPPED = ipaddress.ip_network("::ffff:0:0/96")
# The largest providers of proxies announce a fifth of the first and a hundredth of the second.
_MOST_PUBLIC = {4: 1 << 24, 6: 1 << 108}

# Alertmanager's secrets, of every kind of receiver and of its HTTP client. Most have a form that ends in _file.
_SECRETS = frozenset(
    "alert_source_token api_key api_secret api_token api_url app_token auth_password auth_secret bearer_token bot_token client_certificate_key client_secret"
    " credentials key password proxy_connect_header routing_key secret_key secrets service_key slack_api_url token url user_key webhook_url".split()
)

_SYSTEM = "bin boot dev etc lib lib32 lib64 libx32 lost+found proc root run sbin sys tmp usr".split()
_FULL = "/ /home /media /mnt /opt /srv /var /var/cache /var/lib /var/lib/containers /var/log /var/spool /var/tmp".split()
# A unit takes these for something else: a specifier, a border between words or between parts of a mount, a variable, somebody's home.
_CHANGED = re.compile(r"""[%:~"'\\$\s]""")


def forms(name: str, value: t.Any, option: Option) -> list[str]:
    """What is wrong with the form of an option: a text where a list or names with values are meant, and characters that nobody can see."""
    found = _shapes(name, value, option)
    if not found and name not in _MAY_HAVE_LINES and not option.get("no_log"):
        found = _lines(name, value, option.get("options", {}))
    return found


def _shapes(name: str, value: t.Any, option: Option) -> list[str]:
    kind = option.get("type")
    if value is None:
        return []
    if kind == "list":
        if not isinstance(value, (list, tuple)):
            return [f"{name} is {_word(value)}: write a list, such as [{value if isinstance(value, str) else '...'}]"]
        inner = {"type": option.get("elements"), "options": option.get("options", {})}
        return [fault for index, item in enumerate(value) for fault in _shapes(f"{name}[{index}]", item, inner)]
    if kind == "dict":
        if not isinstance(value, collections.abc.Mapping):
            return [f"{name} is {_word(value)}: write names with values below it"]
        known = option.get("options") or {}
        return [fault for key, item in value.items() if key in known for fault in _shapes(f"{name}.{key}", item, known[key])]
    return [f"{name} is {_word(value)}: write one value"] if kind in ("str", "path") and _word(value) != "a text" else []


def _word(value: t.Any) -> str:
    if isinstance(value, collections.abc.Mapping):
        return "names with values"
    return "a list" if isinstance(value, (list, tuple)) else "a text"


def _lines(name: str, value: t.Any, options: t.Mapping[str, Option]) -> list[str]:
    if isinstance(value, str):
        match = _CONTROL.search(value)
        what = "a line break" if match and match.group() in "\r\n\x85\u2028\u2029" else "a character that cannot be seen"
        return [f"{name} has {what} at position {match.start() + 1}: take it out (with | or > in YAML, write |- or >-)"] if match else []
    if isinstance(value, collections.abc.Mapping):
        found = [f"{name}: a name has a character that cannot be seen: take it out" for key in value if _CONTROL.search(str(key))]
        return found + [fault for key, item in value.items() if not options.get(key, {}).get("no_log") for fault in _lines(f"{name}.{key}", item, {})]
    if isinstance(value, (list, tuple)):
        return [fault for index, item in enumerate(value) for fault in _lines(f"{name}[{index}]", item, {})]
    return []


def variables(names: t.Iterable[t.Any]) -> list[str]:
    """Names that are none for a variable of the environment."""
    return [str(name) for name in names if not _VARIABLE.fullmatch(str(name))]


def trusted(ranges: t.Sequence[t.Any]) -> list[str]:
    """Addresses whose word about a client's address is taken: no nonsense, and added up not a good part of the internet."""
    found, networks = [], []
    for text in ranges:
        try:
            networks.append(_network(str(text)))
        except ValueError:
            found.append(f"{text} is neither an address nor a range")
    for version, most in _MOST_PUBLIC.items():
        merged = list(ipaddress.collapse_addresses(t.cast(t.Any, [network for network in networks if network.version == version])))
        public = sum(network.num_addresses - _private(network) for network in merged)
        if public > most:
            share = 100 * public / (1 << (32 if version == 4 else 128))
            found.append(f"{', '.join(map(str, merged))}: together {share:.3g} % of all IPv{version} addresses")
    return found


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(t.cast(ipaddress.IPv6Network, _MAPPED)):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _private(network: Network) -> int:
    """How many of its addresses are nobody's on the internet. Two ranges lie in one another, or have nothing in common."""
    return sum(min(network.num_addresses, other.num_addresses) for other in _PRIVATE if other.version == network.version and network.overlaps(other))


def plain_secrets(receivers: t.Iterable[t.Any]) -> list[str]:
    """Where receivers of Alertmanager hold a secret in plain text."""
    found = []
    for index, receiver in enumerate(receivers):
        name = receiver.get("name", index) if isinstance(receiver, collections.abc.Mapping) else index
        found += [f"{name}: {place}" for place in _plain(receiver, "")]
    return found


def _plain(value: t.Any, place: str) -> t.Iterator[str]:
    if isinstance(value, collections.abc.Mapping):
        for key, item in value.items():
            inner = f"{place}.{key}" if place else str(key)
            if str(key) in _SECRETS and item not in (None, "", [], {}):
                yield inner
            else:
                yield from _plain(item, inner)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _plain(item, f"{place}[{index}]")
    elif isinstance(value, str) and re.search(r"://[^/@\s]*:[^/@\s]+@", value):
        yield f"{place} (a password in an address)"


def paths(places: t.Mapping[str, t.Any], anywhere: bool = False) -> list[str]:
    """Directories by the option that names them: each one absolute, in its plain form, no part of the system, and taken by units as it is written.

    anywhere: one of the system will do, since it is only read.
    What follows from a wrong one, since its default lies below, is not told once more.
    """
    found: list[str] = []
    wrong: list[str] = []
    for option, path in ((option, str(path)) for option, path in places.items() if path):
        fault = None if any((path + "/").startswith(known.rstrip("/") + "/") for known in wrong) else _path(path, anywhere)
        if fault:
            found.append(f"{option}: {fault}")
            wrong.append(path)
    return found


def external(libraries: t.Iterable[t.Mapping[str, t.Any]], own: t.Mapping[str, t.Any], anywhere: bool = False) -> list[str]:
    """Folders whose photos Immich shows: none of the system's unless that is meant, and none of its own."""
    found = []
    for library in libraries:
        option, path = f"immich_external_libraries {library.get('name')}", library.get("path")
        found += [] if anywhere else paths({option: path})
        found += [fault for other, place in own.items() for fault in nested({option: path, other: place})]
    return found


def _path(path: str, anywhere: bool) -> str | None:
    plain = posixpath.normpath("/" + path.lstrip("/"))
    if _CHANGED.search(path) or _CONTROL.search(path):
        return f"{path!r} has a character that a unit takes for something else; use letters, digits and . _ - + @ ="
    if not path.startswith("/"):
        return f"{path} does not begin with /; write the whole path"
    if plain != path:
        return f"write {plain}, not {path}"
    if not anywhere and (plain in _FULL or plain.split("/")[1] in _SYSTEM or re.fullmatch("/home/[^/]+", plain)):
        return f"{path} belongs to the system; use a directory of its own, such as /srv/photos"
    return None


def nested(places: t.Mapping[str, t.Any], pool: t.Any = None) -> list[str]:
    """Directories of which each belongs to one program, that are the same, lie inside one another, or are the whole pool."""
    plain = {option: posixpath.normpath(str(path)) for option, path in places.items() if path}
    found = [f"{option} is the pool itself: {path}" for option, path in plain.items() if pool and path == posixpath.normpath(str(pool))]
    listed = list(plain.items())
    for index, (option, path) in enumerate(listed):
        for other, second in listed[index + 1 :]:
            if path == second:
                found.append(f"{option} and {other} are both {path}")
            elif (path + "/").startswith(second.rstrip("/") + "/"):
                found.append(f"{option} lies inside {other}: {path}")
            elif (second + "/").startswith(path.rstrip("/") + "/"):
                found.append(f"{other} lies inside {option}: {second}")
    return found
