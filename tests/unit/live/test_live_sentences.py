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
from absent import Absent

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


def test_a_test_without_a_subject_is_skipped_with_the_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^no crowdsec here: none is wanted$"):
        Absent(whole=False, without=[])("crowdsec", "none is wanted")


def test_on_a_whole_host_it_fails_but_for_what_was_named() -> None:
    with pytest.raises(pytest.fail.Exception, match="crowdsec: none is wanted"):
        Absent(whole=True, without=["btrfs"])("crowdsec", "none is wanted")
    with pytest.raises(pytest.skip.Exception):
        Absent(whole=True, without=["btrfs"])("btrfs", "something else")
