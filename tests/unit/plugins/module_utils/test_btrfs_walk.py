# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_walk

# Recorded on Linux 6.18; device numbers and options shortened.
MOUNTINFO = r"""23 1 254:0 / / rw,relatime - ext4 /dev/root rw
60 23 0:44 / /pool rw,noatime - btrfs /dev/loop0 rw,subvolid=5,subvol=/
61 60 0:44 /other /pool/pg/a\040b rw,noatime - btrfs /dev/loop0 rw,subvolid=5,subvol=/
62 60 0:50 / /pool/pg/deep/x rw - tmpfs tmpfs rw
63 60 0:51 / /pool/pgother rw - tmpfs tmpfs rw
64 60 0:52 / /pool/pg/back\134slash rw - tmpfs tmpfs rw
"""


def test_mounts_below() -> None:
    assert _btrfs_walk.mounts_below("/pool/pg", MOUNTINFO) == {"a b", "deep/x", "back\\slash"}
    assert _btrfs_walk.mounts_below("/", MOUNTINFO) >= {"pool", "pool/pgother"}
    assert _btrfs_walk.mounts_below("/pool/pgother", MOUNTINFO) == set()


@pytest.mark.parametrize(
    ("name", "wanted"), [("plain", "plain"), ("ä b", "ä b"), ("new\nline", "new\\nline"), ("bad\udcff", "bad\\xff"), ("esc\x1b[31m", "esc\\x1b[31m")]
)
def test_printable(name: str, wanted: str) -> None:
    assert _btrfs_walk.printable(name) == wanted


def test_numbers_are_the_kernel_s() -> None:
    assert _btrfs._GETFLAGS == 0x80086601
    assert _btrfs._SETFLAGS == 0x40086602
    assert _btrfs._INO_LOOKUP == 0xD0009412
    assert _btrfs._SUBVOL_CREATE == 0x5000940E
    assert _btrfs._SNAP_DESTROY == 0x5000940F
    assert _btrfs._SUBVOL_GETFLAGS == 0x80089419


@pytest.mark.parametrize("machine", ["ppc64le", "mips64", "sparc64", "alpha"])
def test_machines_with_other_numbers_are_refused(machine: str) -> None:
    with pytest.raises(_btrfs.BtrfsError, match=machine):
        _btrfs.check_machine(machine)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64", "armv7l"])
def test_machines_known(machine: str) -> None:
    _btrfs.check_machine(machine)


@pytest.mark.parametrize("name", ["", "a/b", "x" * 256])
def test_subvolume_names(name: str) -> None:
    with pytest.raises(_btrfs.BtrfsError, match="not a name"):
        _btrfs._volume_args(name)
