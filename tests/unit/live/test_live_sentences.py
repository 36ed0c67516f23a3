# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody reads whose host cannot be tested: one sentence, and not one error for each test."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from live.absent import Absent

ROOT = pathlib.Path(__file__).resolve().parents[3]
NOBODY = "all: {hosts: {box: {ansible_host: box.invalid}, other: {ansible_password: x}}}\n"
SSH = "#!/bin/sh\necho 'ssh: connect to host box.invalid port 22: No route to host' >&2\nexit 255\n"


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("live") / "inventory.yml"
    path.write_text(NOBODY)
    ssh = path.with_name("ssh")
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Say which host is meant: pytest tests/live --host NAME -i INVENTORY"),
        (["--host=bix"], "The inventory has no host bix; it has box, other."),
        (["--host=box"], "box cannot be reached: ssh: connect to host box.invalid port 22: No route to host"),
        (["--host=other"], "The inventory logs in to other with a password (ansible_password); this suite needs a key, and sudo without a password."),
    ],
    ids=["no host", "wrong name", "nobody there", "password"],
)
def test_one_sentence(words: list[str], sentence: str, inventory: str) -> None:
    asked = [sys.executable, "-m", "pytest", "tests/live", "-p", "no:cacheprovider", *words, *(["-i", inventory] if words else [])]
    path = f"{pathlib.Path(inventory).parent}:{os.environ['PATH']}"
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
    assert (done.returncode, (done.stdout + done.stderr).strip()) == (4, f"ERROR: {sentence}")


@pytest.mark.parametrize(
    ("whole", "without", "outcome"),
    [(False, [], "Skipped"), (True, [], "Failed"), (True, ["btrfs"], "Failed"), (True, ["crowdsec"], "Skipped")],
    ids=["anywhere", "whole", "whole but for others", "whole but for it"],
)
def test_without_its_subject_a_test_is_skipped_or_fails_with_the_reason(whole: bool, without: list[str], outcome: str) -> None:
    with pytest.raises((pytest.skip.Exception, pytest.fail.Exception)) as ended:
        Absent(whole, without)("crowdsec", "none is wanted")
    assert (type(ended.value).__name__, "none is wanted" in str(ended.value)) == (outcome, True)
