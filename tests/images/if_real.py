# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command where there is a real Immich: if_real.py COMMAND... Where there is none, it says so the way tests/run understands, and is content."""

from __future__ import annotations

import subprocess
import sys

import immich


def main(command: list[str]) -> int:
    try:
        kind = immich.choose().kind
    except immich.Unclear as error:
        print(error, file=sys.stderr)
        return 1
    if kind == immich.STAND_IN:
        print("skipped: no real Immich here")
        return 0
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
