# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a certificate says, whoever signed it, and what a visitor would say of it.

The standard library tells the contents of certificates that it trusts and of no others; those that nobody trusts are the ones to be told of here.

Private to the collection.
"""

from __future__ import annotations

import datetime
import ipaddress
import typing as t

_COMMON_NAME, _ORGANISATION, _ALTERNATIVE = b"\x55\x04\x03", b"\x55\x04\x0a", b"\x55\x1d\x11"
_EXTENSIONS, _DNS, _ADDRESS, _UTC = 0xA3, 0x82, 0x87, 0x17
_TRAEFIK = "TRAEFIK DEFAULT CERT"


class Certificate(t.NamedTuple):
    """begins and ends are in UTC."""

    subject: str
    issuer: str
    names: list[str]
    begins: datetime.datetime
    ends: datetime.datetime


def read(der: bytes) -> Certificate:
    """Raises ValueError for what is no certificate."""
    try:
        fields = _parts(_parts(_parts(der)[0][1])[0][1])
        if fields[0][0] == 0xA0:  # the version
            del fields[0]
        begins, ends = (_time(tag, text) for tag, text in _parts(fields[3][1]))
        return Certificate(_name(fields[4][1]), _name(fields[2][1]), _names(fields), begins, ends)
    except (IndexError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a certificate: {error}") from None


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Tag and contents of each element in a row (DER)."""
    found, position = [], 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length > 0x80:
            size = length & 0x7F
            length, position = int.from_bytes(data[position : position + size], "big"), position + size
        if position + length > len(data):
            raise ValueError("not a certificate: it is cut off")
        found.append((tag, data[position : position + length]))
        position += length
    return found


def _time(tag: int, text: bytes) -> datetime.datetime:
    digits = text.decode("ascii").rstrip("Z")
    if tag == _UTC:  # two digits of a year, from 1950 on
        digits = ("19" if digits >= "50" else "20") + digits
    return datetime.datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=datetime.timezone.utc)


def _name(data: bytes) -> str:
    """The common name, or else the organisation."""
    known = {}
    for dummy, group in _parts(data):
        for dummy, pair in _parts(group):
            (dummy, kind), (dummy, text) = _parts(pair)[:2]
            known[kind] = text.decode("utf-8", "replace")
    return known.get(_COMMON_NAME) or known.get(_ORGANISATION) or ""


def _names(fields: t.Sequence[tuple[int, bytes]]) -> list[str]:
    for tag, content in fields:
        if tag == _EXTENSIONS:
            for dummy, extension in _parts(_parts(content)[0][1]):
                parts = _parts(extension)  # its kind, whether it is critical when it is, its value
                if parts[0][1] == _ALTERNATIVE:
                    return [_alternative(kind, text) for kind, text in _parts(_parts(parts[-1][1])[0][1]) if kind in (_DNS, _ADDRESS)]
    return []


def _alternative(kind: int, text: bytes) -> str:
    return text.decode("ascii") if kind == _DNS else str(ipaddress.ip_address(text))


def fits(host: str, names: t.Iterable[str]) -> bool:
    """Whether one of the names is the host's; * stands for one label."""
    wanted = host.lower().rstrip(".").split(".")
    for name in names:
        labels = name.lower().rstrip(".").split(".")
        if labels == wanted or (labels[0] == "*" and len(labels) > 2 and labels[1:] == wanted[1:]):
            return True
    return False


def faults(found: Certificate, host: str, now: datetime.datetime) -> list[str]:
    """Why no visitor would take it, whoever signed it."""
    if found.subject == _TRAEFIK:
        return [f"{host}: Traefik has no certificate for it and shows one of its own"]
    told = []
    if not fits(host, found.names):
        told.append(f"is for {', '.join(found.names) or 'no name'}")
    if found.ends < now:
        told.append(f"ended at {found.ends:%Y-%m-%d %H:%M} UTC")
    if found.begins > now:
        told.append(f"begins at {found.begins:%Y-%m-%d %H:%M} UTC")
    return [f"{host}: the certificate by {found.issuer or 'nobody'} {' and '.join(told)}"] if told else []


def as_dict(found: Certificate, host: str, now: datetime.datetime) -> dict[str, t.Any]:
    """What it says, for a result of a module."""
    return {
        "subject": found.subject,
        "issuer": found.issuer,
        "names": found.names,
        "begins": found.begins.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "ends": found.ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "default": found.subject == _TRAEFIK,
        "faults": faults(found, host, now),
    }
