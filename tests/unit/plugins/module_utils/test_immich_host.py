# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a host decides how Immich is deployed."""

from __future__ import annotations

import os

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _immich_host as host

V1 = "fpu sse sse2"
V2 = V1 + " cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
V3 = V2 + " abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"


@pytest.mark.parametrize(
    ("flags", "machine", "level"), [(V1, "x86_64", 1), (V2, "x86_64", 2), (V3, "x86_64", 3), (V3.replace("sse4_2", ""), "x86_64", 1), (V3, "aarch64", 0)]
)
def test_cpu_level(flags, machine, level):
    assert host.cpu_level(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: sse4_2\n", machine) == level


def test_cpu_without_flags():
    assert host.cpu_level("", "x86_64") == 1


def test_image_of_a_unit():
    assert host.image_of("[Container]\nImage=ghcr.io/immich-app/immich-server:v2.5.5\n") == "ghcr.io/immich-app/immich-server:v2.5.5"
    assert host.image_of("# Image=x\n") == ""


@pytest.mark.parametrize(("text", "closed"), [("A=1\nIMMICH_ALLOW_SETUP=false\n", True), ("IMMICH_ALLOW_SETUP=true\n", False), ("", False)])
def test_setup_closed(text, closed):
    assert host.setup_closed(text) is closed


def test_mounts_below_a_directory():
    table = "".join(
        f"2{number} 1 0:4{number} / {point} rw - ext4 /dev/a rw\n"
        for number, point in enumerate(["/", "/srv", "/srv/a", r"/srv/a/b\040c", "/srv/a/d/e", "/srv/ab"])
    )
    assert host.mounts_below(table, "/srv/a") == ["b c", "d/e"]
    assert host.mounts_below(table, "/srv/ab") == []


def test_cdi():
    assert host.cdi_kinds(["cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n", '{"cdiVersion": "0.6.0", "kind": "intel.com/gpu"}', "nothing"]) == [
        "intel.com/gpu",
        "nvidia.com/gpu",
    ]


def test_extensions():
    assert host.extensions_of("vchord 0.4.3\nvector 0.8.0\n") == {"vchord": "0.4.3", "vector": "0.8.0"}
    assert host.extensions_of("") == {}


def test_what_stands_in_the_place_of_a_directory(tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    asked = {"a": tmp_path / "file", "b": tmp_path / "file/below", "c": tmp_path / "fifo", "d": tmp_path, "e": tmp_path / "new/one", "f": None, "g": ""}
    found = host.obstacles(asked)
    assert [line.partition(":")[0] for line in found] == ["a", "b", "c"]
    assert found[1].startswith(f"b: {tmp_path}/file is a file and no directory")
