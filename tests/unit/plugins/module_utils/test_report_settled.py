# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._report import settled

HEALTHY = {"status": "healthy", "starting_for": None}
STARTING = {"status": "starting", "starting_for": 0}


@pytest.mark.parametrize(
    ("looks", "seconds", "number"),
    [
        ([HEALTHY], 120, 1),
        ([None], 120, 1),
        ([STARTING, STARTING, HEALTHY], 120, 3),
        ([STARTING], 0, 1),
        ([STARTING] * 9, 6, 4),
    ],
    ids=["healthy", "no check", "healthy in the end", "not waited for", "never healthy"],
)
def test_what_has_just_been_started_is_waited_for(looks, seconds, number):
    clock = [0.0]
    found = [{"units": {"a": {"health": HEALTHY}, "b": {"health": health}}} for health in looks]
    left = iter(found)
    got = settled(lambda: next(left), seconds, lambda time: clock.__setitem__(0, clock[0] + time), lambda: clock[0])
    assert got is found[number - 1]
    assert next(left, None) is (found[number] if number < len(found) else None)
