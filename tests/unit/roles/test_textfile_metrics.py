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
