# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role immich_monitoring writes: rules, dashboard, pipelines. Whether the rules do right is tests/rules' affair."""

from __future__ import annotations

import functools
import itertools
import json
import re

import dashboard
import known
import promql
import pytest
import rendering
import yaml
from ansible_collections.patriark.homelab.plugins.plugin_utils._checks import evaluate


@functools.cache
def groups(variant):
    return yaml.safe_load(rendering.rules(variant))["groups"]


def all_rules(variant):
    return [rule for group in groups(variant) for rule in group["rules"]]


def records():
    return {rule["record"] for variant in rendering.VARIANTS for rule in all_rules(variant) if "record" in rule}


# Rules


@pytest.mark.parametrize("variant", rendering.VARIANTS)
def test_rules_read_what_is_recorded_or_known(variant):
    own = {rule["record"] for rule in all_rules(variant) if "record" in rule}
    assert {rule["expr"]: sorted(odd) for rule in all_rules(variant) if (odd := promql.metrics(rule["expr"]) - own - known.NAMES)} == {}


@pytest.mark.parametrize("variant", rendering.VARIANTS)
def test_alerts_say_what_is_needed_to_act(variant):
    headings = {line.removeprefix("### ").strip().lower() for line in (rendering.ROOT / "docs/runbooks.md").read_text().splitlines() if line.startswith("### ")}
    for rule in all_rules(variant):
        if "alert" not in rule:
            continue
        assert rule["labels"]["app"] == "immich"
        assert rule["labels"]["severity"] in ("critical", "warning", "none")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]
        page, _hash, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page.endswith("/docs/runbooks.md") and anchor == rule["alert"].lower() and anchor in headings
        assert ("dashboard_url" in rule["annotations"]) == ("immich_monitoring_grafana_url" in rendering.VARIANTS[variant])


def test_every_runbook_has_its_alert():
    names = {rule["alert"] for variant in rendering.VARIANTS for rule in all_rules(variant) if "alert" in rule}
    headings = set(re.findall(r"(?m)^### (.*)$", (rendering.ROOT / "docs/runbooks.md").read_text()))
    assert headings == names


def test_the_table_of_alerts_is_true():
    wanted = {
        (rule["alert"], rule["labels"]["severity"], rule.get("for", "")) for variant in rendering.VARIANTS for rule in all_rules(variant) if "alert" in rule
    }
    found = set()
    for row in re.findall(r"(?m)^\| (`Immich.*) \|$", (rendering.ROOT / "docs/monitoring.md").read_text()):
        names, severity, waits, _says = (cell.strip() for cell in row.split("|"))
        found |= {(name, severity, waits) for name in re.findall(r"`(\w+)`", names)}
    assert found == wanted


def test_every_alert_of_the_role_monitoring_has_its_chapter():
    text = (rendering.ROOT / "roles/monitoring/templates/monitoring-rules.yml.j2").read_text()
    names = re.findall(r"- alert: (\w+)", text)
    assert names and re.findall(r"runbook_url: << monitoring_runbook_url >>#(\w+)", text) == [name.lower() for name in names]
    assert set(names) == set(re.findall(r"(?m)^### (.*)$", (rendering.ROOT / "docs/alerting.md").read_text()))


def test_no_threshold_is_beyond_reach():
    """At 90 % a burn of 14.4 would be a ratio of 1.44, which nothing reaches."""
    for variant in rendering.VARIANTS:
        for rule in all_rules(variant):
            for number in re.findall(r"ratio_rate\w+\{[^}]*\}\) > ([\d.]+)", rule["expr"]):
                assert 0 < float(number) <= 0.9


# Bounds of the variables


def unmet(**options):
    named = {f"immich_monitoring_{name}": value for name, value in options.items()}
    rows = rendering.templated("{{ __immich_monitoring_bounds }}", named)
    facts = rendering.templated("{{ __immich_monitoring_given }}", named)
    return {result.name for result in evaluate(rows, facts) if not result.ok}


