# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What quadlet_info is asked beyond its report: probes, logs, paths and checksums. A host without podman or account answers too.

Private to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _account as account
from ansible_collections.patriark.homelab.plugins.module_utils import _checksums as checksums
from ansible_collections.patriark.homelab.plugins.module_utils import _places as places
from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _probes as probes
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError


def closer_look(session: Session, asked: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    for log in asked["logs"]:
        try:
            re.compile(log["pattern"])
        except re.error as error:
            raise SessionError(f"logs: {log['name']}: pattern {log['pattern']!r}: {error}") from error
    listing = asked["checksums"]
    states = container_states(session) if asked["probes"] or listing else {}

    def ask(question: t.Mapping[str, t.Any]) -> probes.Answer:
        return probes.ask(session, question["container"], states.get(question["container"]), question["argv"], question["timeout"])

    mounts = places.mount_points(account.read("/proc/self/mountinfo"))
    return {
        "probes": {probe["name"]: probes.shown(ask(probe)) for probe in asked["probes"]},
        "logs": {log["name"]: read_log(session, log) for log in asked["logs"]},
        "paths": {path: places.describe(path, mounts) for path in asked["paths"]},
        "checksums": compare(session, listing, ask(listing)) if listing else None,
    }


def container_states(session: Session) -> dict[str, str]:
    """Container name to its state; empty where there is nothing to ask."""
    if not (session.exists and session.ready and session.module.get_bin_path("podman")):
        return {}
    try:
        return {name: item.get("State", "") for item in podman.containers(session) for name in item.get("Names") or []}
    except SessionError:
        return {}


def read_log(session: Session, log: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    if not session.exists:
        return {"readable": False, "count": 0, "last": [], "reason": f"the account {session.user} does not exist"}
    return probes.log(session, log["service"], log["pattern"], log["since"], log["last"])


def compare(session: Session, asked: t.Mapping[str, t.Any], answer: probes.Answer) -> dict[str, t.Any]:
    lines = answer.stdout.splitlines() if answer.rc == 0 else []
    reason = None if answer.rc == 0 else answer.reason or answer.stderr.strip() or f"the command ended with {answer.rc}"
    with session.files():
        result = checksums.compare(
            lines,
            asked["roots"],
            checksums.Bounds(asked["max_bytes"], asked["max_seconds"]),
            read=lambda path: checksums.content(path, asked["algorithm"]),
        )
    return {"rc": answer.rc, "reason": reason, **result}
