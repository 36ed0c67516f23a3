# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs_owner
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BtrfsError
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_owner import Principal

SUBUID = "homelab:100000:65536\nother:165536:65536\n# comment\n1000:300000:10\nhomelab:broken\n"


def test_subids_by_name_and_by_number() -> None:
    assert _btrfs_owner.subids(SUBUID, "homelab", 1000) == ((100000, 65536), (300000, 10))
    assert _btrfs_owner.subids(SUBUID, "third", 1003) == ()


def test_an_account_covers_its_subordinate_ids_and_no_others() -> None:
    account = Principal("homelab", 1000, ((100000, 65536),))
    assert [number for number in (999, 1000, 1001, 99999, 100000, 100998, 165535, 165536) if account.covers(number)] == [1000, 100000, 100998, 165535]
    assert not Principal("homelab", None).covers(0)


def test_a_number_is_exact() -> None:
    assert _btrfs_owner.owner("1000") == Principal("1000", 1000)
    assert _btrfs_owner.group("12") == Principal("12", 12)


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_btrfs_owner, "_read", lambda path: "root:1:5\nnobody:100000:65536\n" if path == "/etc/subuid" else "nobody:200000:65536\n")
    assert _btrfs_owner.owner("root") == Principal("root", 0)
    assert _btrfs_owner.owner("nobody") == Principal("nobody", 65534, ((100000, 65536),))
    assert _btrfs_owner.owner("no-such-account") == Principal("no-such-account", None)
    assert _btrfs_owner.group("no-such-group") == Principal("no-such-group", None)
    assert _btrfs_owner.owner(None) is None
    assert _btrfs_owner.group(None) is None


@pytest.mark.parametrize(("text", "wanted"), [("0750", 0o750), ("750", 0o750), ("2770", 0o2770), ("02770", 0o2770)])
def test_mode(text: str, wanted: int) -> None:
    assert _btrfs_owner.mode(text) == wanted


@pytest.mark.parametrize("bad", [488, 750, True, "u=rwx", "0888", "", "75", "075000"])
def test_mode_refused(bad: object) -> None:
    with pytest.raises(BtrfsError, match="quoted octal"):
        _btrfs_owner.mode(bad)


def test_context_type() -> None:
    whole = "system_u:object_r:user_home_t:s0:c1,c2"
    assert _btrfs_owner.type_of(whole) == "user_home_t"
    assert _btrfs_owner.type_of(None) is None
    assert _btrfs_owner.with_type(whole, "container_file_t") == "system_u:object_r:container_file_t:s0:c1,c2"
    assert _btrfs_owner.with_type(None, "container_file_t") == "system_u:object_r:container_file_t:s0"


def test_context_on_a_descriptor(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    stored: dict[str, bytes] = {}
    monkeypatch.setattr(os, "setxattr", lambda fd, key, value: stored.update({key: value}))
    monkeypatch.setattr(os, "getxattr", lambda fd, key: stored[key])
    _btrfs_owner.set_context(3, "a:b:c:s0")
    assert stored == {"security.selinux": b"a:b:c:s0\0"}
    assert _btrfs_owner.context(3) == "a:b:c:s0"
