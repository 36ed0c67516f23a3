# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/nocow.md says of the file system itself, without the module."""

from __future__ import annotations

import mmap
import os
import pathlib
import re
import subprocess

import pytest
from ansible_collections.patriark.homelab.tests.btrfs.support import chattr, image
from ansible_collections.patriark.homelab.tests.btrfs.trees import snapshot

BLOCK = 8192


def extents(path: pathlib.Path) -> int:
    out = subprocess.run(["filefrag", str(path)], check=True, capture_output=True, text=True).stdout
    return int(re.findall(r"(\d+) extents? found", out)[0])


def scribble(path: pathlib.Path, start: int) -> None:
    """Change every eighth block, each with a sync of its own, as a database does."""
    with open(path, "r+b", buffering=0) as stream:
        for number in range(start, 64 * 8, 8):
            os.pwrite(stream.fileno(), b"x" * BLOCK, number * BLOCK)
        os.fsync(stream.fileno())


def test_snapshots_bring_fragments_back(tmp_path: pathlib.Path) -> None:
    with image(tmp_path / "pool") as disk:
        subprocess.run(["btrfs", "-q", "subvolume", "create", str(disk.path / "db")], check=True)
        found = {}
        for kind in ("cow", "nocow"):
            folder = disk.path / "db" / kind
            folder.mkdir()
            if kind == "nocow":
                chattr("+C", folder)
            (folder / "relation").write_bytes(os.urandom(64 * 8 * BLOCK))
            os.sync()
            scribble(folder / "relation", 0)
            found[kind] = extents(folder / "relation")
        assert found["nocow"] < 5
        assert found["cow"] > 60
        snapshot(disk.path / "db", disk.path / "snap")
        scribble(disk.path / "db" / "nocow" / "relation", 4)
        assert extents(disk.path / "db" / "nocow" / "relation") > 60


def test_corruption_of_nocow_data_is_not_noticed(tmp_path: pathlib.Path) -> None:
    pattern = {kind: os.urandom(64 << 10) for kind in ("cow", "nocow")}
    with image(tmp_path / "pool") as disk:
        for kind, data in pattern.items():
            folder = disk.path / kind
            folder.mkdir()
            if kind == "nocow":
                chattr("+C", folder)
            (folder / "photo").write_bytes(data)
        os.sync()
        disk.umount()
        with open(disk.file, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as view:
            for data in pattern.values():
                place = view.find(data[:4096])
                assert place > 0
                view[place + 100] ^= 0xFF
        disk.mount()
        spoilt = (disk.path / "nocow" / "photo").read_bytes()
        assert [index for index in range(len(spoilt)) if spoilt[index] != pattern["nocow"][index]] == [100]
        with pytest.raises(OSError, match="Input/output error"):
            (disk.path / "cow" / "photo").read_bytes()
