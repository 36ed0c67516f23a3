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


def lint_known(unit: Unit, version: Version) -> list[Finding]:
    """Findings of one unit with its drop-ins."""
    return [unit.finding(section, key, reason, remedy, severity) for severity, section, key, reason, remedy in _judged(unit, version)]


def _judged(unit: Unit, version: Version) -> t.Iterator[tuple[str, str, str, str, str]]:
    own, kind = unit.section, unit.name.kind
    here = values.dotted(version)
    if version < (5, 5, 0) and unit.merged.last("Install", "UpheldBy"):
        yield "error", "Install", "UpheldBy", f"UpheldBy needs podman 5.5; this host has {here}", "use WantedBy"
    if version < (5, 0, 0) and unit.drop_ins:
        yield "error", own, "", f"drop-ins need podman 5.0; this host has {here}, which does not read them", "put it into the unit"
    if version < (5, 0, 0) and (unit.name.template or unit.name.template_name):
        yield "error", own, "", f"templates need podman 5.0; this host has {here}", "write one unit for each instance"
    if kind in ("network", "volume", "pod"):
        key = {"network": "NetworkName", "volume": "VolumeName", "pod": "PodName"}[kind]
        if "%" in unit.get(key).replace("%%", ""):
            yield "warning", own, key, "a specifier in this name breaks what refers to the unit", "write the name out"
    if kind == "network" and version < (5, 0, 0) and len(unit.merged.all(own, "Options")) > 1:
        yield "error", own, "Options", f"podman {here} takes only the last of these lines", "put all options on one line"
    if kind == "pod" and version == (5, 5, 0) and not unit.get("PodName"):
        yield "error", own, "PodName", "podman 5.5.0 gives a pod without PodName a wrong name", "add PodName"
    if kind == "container":
        yield from _container(unit, version)


def _container(unit: Unit, version: Version) -> t.Iterator[tuple[str, str, str, str, str]]:
    own, update, here = unit.section, unit.get("AutoUpdate"), values.dotted(version)
    joined = [network for network, dummy in unit.networks if network.endswith(".container")]
    if joined and version < (5, 3, 0):
        yield "error", own, "Network", f"another unit's network needs podman 5.3; this host has {here}", "write Network=container:NAME"
    if version < (5, 0, 0) and len(unit.merged.all(own, "Ulimit")) > 1:
        yield "error", own, "Ulimit", f"podman {here} takes only the last of these lines", "use PodmanArgs=--ulimit=..."
    if (5, 0, 0) <= version < (5, 2, 0) and (unit.name.template or unit.name.template_name) and not unit.get("ContainerName"):
        yield "error", own, "ContainerName", f"podman {here} makes a name with @ for a template's container, and refuses it", "add ContainerName=%p-%i"
    if version < (5, 8, 2) and [entry.value for entry in unit.merged.entries if (entry.section, entry.key) == (own, "Entrypoint")][-1:] == [""]:
        yield "warning", own, "Entrypoint", f"podman {here} keeps the image's entry point", 'write PodmanArgs=--entrypoint=""'
    if any(device.startswith("-") for device in unit.merged.words(own, "AddDevice")):
        reason = "podman looks for the device when systemd reads the units, at boot maybe before it is there, and then leaves it out"
        yield "warning", own, "AddDevice", reason, "write it without the dash where the device exists"
    if version == (5, 1, 0) and unit.has_health_check:
        yield "warning", own, "HealthCmd", "podman 5.1.0 runs health checks at wrong intervals and leaves their timers behind", "upgrade podman"
    if unit.has_health_check and any("transient-store" in word for word in unit.merged.words(own, "GlobalArgs")):
        reason = "health checks do not look into a transient store, and never succeed"
        yield "error", own, "GlobalArgs", reason, "leave --transient-store or the health check out"
    if update and "@sha256:" in unit.get("Image"):
        yield "warning", own, "AutoUpdate", "an image pinned by its digest is never updated", "leave AutoUpdate out"
    elif update and unit.get("Notify") != "healthy":
        yield "warning", own, "AutoUpdate", "podman takes a bad update back only when the start can fail", "add HealthCmd and Notify=healthy"
