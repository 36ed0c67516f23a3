# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are there, which is which, and their end."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import time

PROC = pathlib.Path("/proc")


def children(pid: int) -> list[int]:
    found: list[int] = []
    for path in (PROC / str(pid) / "task").glob("*/children"):
        try:
            found += [int(word) for word in path.read_text().split()]
        except OSError:
            continue
    return found


def init_of_namespace(pid: int) -> bool:
    try:
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return False
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "")
    return len(line.split()) > 2 and line.split()[-1] == "1"


def stat_fields(pid: int) -> list[str]:
    """What comes after the name of the program, which may hold anything (proc(5), fields 3 and later)."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def start_time(pid: int) -> str:
    """In clock ticks since the host's boot; with the number it names a process for good."""
    return stat_fields(pid)[19]


def parent(pid: int) -> int:
    try:
        return int(stat_fields(pid)[1])
    except OSError:
        return 0


def ancestors(pid: int) -> list[int]:
    """The process itself, its parent and so on, without process 1."""
    found: list[int] = []
    while pid > 1:
        found.append(pid)
        pid = parent(pid)
    return found


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in (PROC / str(pid) / "status").read_text()
    except OSError:
        return False


def same(pid: int, started: str) -> bool:
    """Whether that process is still there; another one may have its number by now."""
    try:
        return alive(pid) and start_time(pid) == started
    except OSError:
        return False


def environment(pid: int) -> list[bytes]:
    """What the process was started with, as NAME=VALUE."""
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def everything(pid: int) -> bytes:
    """All that tells whose a process is: its arguments, its environment and where it works."""
    parts = []
    for name in ("cmdline", "environ"):
        try:
            parts.append((PROC / str(pid) / name).read_bytes())
        except OSError:
            continue
    with contextlib.suppress(OSError):
        parts.append(os.readlink(PROC / str(pid) / "cwd").encode() + b"/")
    return b"\0".join(parts)


def all_pids() -> list[int]:
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]


def end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    for dummy in range(100):
        if not alive(pid):
            return
        time.sleep(0.05)


def end_tree(pid: int) -> None:
    """With all it started: each is stopped before its children are looked for, so that none can start another meanwhile."""
    pending, found = [pid], []
    while pending:
        one = pending.pop()
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGSTOP)
            found.append(one)
            pending += children(one)
    for one in found:
        end(one)
