# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of verify about the proxy can fail, and a fault makes only its own row fail: over facts recorded from a real machine, one change at a time."""

from __future__ import annotations

import copy
import json
import pathlib
import typing as t

import inventory as images
import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.patriark.homelab.plugins.filter import network_lines
from ansible_collections.patriark.homelab.plugins.plugin_utils import _checks

ROOT = pathlib.Path(__file__).parents[3]
# Debian 13, podman 5.4.2, Traefik 3.7.15: the scenario proxy, on a good day.
RECORDED = json.loads((pathlib.Path(__file__).parent / "data" / "proxy-podman-5.4.2.json").read_text(encoding="utf-8"))
UNIT, SOCKET = "traefik.container", "traefik-websecure.socket"
CROWDSEC = {"lapi": "crowdsec:8080", "key": "k", "failure": "open", "plugin_version": "v1.4.5"}

# Certificates of one's own, and no authority.
GIVEN = {"traefik_certificates": [{"name": "site", "certificate": "c", "key": "k"}], "immich_ingress_cert_resolver": ""}


def unmet(recorded: dict[str, t.Any], inventory: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    """Name -> what was found, of each row that is not met."""
    loader = DataLoader()
    variables: dict[str, t.Any] = {}
    for role in ("traefik", "immich"):
        files = [f"roles/{role}/defaults/main.yml", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "roles" / role / "vars/main").glob("*.yml")))]
        for name in files:
            variables.update(loader.load_from_file(str(ROOT / name), trusted_as_template=True))
    variables.update(loader.load_from_file(str(ROOT / "examples/card/inventory.yml"), trusted_as_template=True)["all"]["vars"])
    variables.update(images.variables("stand-in"))
    templar = Templar(loader, variables={**variables, "ansible_check_mode": False, **recorded, **inventory})
    for name, function in network_lines.FilterModule().filters().items():
        templar.environment.filters[f"patriark.homelab.{name}"] = function
    rows = "{{ __traefik_plan_checks + __traefik_checks + __immich_ingress_timeout_checks + __immich_ingress_file_checks + __immich_ingress_outside_checks }}"
    facts = {"traefik": "{{ __traefik_plan | combine(__traefik_facts) }}", "ingress": "{{ __immich_ingress_seen | combine(__immich_ingress_facts) }}"}
    seen = {"immich": {"version": "2.5.5"}} | more | {key: templar.template(trust_as_template(text)) for key, text in facts.items()}
    return {result.name: result.found for result in _checks.evaluate(templar.template(trust_as_template(rows)), seen) if not result.ok}


class Machine:
    """What was read, to be changed by one fault."""

    def __init__(self) -> None:
        self.all = copy.deepcopy(RECORDED)
        self.inventory: dict[str, t.Any] = {}
        self.info, self.live, self.file = (self.all[name] for name in ("__traefik_info", "__traefik_live", "__traefik_file"))
        self.units = self.info["units"]

    def show(self, **shown: t.Any) -> None:
        """Another certificate."""
        self.all["__immich_ingress_live"]["certificates"]["photos.patriark.org"].update({"faults": ["photos.patriark.org: none"], **shown})

    def refuse(self, which: str) -> None:
        self.all[which] = {"msg": "it is refused, 1 finding:\nx.yml: this file, which is not ours, is broken", "failed": True}


def stop(machine: Machine) -> None:
    machine.units[UNIT].update(active_state="inactive", container_state=None, health=None, networks={})
    machine.live.update(error="the container traefik does not run")


