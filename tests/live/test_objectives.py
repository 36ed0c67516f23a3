# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objectives and alerts, as Prometheus itself has them."""

from __future__ import annotations

import functools
import json
import re
import time
import typing as t
import urllib.parse

import pytest
from live.absent import Absent
from live.api import Podman
from live.card import Claim
from live.expected import Facts
from live.host import Host
from live.web import Web

Rule = dict[str, t.Any]


class Prometheus:
    def __init__(self, web: Web) -> None:
        self._web = web
        self._place = web.on_network("prometheus", 9090, "systemd-monitoring_inside")

    def get(self, path: str, **words: str) -> t.Any:
        answer = self._web.ask(self._place, f"/api/v1/{path}?{urllib.parse.urlencode(words)}")
        assert answer.status == 200, (path, answer)
        return answer.json["data"]

    @functools.cached_property
    def rules(self) -> list[Rule]:
        return [{**rule, "file": group["file"]} for group in self.get("rules")["groups"] for rule in group["rules"]]

    def rule(self, name: str, **labels: str) -> Rule:
        """The only rule of that name and these labels."""
        found = [rule for rule in self.rules if rule["name"] == name and labels.items() <= rule.get("labels", {}).items()]
        assert len(found) == 1, (name, labels, len(found))
        return found[0]

    def value(self, query: str, seconds: float = 120) -> float:
        """The value of a query which has one; a Prometheus that has just been started needs a while for it."""
        deadline = time.monotonic() + seconds
        while True:
            result = self.get("query", query=query)["result"]
            if len(result) == 1:
                return float(result[0]["value"][1])
            assert time.monotonic() < deadline, f"{query} has {len(result)} values"
            time.sleep(2)


@pytest.fixture(scope="module")
def prometheus(web: Web, podman: Podman, absent: Absent) -> Prometheus:
    if "prometheus" not in podman.containers:
        absent("prometheus", "no such container runs")
    return Prometheus(web)


def test_objective(claim: Claim, prometheus: Prometheus, facts: Facts) -> None:
    slo = claim.about["slo"]
    objective = float(facts["variables"].get(f"immich_monitoring_{slo}_objective", 0.995))
    days = int(str(facts["variables"].get("immich_monitoring_window", "30d")).removesuffix("d"))
    found = prometheus.value(f'slo:objective:ratio{{sloth_slo="{slo}"}}')
    period = prometheus.value(f'slo:time_period:days{{sloth_slo="{slo}"}}')
    assert (found, period) == (objective, days)
    if "immich_monitoring_window" not in facts["variables"] and f"immich_monitoring_{slo}_objective" not in facts["variables"]:
        assert (round(found * 100, 6), period) == (claim.about["percent"], claim.about["days"])
        assert "minutes" not in claim.about or round((1 - found) * period * 24 * 60, 6) == claim.about["minutes"]
    assert prometheus.rule(f"slo:sli_error:ratio_rate{days}d", sloth_slo=slo)["health"] in ("ok", "unknown")


def codes(query: str) -> tuple[bool, str]:
    """Whether the codes of a selector are those that count, and their pattern."""
    match = re.search(r'code(=~|!~)"([^"]+)"', query)
    assert match, query
    return match[1] == "=~", match[2]


def counts(query: str, code: str) -> bool:
    wanted, pattern = codes(query)
    return bool(re.fullmatch(pattern, code)) == wanted


def events(prometheus: Prometheus, slo: str) -> tuple[str, str]:
    """The queries of all requests that count, and of the bad ones."""
    return tuple(prometheus.rule(f"slo:{kind}:increase5m", sloth_slo=slo)["query"] for kind in ("sli_events", "sli_bad_events"))


def test_counted(claim: Claim, prometheus: Prometheus, facts: Facts) -> None:
    """Requests at Traefik's routers: good and bad as the card has it, and what the visitor did wrong counts for nobody unless the inventory says so."""
    every, bad = events(prometheus, claim.about["slo"])
    assert "traefik_router_requests_total" in every and "traefik_router_requests_total" in bad
    assert [code for code in ("200", "201", "304") if not counts(every, code) or counts(bad, code)] == []
    assert [code for code in ("500", "502", "503") if not counts(every, code) or not counts(bad, code)] == []
    strict = facts["variables"].get("immich_monitoring_client_errors", "exclude") == "bad"
    assert (counts(every, "404"), counts(bad, "404")) == (strict, strict)
    assert "immich-upload@file" in every and "immich-upload@file" in bad
    assert ("immich@file" in every) == (claim.about["slo"] == "availability")
    if claim.about["slo"] == "upload":
        assert counts(bad, "413") and counts(bad, "429")


