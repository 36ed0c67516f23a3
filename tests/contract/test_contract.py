# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every claim, for every server: what it does is what the real server of its release did when that was recorded."""

from __future__ import annotations

import typing as t

import pytest
from contract import expected, facts
from contract.servers import Face


@pytest.fixture(autouse=True)
def _named(claim: str, face: Face, record_property: t.Callable[[str, t.Any], None]) -> None:
    """For the closing table."""
    record_property("claim", claim)
    record_property("face", f"{face.kind}-{face.version}")


def test_the_server_does_what_the_original_does(claim: str, face: Face, stories: t.Mapping[Face, t.Any]) -> None:
    found = facts.CLAIMS[claim](stories[face])
    assert expected.differences(expected.read(face.version)[claim], found) == []
