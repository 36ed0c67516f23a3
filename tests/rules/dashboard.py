# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana's dashboard of the role immich_monitoring, in the classic form that Grafana 10 to 13 read.

tests/rules/dashboard.py             compare the committed file with what comes out
tests/rules/dashboard.py --write     write it
"""

from __future__ import annotations

import json
import pathlib
import sys
import typing as t

FILE = pathlib.Path(__file__).resolve().parents[2] / "roles/immich_monitoring/files/dashboard.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"

Json = dict[str, t.Any]


class Query(t.NamedTuple):
    expr: str
    legend: str = ""


class Panel(t.NamedTuple):
    title: str
    description: str
    kind: str
    width: int
    height: int
    unit: str
    queries: list[Query]
    steps: t.Sequence[tuple[str, float | None]] = ()
    options: Json | None = None
    custom: Json | None = None
    decimals: int | None = None


def stat(title: str, description: str, unit: str, expr: str, steps: list[tuple[str, float | None]], *, width: int = 4, decimals: int | None = None) -> Panel:
    options = {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": "value"}
    return Panel(title, description, "stat", width, 4, unit, [Query(expr)], steps, options, decimals=decimals)


def series(title: str, description: str, unit: str, *queries: Query, steps: list[tuple[str, float | None]] | None = None, width: int = 12) -> Panel:
    # Gaps stay gaps: what is not known is not zero.
    custom: Json = {"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "spanNulls": False, "showPoints": "never"}
    if steps:
        custom["thresholdsStyle"] = {"mode": "dashed"}
    options = {"legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return Panel(title, description, "timeseries", width, 8, unit, list(queries), steps or [], options, custom)


BUDGET: list[tuple[str, float | None]] = [(RED, None), (YELLOW, 0), (GREEN, 0.25)]
BURN: list[tuple[str, float | None]] = [(GREEN, None), (YELLOW, 1), (ORANGE, 3), (RED, 6), ("dark-red", 14.4)]
FEW: list[tuple[str, float | None]] = [(GREEN, None), (YELLOW, 1), (RED, 6)]


def objective(name: str, title: str, what: str) -> list[Panel]:
    this = f'{{sloth_id="immich-{name}"}}'
    return [
        stat(f"{title}: succeeded", f"Share of {what} in the period that succeeded.", "percentunit",
             f"1 - slo:period_burn_rate:ratio{this} * slo:error_budget:ratio{this}", [(RED, None), (GREEN, 0.995)], decimals=3),
        stat(f"{title}: budget left", "Share of the error budget that is left in the period. Below zero the objective is missed.", "percentunit",
             f"slo:period_error_budget_remaining:ratio{this}", BUDGET, decimals=1),
        stat(f"{title}: failures left", f"How many {what} may still fail before the objective is missed.", "short",
             f"slo:period_error_budget_remaining:requests{this}", [(RED, None), (YELLOW, 0), (GREEN, 1)], decimals=1),
    ]  # fmt: skip


def burn(name: str, title: str) -> Panel:
    this = f'{{sloth_id="immich-{name}"}}'
    queries = [
        Query(f"slo:sli_error:ratio_rate{window}{this} / on (sloth_id) group_left slo:error_budget:ratio{this}", window) for window in ("5m", "1h", "6h", "3d")
    ]
    text = (
        "How many times faster than allowed the budget is used, over each window. 1 uses it up exactly; alerts look at 1 and 3 (tickets), 6 and 14.4 (pages)."
    )
    return series(f"{title}: burn rate", text, "short", *queries, steps=BURN)


OURS = '{name=~"immich-.*|postgresql-immich|redis-immich"}'
ROUTERS, UPLOADS = 'router=~"$routers"', 'router="$upload_router"'
SERVICE = 'service=~"immich@.+",code="502"'
ROWS: list[tuple[str, list[Panel]]] = [
    ("Objectives", [
        *objective("availability", "Requests", "requests"), *objective("upload", "Uploads", "uploads"),
        burn("availability", "Requests"), burn("upload", "Uploads"),
    ]),
    ("Right now", [
        stat("From outside", "Whether the probe reaches Immich through the proxy: 1 yes, 0 no.", "short",
             'min(probe_success{job="probe",app="immich"})', [(RED, None), (GREEN, 1)]),
        stat("Certificate", "Days until the certificate ends.", "d",
             '(min(probe_ssl_earliest_cert_expiry{job="probe",app="immich"}) - time()) / 86400', [(RED, None), (YELLOW, 7), (GREEN, 14)], decimals=0),
        stat("Failed thumbnails", "Within the last hour.", "short", "immich:thumbnail_failures:increase1h", FEW, decimals=0),
        stat("Last backup", "Time since the last good backup.", "s", "time() - max(immich_backup_last_success_timestamp_seconds)",
             [(GREEN, None), (YELLOW, 108000), (RED, 129600)]),
        stat("Containers down", "Containers of Immich that podman does not call running.", "short",
             f"count(podman_container_running{OURS} == 0) or (0 * count(podman_container_running))", [(GREEN, None), (RED, 1)]),
        stat("Alerts", "Alerts about Immich that fire, the heartbeat aside.", "short",
             'count(ALERTS{app="immich",alertstate="firing",severity!="none"}) or vector(0)', [(GREEN, None), (RED, 1)]),
    ]),
    ("Traffic", [
        series("Requests by answer", "At the routers, so that a retried request counts once. WebSockets count when they end.", "reqps",
               Query('sum by (class) (label_replace('
                     f'rate(traefik_router_requests_total{{{ROUTERS},code!="0"}}[$__rate_interval]), "class", "${{1}}xx", "code", "(.).."))', "{{class}}"),
               Query(f'sum(rate(traefik_router_requests_total{{{ROUTERS},code="0"}}[$__rate_interval]))', "WebSocket ended")),
        series("Uploads by answer", "413 and 429 are the proxy refusing a photo; 499 is the phone giving up.", "short",
               Query(f"sum by (code) (increase(traefik_router_requests_total{{{UPLOADS}}}[1h]))", "{{code}}")),
        series("Refused or kept off by the proxy", "403 by CrowdSec, 429 by the rate limit, 503 by the circuit breaker or by Immich itself.", "reqps",
               Query(f'sum by (code) (rate(traefik_router_requests_total{{{ROUTERS},code=~"403|429|503"}}[$__rate_interval]))', "{{code}}")),
        # Traefik has a counter of retries, and its middleware (3.7) never counts there.
        series("Retries", "Requests that Traefik sent again because Immich took no connection: failures of the service that no visitor saw.", "reqps",
               Query(f"sum(rate(traefik_service_requests_total{{{SERVICE}}}[$__rate_interval])) "
                     f"- sum(rate(traefik_router_requests_total{{{SERVICE}}}[$__rate_interval]))", "retries")),
        series("Probe", "Time until Immich answered the probe, and failures as gaps in success.", "s",
               Query('probe_duration_seconds{job="probe",app="immich"}', "duration"), width=12),
        series("Failed thumbnails within an hour", "Counted as the alert counts them.", "short", Query("immich:thumbnail_failures:increase1h", "failures"),
               steps=[(GREEN, None), (RED, 6)], width=12),
    ]),
    ("Host", [
        series("Free space", "Share of each file system that is free.", "percentunit",
               Query("node_filesystem_avail_bytes / node_filesystem_size_bytes", "{{mountpoint}}"), steps=[(RED, None), (GREEN, 0.1)]),
        series("BTRFS: unallocated", "Without unallocated space BTRFS cannot write metadata.", "bytes", Query("btrfs_unallocated_bytes", "{{path}}")),
        series("Restarts within half an hour", "systemd's restarts of each container.", "short",
               Query(f"increase(podman_container_restarts_total{OURS}[30m])", "{{name}}")),
        series("Healthy", "1 when the health check of a container passes.", "short",
               Query(f"podman_container_healthy{OURS}", "{{name}}")),
    ]),
]  # fmt: skip


def panel(number: int, item: Panel, x: int, y: int) -> Json:
    steps = [{"color": colour, "value": value} for colour, value in item.steps or [(GREEN, None)]]
    defaults: Json = {"unit": item.unit, "color": {"mode": "thresholds" if item.kind == "stat" else "palette-classic"}, "custom": item.custom or {},
                      "thresholds": {"mode": "absolute", "steps": steps}, "noValue": "no data"}  # fmt: skip
    if item.decimals is not None:
        defaults["decimals"] = item.decimals
    targets = [
        {
            "refId": chr(ord("A") + place),
            "datasource": SOURCE,
            "expr": query.expr.strip(),
            "legendFormat": query.legend or "__auto",
            "range": item.kind != "stat",
            "instant": item.kind == "stat",
        }
        for place, query in enumerate(item.queries)
    ]
    return {
        "id": number,
        "type": item.kind,
        "title": item.title,
        "description": item.description,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": item.width, "h": item.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": item.options or {},
        "targets": targets,
    }


def panels() -> list[Json]:
    found: list[Json] = []
    y = 0
    for title, items in ROWS:
        found.append({"id": len(found) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []})
        y, x, tallest = y + 1, 0, 0
        for item in items:
            if x + item.width > 24:
                x, y, tallest = 0, y + tallest, 0
            found.append(panel(len(found) + 1, item, x, y))
            x, tallest = x + item.width, max(tallest, item.height)
        y += tallest
    return found


def textbox(name: str, label: str, value: str) -> Json:
    return {"name": name, "label": label, "type": "textbox", "query": value, "current": {"text": value, "value": value}, "hide": 0}


def dashboard() -> Json:
    return {
        "id": None,
        "uid": "immich-slo",
        "title": "Immich",
        "description": "Objectives, traffic and health of Immich. Written by the role patriark.homelab.immich_monitoring.",
        "tags": ["immich", "slo"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}, "hide": 0, "refresh": 1, "regex": ""},
                textbox("routers", "Routers", "immich@file|immich-sign-in@file|immich-upload@file"),
                textbox("upload_router", "Router of uploads", "immich-upload@file"),
            ]
        },
        "annotations": {"list": []},
        "links": [],
        "panels": panels(),
    }


def main() -> int:
    text = json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"
    if "--write" in sys.argv[1:]:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(text, encoding="utf-8")
        return 0
    if not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        print(f"{FILE.name} is not what tests/rules/dashboard.py makes; run it with --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
