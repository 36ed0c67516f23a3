# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the card, typed as the account."""

from __future__ import annotations

import re
import time

import pytest
from live.absent import Absent
from live.api import Podman
from live.card import Claim
from live.expected import Facts
from live.host import Host
from live.web import Web

UNITS_DIRECTORY = ".config/containers/systemd"


@pytest.fixture
def database(facts: Facts, absent: Absent) -> str:
    if "postgresql-immich" not in facts["containers"]:
        absent("postgresql-immich", "the inventory asks for none")
    return "postgresql-immich"


def sql(podman: Podman, query: str) -> str:
    return podman.exec("postgresql-immich", "psql", "-U", "immich", "-d", "immich", "-Atc", query).strip()


def test_dependencies(claim: Claim, podman: Podman, facts: Facts, host: Host) -> None:
    required = host.said("systemctl", "--user", "show", "--value", "--property=Requires", "immich-server.service").split()
    behind = {f"{name}.service" for name in ("postgresql-immich", "redis-immich") if name in facts["containers"]}
    assert behind <= set(required)
    assert facts["site"] is None or "traefik" in podman.names()


def test_vectors(claim: Claim, podman: Podman, facts: Facts, database: str) -> None:
    extension = {"pgvector": "vector", "pgvecto.rs": "vectors"}.get(facts["variables"].get("immich_database_vector_extension", ""), "vchord")
    assert sql(podman, f"select count(*) from pg_extension where extname = '{extension}'") == "1"
    tag = re.search(r":(\d+)", facts["containers"][database]["image"])
    assert tag is None or int(sql(podman, "show server_version_num")) // 10000 == int(tag[1])


def test_data_checksums_are_on(podman: Podman, database: str) -> None:
    assert sql(podman, "show data_checksums") == "on"
    assert sql(podman, "select coalesce(sum(checksum_failures), 0) from pg_stat_database") == "0"


def test_status(claim: Claim, facts: Facts, host: Host) -> None:
    said = host.typed(f"systemctl --user status --no-pager {' '.join(facts['containers'])}")
    assert said.count("Active: active (running)") == len(facts["containers"])


@pytest.fixture(scope="module")
def restarted(podman: Podman, host: Host) -> tuple[str, str]:
    """The server's container before and after one restart, when it is healthy again."""
    before = podman.inspect("immich-server")["Id"]
    host.typed("systemctl --user restart immich-server.service")
    deadline = time.monotonic() + 300
    while not podman.healthy("immich-server") and time.monotonic() < deadline:
        time.sleep(1)
    podman.forget()
    return before, podman.inspect("immich-server")["Id"]


@pytest.mark.writes
def test_restart(claim: Claim, restarted: tuple[str, str], podman: Podman) -> None:
    assert restarted[0] != restarted[1]
    assert podman.healthy("immich-server")


def test_logs(claim: Claim, facts: Facts, host: Host, absent: Absent) -> None:
    """With the option first: podman takes what comes behind the name for further names."""
    name = claim.about["name"]
    if name not in facts["containers"]:
        absent(name, "the inventory asks for none")
    followed = host.run("timeout", "1", "podman", "logs", "-f", name)
    assert (followed.returncode, bool(followed.stdout + followed.stderr)) == (124, True)


def test_log_tail(claim: Claim, facts: Facts, host: Host, absent: Absent) -> None:
    name = claim.about["name"]
    if name not in facts["containers"]:
        absent(name, "the inventory asks for none")
    said = host.typed(f"podman logs --tail {claim.about['lines']} {name} 2>&1")
    assert 0 < len(said.splitlines()) <= claim.about["lines"]


def test_journal(claim: Claim, host: Host) -> None:
    """The line works, whether or not there is anything to find; and the journal has the unit's lines at all."""
    found = host.run("bash", "-c", claim.says)
    assert found.returncode in (0, 1) and found.stderr == ""
    assert "Immich" in host.said("journalctl", "--user", "-u", "immich-server.service", "--no-pager")


def test_investigation(claim: Claim, host: Host) -> None:
    """The level stands before the job: the card's pattern finds nothing, ours is tried with a damaged photo (--write)."""
    journal = host.said("journalctl", "--user", "-u", "immich-server.service", "--no-pager", "--output=cat", "--lines=50000")
    failures = [line for line in journal.splitlines() if "AssetGenerateThumbnails" in line and "ERROR" in line]
    assert [line for line in failures if not re.search(r"ERROR .*AssetGenerateThumbnails", line)] == []


def test_database_answers(claim: Claim, podman: Podman, database: str) -> None:
    assert "accepting connections" in podman.exec(database, "pg_isready", "-U", "immich", "-d", "immich")


@pytest.mark.writes
def test_vacuum(claim: Claim, database: str, host: Host) -> None:
    assert host.typed(claim.says).strip() == "VACUUM"


def test_dump(claim: Claim, database: str, host: Host) -> None:
    """The whole of it, read and thrown away."""
    assert "PostgreSQL database dump complete" in host.typed(f"{claim.says.removesuffix(' >')} | tail --lines=5")


@pytest.mark.writes
def test_restore(claim: Claim, database: str, podman: Podman, host: Host) -> None:
    """Into an empty database beside the live one, to the end or not at all; never into one that is used."""
    podman.exec(database, "createdb", "-U", "immich", "live_witness")
    try:
        host.typed(
            f"podman exec {database} pg_dump -U immich immich | podman exec -i {database} psql -U immich -q -o /dev/null -v ON_ERROR_STOP=1 live_witness"
        )
        counted = [podman.exec(database, "psql", "-U", "immich", "-d", name, "-Atc", 'select count(*) from "user"') for name in ("immich", "live_witness")]
        assert counted[0] == counted[1]
    finally:
        podman.exec(database, "dropdb", "-U", "immich", "live_witness")


def test_first_user(claim: Claim, podman: Podman, web: Web, database: str) -> None:
    """Nobody can sign up as the administrator any more once there is one, and that is the first of all."""
    admin = sql(podman, """select "isAdmin" from "user" order by "createdAt" limit 1""")
    config = web.ask(web.on_network("immich-server", 2283), "/api/server/config").json
    assert (admin, config["isInitialized"]) in (("t", True), ("", False))


def test_server_uses_models(claim: Claim, podman: Podman, web: Web, facts: Facts, absent: Absent) -> None:
    if "immich-ml" not in facts["containers"]:
        absent("immich-ml", "the inventory asks for none")
    assert podman.exec("immich-server", "curl", "-s", "http://immich-ml:3003/ping") == "pong"
    features = web.ask(web.on_network("immich-server", 2283), "/api/server/features").json
    assert (features["smartSearch"], features["facialRecognition"]) == (True, True)


def test_quadlets(claim: Claim, facts: Facts, host: Host) -> None:
    """Where systemd finds them by itself."""
    paths = {name: host.said("systemctl", "--user", "show", "--value", "--property=SourcePath", f"{name}.service").strip() for name in facts["containers"]}
    assert paths == {name: f"{host.home}/{UNITS_DIRECTORY}/immich/{name}.container" for name in facts["containers"]}
