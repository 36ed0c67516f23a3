# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a conversion is, in a file on the target that the action plugin reads; and whether the plugin is still there.

Private to the collection.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BtrfsError, size
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_convert import Progress

# Set by the action plugin: where to write.
VARIABLE = "PATRIARK_HOMELAB_PROGRESS"
# The plugin renews this file, beside the other, whenever it reads. Seconds without that until it counts as gone.
ALIVE = ".alive"
PATIENCE = 60.0
_INTERVAL = 0.5


def line(state: dict[str, t.Any]) -> str:
    """The progress for people. Pure."""
    if "path" not in state:
        return "looking at what is there"
    total, done, seconds = int(state.get("total", 0)), int(state.get("done", 0)), float(state.get("seconds", 0))
    text = f"{state.get('path')}: "
    if done >= total or not seconds or not done:
        return f"{text}{size(done)} copied, last step: {state.get('step')}"
    rate = done / seconds
    left = int((total - done) / rate) + 1
    return f"{text}{100 * done // total} % of {size(total)}, {size(rate)}/s, {left // 60}:{left % 60:02} left"


class Reporter(Progress):
    """Writes the progress file from the start, and then at most twice a second. Without a path there is nobody to report to."""

    def __init__(self, path: str | None) -> None:
        self.path = os.path.expanduser(path) if path else None
        self.state: dict[str, t.Any] = {}
        self.done = 0
        self.start = self.last = time.monotonic()
        self.heard = time.time()
        self._write()

    def begin(self, path: str, total: int) -> None:
        self.done = 0
        self.start = time.monotonic()
        self.heard = time.time()
        self.state = {"path": path, "total": total, "step": "starts"}
        self._write()

    def copied(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.last >= _INTERVAL:
            self._write()
            self._listened_to()

    def step(self, name: str) -> None:
        self.state["step"] = name
        if time.monotonic() - self.last >= _INTERVAL:
            self._write()

    def _write(self) -> None:
        self.last = time.monotonic()
        if self.path is None:
            return
        content = {**self.state, "pid": os.getpid(), "done": self.done, "seconds": round(self.last - self.start, 1)}
        # A reader must never see half of it, and a full disk must not end the conversion.
        with contextlib.suppress(OSError):
            with open(f"{self.path}.new", "w", encoding="utf-8") as stream:
                json.dump(content, stream)
            os.replace(f"{self.path}.new", self.path)

    def _listened_to(self) -> None:
        """Stop when the playbook was stopped: nobody would see how this ends."""
        if self.path is None:
            return
        # The file is missing before the first look, and when the plugin took it away as it was stopped.
        with contextlib.suppress(FileNotFoundError):
            self.heard = os.stat(self.path + ALIVE).st_mtime
        if time.time() - self.heard > PATIENCE:
            raise BtrfsError("the playbook has gone away, so the conversion was stopped; the next run takes it up again")

    def close(self) -> None:
        if self.path is not None:
            for name in (self.path, f"{self.path}.new", self.path + ALIVE):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
