# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What files of tests must not do to the host they run on."""

from __future__ import annotations

import pathlib
import re

import pytest
import tree

HERE = pathlib.Path(__file__)
# What runs on test machines, or makes them. A systemd-nspawn machine has the clock of its host, and every right to set it.
FOLDERS = (
    ("molecule",),
    ("examples",),
    ("tests", "machine"),
    ("tests", "images"),
    ("tests", "contract"),
    ("tests", "live"),
    ("tests", "unit"),
    ("tests", "btrfs"),
)
OWN_CLOCK = ("molecule", "vm")  # a virtual machine
SETS_THE_CLOCK = re.compile(
    r"""
    (?<![\w-])date['",\s]+(-\w*s\b|--set\b)                                   # date -s, date -us, date --set; as words of a list, too
    | timedatectl\b['",\s]+(set-time|set-ntp)\b
    | (?<![\w.-])hwclock\b
    | \b(clock_settime|clock_adjtime|settimeofday|adjtimex)\b
    | chronyc\b.*\b(makestep|settime)\b
    | (?<![\w-])(ntpdate|sntp|rdate|ntpd)\b['",\s]
    | \b(linux-system-roles|fedora\.linux_system_roles)\.timesync\b
    | \bsystemd-timesyncd\b
    | set-time['",\s]
    """,
    re.VERBOSE,
)


def of_tests() -> list[pathlib.PurePath]:
    names = [name for name in sorted(tree.wanted()) if any(name.parts[: len(folder)] == folder for folder in FOLDERS) and name.parts[:2] != OWN_CLOCK]
    return [name for name in names if name.name != HERE.name and (tree.ROOT / name).is_file()]


def settings(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if SETS_THE_CLOCK.search(line)]


def test_no_file_of_tests_sets_a_clock() -> None:
    found = {str(name): lines for name in of_tests() for lines in [settings((tree.ROOT / name).read_text(encoding="utf-8", errors="replace"))] if lines}
    assert not found, f"an nspawn machine has the clock of its host; use molecule/shared/tasks/faketime.yml, or the virtual machine: {found}"


def test_the_files_of_tests_are_looked_at() -> None:
    folders = {name.parts[0] for name in of_tests()} | {name.parts[1] for name in of_tests() if name.parts[0] == "tests"}
    assert {"molecule", "examples", "machine", "images", "live", "unit", "btrfs"} <= folders


@pytest.mark.parametrize(
    "line",
    [
        "date -s '2030-01-01'",
        "date -us 12:00",
        "sudo date --set=tomorrow",
        "argv: [date, -s, tomorrow]",
        'subprocess.run(["date", "--set", "tomorrow"])',
        "timedatectl set-time 2030-01-01",
        "timedatectl set-ntp false",
        'argv: ["timedatectl", "set-time", "2030-01-01"]',
        "hwclock --hctosys",
        "/usr/sbin/hwclock -s",
        "time.clock_settime(time.CLOCK_REALTIME, 0)",
        "chronyc -a makestep",
        "ntpdate pool.example.org",
        "role: fedora.linux_system_roles.timesync",
        "name: systemd-timesyncd",
    ],
)
def test_the_guard_finds_what_it_is_for(line: str) -> None:
    assert settings(line) == [line]


@pytest.mark.parametrize(
    "line", ["date -u +%s", "date --iso-8601=seconds", "touch -d yesterday file", "update --set x", "timedatectl show", "date", "candidate -s", "time.time()"]
)
def test_it_lets_reading_a_clock_pass(line: str) -> None:
    assert settings(line) == []