def test_websocket_is_good(claim: Claim, prometheus: Prometheus) -> None:
    every, bad = events(prometheus, "availability")
    assert (counts(every, "0"), counts(bad, "0")) == (True, False)


def test_nothing_is_good(claim: Claim, prometheus: Prometheus) -> None:
    labels = '{sloth_slo="upload"}'
    ratio, uploads = prometheus.value(f"slo:sli_error:ratio_rate5m{labels}"), prometheus.value(f"slo:sli_events:increase5m{labels}")
    assert 1 - ratio == 1.0 if uploads == 0 else 0 <= ratio <= 1


def test_dashboard(claim: Claim, prometheus: Prometheus, podman: Podman, web: Web, facts: Facts, host: Host) -> None:
    """Its panels read the objectives; Grafana, where it runs, has taken it."""
    directory = facts["variables"].get("monitoring_directory", f"{host.home}/containers/config")
    board = json.loads(host.said("cat", f"{directory}/grafana/dashboards/immich/immich.json"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    assert [query for query in queries if "slo:" in query] != []
    if "grafana" in podman.containers:
        assert web.ask(web.on_network("grafana", 3000), "/api/health").json["database"] == "ok"


def test_thumbnail_alert(claim: Claim, prometheus: Prometheus) -> None:
    """By Immich's own metric; a log agent is an option."""
    alert = prometheus.rule("ImmichThumbnailFailureHigh")
    assert (alert["type"], alert["health"]) in (("alerting", "ok"), ("alerting", "unknown"))
    assert alert["labels"]["severity"] == "warning"


def test_thumbnail_threshold(claim: Claim, prometheus: Prometheus, facts: Facts) -> None:
    alert = prometheus.rule("ImmichThumbnailFailureHigh")
    failures = facts["variables"].get("immich_monitoring_thumbnail_failures", 5)
    # An increase over a window is not always whole: the sixth failure may count as 5.8.
    match = re.fullmatch(r"(\S+) > ([0-9.]+)", alert["query"])
    assert match and failures <= float(match[2]) < failures + 1, alert["query"]
    assert "[1h]" in prometheus.rule(match[1])["query"]
    assert alert["duration"] == 600 or "immich_monitoring_thumbnail_for" in facts["variables"]


def test_thumbnail_pipeline(claim: Claim, prometheus: Prometheus, podman: Podman, web: Web) -> None:
    """Server, Prometheus, Alertmanager: each has the next one."""
    metrics = web.ask(web.on_network("immich-server", 8082), "/metrics")
    assert (metrics.status, b"# TYPE " in metrics.body) == (200, True)
    assert "immich_jobs_asset_generate_thumbnails_failed_total" in prometheus.rule("immich:thumbnail_failures:increase1h")["query"]
    assert prometheus.value('up{job="immich", endpoint="microservices"}') == 1
    assert len(prometheus.get("alertmanagers")["activeAlertmanagers"]) == 1


def test_scraped(claim: Claim, prometheus: Prometheus) -> None:
    assert prometheus.value('sum(up{job="immich"})') == 2
    pools = [target for target in prometheus.get("targets", state="active")["activeTargets"] if target["labels"].get("job") == "immich"]
    assert {urllib.parse.urlsplit(target["scrapeUrl"]).port for target in pools} == {8081, 8082}


def test_everything_is_scraped(prometheus: Prometheus) -> None:
    """The containers on this host, at least; what the probe asks for is a fact about the world outside."""
    prometheus.value('sum(up{job="immich"})')
    down = [target for target in prometheus.get("targets", state="active")["activeTargets"] if target["health"] == "down"]
    assert [(target["scrapeUrl"], target["lastError"]) for target in down] == []


def test_no_rule_fails(prometheus: Prometheus) -> None:
    assert [(rule["name"], rule.get("lastError")) for rule in prometheus.rules if rule["health"] == "err"] == []


def test_rules_file(claim: Claim, prometheus: Prometheus, facts: Facts, host: Host) -> None:
    """One file with all rules."""
    directory = facts["variables"].get("monitoring_directory", f"{host.home}/containers/config")
    files = {rule["file"] for rule in prometheus.rules if rule["name"] == claim.about["rule"]}
    assert files == {"/etc/prometheus/rules/immich.yml"}
    assert claim.about["rule"] in host.said("cat", f"{directory}/prometheus/rules/immich.yml")
