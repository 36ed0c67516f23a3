# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for one directory, without any file system. tests/btrfs has the real ones."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import FS_NOCOW
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_audit import Audit
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directory import Facts, Want, plan
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_owner import Principal

PATH = "/pool/pg"
ABSENT = Facts(PATH, anchor="/pool", kind="btrfs")
GOOD = Facts(PATH, exists=True, anchor=PATH, kind="btrfs", flags=FS_NOCOW, uid=1000, gid=1000, mode=0o700, audit=Audit(files=3, dirs=2), empty=False)


def facts(**changes: t.Any) -> Facts:
    return dataclasses.replace(GOOD, **changes)


def test_nothing_to_do() -> None:
    todo = plan(Want(PATH, nocow=True, owner=Principal("1000", 1000), mode=0o700), GOOD, "fail")
    assert (todo.changed, todo.errors, todo.warnings) == (False, [], [])


def test_absent_shows_everything_in_the_diff() -> None:
    todo = plan(
        Want(PATH, nocow=True, subvolume=True, owner=Principal("later", None), setype="container_file_t"), dataclasses.replace(ABSENT, selinux=True), "fail"
    )
    assert todo.create
    assert todo.make_subvolume
    assert todo.after == {"state": "directory", "subvolume": True, "nocow": True, "owner": "later", "mode": "0755", "setype": "container_file_t"}
    assert todo.errors == []


def test_umask_makes_the_mode_of_a_new_directory() -> None:
    assert plan(Want(PATH), dataclasses.replace(ABSENT, umask=0o027), "fail").mode == 0o750


def test_a_sub_id_of_the_account_is_the_account() -> None:
    homelab = Principal("homelab", 1000, ((100000, 65536),))
    want = Want(PATH, owner=homelab, group=homelab)
    assert not plan(want, facts(uid=100998, gid=100998), "fail").changed
    todo = plan(want, facts(uid=99, gid=100998), "fail")
    assert (todo.uid, todo.gid) == (1000, None)
    assert plan(Want(PATH, owner=Principal("1000", 1000)), facts(uid=100998), "fail").uid == 1000


def test_setype_counts_only_with_selinux() -> None:
    want = Want(PATH, setype="container_file_t")
    assert not plan(want, facts(context="system_u:object_r:user_home_t:s0"), "fail").changed
    assert plan(want, facts(context="system_u:object_r:user_home_t:s0", selinux=True), "fail").setype == "container_file_t"
    assert not plan(want, facts(context="system_u:object_r:container_file_t:s0", selinux=True), "fail").changed


@pytest.mark.parametrize(("wanted", "word"), [(True, "copy-on-write"), (False, "NOCOW (no checksums, no repair)")])
def test_wrong_data_is_an_error_with_the_size(wanted: bool, word: str) -> None:
    audit = Audit(files=9, wrong_data=8, data=3 << 30, offenders=[f"f{number}" for number in range(8)])
    todo = plan(Want(PATH, nocow=wanted), facts(audit=audit, flags=FS_NOCOW if wanted else 0), "warn")
    (error,) = todo.errors
    assert f"8 of 9 files, 3.0 GiB of data, are {word}: f0, f1, f2, f3, f4 and 3 more" in error


def test_unreadable_is_a_warning_that_names() -> None:
    (warning,) = plan(Want(PATH, nocow=True), facts(audit=Audit(unreadable=1, unreadable_names=["base"])), "warn").warnings
    assert warning.endswith("were not judged: base")


def test_nocow_cannot_be_judged_without_reading() -> None:
    (error,) = plan(Want(PATH, nocow=True), facts(audit=None, flags=None), "warn").errors
    assert "run as root" in error


@pytest.mark.parametrize(
    ("want", "kind", "unsupported", "errors", "warnings"),
    [
        (Want(PATH, nocow=True), "ext4", "fail", 1, 0),
        (Want(PATH, nocow=True), "ext4", "warn", 0, 0),
        (Want(PATH, nocow=True), "xfs", "warn", 0, 0),
        (Want(PATH, nocow=True), "overlay", "warn", 0, 1),
        (Want(PATH, nocow=True), "zfs", "warn", 0, 1),
        (Want(PATH, nocow=True), "zfs", "ignore", 0, 0),
        (Want(PATH, nocow=False), "ext4", "warn", 0, 1),
        (Want(PATH, subvolume=True), "ext4", "warn", 0, 1),
        (Want(PATH, subvolume=True), "ext4", "ignore", 0, 0),
        (Want(PATH), "ext4", "fail", 0, 0),
    ],
)
def test_other_file_systems(want: Want, kind: str, unsupported: str, errors: int, warnings: int) -> None:
    todo = plan(want, Facts(PATH, anchor="/", kind=kind), unsupported)
    assert (len(todo.errors), len(todo.warnings)) == (errors, warnings)
    assert "nocow" not in todo.after
    assert "subvolume" not in todo.after


def test_read_only_matters_only_for_a_change() -> None:
    assert plan(Want(PATH, nocow=True), facts(readonly=True), "warn").errors == []
    (error,) = plan(Want(PATH, nocow=True, mode=0o755), facts(readonly=True), "warn").errors
    assert "read-only" in error
    assert error.endswith("has to change: mode")


def test_an_obstacle_is_the_only_message() -> None:
    todo = plan(Want(PATH, nocow=True, subvolume=True), Facts(PATH, obstacle="it is a symlink to x"), "fail")
    assert todo.errors == [f"{PATH}: it is a symlink to x"]


@pytest.mark.parametrize(("number", "wanted"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 40, "5120.0 GiB")])
def test_size(number: int, wanted: str) -> None:
    assert _btrfs.size(number) == wanted


def test_what_containers_of_others_use_is_not_given_away():
    want = Want(PATH, owner=Principal("photos", 1001, ((165536, 65536),)), mode=0o750)
    todo = plan(want, facts(uid=1000, others=("postgres (pid 77, postgresql-immich.service)",)), "fail")
    assert len(todo.errors) == 1
    assert "postgresql-immich.service" in todo.errors[0]
    assert "not given to photos" in todo.errors[0]
    assert not plan(want, facts(uid=1000), "fail").errors
