# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of a step is left behind, and its status and processor time come through. With real processes."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
import typing as t

import pytest
from runner import keeper, run


def keep(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-B", run.KEEPER, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_status_comes_through(script: str, status: int) -> None:
    with keep("sh", "-c", script) as process:
        assert process.wait(timeout=20) == status


def with_daemon(*then: str) -> list[str]:
    """A command that starts a daemon with a session of its own, says its number, and does something else."""
    return ["sh", "-c", f"setsid sh -c 'echo $$; exec sleep 300' & {' '.join(then)}"]


def number(process: subprocess.Popen[bytes]) -> int:
    return int(t.cast("t.IO[bytes]", process.stdout).readline())


def test_daemons_end_with_the_command() -> None:
    with keep(*with_daemon("sleep 0.5")) as process:
        daemon = number(process)
        assert process.wait(timeout=20) == 0
        assert not alive(daemon)


def test_the_end_of_the_pipe_ends_all() -> None:
    with keep(*with_daemon("sleep 300")) as process:
        daemon = number(process)
        assert alive(daemon)
        t.cast("t.IO[bytes]", process.stdin).close()
        assert process.wait(timeout=20) == 143
        assert not alive(daemon)


def test_the_command_may_clean_up(tmp_path: pathlib.Path) -> None:
    with keep("sh", "-c", f"trap 'sleep 0.3; touch {tmp_path}/clean; exit' TERM; echo 1; while :; do sleep 0.1; done") as process:
        number(process)
        process.terminate()
        assert process.wait(timeout=20) == 143
    assert (tmp_path / "clean").exists()


def test_who_does_not_listen_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    patient = tmp_path / "keeper.py"
    patient.write_text(pathlib.Path(run.KEEPER).read_text().replace(f"GRACE = {keeper.GRACE}", "GRACE = 0.2"))
    monkeypatch.setattr(run, "KEEPER", str(patient))
    with keep("sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done") as process:
        deaf = number(process)
        process.terminate()
        assert process.wait(timeout=10) == 143
        assert not alive(deaf)


def test_the_runners_death_is_enough(tmp_path: pathlib.Path) -> None:
    """As when somebody kills the whole run with signal 9: nobody is there to end the steps."""
    runner = f"""
import subprocess, time
process = subprocess.Popen([{sys.executable!r}, "-B", {run.KEEPER!r}, "sh", "-c", "echo $$ $PPID; exec sleep 300"], stdin=subprocess.PIPE, process_group=0)
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", runner], stdout=subprocess.PIPE) as process:
        pids = [int(word) for word in t.cast("t.IO[bytes]", process.stdout).readline().split()]
        assert all(map(alive, pids))
        process.kill()
    deadline = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if alive(pid)] == []


def test_the_time_of_daemons_is_counted(tmp_path: pathlib.Path) -> None:
    burnt = tmp_path / "burnt"
    burn = f'import pathlib, time\nwhile time.process_time() < 0.6: pass\npathlib.Path("{burnt}").touch()'
    # Not a time to wait: on a busy box the daemon takes its own.
    with keep("sh", "-c", f"setsid {sys.executable} -c '{burn}' & while ! [ -e {burnt} ]; do sleep 0.05; done") as process:
        dummy, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert usage.ru_utime + usage.ru_stime > 0.6
