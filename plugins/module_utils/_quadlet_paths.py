# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to lie on the host when a unit starts: environment files, sources of mounts, Kubernetes YAML.

Podman's generator does not look, and the start fails. Private to the collection.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding, nearest
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit
from ansible_collections.patriark.homelab.plugins.module_utils._unit_file import Entry, split_words


def lint_paths(
    units: t.Mapping[str, Unit], folder: str, home: str, files: t.Collection[str], exists: t.Callable[[str], bool]
) -> tuple[list[Finding], list[Finding]]:
    """Findings about paths that will not be there: (beside the units, elsewhere on the host).

    folder: the directory of the units; files: what the stack puts into it; exists: whether the account finds a path on the host.
    Units with work before the start are left out, since that may make the path.
    """
    beside: list[Finding] = []
    elsewhere: list[Finding] = []
    future = {os.path.join(folder, name) for name in files}
    future.update(parent for path in list(future) for parent in _parents(path))
    own = {unit.service for unit in units.values() if unit.name.kind == "service" or unit.on_demand}
    for unit in units.values():
        if unit.name.template or _prepared(unit, own):
            continue
        for entry, said in _needed(unit):
            path = said.replace("%h", home)
            if "%" in path or "$" in path:
                continue
            full = os.path.normpath(os.path.join(folder, path))
            if full in future or full == folder or exists(full):
                continue
            if path.startswith("/"):
                elsewhere.append(unit.finding(entry.section, entry.key, f"{path} does not exist", "create it first", entry=entry))
            else:
                close = nearest(os.path.normpath(path), files)
                remedy = f"did you mean {close}?" if close else "list it under files, or write the whole path"
                beside.append(unit.finding(entry.section, entry.key, f"there is no {said} beside the unit", remedy, entry=entry))
    return beside, elsewhere


def _parents(path: str) -> t.Iterator[str]:
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        yield path


def _prepared(unit: Unit, own: t.Container[str]) -> bool:
    """Whether something that runs before may make what is missing. own: services of the stack that do work."""
    return bool(unit.merged.all("Service", "ExecStartPre")) or any(
        needed in own or needed.endswith((".mount", ".automount")) for needed in unit.needs() if needed != unit.service
    )


def _needed(unit: Unit) -> t.Iterator[tuple[Entry, str]]:
    kind = unit.name.kind
    for entry in unit.merged.entries:
        if entry.section != unit.section or entry not in unit.merged.all(unit.section, entry.key):
            continue
        if (kind, entry.key) in (("container", "EnvironmentFile"), ("kube", "Yaml"), ("kube", "ConfigMap")):
            for path in split_words(entry.value)[0]:
                yield entry, path
        elif entry.key == "Volume" and kind in ("container", "pod"):
            source, colon, dummy = entry.value.partition(":")
            if colon and source.startswith(("/", ".", "%h")):
                yield entry, source
        elif entry.key == "Mount" and kind == "container":
            for word in split_words(entry.value)[0]:
                options = dict(option.partition("=")[::2] for option in word.split(","))
                source = options.get("source") or options.get("src") or ""
                if options.get("type") == "bind" and source.startswith(("/", ".", "%h")):
                    yield entry, source
