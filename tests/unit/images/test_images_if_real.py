# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What needs a real Immich runs where there is one, is skipped where there is none, and fails where it was asked for and cannot be had."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import immich
import pytest
from runner import report

PROGRAM = pathlib.Path(immich.__file__).with_name("if_real.py")


@pytest.fixture
def builds(tmp_path: pathlib.Path) -> pathlib.Path:
    for release in immich.RELEASES:
        (tmp_path / immich.archive_name(release)).touch()
    return tmp_path


def run(asked: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "sh", "-c", "echo it ran; exit 7"]
    return subprocess.run(command, env={**os.environ, immich.VARIABLE: asked}, check=False, capture_output=True, text=True)


def test_it_runs_where_the_builds_are(builds: pathlib.Path) -> None:
    done = run(str(builds))
    assert (done.returncode, done.stdout) == (7, "it ran\n")


def test_it_is_skipped_where_there_is_only_the_stand_in() -> None:
    done = run(immich.STAND_IN)
    assert (done.returncode, report.skip_reason(done.stdout)) == (0, "no real Immich here")


def test_half_of_the_builds_is_a_failure_and_no_skip(builds: pathlib.Path) -> None:
    (builds / immich.archive_name(immich.RELEASES[0])).unlink()
    done = run(str(builds))
    assert done.returncode == 1
    assert immich.archive_name(immich.RELEASES[0]) in done.stderr
    assert not report.skip_reason(done.stdout)
