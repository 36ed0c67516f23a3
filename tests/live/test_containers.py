# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers: images, limits, what they may do."""

from __future__ import annotations

import re

import pytest
from live.absent import Absent
from live.api import Podman
from live.card import Claim
from live.expected import Facts, size
from live.host import Host

# What the entry points need: the database gives its files away and becomes another user, so does the cache.
CAPABILITIES = {
    "postgresql-immich": {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID"},
    "redis-immich": {"CAP_CHOWN", "CAP_DAC_READ_SEARCH", "CAP_SETGID", "CAP_SETUID"},
}
NUMBERS = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_FOWNER": 3, "CAP_SETGID": 6, "CAP_SETUID": 7}
OURS = ("immich-server", "immich-microservices", "immich-ml", "postgresql-immich", "redis-immich")


def property_of(host: Host, unit: str, key: str) -> str:
    return host.said("systemctl", "--user", "show", "--value", f"--property={key}", f"{unit}.service").strip()


def test_container(claim: Claim, podman: Podman, facts: Facts, host: Host, absent: Absent) -> None:
    name = claim.about["name"]
    if name not in facts["containers"]:
        absent(name, "the inventory asks for none")
    expected = facts["containers"][name]
    assert podman.containers[name]["ImageName"].partition("@")[0] == expected["image"]
    assert property_of(host, name, "MemoryMax") == str(size(expected["memory"]))


def test_deployment(claim: Claim, podman: Podman, facts: Facts) -> None:
    assert podman.names() & set(OURS) == set(facts["containers"])


def test_its_service_is_active_and_starts_at_boot(container: str, host: Host) -> None:
    assert property_of(host, container, "ActiveState") == "active"
    assert "default.target" in property_of(host, container, "WantedBy").split()


def test_its_image_is_pinned(container: str, podman: Podman, facts: Facts) -> None:
    if facts["variables"].get("immich_allow_floating_tags"):
        return
    asked = podman.containers[container]["ImageName"]
    assert "@sha256:" in asked or not re.search(r"(:latest|/[^:]+)$", asked)


def test_the_image_it_runs_is_the_one_of_that_name(container: str, podman: Podman) -> None:
    running = podman.containers[container]
    assert podman.client.images.get(running["ImageName"]).id.removeprefix("sha256:") == running["Image"].removeprefix("sha256:")


def test_no_user(claim: Claim, podman: Podman, facts: Facts) -> None:
    assert {name: podman.containers[name]["Config"].get("User", "") for name in facts["containers"]} == dict.fromkeys(facts["containers"], "")


def test_graphics_device(claim: Claim, podman: Podman, host: Host, absent: Absent) -> None:
    if host.run("test", "-d", "/dev/dri").returncode != 0:
        absent("graphics device", "the host has no /dev/dri")
    there = set(host.said("ls", "/dev/dri").split())
    assert set(podman.exec("immich-server", "ls", "/dev/dri").split()) == there


def test_no_device_for_models(claim: Claim, podman: Podman, facts: Facts, absent: Absent) -> None:
    if "immich-ml" not in facts["containers"] or facts["variables"].get("immich_ml_devices", "none") != "none":
        absent("machine learning on the processor", "the inventory has it elsewhere")
    assert podman.exec("immich-ml", "sh", "-c", "ls /dev/dri 2>/dev/null || true") == ""


@pytest.fixture
def kernel(container: str, podman: Podman, host: Host) -> dict[str, str]:
    """What the kernel says about the first process of the container."""
    status = host.said("cat", f"/proc/{podman.containers[container]['State']['Pid']}/status")
    return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)


def test_no_new_privileges_and_a_seccomp_filter(kernel: dict[str, str], host: Host) -> None:
    assert kernel["NoNewPrivs"] == "1"
    # The host may be a container itself, and everything in it have a filter of that.
    machine = re.search(r"(?m)^Seccomp_filters:\t([0-9]+)$", host.said("cat", "/proc/1/status"))
    assert machine and int(kernel["Seccomp_filters"]) > int(machine[1])


def test_no_capability_beyond_those_it_needs(kernel: dict[str, str], container: str, podman: Podman) -> None:
    needed = CAPABILITIES.get(container, set())
    assert set(podman.containers[container]["BoundingCaps"] or []) <= needed
    given = {number for number in range(64) if int(kernel["CapBnd"], 16) >> number & 1}
    assert given <= {NUMBERS[capability] for capability in needed}


def test_its_root_is_read_only(container: str, podman: Podman, facts: Facts, absent: Absent) -> None:
    if not facts["variables"].get("immich_read_only", True):
        absent("read-only root", "the inventory wants it writable")
    assert podman.containers[container]["HostConfig"]["ReadonlyRootfs"] is True
    podman.exec(container, "sh", "-c", "for d in / /etc /usr /var /opt; do ! test -w $d || exit 1; done")
