# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A btrfs of one's own for each file of tests. Needs root and loop devices."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

import pytest
from ansible_collections.patriark.homelab.tests.btrfs.support import Image, Run, image


@pytest.fixture(scope="module")
def disk() -> t.Iterator[Image]:
    """One btrfs for the tests of a file; each takes a directory of its own (pool)."""
    with tempfile.TemporaryDirectory() as base:
        # Other accounts have to be able to reach it.
        os.chmod(base, 0o755)
        with image(pathlib.Path(base) / "pool") as made:
            yield made


@pytest.fixture
def pool(disk: Image, request: pytest.FixtureRequest) -> t.Iterator[pathlib.Path]:
    """A fresh directory on btrfs."""
    path = disk.path / str(abs(hash(request.node.nodeid)))
    path.mkdir()
    yield path
    for entry in [path, *path.rglob("*")]:
        if entry.is_dir() and not entry.is_symlink() and entry.stat().st_ino == 256:
            subprocess.run(["btrfs", "property", "set", "-f", str(entry), "ro", "false"], check=True, capture_output=True)
    subprocess.run(["chattr", "-R", "-f", "-i", "-a", str(path)], check=False, capture_output=True)
    shutil.rmtree(path)


@pytest.fixture
def run() -> Run:
    return Run()
