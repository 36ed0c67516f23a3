# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests/mutate does with a patch; and that every patch of tests/mutants still fits what it damages."""

from __future__ import annotations

import pathlib
import queue
import shlex
import subprocess

import pytest
from runner import mutants

PATCH = """\
# test: sh -c 'grep -q good file'
# why: It is bad.
--- a/file
+++ b/file
@@ -1,2 +1,2 @@
 first
-good
+bad
"""


@pytest.fixture
def copy(tmp_path: pathlib.Path) -> mutants.Copy:
    made = object.__new__(mutants.Copy)
    made.root = tmp_path
    (tmp_path / "file").write_text("first\ngood\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return made


def judged(copy: mutants.Copy, text: str = PATCH, healthy: bool = True) -> str:
    trial = object.__new__(mutants.Trial)
    trial.copies = queue.Queue()
    trial.copies.put(copy)
    mutant = mutants.read("name", text)
    return trial.tried(mutant, {mutant.test: healthy})


def test_a_head_is_read() -> None:
    found = mutants.read("name", PATCH.replace("# why", "# needs: machine\n# why"))
    assert (found.name, found.test, found.why, found.machine, found.files) == ("name", "sh -c 'grep -q good file'", "It is bad.", True, ["file"])
    assert not mutants.read("name", PATCH).machine


@pytest.mark.parametrize("text", [PATCH.replace("# why", "# because"), PATCH.replace("# test", "# tests"), "# test: a\n# why: b\n", "# needs: luck\n" + PATCH])
def test_a_patch_without_a_proper_head_is_refused(text: str) -> None:
    with pytest.raises(mutants.Unreadable, match="name: its head must have"):
        mutants.read("name", text)


def test_what_is_noticed_is_killed_and_taken_back(copy: mutants.Copy) -> None:
    assert judged(copy) == mutants.KILLED
    assert (copy.root / "file").read_text() == "first\ngood\n"


def test_what_no_test_notices_survives(copy: mutants.Copy) -> None:
    assert judged(copy, PATCH.replace("grep -q good", "grep -q first")) == mutants.SURVIVED
    assert (copy.root / "file").read_text() == "first\ngood\n"


def test_a_patch_of_something_that_has_changed_is_told(copy: mutants.Copy) -> None:
    (copy.root / "file").write_text("first\nbetter\n")
    assert judged(copy) == mutants.STALE


def test_a_test_that_fails_anyhow_proves_nothing(copy: mutants.Copy) -> None:
    assert judged(copy, healthy=False) == mutants.BROKEN


@pytest.mark.parametrize(
    ("status", "command", "said"),
    [
        (0, "python -m pytest x", mutants.SURVIVED),
        (1, "python -m pytest x", mutants.KILLED),
        (2, "python -m pytest x", "THE TEST CANNOT RUN (2)"),
        (5, "python -m pytest x", "THE TEST CANNOT RUN (5)"),
        (2, "tests/run molecule/default", mutants.KILLED),
    ],
)
def test_a_test_that_cannot_run_kills_nothing(status: int, command: str, said: str) -> None:
    assert mutants.verdict(status, command) == said


def test_which_are_tried() -> None:
    one, two = mutants.read("one", PATCH), mutants.read("two", "# needs: machine\n" + PATCH)
    assert mutants.chosen([one, two], [], machine=False) == [one]
    assert mutants.chosen([one, two], [], machine=True) == [one, two]
    assert mutants.chosen([one, two], ["t*"], machine=False) == [two]


LISTED = {mutant.name: mutant for mutant in mutants.listed()}


@pytest.mark.parametrize("name", sorted(LISTED))
def test_each_patch_damages_what_is_there(name: str) -> None:
    mutant = LISTED[name]
    assert mutants.apply(mutant, mutants.ROOT, "--check"), f"tests/mutants/{name}.patch fits {', '.join(mutant.files)} no more: make it anew"
    (what,) = [word for word in shlex.split(mutant.test) if word.startswith(("tests/unit", "molecule/", "btrfs"))]
    assert mutant.machine is mutant.test.startswith("tests/run ")
    assert (mutants.ROOT / what).exists() or what == "btrfs"
