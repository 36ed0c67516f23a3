# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database password: generated, in a file of the containers that need it, and nowhere else."""

from __future__ import annotations

import json
import re

import pytest
from live.absent import Absent
from live.api import Podman
from live.expected import Facts
from live.host import Host

NAME = "immich-db-password"


@pytest.fixture(scope="module")
def password(podman: Podman, facts: Facts, absent: Absent) -> str:
    if "postgresql-immich" not in facts["containers"]:
        absent("postgresql-immich", "the inventory asks for none")
    return podman.exec("postgresql-immich", "cat", f"/run/secrets/{NAME}").strip()


def test_it_is_a_secret_of_podman(podman: Podman) -> None:
    assert podman.client.secrets.exists(NAME)


def test_it_is_a_generated_one(password: str, facts: Facts, absent: Absent) -> None:
    if "immich_database_password" in facts["variables"]:
        absent("generated password", "the inventory gives one")
    assert re.fullmatch(r"[A-Za-z0-9]{20,}", password)


def test_it_is_in_no_environment_and_no_argument(container: str, password: str, podman: Podman, host: Host) -> None:
    data = podman.containers[container]
    assert password not in json.dumps(data)
    process = f"/proc/{data['State']['Pid']}"
    assert password not in host.said("podman", "unshare", "cat", f"{process}/environ", f"{process}/cmdline")


def test_it_is_in_no_file_that_others_may_read(password: str, host: Host) -> None:
    """Units, env files and what is configured."""
    places = [f"{host.home}/.config/containers", f"{host.home}/.config/systemd", f"{host.home}/containers"]
    found = host.run("grep", "--recursive", "--files-with-matches", "--fixed-strings", "--file=-", *places, stdin=f"{password}\n")
    assert (found.stdout, found.returncode) in (("", 1), ("", 2))


def test_it_is_not_in_the_journal(password: str, host: Host) -> None:
    journal = host.said("journalctl", "--user", "--no-pager", "--lines=20000", "--output=cat")
    assert journal.strip()
    assert password not in journal
