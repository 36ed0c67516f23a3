# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is stale and what is not, told on trees of directories and on processes of the test's own."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import network
import nspawn
import processes
import pytest
import rootfs
import runs
import stale
import vm


@pytest.fixture
def top(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """No machines of anybody, no run, and no cgroups or caches of the host."""
    found = tmp_path / "state"
    found.mkdir()
    monkeypatch.setenv("HOMELAB_TEST_STATE", str(found))
    for name in ("HOMELAB_TEST_RUN", "HOMELAB_TEST_RUN_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(nspawn, "cgroup_root", lambda: tmp_path / "cgroup")
    monkeypatch.setattr(rootfs, "CACHE", tmp_path / "cache")
    return found


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    found = tmp_path / "checkout"
    (found / "tests" / "machine").mkdir(parents=True)
    return found


def dead() -> tuple[int, str, str]:
    """A process that was there and is gone."""
    with subprocess.Popen(["sleep", "60"]) as process:
        found = runs.identity(process.pid)
        process.kill()
    return found


def place_of(top: pathlib.Path, name: str, owner: runs.Owner | None) -> pathlib.Path:
    place = top / name
    (place / "photos").mkdir(parents=True)
    if owner:
        (place / "owner").write_text(json.dumps(owner._asdict()))
    return place


def test_only_what_belongs_to_nobody_is_stale(top: pathlib.Path, checkout: pathlib.Path) -> None:
    here, gone = str(checkout), str(checkout / "gone")
    alive = runs.identity(os.getpid())
    pid, started, boot = alive
    places = {
        "by-hand": runs.Owner(here),
        "live-run": runs.Owner(here, "a", *alive),
        "live-run-of-a-checkout-that-is-gone": runs.Owner(gone, "a", *alive),
        "damaged": None,
        "by-hand-of-a-checkout-that-is-gone": runs.Owner(gone),
        "dead-run": runs.Owner(here, "b", *dead()),
        "another-process-of-that-number": runs.Owner(here, "c", pid, f"{started}0", boot),
        "before-the-host-was-started": runs.Owner(here, "d", pid, started, "another boot\n"),
        "layer-in-the-making": runs.Owner(here, "build-1", *dead()),
    }
    for name, owner in places.items():
        place_of(top, name, owner)
    names = list(places)
    assert {path.name for path in runs.stale()} == set(names[4:])
    assert [path.name for path in runs.unknown()] == ["damaged"]
    assert [line.partition(" ")[0] for line in stale.remove_stale()] == ["removed"] * 5 + ["left"]
    assert {path.name for path in top.iterdir()} == set(names[:4])


def test_what_is_removed_is_told(top: pathlib.Path, checkout: pathlib.Path) -> None:
    place_of(top, "dead-run", runs.Owner(str(checkout), "b", *dead()))
    place_of(top, "damaged", None)
    said = stale.remove_stale()
    assert said == [
        f"removed of the run b ({checkout}): photos; processes ended: 0",
        f"left alone, since nothing says whose it is: {top / 'damaged'}",
    ]


def test_what_cannot_be_removed_is_told_and_keeps_nothing_else_from_it(top: pathlib.Path, checkout: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a-dead-run", "b-dead-run"):
        place_of(top, name, runs.Owner(str(checkout), name[0], *dead()))
    destroy = nspawn.Machine.destroy

    def busy(machine: nspawn.Machine) -> None:
        if machine.dir.parent.name == "a-dead-run":
            raise SystemExit("busy")
        destroy(machine)

    monkeypatch.setattr(nspawn.Machine, "destroy", busy)
    assert [line.partition(" ")[0] for line in stale.remove_stale()] == ["NOT", "removed"]
    assert [path.name for path in top.iterdir()] == ["a-dead-run"]


def waiting(**environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input('>')"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_processes_of_a_dead_run_are_ended_and_no_others(top: pathlib.Path, checkout: pathlib.Path) -> None:
    owner = runs.Owner(str(checkout), "b", *dead())
    place = place_of(top, "dead-run", owner)
    ours = [waiting(**{runs.PLACE: str(place)}), waiting(HOMELAB_TEST_RUN="b", PATH=f"{checkout}/.venv/bin")]
    others = [
        waiting(**{runs.PLACE: f"{place}-too"}),
        waiting(HOMELAB_TEST_RUN="b", PATH="/another/checkout/.venv/bin"),
        waiting(HOMELAB_TEST_RUN="bb", PATH=f"{checkout}/.venv/bin"),
        waiting(PATH=f"{checkout}/.venv/bin"),
    ]
    try:
        for process in (*ours, *others):
            assert process.stdout is not None
            assert process.stdout.read(1) == b">"
        assert sorted(runs.leftovers(place, owner)) == sorted(process.pid for process in ours)
        assert stale.remove_stale() == [f"removed of the run b ({checkout}): photos; processes ended: 2"]
        assert [process.wait(5) for process in ours] == [-9, -9]
        assert [process.poll() for process in others] == [None] * 4
    finally:
        for process in (*ours, *others):
            process.kill()
            process.communicate()


def test_a_run_does_not_end_itself(top: pathlib.Path, checkout: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "environment", lambda pid: [b"HOMELAB_TEST_PLACE=/everywhere"] if pid == os.getpid() else [])
    assert runs.leftovers(pathlib.Path("/everywhere"), runs.Owner(str(checkout))) == []


def test_a_place_is_claimed_once_and_taken_over_from_the_dead(top: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMELAB_TEST_RUN", "night")
    monkeypatch.setenv("HOMELAB_TEST_RUN_PID", str(os.getppid()))
    place = runs.claim()
    assert place == top / runs.name("night") == runs.state_root()
    assert runs.owner(place) == runs.Owner(str(runs.CHECKOUT), "night", *runs.identity(os.getppid()))
    monkeypatch.setenv("HOMELAB_TEST_RUN_PID", str(os.getpid()))
    assert runs.owner(runs.claim()) == runs.Owner(str(runs.CHECKOUT), "night", *runs.identity(os.getppid()))
    (place / "owner").write_text(json.dumps(runs.Owner(str(runs.CHECKOUT), "night", *dead())._asdict()))
    assert runs.owner(runs.claim()) == runs.Owner(str(runs.CHECKOUT), "night", *runs.identity(os.getpid()))


def test_nothing_is_made_for_a_run_that_has_ended(top: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMELAB_TEST_RUN", "night")
    monkeypatch.setenv("HOMELAB_TEST_RUN_PID", str(dead()[0]))
    with pytest.raises(SystemExit, match="has ended"):
        runs.claim()
    assert not list(top.iterdir())


def test_a_run_that_does_not_say_its_process_is_the_one_above_those_with_its_name(top: pathlib.Path) -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}; import os, runs; print(runs.process_of('night'), os.getppid())"
    inner = [sys.executable, "-c", code]
    # A shell that was started with the name, by this process, which was not.
    words = ["sh", "-c", '"$@"; true', "sh", *inner]
    said = subprocess.run(words, env={**os.environ, "HOMELAB_TEST_RUN": "night"}, check=True, stdout=subprocess.PIPE, text=True).stdout
    found, shell = said.split()
    assert int(found) == os.getpid() != int(shell)


@pytest.mark.parametrize(("run", "entirely", "left"), [("", False, False), ("night", False, True), ("night", True, False)])
def test_a_place_goes_with_its_last_machine_but_a_runs_stays(top: pathlib.Path, monkeypatch: pytest.MonkeyPatch, run: str, entirely: bool, left: bool) -> None:
    monkeypatch.setenv("HOMELAB_TEST_RUN", run)
    place = runs.claim()
    (place / "photos").mkdir()
    runs.give_back(place, entirely)
    assert place.exists()
    (place / "photos").rmdir()
    runs.give_back(place, entirely)
    assert place.exists() is left


def test_the_making_of_a_layer_has_a_place_of_its_own(top: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMELAB_TEST_RUN", "night")
    place = runs.claim_for_build()
    assert place.name == f"{runs.name()}-build-{os.getpid()}"
    assert runs.stale() == []
    runs.give_back(place)
    assert not place.exists()


def test_a_machine_finds_its_place_taken_away_and_makes_it_anew(top: pathlib.Path) -> None:
    runs.make_room(runs.state_root() / "photos")
    assert runs.owner(runs.state_root()) == runs.Owner(str(runs.CHECKOUT))


@pytest.mark.parametrize("run", ["a b", "../a", "a/b"])
def test_what_is_not_a_name_of_a_run(top: pathlib.Path, monkeypatch: pytest.MonkeyPatch, run: str) -> None:
    monkeypatch.setenv("HOMELAB_TEST_RUN", run)
    with pytest.raises(SystemExit, match="letters, digits and dashes"):
        runs.state_root()


def test_a_directory_is_a_name_too(top: pathlib.Path) -> None:
    machine = vm.find(f"{top}/12345678-night/photos")
    assert (machine.name, machine.dir) == ("photos", top / "12345678-night" / "photos")
    assert f"connect {machine.dir}" in machine.ssh_config()
    assert json.loads(machine.describe())["run"] == "night"
    assert machine.describe().startswith('{"name": "photos", "running": false')  # the demo looks for these words


def test_networks_and_cgroups_go_too_but_not_those_of_a_longer_name(top: pathlib.Path, tmp_path: pathlib.Path) -> None:
    place = place_of(top, "12345678", None)
    place_of(top, "12345678-night", None)
    network.Network(place, "street").join("photos", ["photos"])
    for name in ("12345678-photos", "12345678-night-photos", "1234567-photos"):
        (tmp_path / "cgroup" / f"homelab-{name}").mkdir(parents=True)
    stale.remove(place)
    assert [path.name for path in place.iterdir()] == []
    assert sorted(path.name for path in (tmp_path / "cgroup").iterdir()) == ["homelab-1234567-photos", "homelab-12345678-night-photos"]


def half_made(cache: pathlib.Path) -> list[pathlib.Path]:
    found = [cache / name for name in ("base-trixie-making-abc", "images-work.abc", "vm-base-trixie-making-abc")]
    for path in found:
        (path / "disk").mkdir(parents=True)
    for kind in ("base-trixie", "images", "vm-base-trixie"):
        (cache / f"{kind}.lock").touch()
    return found


def test_half_made_layers_of_dead_builders_are_removed(tmp_path: pathlib.Path) -> None:
    found = half_made(tmp_path)
    assert runs.forget_builds(tmp_path) == [found[0], found[1], found[2]]
    assert not any(path.exists() for path in found)
    assert not runs.forget_builds(tmp_path / "nothing")


def test_a_layer_that_somebody_makes_is_left_alone(tmp_path: pathlib.Path) -> None:
    found = half_made(tmp_path)
    with open(tmp_path / "base-trixie.lock", "rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert runs.forget_builds(tmp_path) == found[1:]
    assert found[0].exists()


def test_two_who_clean_up_do_not_meet(top: pathlib.Path, checkout: pathlib.Path) -> None:
    place = place_of(top, "dead-run", runs.Owner(str(checkout), "b", *dead()))
    with stale.alone(place) as first, stale.alone(place) as second:
        assert (first, second) == (True, False)
        assert stale.remove_stale() == []
    assert place.exists()


def test_machines_are_what_is_in_a_place_and_nothing_else(top: pathlib.Path) -> None:
    place = place_of(top, "12345678", runs.Owner("/nowhere"))
    network.Network(place, "street").join("photos", ["photos"])
    names: t.Sequence[str] = [machine.name for machine in vm.machines(place)]
    assert names == ["photos"]
    assert vm.machines(top / "nothing") == []
