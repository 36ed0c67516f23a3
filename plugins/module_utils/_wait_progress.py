# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line that tells how far a wait is, in a file which the action plugin reads meanwhile. Private to the collection."""

from __future__ import annotations

import contextlib
import os
import typing as t

# The action plugin names the file in this environment variable.
VARIABLE = "PATRIARK_HOMELAB_WAIT"


class ProgressFile:
    """The file, while it is wanted. Without the variable nothing is written."""

    def __init__(self) -> None:
        self.path = os.environ.get(VARIABLE, "")
        self.handle = -1

    def __enter__(self) -> ProgressFile:
        if self.path:
            # without the file there are no lines, which is no reason to fail
            with contextlib.suppress(OSError):
                # readable for the account Ansible logged in as, and never a file that was there before
                self.handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC, 0o644)
                os.fchmod(self.handle, 0o644)
        return self

    def __exit__(self, *dummy: object) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def show(self, missing: t.Mapping[str, str], elapsed: float, timeout: float) -> None:
        self.say(line(missing, elapsed, timeout))

    def say(self, text: str) -> None:
        if self.handle >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self.handle, 0)
                os.pwrite(self.handle, text.encode(), 0)


def line(missing: t.Mapping[str, str], elapsed: float, timeout: float) -> str:
    """For people: after 12 s of 300: db.service activating (start), app.service health: starting."""
    return f"after {elapsed:.0f} s of {timeout:.0f}: " + ", ".join(f"{service} {reason}" for service, reason in missing.items())
