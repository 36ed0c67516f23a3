# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the server stand-in ends: with real processes, as its first process has them."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys
import time

IMAGES = pathlib.Path(__file__).resolve().parents[2] / "images"
# Each worker is a process that sleeps or ends with a status of its own, as named by the arguments.
FIRST = """
import os, sys, time
from immich_server import watch
children = {}
for name, status in zip(sys.argv[1::2], sys.argv[2::2]):
    child = os.fork()
    if not child:
        if status == "sleeps":
            os.write(1, b"ready\\n")
            time.sleep(600)
        os._exit(int(status))
    children[child] = name
sys.exit(watch.watch(children))
"""


def first(*workers: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", FIRST, *workers], cwd=IMAGES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until_it_listens(pid: int) -> None:
    """The handler of SIGTERM is set after the workers are there."""
    for _attempt in range(300):
        status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.1)


def ended(*workers: str) -> tuple[int, list[str]]:
    with first(*workers) as process:
        said = process.communicate(timeout=120)[0].splitlines()
    return process.returncode, [line for line in said if line != "ready"]


def test_sigterm_ends_it_with_143_as_the_original() -> None:
    with first("api", "sleeps", "microservices", "sleeps") as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _worker in range(2)] == ["ready\n", "ready\n"]
        wait_until_it_listens(process.pid)
        process.terminate()
        process.communicate(timeout=120)
    assert process.returncode == 143


def test_a_worker_that_fails_takes_the_other_with_it() -> None:
    status, said = ended("api", "sleeps", "microservices", "1")
    assert status == 1
    assert said == ["microservices worker exited with code 1", "Killing api process"]


def test_workers_that_end_for_a_restart_are_told_and_asked_for_again() -> None:
    status, said = ended("api", "7", "microservices", "7")
    assert status == 7
    assert sorted(said) == ["api worker shutdown for restart", "microservices worker shutdown for restart"]


def test_a_worker_that_fails_while_the_other_restarts_is_a_failure() -> None:
    status, said = ended("api", "7", "microservices", "1")
    assert (status, "microservices worker exited with code 1" in said) == (1, True)
