# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the look from inside a container judges; what it finds is seen on a machine."""

from __future__ import annotations

import importlib.util
import pathlib
import socket
import typing as t

import pytest

PROGRAM = pathlib.Path(__file__).resolve().parents[3] / "molecule/safe/files/inside.py"
EVERY = {"writes": {"/tmp": "memory"}, "reads": {"/": "its image"}}


@pytest.fixture(scope="module")
def inside() -> t.Any:
    spec = importlib.util.spec_from_file_location("inside", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def found(inside: t.Any, **more: set[str]) -> dict[str, set[str]]:
    return {kind: set() for kind in inside.KINDS} | {"writes": {"/tmp"}, "reads": {"/"}} | more


def test_what_is_listed_is_no_fault(inside: t.Any) -> None:
    assert inside.differences("a", found(inside, secrets={"key"}), EVERY, {"secrets": {"key": "to log in"}}) == []


@pytest.mark.parametrize("kind", ["writes", "reads", "sockets", "devices", "secrets", "capabilities", "inherits", "shares", "others", "lacks"])
def test_more_than_the_list_is_a_fault_of_any_kind(inside: t.Any, kind: str) -> None:
    has = found(inside)
    has[kind] = has[kind] | {"x"}
    assert inside.differences("a", has, EVERY, {}) == [f"a: more than its list, {kind}: x"]


def test_less_than_the_list_is_a_fault(inside: t.Any) -> None:
    assert inside.differences("a", found(inside), EVERY, {"capabilities": {"CHOWN": "gone"}}) == ["a: less than its list, capabilities: CHOWN"]


def test_what_one_look_can_write_is_not_only_read(inside: t.Any) -> None:
    looks = [found(inside, reads={"/", "/data"}), found(inside, writes={"/tmp", "/data"})]
    both = inside.union(*looks)
    assert (both["reads"], both["writes"]) == ({"/"}, {"/tmp", "/data"})


def test_of_two_mounts_on_one_place_the_last_is_seen(inside: t.Any) -> None:
    table = "1 2 0:1 / /a ro - ext4 /dev/a rw\n3 4 0:2 / /a\\040b rw master:3 - tmpfs none rw\n5 1 0:3 / /a rw - btrfs /dev/b rw\n"
    assert inside.mounts(table) == {"/a": "btrfs", "/a b": "tmpfs"}


def test_capabilities_by_name(inside: t.Any) -> None:
    assert inside.names_of(1 << 0 | 1 << 13 | 1 << 40 | 1 << 63) == {"CHOWN", "NET_RAW", "CHECKPOINT_RESTORE", "63"}


@pytest.mark.parametrize(
    ("privileges", "filters", "expected"),
    [("1", "2", set()), ("1", "1", {"a filter of system calls"}), ("0", "2", {"no new privileges"})],
)
def test_a_filter_of_the_machine_is_not_the_containers(inside: t.Any, privileges: str, filters: str, expected: set[str]) -> None:
    assert inside.lacking({"NoNewPrivs": privileges, "Seccomp_filters": filters}, {"Seccomp_filters": "1"}) == expected


def test_a_secret_elsewhere_than_at_its_place_is_told(inside: t.Any) -> None:
    look = inside.Look({"key": b"s3cret", "other": b""})
    look.search("/run/secrets/key", b"s3cret")
    look.search("/etc/app.conf", b"password = s3cret\n")
    look.search("/etc/none.conf", b"nothing")
    look.search(inside.variable(b"AUTH=s3cret"), b"AUTH=s3cret")
    assert look.found["secrets"] == {"key", "key in /etc/app.conf", "key in the environment, AUTH"}


def test_sockets_that_listen_and_files_that_can_be_written(inside: t.Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    look = inside.Look({})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server, socket.socket(socket.AF_UNIX) as deaf:
        server.bind("bus")
        deaf.bind("deaf")
        (tmp_path / "file").write_text("x")
        for name in ("bus", "deaf", "file"):
            look.file(name, "/place")
    assert (look.found["sockets"], look.found["writes"]) == ({"bus"}, {"/place"})
    assert inside.can_create(str(tmp_path)) == 0
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bus", "deaf", "file"]
