# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first process waits for its workers."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import typing as t

from immich_server import logs

# How a worker ends that is to be started anew.
RESTART = 7
ENDED_BY_SIGTERM = 128 + signal.SIGTERM


def watch(children: dict[int, str]) -> int:
    """Wait for the workers. SIGTERM goes to all; one that fails takes the others with it; C(RESTART) when all want to be started anew."""
    asked = False

    def stop(number: int, frame: t.Any) -> None:
        nonlocal asked
        asked = True
        for child in tuple(children):
            with contextlib.suppress(ProcessLookupError):  # it may just have been waited for
                os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    result = 0
    while children:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        name = children.pop(pid, "")
        code = os.waitstatus_to_exitcode(status)
        if not name or asked or result not in (0, RESTART):
            continue
        if code == RESTART:
            logs.say(f"{name} worker shutdown for restart")
            result = code
            continue
        result = code if code > 0 else 1
        if code != 0:
            logs.say(f"{name} worker exited with code {code}", sys.stderr)
            for other in children.values():
                logs.say(f"Killing {other} process", sys.stderr)
        # A failing start may be killed in the middle of anything: it gets no time.
        for child in children:
            os.kill(child, signal.SIGKILL)
    return ENDED_BY_SIGTERM if asked else result
