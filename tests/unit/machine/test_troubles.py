# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures for which the host is to blame say so, and no others; a layer that could not be made is not there."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import typing as t

import pytest
import rootfs
import troubles


class Usage(t.NamedTuple):
    """As shutil has it."""

    total: int
    used: int
    free: int


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """How much room there is, and whether a loop device is free."""
    state: dict[str, t.Any] = {"free": 1 << 40, "loop": 0}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 50, 0, state["free"]))
    monkeypatch.setattr(subprocess, "run", lambda command, **rest: subprocess.CompletedProcess(command, state["loop"]))
    return state


def fail(path: pathlib.Path, text: str = "it failed") -> str:
    with pytest.raises(SystemExit) as raised, troubles.explained(path):
        raise SystemExit(text)
    return str(raised.value)


def test_a_failure_of_its_own_stays_as_it_is(host: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    assert fail(tmp_path) == "it failed"
    error = subprocess.CalledProcessError(1, ["tar"])
    with pytest.raises(subprocess.CalledProcessError) as raised, troubles.explained(tmp_path):
        raise error
    assert raised.value is error


def test_a_full_file_system_is_named_once(host: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    host["free"] = 3 << 20
    said = fail(tmp_path).splitlines()
    assert said == ["it failed", f"machine: the file system on {troubles.mountpoint(tmp_path)} is full: 3 MiB are left now, for {tmp_path}"]
    assert fail(tmp_path, "\n".join(said)).splitlines() == said


def test_who_tidied_up_after_running_out_of_room_is_understood(host: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    for words in ("cannot copy: No space left on device", "E: You don't have enough free space in /var/cache/apt/archives/."):
        assert "is full: 1048576 MiB are left now" in fail(tmp_path, words)


def test_no_loop_device_is_free(host: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    host["loop"] = 1
    assert "no loop device is free" in fail(tmp_path)
    host["loop"] = 0
    assert "no loop device is free" in fail(tmp_path, "mount: /x: failed to setup loop device for /y.")


def test_the_reason_in_the_middle_of_a_log_is_told_with_its_end() -> None:
    log = "first\n" + "dpkg: error: No space left on device\n" + 400 * "consequence\n" + "the end\n"
    said = troubles.gist(log)
    assert said.startswith("dpkg: error: No space left on device\n")
    assert said.endswith("the end\n")
    assert len(said) < 2600
    assert troubles.gist("E: short\n") == "E: short\n"


def test_a_half_made_layer_is_never_used(host: dict[str, t.Any], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "CACHE", tmp_path)
    host["free"] = 0

    def make(path: pathlib.Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(SystemExit, match="is full: 0 MiB are left"):
        rootfs.cached("base-trixie", "0123456789abcdef", make)
    assert [path.name for path in tmp_path.iterdir()] == ["base-trixie.lock"]
    host["free"] = 1 << 40
    made = rootfs.cached("base-trixie", "0123456789abcdef", lambda path: t.cast("None", path.write_text("whole")))
    assert made.read_text() == "whole"
