# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not there on this host, so that a test has nothing to look at."""

from __future__ import annotations

import typing as t

import pytest


class Absent:
    """Called with a subject and the reason, ends the test: skipped, or failed where the host was said to have everything."""

    def __init__(self, whole: bool, without: t.Collection[str]) -> None:
        self._whole, self._without = whole, without

    def __call__(self, subject: str, why: str) -> t.NoReturn:
        if self._whole and subject not in self._without:
            pytest.fail(f"{subject}: {why}; and this host was said to be whole", pytrace=False)
        pytest.skip(f"no {subject} here: {why}")
