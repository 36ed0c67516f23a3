# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role monitoring: what cannot be meant is told before anything is touched, and every row of verify can fail, over answers recorded from a
real machine, one change at a time."""

from __future__ import annotations

import copy
import functools
import json
import pathlib
import typing as t

import inventory as images
import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible_collections.patriark.homelab.plugins.filter import inventory_faults, network_lines
from ansible_collections.patriark.homelab.plugins.plugin_utils import _checks

ROOT = pathlib.Path(__file__).parents[3]
# Debian 13, podman 5.4.2, Prometheus 2.53, Alertmanager 0.28: the scenario monitoring, deployed.
RECORDED = json.loads((pathlib.Path(__file__).parent / "data" / "monitoring-prometheus-2.53.json").read_text())
Change = t.Callable[[dict[str, t.Any]], t.Any]


@functools.cache
def plugins() -> None:
    init_plugin_loader()


def templated(text: str, **more: t.Any) -> t.Any:
    plugins()
    loader = DataLoader()
    variables: dict[str, t.Any] = {}
    for file in (ROOT / "roles/monitoring/defaults/main.yml", *sorted((ROOT / "roles/monitoring/vars/main").glob("*.yml"))):
        variables.update(loader.load_from_file(str(file), trusted_as_template=True))
    variables.update(loader.load_from_file(str(ROOT / "examples/card/inventory.yml"), trusted_as_template=True)["all"]["vars"])
    variables.update(images.variables("stand-in"))
    templar = Templar(loader=loader, variables={**variables, **more})
    for module in (inventory_faults, network_lines):
        for name, function in module.FilterModule().filters().items():
            templar.environment.filters[f"patriark.homelab.{name}"] = function
    return templar.template(trust_as_template(text))


# Before anything is touched


def refused(**options: t.Any) -> set[str]:
    named = {f"monitoring_{name}": value for name, value in options.items()}
    facts = {"monitoring": templated("{{ __monitoring_plan }}", **named)}
    return {result.name for result in _checks.evaluate(templated("{{ __monitoring_plan_checks }}", **named), facts) if not result.ok}


WEBHOOK = "https://discord.com/api/webhooks/1/x"


def test_what_the_card_asks_for_fits() -> None:
    assert refused(discord_webhook=WEBHOOK) == set()
    assert refused() == {"somebody is told of alerts"}


def test_an_address_that_is_planned_and_not_taken_is_told() -> None:
    networks = templated("{{ homelab_networks }}")
    networks[2]["static"] |= {"alertmanager": "10.89.4.71", "blackbox-exporter": "10.89.4.73"}

    def found(**more: t.Any) -> t.Any:
        return templated("{{ __monitoring_plan.unused }}", homelab_networks=networks, **more)

    assert found() == ["alertmanager 10.89.4.71 on monitoring", "blackbox-exporter 10.89.4.73 on monitoring"]
    assert found(monitoring_inside_network="monitoring") == []
    rows = _checks.evaluate(templated("{{ __monitoring_plan_checks }}"), {"monitoring": {**templated("{{ __monitoring_plan }}"), "unused": found()}})
    (row,) = [result for result in rows if result.found == found()]
    assert not row.ok
    assert "monitoring_inside_network to monitoring" in row.fix


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"retention_days": 31}, "days that samples are kept"),
        ({"scrape_interval": "30"}, "options that are no duration"),
        ({"repeat_interval": "never"}, "options that are no duration"),
        ({"receivers": [{"name": "mine", "discord_configs": [{"webhook_url": WEBHOOK}]}]}, "receivers with a credential written inline"),
        ({"receivers": [{"name": "mine", "email_configs": [{"auth_password": "x"}]}]}, "receivers with a credential written inline"),
        ({"receivers": [{"name": "mine", "pushover_configs": [{"token": "x"}]}]}, "receivers with a credential written inline"),
        (
            {"receivers": [{"name": "mine", "webhook_configs": [{"url_file": "/u", "http_config": {"oauth2": {"client_secret": "x"}}}]}]},
            "receivers with a credential written inline",
        ),
        ({"scrape_interval": "30s\n"}, "options that are no duration"),
        ({"heartbeat_url": "https://hc-ping.com/x\n"}, "address of the heartbeat"),
        ({"discord_webhook": WEBHOOK + "\n"}, "webhook of Discord"),
        ({"directory": "/etc"}, "directories of monitoring that cannot be used as they are written"),
        (
            {"prometheus_directory": "/srv/p/alerts", "alertmanager_directory": "/srv/p"},
            "directories of monitoring that are the same as others, or lie inside one another",
        ),
        ({"inside_network": "monitoring"}, "address at which Prometheus listens, and that its network has not planned for it"),
        ({"routes": [{"receiver": "somebody"}]}, "receivers that routes name and nobody defines"),
        ({"discord_webhook": "https://discord.com/channels/1/2"}, "webhook of Discord"),
        ({"heartbeat_url": "hc-ping.com/x"}, "address of the heartbeat"),
        ({"publish": {"prometheus": ["0.0.0.0:9090"]}}, "ports open to the network"),
        ({"publish": {"grafana": ["[::]:3000"]}}, "ports open to the network"),
        ({"publish": {"grafana": ["3000"]}}, "ports open to the network"),
        ({"prometheus_image": "docker.io/prom/prometheus:latest"}, "images with floating tags"),
        ({"prometheus_image": "docker.io/prom/prometheus"}, "images with floating tags"),
        ({"alertmanager_image": "docker.io/prom/alertmanager:v0"}, "images with floating tags"),
    ],
)
def test_what_cannot_be_meant_is_told(options: dict[str, t.Any], name: str) -> None:
    assert refused(**{"discord_webhook": WEBHOOK, **options}) == {name}


@pytest.mark.parametrize(
    "options",
    [
        {"receivers": [{"name": "mine", "discord_configs": [{"webhook_url_file": "/run/secrets/x"}]}], "routes": [{"receiver": "mine"}]},
        {"publish": {"prometheus": ["127.0.0.1:9090"], "grafana": ["[::1]:3000"]}},
        {"prometheus_image": "registry.example.org:5000/prometheus@sha256:" + "0a" * 32},
        {"retention_days": 32},
        {"inside_network": "monitoring", "prometheus_address": ""},
        {"inside_network": "monitoring", "prometheus_address": "10.89.4.70"},
    ],
)
def test_what_can_be_meant_is_taken(options: dict[str, t.Any]) -> None:
    assert refused(discord_webhook=WEBHOOK, **options) == set()


def test_prometheus_listens_where_nobody_is_who_only_shows_metrics() -> None:
    assert templated("{{ __monitoring_prometheus_listens }}") == "10.89.249.2"
    assert "monitoring_inside.network:ip=10.89.249.2" in templated("{{ __monitoring_networks.prometheus }}")
    # Podman leads what is published to any address of the container.
    assert templated("{{ __monitoring_prometheus_listens }}", monitoring_publish={"prometheus": ["127.0.0.1:9090"]}) == ""


# verify


def unmet(change: Change | None = None, immich: t.Mapping[str, t.Any] | None = None, **inventory: t.Any) -> list[str]:
    recorded = copy.deepcopy(RECORDED)
    if change is not None:
        change(recorded)
    facts = {"host": {"ready": True}, "monitoring": templated("{{ __monitoring_facts }}", **recorded, **inventory), "immich": immich or {}}
    return sorted(result.name for result in _checks.evaluate(templated("{{ __monitoring_checks }}", **recorded, **inventory), facts) if not result.ok)


def units(recorded: dict[str, t.Any]) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", recorded["__monitoring_info"]["units"])


def answer(recorded: dict[str, t.Any], name: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", recorded["__monitoring_asked"]["answers"][name])


def data(recorded: dict[str, t.Any], name: str) -> t.Any:
    return answer(recorded, name)["json"]["data"]


def stop(recorded: dict[str, t.Any], container: str, requests: t.Sequence[str]) -> None:
    units(recorded)[f"{container}.container"].update(active_state="inactive", container_state=None, health=None, stale=False)
    for name in requests:
        answer(recorded, name).update(status=None, json=None, reason=f"{container} does not run")


def kept(days: str) -> Change:
    return lambda r: data(r, "flags").update({"storage.tsdb.retention.time": days})


OF_PROMETHEUS = [name for name in RECORDED["__monitoring_asked"]["answers"] if name != "watchdog"]
FAULTS: list[tuple[str, Change]] = [
    ("units of monitoring that are missing", lambda r: units(r).pop("node-exporter.container")),
    ("units of monitoring that are missing", lambda r: units(r).pop("textfile-metrics.timer")),
    ("units of monitoring that cannot be loaded", lambda r: r["__monitoring_info"]["findings"].append({"unit": "prometheus.container"})),
    ("services of monitoring that are not active", lambda r: units(r)["textfile-metrics.timer"].update(active_state="inactive")),
    ("services of monitoring that are not active", lambda r: stop(r, "prometheus", OF_PROMETHEUS)),
    ("services of monitoring that are not active", lambda r: stop(r, "alertmanager", ["watchdog"])),
    ("containers of monitoring that podman does not call healthy", lambda r: units(r)["alertmanager.container"]["health"].update(status="unhealthy")),
    ("monitoring that does not run what is written", lambda r: units(r)["prometheus.container"].update(stale=True, stale_reasons=["unit"])),
    ("questions to Prometheus and Alertmanager without an answer", lambda r: answer(r, "targets").update(status=None, json=None, reason="timed out")),
    ("questions to Prometheus and Alertmanager without an answer", lambda r: answer(r, "watchdog").update(status=503, json=None)),
    ("targets that are down", lambda r: data(r, "targets")["activeTargets"][0].update(health="down", lastError="connection refused")),
    ("groups of rules that are not loaded", lambda r: data(r, "rules")["groups"].pop()),
    ("rules that cannot be evaluated", lambda r: data(r, "rules")["groups"][0]["rules"][0].update(health="err", lastError="many-to-many")),
    ("last reload of Prometheus was good", lambda r: data(r, "runtime").update(reloadConfigSuccess=False)),
    ("Alertmanagers that Prometheus sends to", lambda r: data(r, "alertmanagers").update(activeAlertmanagers=[])),
    ("alerts that arrive in Alertmanager", lambda r: answer(r, "watchdog").update(json=[])),
    ("days that Prometheus keeps samples", kept("15d")),
    ("days that Prometheus keeps samples", kept("4w")),
    ("days that Prometheus keeps samples", kept("31d12h")),
    ("requests by router of Traefik", lambda r: (data(r, "routers").update(result=[]), data(r, "probe_router").update(result=[]))),
    ("requests of the probe, at a router of their own", lambda r: data(r, "probe_router").update(result=[])),
]


@pytest.mark.parametrize(("row", "change"), FAULTS, ids=[f"{number}-{row[:40]}" for number, (row, dummy) in enumerate(FAULTS)])
def test_a_fault_makes_its_own_row_fail_and_no_other(row: str, change: Change) -> None:
    assert unmet(change) == [row]


def test_a_good_day_has_no_findings() -> None:
    assert unmet() == []


@pytest.mark.parametrize("days", ["32d", "6w", "1y", "40d", "4w4d"])
def test_long_enough_in_any_notation(days: str) -> None:
    assert unmet(kept(days)) == []


def test_without_a_probe_or_a_visit_nothing_is_missed() -> None:
    assert unmet(lambda r: [data(r, name).update(result=[]) for name in ("visits", "routers", "probes", "probe_router")]) == []


def test_without_the_rules_of_immich_none_are_missed() -> None:
    def only_ours(recorded: dict[str, t.Any]) -> None:
        data(recorded, "rules")["groups"] = [group for group in data(recorded, "rules")["groups"] if group["name"] == "monitoring"]

    assert unmet(only_ours) == ["groups of rules that are not loaded"]
    assert unmet(only_ours, immich_monitoring_state="absent") == []


def test_targets_are_not_judged_while_names_are_not_found() -> None:
    assert unmet(first_down, immich={"unresolved": ["redis-immich 10.89.5.4"]}) == []
    assert unmet(first_down, immich={"unresolved": []}) == ["targets that are down"]


@pytest.mark.parametrize("state", ["exited", None])
def test_a_target_whose_container_does_not_run_is_not_told_once_more(state: str | None) -> None:
    def down(recorded: dict[str, t.Any]) -> None:
        for target in data(recorded, "targets")["activeTargets"]:
            if "immich-server:" in target["scrapeUrl"]:
                target.update(health="down", lastError="no such host")

    server = {"kind": "container", "resource": "immich-server", "container_state": state}
    assert unmet(down, __immich_info={"units": {"immich-server.container": server}}) == []
    assert unmet(down, __immich_info={"units": {"immich-server.container": {**server, "container_state": "running"}}}) == ["targets that are down"]
    assert unmet(down, __traefik_info={"units": {"immich.container": {**server, "resource": "immich"}}}) == ["targets that are down"]

    def without_proxy(recorded: dict[str, t.Any]) -> None:
        data(recorded, "targets")["activeTargets"][-1].update(health="down", scrapeUrl="http://traefik:8082/metrics")

    assert unmet(without_proxy, __traefik_info={"units": {"traefik.container": {**server, "resource": "traefik"}}}) == []
    assert unmet(down, __immich_info={"skipped": True}) == ["targets that are down"]
    assert unmet(down) == ["targets that are down"]


def first_down(recorded: dict[str, t.Any]) -> None:
    data(recorded, "targets")["activeTargets"][0].update(health="down")


@pytest.mark.parametrize(
    ("waited_for", "change"),
    [
        ([], lambda r: None),
        (["prometheus"], lambda r: answer(r, "watchdog").update(json=[])),
        (["prometheus"], lambda r: data(r, "targets")["activeTargets"][1].update(health="unknown")),
        ([], first_down),
        (["alertmanager"], lambda r: (first_down(r), start(r, "alertmanager", "14:23:30"))),
        (["alertmanager"], lambda r: (answer(r, "watchdog").update(json=[]), start(r, "alertmanager", "14:23:30"), start(r, "prometheus", "14:00:00"))),
        ([], lambda r: (answer(r, "watchdog").update(json=[]), start(r, "prometheus", "14:21:09"))),
        ([], lambda r: (answer(r, "watchdog").update(json=[]), units(r)["prometheus.container"].update(started_at=None))),
        ([], lambda r: answer(r, "watchdog").update(json=None, status=None)),
        ([], lambda r: (answer(r, "watchdog").update(json=[]), answer(r, "time").update(json=None))),
        ([], lambda r: (first_down(r), units(r)["alertmanager.container"].update(container_state=None, started_at=None))),
    ],
    ids=[
        "good day",
        "no alert",
        "no sample",
        "down for long",
        "target started",
        "Alertmanager started",
        "no alert for long",
        "started meanwhile",
        "mute",
        "no time",
        "not there",
    ],
)
def test_what_needs_a_moment_after_a_start_is_waited_for(waited_for: list[str], change: Change) -> None:
    recorded = copy.deepcopy(RECORDED)
    start(recorded, "prometheus", "14:23:00")
    recorded["__monitoring_asked"]["answers"]["time"] = {"status": 200, "json": {"data": {"resultType": "scalar", "result": [1795530220.5, "1795530220.5"]}}}
    change(recorded)
    expected = [units(recorded)[f"{name}.container"]["started_at"] for name in waited_for]
    assert templated("{{ __monitoring_just_started }}", **recorded) == expected


def start(recorded: dict[str, t.Any], container: str, clock: str) -> None:
    units(recorded)[f"{container}.container"]["started_at"] = f"2026-11-24T{clock}.242080032Z"


def test_every_row_was_seen_to_fail() -> None:
    rows = templated("{{ __monitoring_checks }}", **RECORDED)
    assert {row["name"] for row in rows} == {row for row, dummy in FAULTS}
