# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units that are right by the manual and come to grief all the same: known bugs of podman releases, and habits that look fine.

Pure. Private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _values as values
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit

Version = tuple[int, int, int]
# key -> (section of the unit, since): values and keys of systemd's sections which the table of keys does not have
_LATER = (("Install", "UpheldBy", (5, 5)),)


def lint_known(unit: Unit, version: Version) -> list[Finding]:
    """Findings of one unit with its drop-ins."""
    found = []
    for severity, section, key, reason, remedy in _judged(unit, version):
        entry = unit.merged.last(section, key)
        line = entry.line if entry and not unit.drop_ins else None
        found.append(Finding(unit.name.text, reason, remedy, line, key, entry.value if entry else None, severity))
    return found


def _judged(unit: Unit, version: Version) -> t.Iterator[tuple[str, str, str, str, str]]:
    own, kind = unit.section, unit.name.kind
    here = values.dotted(version)
    for section, key, since in _LATER:
        if version[:2] < since and unit.merged.last(section, key):
            yield "error", section, key, f"{key} needs podman {values.dotted(since)}; this host has {here}", "use WantedBy"
    if kind in ("network", "volume", "pod"):
        key = {"network": "NetworkName", "volume": "VolumeName", "pod": "PodName"}[kind]
        if "%" in unit.get(key).replace("%%", ""):
            yield "warning", own, key, "a specifier in this name breaks what refers to the unit", "write the name out"
    if kind == "pod" and version == (5, 5, 0) and not unit.get("PodName"):
        yield "error", own, "PodName", "podman 5.5.0 gives a pod without PodName a wrong name", "add PodName"
    if kind == "container":
        yield from _container(unit, version)


def _container(unit: Unit, version: Version) -> t.Iterator[tuple[str, str, str, str, str]]:
    own, update = unit.section, unit.get("AutoUpdate")
    joined = [network for network, dummy in unit.networks if network.endswith(".container")]
    if joined and version < (5, 3, 0):
        yield "error", own, "Network", f"another unit's network needs podman 5.3; this host has {values.dotted(version)}", "write Network=container:NAME"
    if version[:2] == (5, 1) and unit.has_health_check and version < (5, 1, 1):
        yield "warning", own, "HealthCmd", "podman 5.1.0 runs health checks at wrong intervals and leaves their timers behind", "upgrade podman"
    if unit.has_health_check and any("transient-store" in word for word in unit.merged.words(own, "GlobalArgs")):
        yield (
            "error",
            own,
            "GlobalArgs",
            "health checks do not look into a transient store, and never succeed",
            "leave --transient-store or the health check out",
        )
    if update and "@sha256:" in unit.get("Image"):
        yield "warning", own, "AutoUpdate", "an image pinned by its digest is never updated", "leave AutoUpdate out"
    elif update and unit.get("Notify") != "healthy":
        reason = "podman takes a bad update back only when the start can fail"
        yield "warning", own, "AutoUpdate", reason, "add HealthCmd and Notify=healthy"
