# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys newer than the host's podman, written in the words it knows, where that means exactly the same.

Private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_keys import TYPES
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import QUADLET_TYPES, REQUIRING, Unit
from ansible_collections.patriark.homelab.plugins.module_utils._unit_file import Entry, UnitFile, quote_word, split_words

# Podman 4.3 (the last without quadlets) has these flags already, so every podman with quadlets does; the second number is for flags that
# were seen in 5.4 and not in 4.3. Keys whose effect is more than a flag (ServiceName, ReloadCmd, StartWithPod, ...) are not here.
_OLD, _V54 = (4, 4), (5, 4)
LOWERED: dict[str, dict[str, tuple[int, int]]] = {
    "container": {
        **dict.fromkeys(("AddHost", "AppArmor", "Entrypoint", "GroupAdd", "HttpProxy", "LogOpt", "Memory", "NetworkAlias", "StopSignal", "StopTimeout"), _OLD),
        **dict.fromkeys(("Retry", "RetryDelay"), _V54),
    },
    "pod": dict.fromkeys(
        ("AddHost", "DNS", "DNSOption", "DNSSearch", "ExitPolicy", "HostName", "IP", "IP6", "Label", "NetworkAlias", "ShmSize", "UserNS"), _OLD
    ),
    "build": dict.fromkeys(("BuildArg", "IgnoreFile", "Retry", "RetryDelay"), _OLD),
    "image": dict.fromkeys(("Retry", "RetryDelay"), _V54),
    "network": {"InterfaceName": _V54},
}
TRANSLATED_DEPENDENCIES = (5, 5)


def can_lower(kind: str, key: str, version: tuple[int, int, int]) -> bool:
    return key in LOWERED.get(kind, {}) and version[:2] >= LOWERED[kind][key]


def lower(text: str, unit: Unit, version: tuple[int, int, int], services: t.Mapping[str, str]) -> tuple[str, list[str]]:
    """The text for this podman, and what was changed in it. services: unit file name -> service, for dependencies on quadlets."""
    file = UnitFile(text)
    kind, changes, notes = unit.name.kind, {}, []
    if unit.name.plain:
        return text, []
    for entry in file.entries:
        key = TYPES[kind].keys.get(entry.key) if entry.section == unit.section else None
        if key and key.since > version[:2] and can_lower(kind, entry.key, version):
            counts = file.all(unit.section, entry.key) if key.repeatable else [file.last(unit.section, entry.key)]
            changes[entry] = [f"PodmanArgs={word}" for word in _arguments(entry, key.lookup, key.flag or "")] if entry in counts else []
            notes.append(f"{unit.name.text}: {entry.key} became PodmanArgs, since podman here is {version[0]}.{version[1]}")
        elif entry.section == "Unit" and entry.key in REQUIRING and version[:2] < TRANSLATED_DEPENDENCIES:
            words = entry.value.split()
            named = [services.get(word, word) if word.endswith(tuple(f".{name}" for name in QUADLET_TYPES)) else word for word in words]
            if named != words:
                changes[entry] = [f"{entry.key}={' '.join(named)}"]
                notes.append(f"{unit.name.text}: {entry.key}={entry.value} became {' '.join(named)}, since podman here is {version[0]}.{version[1]}")
    return (file.replaced(changes) if changes else text), notes


def _arguments(entry: Entry, lookup: str, flag: str) -> list[str]:
    """The words of PodmanArgs that say the same, each ready to be written."""
    joiner = "" if flag.endswith("=") else "="
    # --security-opt apparmor= is one flag and the start of its value
    flag = flag.replace(" ", "=", 1)
    if lookup == "last_bool":
        return [f"{flag}=true" if entry.value.lower() in ("1", "yes", "true", "on") else f"{flag}=false"]
    words = split_words(entry.value, unescape=lookup != "all_strv")[0] if lookup in ("all_keyval", "all_args", "all_strv") else [entry.value]
    return [quote_word(f"{flag}{joiner}{word}") for word in words]
