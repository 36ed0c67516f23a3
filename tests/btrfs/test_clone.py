# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool of a cloned test machine: another file system to the kernel, and the same in everything else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import subprocess
import typing as t

import clone
import pytest
from ansible_collections.patriark.homelab.tests.btrfs.support import chattr, flags, subvolume


@contextlib.contextmanager
def mounted(image: pathlib.Path) -> t.Iterator[pathlib.Path]:
    path = image.with_suffix("")
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def origin(tmp_path: pathlib.Path) -> pathlib.Path:
    """With subvolumes, a snapshot, files of both kinds, and one whose blocks are shared."""
    image = tmp_path / "origin.img"
    with open(image, "wb") as stream:
        stream.truncate(512 << 20)
    subprocess.run(["mkfs.btrfs", "-q", "-L", "btrfs-pool", str(image)], check=True, capture_output=True)
    with mounted(image) as pool:
        for name in ("photos", "containers"):
            subvolume(pool / name)
        chattr("+C", pool / "containers")
        for number in range(40):
            (pool / "photos" / f"{number}.jpg").write_bytes(os.urandom(40_000))
            (pool / "containers" / f"{number}.db").write_bytes(os.urandom(40_000))
        subprocess.run(["cp", "--reflink=always", str(pool / "photos/1.jpg"), str(pool / "photos/again.jpg")], check=True)
        os.setxattr(pool / "photos/2.jpg", "user.note", b"of 1999")
        subprocess.run(["btrfs", "-q", "subvolume", "snapshot", "-r", str(pool / "photos"), str(pool / "photos-yesterday")], check=True)
    return image


def said(*command: str | os.PathLike[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def looks(pool: pathlib.Path) -> dict[str, t.Any]:
    """All that a person or a backup can see of it."""
    found: dict[str, t.Any] = {
        str(path.relative_to(pool)): (
            os.stat(path)[:2],
            os.stat(path)[3:7],
            os.stat(path)[8:],  # without the time of the last reading, which is ours
            flags(path),
            os.listxattr(path),
            hashlib.sha256(path.read_bytes()).digest() if path.is_file() else sorted(os.listdir(path)),
        )
        for path in sorted(pool.rglob("*"))
    }
    found["subvolumes"] = said("btrfs", "subvolume", "list", "-puqR", pool)
    found["label"] = said("btrfs", "filesystem", "label", pool)
    return found


def identity(pool: pathlib.Path) -> str:
    return said("findmnt", "--noheadings", "--output=UUID", "--target", pool)


def test_clones_are_file_systems_of_their_own_and_the_same_in_all_else(origin: pathlib.Path, tmp_path: pathlib.Path) -> None:
    one, two = tmp_path / "one.img", tmp_path / "two.img"
    clone.pool(origin, one)
    clone.pool(origin, two)
    with mounted(origin) as first, mounted(one) as second, mounted(two) as third:
        pools = (first, second, third)
        before = looks(first)
        assert "photos-yesterday" in before["subvolumes"] and before["label"] == "btrfs-pool\n"
        assert [looks(pool) for pool in pools[1:]] == [before] * 2
        assert len({identity(pool) for pool in pools}) == 3
        for number, pool in enumerate(pools):  # each writes to its own disk
            (pool / "photos" / "new").write_text(str(number))
        os.sync()
        assert [(pool / "photos" / "new").read_text() for pool in pools] == ["0", "1", "2"]
    with mounted(one) as again:
        assert (again / "photos" / "new").read_text() == "1"
    for image in (origin, one, two):
        said("btrfs", "check", "--readonly", image)
