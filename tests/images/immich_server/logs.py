# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines in the form of the original's logger: readable or one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
import typing as t

LEVELS = ("verbose", "debug", "log", "warn", "error", "fatal")
COLORS = {"verbose": "96", "debug": "95", "log": "32", "warn": "33", "error": "31", "fatal": "1"}


class Options:
    """How this process logs; set once at start, the level again when the settings change."""

    level = "log"
    as_json = False
    color = True
    worker = ""
    # The original's microservices worker is a thread of the first process, whose number it tells.
    pid = 0


def clock(seconds: float) -> str:
    """Local time as the original prints it: 11/22/2026, 9:29:41 AM."""
    now = time.localtime(seconds)
    hour = now.tm_hour % 12 or 12
    return f"{now.tm_mon:02}/{now.tm_mday:02}/{now.tm_year}, {hour}:{now.tm_min:02}:{now.tm_sec:02} {'AM' if now.tm_hour < 12 else 'PM'}"


def paint(code: str, text: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[39m" if color else text


def line(level: str, context: str, message: str, *, pid: int, seconds: float, as_json: bool = False, color: bool = False) -> str:
    """One record without its newline."""
    if as_json:
        record = {"level": level, "pid": pid, "timestamp": int(seconds * 1000), "message": message}
        if context:
            record["context"] = context
        return json.dumps(record, separators=(",", ":"))
    shade = COLORS[level]
    head = paint(shade, f"[Nest] {pid}  - ", color) + clock(seconds) + " " + paint(shade, level.upper().rjust(7), color) + " "
    where = paint("38;5;3", f"[{context}] ", color) if context else ""
    return head + where + paint(shade, message, color)


def stack_of(error: BaseException) -> str:
    """The last calls before an error, newest first, in the original's form."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return "".join(f"\n    at {frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames))


class Logger:
    """Writes records of one context. Errors go to the standard error, like the original's."""

    def __init__(self, context: str) -> None:
        self.context = context

    def write(self, level: str, message: str, stack: str = "", correlation: str = "") -> None:
        if LEVELS.index(level) < LEVELS.index(Options.level):
            return
        context = self.context
        if not Options.as_json:
            # Worker and request are for people: a record in JSON has neither.
            context = ":".join(part for part in (Options.worker, context) if part) + (f"~{correlation}" if correlation else "")
        text = line(level, context, message, pid=Options.pid or os.getpid(), seconds=time.time(), as_json=Options.as_json, color=Options.color)
        if stack and Options.as_json:
            text = json.dumps(dict(json.loads(text), stack=stack), separators=(",", ":"))
        elif stack:
            text += "\n" + stack
        stream = sys.stderr if level in ("error", "fatal") else sys.stdout
        # One write a record: two workers share the streams.
        stream.write(text + "\n")
        stream.flush()

    def verbose(self, message: str) -> None:
        self.write("verbose", message)

    def debug(self, message: str) -> None:
        self.write("debug", message)

    def log(self, message: str) -> None:
        self.write("log", message)

    def warn(self, message: str, correlation: str = "") -> None:
        self.write("warn", message, correlation=correlation)

    def error(self, message: str, stack: str = "", correlation: str = "") -> None:
        self.write("error", message, stack, correlation)


def say(message: str, stream: t.TextIO | None = None) -> None:
    """A line outside the logger (the original's console.log)."""
    target = stream or sys.stdout
    target.write(message + "\n")
    target.flush()
