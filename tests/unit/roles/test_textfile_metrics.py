# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib.util
import pathlib
import typing as t

import pytest

PROGRAM = pathlib.Path(__file__).resolve().parents[3] / "roles/monitoring/files/textfile_metrics.py"

# podman 5.4.2: podman ps --all --format json, cut down to the keys in use
LISTING = [
    {"Names": ["immich-server"], "State": "running", "Status": "Up 2 minutes (healthy)", "Labels": {"PODMAN_SYSTEMD_UNIT": "immich-server.service"}},
    {"Names": ["immich-ml"], "State": "running", "Status": "Up 2 minutes (unhealthy)", "Labels": {"PODMAN_SYSTEMD_UNIT": "immich-ml.service"}},
    {"Names": ["new"], "State": "running", "Status": "Up 2 seconds (starting)", "Labels": {"PODMAN_SYSTEMD_UNIT": "new.service"}},
    {"Names": ["by-hand"], "State": "exited", "Status": "Exited (0) 3 weeks ago", "Labels": None},
]
# systemd 257: systemctl --user show --property=Id,NRestarts
SHOWN = "NRestarts=0\nId=immich-server.service\n\nNRestarts=7\nId=immich-ml.service\n\nId=nonsense.service\nNRestarts=[not set]\n"

# /proc/self/mountinfo
MOUNTS = r"""23 1 7:12 / / rw,noatime shared:1 - ext4 /dev/sda2 rw
24 23 0:21 / /proc rw,nosuid shared:2 - proc proc rw
30 23 0:30 / /run rw,nosuid shared:3 - tmpfs tmpfs rw
31 30 8:9 / /run/media/stick rw shared:4 - ext4 /dev/sdc1 rw
40 23 0:47 / /mnt/btrfs-pool rw,relatime shared:5 - btrfs /dev/sdb rw,subvol=/
41 23 8:1 / /mnt/old\040disk rw - ext4 /dev/sdd1 rw
42 23 8:2 / /mnt/old\040disk ro,relatime - xfs /dev/sde1 rw
43 23 0:50 / /mnt/phone rw - fuse.sshfs phone: rw
44 23 0:51 / /home/homelab/.local/share/containers/storage/overlay/a/merged rw - overlay overlay rw
half a line
"""


@pytest.fixture(scope="module")
def program() -> t.Any:
    spec = importlib.util.spec_from_file_location("textfile_metrics", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_containers_with_state_health_and_restarts(program: t.Any) -> None:
    text = program.exposition(program.containers(LISTING, program.restarts_of(SHOWN)))
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        'podman_container_running{name="immich-server"} 1',
        'podman_container_running{name="immich-ml"} 1',
        'podman_container_running{name="new"} 1',
        'podman_container_running{name="by-hand"} 0',
        'podman_container_healthy{name="immich-server"} 1',
        'podman_container_healthy{name="immich-ml"} 0',
        'podman_container_restarts_total{name="immich-server"} 0',
        'podman_container_restarts_total{name="immich-ml"} 7',
    ]
    assert "# TYPE podman_container_restarts_total counter\n" in text
    assert text.count("# TYPE podman_container_running gauge\n") == 1


def test_labels_are_escaped(program: t.Any) -> None:
    assert program.exposition([("btrfs_unallocated_bytes", {"path": '/a"b\\c'}, 5)]).endswith('btrfs_unallocated_bytes{path="/a\\"b\\\\c"} 5\n')


def test_a_directory_without_btrfs_has_no_series(program: t.Any) -> None:
    assert program.btrfs(["/proc", "/no/such/place"]) == []


def test_mounts_of_disks_are_told_from_others(program: t.Any) -> None:
    assert program.mounts(MOUNTS) == {
        "/": {"device": "/dev/sda2", "fstype": "ext4", "options": "rw,noatime"},
        "/mnt/btrfs-pool": {"device": "/dev/sdb", "fstype": "btrfs", "options": "rw,relatime"},
        "/mnt/old disk": {"device": "/dev/sde1", "fstype": "xfs", "options": "ro,relatime"},
    }


def test_file_systems_as_the_node_exporter_names_them(program: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not answer costs its own series only."""
    answers = {"/": "4096 100 50 40 1000 900\n", "/mnt/old disk": "1024 10 0 0 0 0\n"}
    real = program.mounts
    monkeypatch.setattr(program, "mounts", lambda text: real(MOUNTS))
    monkeypatch.setattr(program, "run", lambda argv, wait: answers.get(argv[-1]))
    lines = program.exposition(program.file_systems()).splitlines()
    assert [line for line in lines if line.startswith("node_filesystem_avail_bytes")] == [
        'node_filesystem_avail_bytes{device="/dev/sda2",fstype="ext4",mountpoint="/"} 163840',
        'node_filesystem_avail_bytes{device="/dev/sde1",fstype="xfs",mountpoint="/mnt/old disk"} 0',
    ]
    assert [line.rpartition(" ")[2] for line in lines if 'mountpoint="/"' in line] == ["409600", "204800", "163840", "1000", "900", "0"]
    assert 'node_filesystem_readonly{device="/dev/sde1",fstype="xfs",mountpoint="/mnt/old disk"} 1' in lines


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("0\n", [("immich_database_up", {}, 1), ("immich_database_checksum_failures_total", {}, 0)]),
        ("12\n", [("immich_database_up", {}, 1), ("immich_database_checksum_failures_total", {}, 12)]),
        (None, [("immich_database_up", {}, 0)]),
        ("no number\n", [("immich_database_up", {}, 0)]),
    ],
)
def test_the_database(program: t.Any, monkeypatch: pytest.MonkeyPatch, told: str | None, expected: list[t.Any]) -> None:
    monkeypatch.setattr(program, "run", lambda argv: told)
    assert program.database("postgresql-immich") == expected


def test_podman_that_does_not_answer_has_no_series(program: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "run", lambda argv: None)
    assert program.podman() == []


def test_the_file_is_replaced_in_one_step_and_readable(program: t.Any, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "podman.prom"
    program.write(str(path), "a 1\n")
    program.write(str(path), "a 2\n")
    assert path.read_text() == "a 2\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [item.name for item in tmp_path.iterdir()] == ["podman.prom"]
