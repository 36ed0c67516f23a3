# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one command and leaves nothing of it behind, whatever becomes of the one who asked for it.

    keeper.py COMMAND...      standard input is a pipe whose other end the runner holds

The end of the pipe is the word to stop, and it comes by itself when the runner is killed, as root's process or through sudo. Whatever the command
started, daemons of their own session included, ends up below this process (it is their "subreaper") and is ended with it.
For that reason their processor time is counted as this process's children, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
GRACE = 15.0


def children(pid: int) -> list[int]:
    found: list[int] = []
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in path.read_text().split()]
    return found


def descendants(pid: int) -> list[int]:
    below = children(pid)
    return below + [each for child in below for each in descendants(child)]


class Keeper:
    def __init__(self, command: list[str]) -> None:
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        self.told, tell = os.pipe()
        os.set_blocking(tell, False)
        signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        self.asked_to_stop = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.status: int | None = None
        # Kept, since a forgotten Popen takes the status of its child with it.
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    def stop(self, *_: object) -> None:
        self.asked_to_stop = True

    def reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self.process.pid:
                    self.status = self.process.returncode = os.waitstatus_to_exitcode(status)

    def wait(self) -> None:
        """Until the command has ended, or nobody wants it any more."""
        watched = [self.told, 0]
        while self.status is None and not self.asked_to_stop:
            readable, _writable, _odd = select.select(watched, [], [])
            if self.told in readable:
                os.read(self.told, 4096)
            if 0 in readable and not os.read(0, 4096):
                self.asked_to_stop = True
            self.reap()

    def end(self) -> None:
        """The command's own group is asked first, so that it can clean up; then all that is left is killed."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            deadline = time.monotonic() + GRACE
            while self.status is None and time.monotonic() < deadline:
                time.sleep(0.05)
                self.reap()
        while left := descendants(os.getpid()):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
            self.reap()


def main() -> int:
    keeper = Keeper(sys.argv[1:])
    keeper.wait()
    keeper.end()
    if keeper.asked_to_stop or keeper.status is None:
        return 143
    return keeper.status if keeper.status >= 0 else 128 - keeper.status


if __name__ == "__main__":
    sys.exit(main())
