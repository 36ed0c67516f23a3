# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What traefik_file tells of a plan. The work itself is in _live_files and _traefik, and seen in the scenario proxy."""

from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import Change, Plan
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node
from ansible_collections.patriark.homelab.plugins.modules.traefik_file import reason_of

OLD, NEW = Node("http: {}\n", 0o640), Node("http: {routers: {}}\n", 0o640)


@pytest.mark.parametrize(
    ("before", "after", "missing", "reason"),
    [
        (NEW, NEW, None, None),
        (None, NEW, None, "there is no such file"),
        (OLD, NEW, None, "the file differs"),
        (NEW, Node(NEW.content, 0o600), None, "the file differs"),
        (OLD, None, None, "the file is still there"),
        (NEW, NEW, "it does not show the router immich", "it does not show the router immich"),
    ],
)
def test_why_there_is_something_to_do(before: Node | None, after: Node | None, missing: str | None, reason: str | None) -> None:
    made = Plan("/srv/dynamic", [Change("immich.yml", before, after)], {}, missing=missing)
    assert reason_of(made) == reason
    assert made.changed is (reason is not None)
