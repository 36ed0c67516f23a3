# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading the service manager, many units in one process. Private to the collection."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,Result,NRestarts,InvocationID,NeedDaemonReload,SourcePath,FragmentPath,UnitFileState,Type,RemainAfterExit,Job,"
    "RequiredBy,BoundBy,ConsistsOf,MemoryMax,MemoryCurrent,ExecMainCode,ExecMainStatus,ActiveEnterTimestamp,ActiveEnterTimestampMonotonic,Triggers,LoadError"
)

# Podman's own events, and the container's id it prints when it starts: they say nothing about why something failed
_EVENT = re.compile(
    r"\d{4}-\d\d-\d\d \S+ [+-]\d{4} \S+ m=\+[\d.]+ (container|image|volume|network|pod|system) (?!pull-error)|[0-9a-f]{64}\Z|\Z|conmon .* <nwarn>"
)


def parse_show(text: str, units: t.Sequence[str]) -> dict[str, dict[str, str]]:
    """The blocks of C(systemctl show), which come in the order the units were asked for."""
    blocks: list[dict[str, str]] = [{}]
    for line in text.splitlines():
        if not line:
            if blocks[-1]:
                blocks.append({})
            continue
        key, equals, value = line.partition("=")
        if equals:
            blocks[-1][key] = value
    return dict(zip(units, blocks))


def show(session: Session, units: t.Sequence[str], properties: str = PROPERTIES) -> dict[str, dict[str, str]]:
    """Properties of each unit; a unit systemd does not know has LoadState not-found. Empty while there is no manager to ask."""
    # a template is not a unit of its own: systemctl refuses the whole question
    asked = [unit for unit in units if "@." not in unit]
    if not asked or not session.ready:
        return {}
    rc, out, err = session.systemctl("show", f"--property={properties}", "--", *asked)
    if rc != 0:
        raise SessionError(f"systemctl show failed: {err.strip() or out.strip()}")
    return parse_show(out, asked)


def journal(session: Session, unit: str, lines: int = 20, since: float = 0.0) -> list[str]:
    """The last lines a unit and its container wrote since a time (seconds since 1970). Empty when the journal cannot be read."""
    rc, out, dummy = session.journal(unit, f"--lines={4 * lines}", f"--since=@{int(since)}")
    return [line for line in out.splitlines() if not _EVENT.match(line)][-lines:] if rc == 0 else []
