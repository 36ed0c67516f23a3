# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a container came of its unit: the generator's words against those podman was really called with."""

from __future__ import annotations

import json
import pathlib

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._commands import came_of, moment, same_meaning, start_command, volume_differences

DATA = pathlib.Path(__file__).parent / "data"
RECORDED = sorted(DATA.glob("started-*.json"))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_what_podman_started_is_recognised(recorded):
    cases = json.loads(recorded.read_text(encoding="utf-8"))["cases"]
    assert len(cases) >= 5
    for service, case in cases.items():
        words = start_command(case["generated"])
        assert came_of(words, case["create_command"]), service
        for position in range(2, len(words)):
            assert not came_of([*words[:position], "--other", *words[position:]], case["create_command"]), service
        assert not came_of(words, [*case["create_command"], "more"]), service
        assert not came_of(words, case["create_command"][:-1]), service


@pytest.mark.parametrize(
    ("words", "used", "expected"),
    [
        ("podman run -d a", "/usr/bin/podman run a -d", True),
        ("podman run a a", "podman run a", False),
        ("podman run %h/x a", "podman run /home/me/x a", True),
        ("podman run %h/x a", "podman run /home/me/y a", False),
        ("podman run 100%% $$X", "podman run 100% $X", True),
        ("podman run 100%% a", "podman run 99% a", False),
        ("podman run $ARGS a", "podman run b c a", True),
        ("podman run $ARGS a", "podman run a", True),
        ("podman run $ARGS a", "podman run b", False),
        ("podman run x=${A}", "podman run x=", True),
        ("podman run %i-x %i", "podman run 1-x 1", True),
        ("podman run %i-x %i", "podman run 1-y 1", False),
        ("podman run a ; podman run b", "podman run b", True),
    ],
)
def test_what_systemd_expands_may_be_anything(words, used, expected):
    assert came_of(words.split(), used.split()) == expected


def test_quotes_of_a_generated_unit_are_taken_off():
    text = '[Service]\nExecStart=/usr/bin/podman run --env "A=one two\\n\\x41" b\n'
    assert start_command(text)[3] == "A=one two\nA"


def test_the_order_of_options_means_nothing():
    assert same_meaning("[Service]\nExecStart=podman run --a 1 --b\n", "[Service]\nExecStart=podman run --b --a 1\n\n")
    assert not same_meaning("[Service]\nExecStart=podman run --a 1\n", "[Service]\nExecStart=podman run --a 2\n")
    assert not same_meaning("", "[Service]\n")


# From podman 5.8.6: volume ls
TMPFS = {"Driver": "local", "Labels": {"a": "b"}, "Options": {"GID": "6", "UID": "5", "o": "uid=5,gid=6", "type": "tmpfs", "nocopy": ""}, "UID": 5, "GID": 6}


@pytest.mark.parametrize(
    ("words", "kind", "labels"),
    [
        ("podman volume create --ignore --opt nocopy --opt o=uid=5,gid=6 --opt type=tmpfs --label a=b systemd-a", [], []),
        ("podman volume create --ignore --opt=nocopy -o o=uid=5,gid=6 -o type=tmpfs systemd-a", [], []),
        ("podman volume create --ignore --opt o=uid=%U,gid=6 --opt type=tmpfs --opt nocopy x", [], []),
        ("podman volume create --ignore --opt o=uid=5,gid=6 --opt type=tmpfs x", ["option nocopy= too many"], []),
        (
            "podman volume create --opt nocopy --opt o=uid=5,gid=6 --opt type=ext4 --label a=c x",
            ["option type=tmpfs instead of ext4"],
            ["label a=b instead of c"],
        ),
    ],
)
def test_a_volume_is_what_its_unit_says(words, kind, labels):
    assert volume_differences(words.split(), TMPFS) == (kind, labels)


def test_times_as_podman_writes_them():
    assert moment("2026-11-22T13:28:14.5Z") == moment("2026-11-22T14:28:14.500000000+01:00") == 1795354094.5
    assert moment("2026-11-22T13:28:14Z") == 1795354094
    assert moment("") is None
