# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks Prometheus what every panel of a dashboard shows, and which alerts there were; prints one JSON object.

    record.py PROMETHEUS DASHBOARD MINUTES

Runs where Prometheus can be reached. tests/rules/picture.py draws what it prints.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
import typing as t
import urllib.parse
import urllib.request

STEPS = 240
RATE_INTERVAL = "30s"


def ask(url: str, path: str, **options: t.Any) -> t.Any:
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(options)}", timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def main() -> None:
    url, dashboard, minutes = sys.argv[1], json.loads(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8")), float(sys.argv[3])
    end = time.time()
    # Only what there was: the first sample of anything is where the pictures begin.
    born = float(ask(url, "query", query="min(min_over_time(timestamp(up)[1d:10s]))", time=end)[0]["value"][1])
    span = {"start": max(end - minutes * 60, born), "end": end}
    span["step"] = max(1, round((end - span["start"]) / STEPS))
    variables = {item["name"]: item["query"] for item in dashboard["templating"]["list"] if item["type"] == "textbox"}
    variables["__rate_interval"] = RATE_INTERVAL
    found: dict[str, list[list[t.Any]]] = {}
    for panel in dashboard["panels"]:
        for query in panel.get("targets", []):
            expr = query["expr"]
            for name, value in variables.items():
                expr = expr.replace(f"${name}", value)
            now = query["instant"]
            found.setdefault(str(panel["id"]), []).append(ask(url, "query", query=expr, time=end) if now else ask(url, "query_range", query=expr, **span))
    json.dump({**span, "panels": found, "alerts": ask(url, "query_range", query='ALERTS{severity!="none"}', **span)}, sys.stdout)


if __name__ == "__main__":
    main()