def test_the_defaults_are_within_bounds():
    assert unmet() == set()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"availability_objective": 1}, "objectives that are not above 0.5 and below 1"),
        ({"upload_objective": 0.5}, "objectives that are not above 0.5 and below 1"),
        ({"upload_objective": 99.5}, "objectives that are not above 0.5 and below 1"),
        ({"page_errors": 0}, "numbers below 1"),
        ({"ticket_errors": -1}, "numbers below 1"),
        ({"thumbnail_failures": 0}, "numbers below 1"),
        ({"disk_percent": 95}, "immich_monitoring_disk_percent"),
        ({"certificate_days": 30}, "immich_monitoring_certificate_days"),
        ({"interval": "5m"}, "immich_monitoring_interval"),
        ({"interval": "soon"}, "immich_monitoring_interval"),
        ({"probe_for": "3 minutes"}, "durations that Prometheus does not understand"),
        ({"thumbnail_for": 10}, "durations that Prometheus does not understand"),
        ({"routers": ["immich"]}, "names of routers that Traefik's metrics cannot have"),
        ({"upload_router": "immich.*@file"}, "names of routers that Traefik's metrics cannot have"),
        ({"routers": ["immich@file", "immich-probe@file"]}, "the probe's router among those that count"),
        ({"probe_url": "photos.example.org"}, "immich_monitoring_probe_url"),
        ({"containers": ['a"}']}, "names of containers and mount points that are not plain"),
        ({"mountpoints": ["mnt"]}, "names of containers and mount points that are not plain"),
        ({"thumbnail_source": "promtail"}, "who counts failed thumbnails"),
    ],
)
def test_a_value_that_cannot_be_meant_is_told(options, name):
    assert unmet(**options) == {name}


@pytest.mark.parametrize(("kept", "told"), [(15 * 86400, True), (30 * 86400, True), (32 * 86400, False), (None, False)])
def test_a_short_retention_is_told(kept, told):
    rows = rendering.templated("{{ __immich_monitoring_retention }}", {})
    facts = rendering.templated("{{ __immich_monitoring_found }}", {"__immich_monitoring_files": {"retention": kept}})
    assert [result.ok for result in evaluate(rows, facts)] == [not told]


# Files


def test_targets_name_their_jobs():
    files = rendering.templated("{{ __immich_monitoring_prometheus_files }}", rendering.PROBE)
    found = {file["path"]: json.loads(file["content"]) for file in files[1:]}
    assert {path: {group["labels"]["job"] for group in groups} for path, groups in found.items()} == {
        "targets/immich-server.yml": {"immich"},
        "targets/traefik-immich.yml": {"traefik"},
        "targets/probe-immich.yml": {"probe"},
    }
    assert [group["labels"]["endpoint"] for group in found["targets/immich-server.yml"]] == ["api", "microservices"]
    without = rendering.templated("{{ __immich_monitoring_prometheus_files }}", {"immich_monitoring_traefik_targets": []})
    assert [json.loads(file["content"]) for file in without[2:]] == [[], []]


DASHBOARD = {"grafana/dashboards/immich/immich.json", "grafana/provisioning/dashboards/immich.yml"}
ALLOY, PROMTAIL = "alloy/immich.alloy", "promtail/immich-promtail.yml"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, DASHBOARD),
        ({"immich_monitoring_grafana": False}, set()),
        ({"immich_monitoring_thumbnail_source": "alloy"}, {*DASHBOARD, ALLOY}),
        ({"immich_monitoring_thumbnail_source": "promtail"}, {*DASHBOARD, PROMTAIL}),
        ({"immich_monitoring_thumbnail_source": "alloy", "immich_monitoring_state": "absent"}, set()),
    ],
)
def test_what_is_not_wanted_any_more_goes(options, wanted):
    """Each file is named in every run, in the place where an earlier run with other options wrote it: with its text, or without to be removed."""
    readers = rendering.templated("{{ __immich_monitoring_readers }}", options)
    config = "~homelab/containers/config/"
    found = {f"{item['directory']}/{file['name']}": file["content"] for item in readers for file in item["files"]}
    assert set(found) == {config + path for path in (*DASHBOARD, ALLOY, PROMTAIL)}
    assert {path.removeprefix(config) for path, content in found.items() if content is not None} == wanted


def test_links_lead_to_the_grafana_of_the_role_monitoring():
    def link(**options):
        return rendering.templated("{{ __immich_monitoring_grafana_url }}", options)

    assert link() == ""
    assert link(monitoring_grafana_url="https://grafana.example.org/") == "https://grafana.example.org"
    assert link(monitoring_grafana_url="https://a.example.org", immich_monitoring_grafana_url="https://b.example.org") == "https://b.example.org"


# Dashboard


def test_the_dashboard_is_what_its_script_makes():
    assert json.loads(dashboard.FILE.read_text(encoding="utf-8")) == dashboard.dashboard(), "run tests/rules/dashboard.py --write"


def panels():
    return [panel for panel in json.loads(dashboard.FILE.read_text(encoding="utf-8"))["panels"] if panel["type"] != "row"]