FAULTS: list[tuple[str, t.Callable[[Machine], t.Any]]] = [
    ("units that are missing", lambda m: m.units.pop(SOCKET)),
    ("units that systemd or podman cannot load", lambda m: m.info.update(findings=[{"unit": UNIT, "reason": "not-found"}])),
    ("services and sockets that are not active", lambda m: m.units[SOCKET].update(active_state="inactive")),
    ("services and sockets that are not active", lambda m: m.units[UNIT].update(container_state="paused", health=None)),
    ("services and sockets that are not active", stop),
    ("containers that podman does not call healthy", lambda m: m.units[UNIT]["health"].update(status="unhealthy")),
    ("containers that do not run what is written", lambda m: m.units[UNIT].update(stale=True, stale_reasons=["its image changed"])),
    ("services that systemd had to restart", lambda m: m.units[UNIT].update(n_restarts=1)),
    ("planned addresses that Traefik does not hold", lambda m: m.units[UNIT]["networks"].update({"systemd-monitoring": "10.89.4.200"})),
    ("memory limit in bytes", lambda m: m.units[UNIT].update(memory_max=None)),
    ("the API, asked inside the container", lambda m: m.live.update(error="connection refused")),
    (
        "what Traefik has and cannot use",
        lambda m: m.live.update(unusable=[{"kind": "routers", "name": "immich", "status": "disabled", "errors": ['middleware "x@file" does not exist']}]),
    ),
    ("what is wrong with the files that Traefik watches", lambda m: m.refuse("__traefik_file")),
    ("what is wrong with the files that Traefik watches", lambda m: m.file.update(reason="the file differs")),
    ("what is wrong with Immich's file in the proxy", lambda m: m.refuse("__immich_ingress_file")),
    ("what is wrong with Immich's file in the proxy", lambda m: m.all["__immich_ingress_file"].update(reason="there is no such file")),
    ("entry points whose read timeout cuts uploads", lambda m: m.all["__immich_ingress_live"]["read_timeouts"].update(websecure=60.0)),
    (
        "CrowdSec's local API, asked with the bouncer's key",
        lambda m: (m.inventory.update(traefik_crowdsec=CROWDSEC), m.live.update(crowdsec="does not answer: timed out")),
    ),
    (
        "CrowdSec's local API, asked with the bouncer's key",
        lambda m: (m.inventory.update(traefik_crowdsec=CROWDSEC), m.live.update(crowdsec="refuses the key")),
    ),
    ("status of the sign-up of a first administrator, asked as visitors come", lambda m: m.all["__immich_ingress_live"]["visits"][1].update(status=400)),
    ("status of Immich, asked as visitors come", lambda m: m.all["__immich_ingress_live"]["visits"][0].update(status=502)),
    ("status of Immich, asked as visitors come", lambda m: m.all["__immich_ingress_live"]["visits"][0].update(status=None)),
    ("names whose first page visitors do not get", lambda m: m.all["__immich_ingress_live"]["visits"][2].update(status=404)),
    ("certificates that no visitor would take", lambda m: m.show(faults=["photos.patriark.org: the certificate by x is for a.example.org"])),
    ("certificates that no visitor would take", lambda m: (m.show(default=True), m.inventory.update(GIVEN))),
    ("certificates that no visitor would take", lambda m: (m.show(default=True), m.inventory.update(GIVEN, immich_ingress_cert_resolver="le"))),
    ("certificates that the authority has not given yet", lambda m: m.show(default=True)),
    ("ports that the account may not listen on", lambda m: m.all.update(__traefik_port_start={"content": "MTAyNAo="})),
]


@pytest.mark.parametrize(("row", "change"), FAULTS, ids=[f"{number}-{row[:40]}" for number, (row, dummy) in enumerate(FAULTS)])
def test_a_fault_makes_its_own_row_fail_and_no_other(row: str, change: t.Callable[[Machine], t.Any]) -> None:
    machine = Machine()
    change(machine)
    assert set(unmet(machine.all, machine.inventory)) == {row}


def test_a_good_day() -> None:
    assert unmet(RECORDED, {}) == {}
    machine = Machine()
    machine.live.update(crowdsec="answers", plugins={"crowdsec": ["immich"]})
    assert unmet(machine.all, {"traefik_crowdsec": CROWDSEC}) == {}


def test_where_no_certificate_is_asked_for_one_row_tells_so() -> None:
    machine = Machine()
    machine.show(default=True)
    assert set(unmet(machine.all, {"traefik_certificates": [], "immich_ingress_cert_resolver": ""})) == set()


def test_without_a_session_nothing_that_runs_in_it_is_missed() -> None:
    machine = Machine()
    machine.info.update(findings=[{"unit": UNIT, "messages": []}])
    machine.units.pop(SOCKET)
    for unit in machine.units.values():
        unit.update(active_state=None, container_state=None, health=None, networks={}, memory_max=None, n_restarts=1)
    machine.units[UNIT].update(stale=True, stale_reasons=["its unit changed"])
    machine.live.update(error="the container traefik does not run")
    assert unmet(machine.all, {}, host={"ready": False}) == {}
    assert unmet(machine.all, {}, host={"ready": True}) != {}


def test_every_row_of_the_state_was_seen_to_fail() -> None:
    """The rows of the plan are in test_traefik_render.py."""
    loader = DataLoader()
    rows = loader.load_from_file(str(ROOT / "roles/traefik/vars/main/checks.yml"))["__traefik_checks"]
    ours = loader.load_from_file(str(ROOT / "roles/immich/vars/main/ingress.yml"))
    rows += ours["__immich_ingress_timeout_checks"] + ours["__immich_ingress_file_checks"] + ours["__immich_ingress_outside_checks"]
    assert {row["name"] for row in rows} <= {row for row, dummy in FAULTS}
