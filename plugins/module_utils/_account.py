# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host grants an account: subordinate ids and cgroup controllers. Private to the collection."""

from __future__ import annotations

import re

FIRST_SUBORDINATE_ID = 100000
LAST_SUBORDINATE_ID = 600100000


def subordinate_ids(text: str, account: str | None, uid: int, wanted: int = 65536) -> tuple[int, int | None]:
    """From /etc/subuid or /etc/subgid: how many ids the account has, and where the next free range of wanted ids starts."""
    owned, taken = 0, []
    for line in text.splitlines():
        match = re.fullmatch(r"\s*([^#:\s]+):(\d+):(\d+)\s*", line)
        if not match:
            continue
        first, count = int(match.group(2)), int(match.group(3))
        taken.append((first, first + count))
        if account is not None and match.group(1) in (account, str(uid)):
            owned += count
    start = FIRST_SUBORDINATE_ID
    for first, end in sorted(taken):
        if first < start + wanted and end > start:
            start = end
    return owned, start if start + wanted <= LAST_SUBORDINATE_ID else None


def read(path: str) -> str:
    """A small file of the host; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""


def controllers(uid: int) -> list[str]:
    """Cgroup controllers the manager of that account may use (of the whole system for uid 0)."""
    below = "" if uid == 0 else f"user.slice/user-{uid}.slice/user@{uid}.service/"
    return sorted(read(f"/sys/fs/cgroup/{below}cgroup.controllers").split())
