# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a deployed machine is made anew, and that half of one is never taken for it. No machine is started."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import threading
import time

import deployed
import nspawn
import pytest
import rootfs

FILES = {
    "roles/immich/tasks/main.yml": "- debug:\n",
    "roles/immich/templates/server.container.j2": "[Container]\n",
    "roles/immich/README.md": "read me\n",
    "plugins/modules/quadlet.py": "pass\n",
    "plugins/modules/__pycache__/quadlet.pyc": "pass\n",
    "playbooks/site.yml": "- hosts: all\n",
    "meta/runtime.yml": "{}\n",
    "galaxy.yml": "{}\n",
    "examples/card/inventory.yml": "all: {}\n",
    "examples/minimal/inventory.yml": "all: {}\n",
    "docs/testing.md": "How\n",
    "tests/unit/test_layout.py": "pass\n",
    "tests/images/inventory": '#!/bin/sh\ncat "$(dirname "$0")/choice"\n',
    "tests/images/choice": "stand-in\n",
    "tests/machine/deployed.py": "pass\n",
    "tests/machine/nspawn.py": "pass\n",
    "tests/machine/vm.py": "pass\n",
    "tests/machine/cli.py": "pass\n",
}


@pytest.fixture
def repo(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "tests/images/inventory").chmod(0o755)
    return tmp_path


def key(repo: pathlib.Path, stocked: str = "stocked-trixie-1", ansible: str = "core 2.19.1", example: str = "card") -> str:
    return deployed.key(repo, repo / "examples" / example / "inventory.yml", repo / "tests/images/inventory", stocked, ansible)


@pytest.mark.parametrize(
    "name",
    [
        "roles/immich/tasks/main.yml",
        "roles/immich/templates/server.container.j2",
        "plugins/modules/quadlet.py",
        "playbooks/site.yml",
        "meta/runtime.yml",
        "galaxy.yml",
        "examples/card/inventory.yml",
        "tests/images/inventory",
        "tests/images/choice",
        "tests/machine/deployed.py",
        "tests/machine/nspawn.py",
    ],
)
def test_it_is_made_anew_when_what_it_is_made_of_changes(repo: pathlib.Path, name: str) -> None:
    before = key(repo)
    with open(repo / name, "a") as file:
        file.write("\n# more\n")
    assert key(repo) != before


def test_a_file_that_comes_or_moves_counts(repo: pathlib.Path) -> None:
    before = key(repo)
    (repo / "roles/immich/tasks/main.yml").rename(repo / "roles/immich/tasks/other.yml")
    moved = key(repo)
    (repo / "roles/immich/tasks/main.yml").touch()
    assert len({before, moved, key(repo)}) == 3


def test_so_do_the_stocked_disk_ansible_and_the_example(repo: pathlib.Path) -> None:
    assert len({key(repo), key(repo, stocked="stocked-trixie-2"), key(repo, ansible="core 2.19.2"), key(repo, example="minimal")}) == 4


@pytest.mark.parametrize(
    "name",
    [
        "docs/testing.md",
        "tests/unit/test_layout.py",
        "roles/immich/README.md",
        "plugins/modules/__pycache__/quadlet.pyc",
        "examples/minimal/inventory.yml",
        "tests/machine/cli.py",
    ],
)
def test_it_stays_when_anything_else_changes(repo: pathlib.Path, name: str) -> None:
    before = key(repo)
    (repo / name).write_text("something else\n")
    assert key(repo) == before


def test_another_checkout_with_the_same_contents_shares_it(repo: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("elsewhere") / "checkout"
    subprocess.run(["cp", "-a", str(repo), str(other)], check=True)
    assert key(repo) == key(other)


def test_an_unknown_example_is_told_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"no example 'crad': card, .*minimal"):
        deployed.deployed("crad", "trixie", nspawn.Machine, pathlib.Path("/stocked"))


# ---- the cache


@pytest.fixture
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(rootfs, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def disks(folder: pathlib.Path) -> None:
    folder.mkdir()
    (folder / "disk.img").write_text("disk")
    (folder / "pool.img").write_text("pool")


def disk_full(folder: pathlib.Path) -> None:
    disks(folder)
    raise OSError(28, "No space left on device")


def test_half_a_layer_is_never_used(cache: pathlib.Path) -> None:
    with pytest.raises(SystemExit, match="No space left"):
        rootfs.cached("deployed-card-trixie", "0" * 16, disk_full, suffix=".disks")
    assert [path.name for path in cache.iterdir()] == ["deployed-card-trixie.lock"]
    made = rootfs.cached("deployed-card-trixie", "0" * 16, disks, suffix=".disks")
    assert sorted(path.name for path in made.iterdir()) == ["disk.img", "pool.img"]


KILLED = """
import pathlib, sys, time
import rootfs
rootfs.CACHE = pathlib.Path(sys.argv[1])
def make(folder):
    folder.mkdir()
    (folder / "disk.img").write_text("half")
    print("half", flush=True)
    time.sleep(60)
rootfs.cached("deployed-card-trixie", "0" * 16, make, suffix=".disks")
"""


def test_what_a_killed_builder_left_is_removed_by_the_next(cache: pathlib.Path) -> None:
    command = [sys.executable, "-c", KILLED, str(cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=pathlib.Path(rootfs.__file__).parent) as builder:
        assert builder.stdout is not None and builder.stdout.readline() == b"half\n"
        builder.kill()
    assert len(list(cache.glob("*-making-*/*"))) == 1
    made = rootfs.cached("deployed-card-trixie", "0" * 16, disks, suffix=".disks")
    assert (made / "disk.img").read_text() == "disk"
    assert sorted(path.name for path in cache.iterdir()) == [made.name, "deployed-card-trixie.lock"]


def test_only_the_newest_are_kept_of_a_kind(cache: pathlib.Path) -> None:
    for number in range(rootfs.KEEP + 2):
        for kind in ("deployed-no-trixie", "deployed-no-trixie-ml"):  # one name is the beginning of the other
            made = rootfs.cached(kind, f"{number:016x}", disks, suffix=".disks")
            assert made.stat().st_mtime <= time.time()
    for kind in ("deployed-no-trixie", "deployed-no-trixie-ml"):
        kept = sorted(path.name for path in cache.glob(f"{kind}-{'?' * 16}.disks"))
        assert kept == [f"{kind}-{number:016x}.disks" for number in range(2, rootfs.KEEP + 2)]


SLOW = """
import pathlib, sys
import rootfs
rootfs.CACHE = pathlib.Path(sys.argv[1])
def make(folder):
    folder.mkdir()
    print("begun", flush=True)
    sys.stdin.read()
    (folder / "disk.img").write_text("theirs")
rootfs.cached("deployed-card-trixie", "0" * 16, make, suffix=".disks")
"""


def test_who_comes_second_waits_and_has_what_the_first_made(cache: pathlib.Path) -> None:
    command = [sys.executable, "-c", SLOW, str(cache)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=pathlib.Path(rootfs.__file__).parent) as builder:
        assert builder.stdout is not None and builder.stdin is not None and builder.stdout.readline() == b"begun\n"
        found: list[pathlib.Path] = []
        second = threading.Thread(target=lambda: found.append(rootfs.cached("deployed-card-trixie", "0" * 16, disks, suffix=".disks")))
        second.start()
        second.join(0.3)
        assert second.is_alive() and not found
        builder.stdin.close()
        second.join()
    assert (found[0] / "disk.img").read_text() == "theirs"
