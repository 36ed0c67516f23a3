# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States of a machine to go back to. The machine is a directory with two small disks, which runs when it says so."""

from __future__ import annotations

import json
import pathlib

import nspawn
import pytest
import rootfs
import saved


class Fake(nspawn.Machine):
    def __init__(self, running: bool = True, clean: bool = True) -> None:
        super().__init__("try")
        self.running = running
        self.clean = clean
        self.events: list[str] = []
        self.dir.mkdir(parents=True)
        self.write("new")

    @property
    def leader(self) -> int | None:
        return 1 if self.running else None

    def stop(self) -> bool:
        self.events.append("stop")
        self.running = False
        return self.clean

    def kill(self, leader: int | None = None) -> None:
        self.events.append("kill")
        self.running = False

    def start(self) -> None:
        self.events.append("start")
        self.running = True

    def write(self, text: str) -> None:
        for name in saved.DISKS:
            (self.dir / name).write_text(f"{text} {name}")

    def read(self) -> list[str]:
        return [(self.dir / name).read_text() for name in saved.DISKS]


@pytest.fixture(autouse=True)
def state(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMELAB_TEST_STATE", str(tmp_path))


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for the second disk."""
    whole = rootfs.copy

    def copy(source: pathlib.Path, target: pathlib.Path) -> None:
        if "pool" in source.name:
            target.write_text("half")
            raise OSError(28, "No space left on device")
        whole(source, target)

    monkeypatch.setattr(rootfs, "copy", copy)


def holds(machine: Fake) -> list[str]:
    return sorted(path.name for path in machine.dir.iterdir() if path.is_file())


def test_there_and_back() -> None:
    machine = Fake()
    saved.save(machine, "one")
    machine.write("later")
    saved.save(machine, "two")
    machine.write("worse")
    assert machine.tags() == json.loads(machine.describe())["saved"] == ["one", "two"]
    for tag, text in (("one", "new"), ("two", "later"), ("one", "new")):  # a state can be gone back to more than once
        saved.rewind(machine, tag)
        assert machine.read() == [f"{text} disk.img", f"{text} pool.img"]
    assert machine.events == ["stop", "start"] * 2 + ["kill", "start"] * 3
    assert holds(machine) == ["disk.img", "pool.img"]


def test_what_is_off_is_saved_and_stays_off() -> None:
    machine = Fake(running=False)
    saved.save(machine, "one")
    assert (machine.tags(), machine.events) == (["one"], [])


def test_a_tag_names_the_last_state_that_was_given_it() -> None:
    machine = Fake()
    saved.save(machine, "one")
    machine.write("later")
    saved.save(machine, "one")
    machine.write("worse")
    saved.rewind(machine, "one")
    assert machine.read()[0] == "later disk.img"


def test_half_a_state_does_not_replace_a_whole_one(full: None, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Fake()
    before = machine.saved / "one"
    before.mkdir(parents=True)
    (before / "disk.img").write_text("before")
    with pytest.raises(OSError, match="No space left"):
        saved.save(machine, "one")
    assert machine.running
    assert machine.tags() == ["one"] and (before / "disk.img").read_text() == "before"
    assert [path.name for path in machine.saved.iterdir()] == ["one"]


def test_what_a_killed_run_left_is_no_state_and_in_nobodys_way() -> None:
    machine = Fake()
    (machine.saved / "one.part").mkdir(parents=True)
    (machine.saved / "one.part" / "disk.img").write_text("half")
    assert machine.tags() == []
    saved.save(machine, "one")
    assert [path.name for path in machine.saved.iterdir()] == ["one"]


def test_a_machine_that_had_to_be_killed_is_not_saved() -> None:
    machine = Fake(clean=False)
    with pytest.raises(SystemExit, match="nothing was saved"):
        saved.save(machine, "one")
    assert machine.tags() == []
    assert machine.running


def test_no_room_to_go_back_leaves_the_machine_alone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    machine = Fake()
    saved.save(machine, "one")
    machine.write("later")
    machine.events.clear()
    request.getfixturevalue("full")
    with pytest.raises(OSError, match="No space left"):
        saved.rewind(machine, "one")
    assert (machine.running, machine.events, machine.read()[0]) == (True, [], "later disk.img")
    assert holds(machine) == ["disk.img", "pool.img"]


@pytest.mark.parametrize(("tags", "known"), [(["b", "a"], "a, b"), ([], "none was saved")])
@pytest.mark.parametrize("asked", ["c", "", "..", "a/../a"])
def test_an_unknown_tag_is_told_with_the_known_ones(tags: list[str], known: str, asked: str) -> None:
    machine = Fake()
    for tag in tags:
        saved.save(machine, tag)
    with pytest.raises(SystemExit, match=f"no saved state '{asked}': {known}"):
        saved.rewind(machine, asked)


@pytest.mark.parametrize("tag", ["", "a.part", "a/b", "..", "a b"])
def test_a_tag_is_a_plain_word(tag: str) -> None:
    machine = Fake()
    with pytest.raises(SystemExit, match="is not a tag"):
        saved.save(machine, tag)
    assert machine.events == []


def test_a_machine_that_is_not_there() -> None:
    missing = nspawn.Machine("missing")
    for act in (saved.save, saved.rewind):
        with pytest.raises(SystemExit, match="there is no machine missing"):
            act(missing, "one")