def test_panels_read_what_is_recorded_or_known():
    assert {
        panel["title"]: odd
        for panel in panels()
        for query in panel["targets"]
        if (odd := promql.metrics(query["expr"].replace("[$__rate_interval]", "[5m]")) - records() - known.NAMES)
    } == {}


def test_panels_follow_the_habits():
    whole = json.loads(dashboard.FILE.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in whole["panels"]]
    assert len(ids) == len(set(ids))
    assert whole["id"] is None and not whole["editable"] and re.fullmatch(r"[a-z-]{1,40}", whole["uid"]) and "__inputs" not in whole
    assert whole["uid"] == rendering.templated("{{ __immich_monitoring_dashboard_uid }}", {})
    for panel in panels():
        assert panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        assert {json.dumps(item["datasource"]) for item in (panel, *panel["targets"])} == {'{"type": "prometheus", "uid": "${datasource}"}'}


def test_panels_do_not_overlap():
    places = [panel["gridPos"] for panel in json.loads(dashboard.FILE.read_text(encoding="utf-8"))["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"] or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )


# Lines of the journal

HEAD = "[Nest] 7  - 02/25/2026, 9:03:47 AM   ERROR "
WHERE = '[Microservices:{"id":"da4da549-92c1-4a50-9f2b-2f0f5f1d3c11"}] '
FAILED = [
    HEAD + WHERE + "Unable to run job handler (AssetGenerateThumbnails): Error: Input file is missing: /data/upload/a.jpg",
    "\x1b[31m[Nest] 7  - \x1b[39m02/25/2026, 9:03:47 AM   \x1b[31mERROR\x1b[39m \x1b[38;5;3m" + WHERE + "\x1b[39m"
    "\x1b[31mUnable to run job handler (AssetGenerateThumbnails): Error: VipsJpeg: premature end of JPEG image\x1b[39m",
    '{"level":"error","pid":7,"timestamp":1772010227000,"message":"Unable to run job handler (AssetGenerateThumbnails): Error: x","context":"Microservices"}',
    HEAD + WHERE + "Unable to run job handler (generate-thumbnails): Error: Input file has corrupt header: VipsJpeg: premature end of JPEG image",
    HEAD + WHERE + "Unable to run job handler (thumbnailGeneration/generate-jpeg-thumbnail): Error: x",
]
OTHERS = [
    HEAD + WHERE + "Unable to run job handler (AssetGenerateThumbnailsQueueAll): Error: x",
    HEAD + WHERE + "Unable to run job handler (AssetExtractMetadata): Error: x",
    "[Nest] 7  - 02/25/2026, 9:03:47 AM     LOG [Microservices:MediaService] Generated thumbnails (AssetGenerateThumbnails)",
    "    at AssetGenerateThumbnails (/usr/src/app/dist/services/media.service.js:1:1)",
    '{"level":"error","pid":7,"timestamp":1,"message":"Unable to run job handler (AssetGenerateThumbnailsQueueAll): Error: x","context":"Microservices"}',
]


def selector_pattern(source):
    text = rendering.rendered({"alloy": "immich.alloy.j2", "promtail": "immich-promtail.yml.j2"}[source], {"immich_monitoring_thumbnail_source": source})
    if source == "promtail":
        (job,) = yaml.safe_load(text)
        selector = job["pipeline_stages"][0]["match"]["selector"]
        assert job["pipeline_stages"][0]["match"]["stages"][0]["metrics"]["immich_thumbnail_failures_total"]["max_idle_duration"] == "25h"
    else:
        selector = json.loads(re.search(r'selector = (".*")', text).group(1))
        assert 'max_idle_duration = "25h"' in text and text.count("{") == text.count("}")
    assert selector.startswith('{job="immich-journal"} |~ "')
    return json.loads(selector.split("|~ ", 1)[1])


@pytest.mark.parametrize("source", ["alloy", "promtail"])
def test_the_pipelines_count_failed_thumbnails_and_nothing_else(source):
    pattern = re.compile(selector_pattern(source))
    assert [line for line in FAILED if not pattern.search(line)] == []
    assert [line for line in OTHERS if pattern.search(line)] == []


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ('sum by (x) (rate(foo_total{a="b"}[5m])) / on (y) group_left max without (z) (slo:x:y5m) or vector(1)', {"foo_total", "slo:x:y5m"}),
        ("up offset 1h unless on (job) down == 1", {"up", "down"}),
        ('label_replace(a{b="c"}, "class", "$1xx", "code", "(.)..")', {"a"}),
    ],
)
def test_metrics_of_an_expression(expr, names):
    assert promql.metrics(expr) == names
