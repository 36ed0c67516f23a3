# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws what the dashboard and the alerts looked like in a run of the scenario monitoring, from what Prometheus' API said (record.py there).

    tests/rules/picture.py RECORD FOLDER      writes FOLDER/dashboard.svg and FOLDER/alerts.svg, prints the panels that had nothing to show

It is a drawing of the data and not of Grafana, whose program cannot be had where the tests run.
"""

from __future__ import annotations

import json
import math
import pathlib
import sys
import typing as t
from xml.sax.saxutils import escape

import dashboard

COLUMN, LINE = 50, 36  # of Grafana's grid of 24 columns
WIDTH = 24 * COLUMN
COLOURS = {"green": "#2f9e44", "yellow": "#c99700", "orange": "#e8590c", "red": "#d6303a", "dark-red": "#8b1a1a"}
LINES = ("#1f6fd1", "#e8590c", "#2f9e44", "#8e44ad", "#c99700", "#0b7285", "#d6303a", "#6b4f2a")
INK, PALE, RULE, PAPER, BACK = "#1f2933", "#6b7785", "#dde2e8", "#ffffff", "#f3f5f8"

Json = dict[str, t.Any]
Points = list[tuple[float, float]]


def text(x: float, y: float, words: str, size: float = 11, fill: str = INK, anchor: str = "start", weight: str = "normal") -> str:
    style = f'font-size="{size:g}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str = PAPER, stroke: str = RULE) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3" fill="{fill}" stroke="{stroke}"/>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str = RULE, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"{dashed}/>'


def number(value: float, decimals: int | None) -> str:
    if decimals is None:
        decimals = 0 if abs(value - round(value)) < 1e-9 or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{decimals}f}"


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value as Grafana writes it in a unit."""
    if unit == "percentunit":
        return f"{number(100 * value, decimals)} %"
    if unit == "bytes":
        power = min(4, int(math.log(abs(value), 1024))) if value else 0
        return f"{number(value / 1024**power, decimals)} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
    if unit == "s":
        for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
            if abs(value) >= size:
                return f"{number(value / size, decimals)} {name}"
        return f"{number(1000 * value, decimals)} ms"
    return number(value, decimals) + {"reqps": " /s", "d": " days"}.get(unit, "")


def colour(value: float, steps: list[Json]) -> str:
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return COLOURS[reached[-1]]


def ticks(low: float, high: float, unit: str = "") -> list[float]:
    if unit == "bytes" and high > 0:
        power = 1024 ** int(math.log(high, 1024))
        return [tick * power for tick in ticks(low / power, high / power)]
    raw = (high - low) / 4
    base = 10 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= raw)
    return [step * place for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


def runs(points: Points, gap: float) -> t.Iterator[Points]:
    """Gaps stay gaps: what is not known is not drawn."""
    part: Points = []
    for point in points:
        if part and point[0] - part[-1][0] > gap:
            yield part
            part = []
        part.append(point)
    if part:
        yield part


def named(metric: Json, legend: str) -> str:
    if legend == "__auto":
        return metric.get("__name__", "")
    for label, value in metric.items():
        legend = legend.replace("{{" + label + "}}", value)
    return legend


class Picture:
    def __init__(self, record: Json) -> None:
        self.start, self.end, self.step = record["start"], record["end"], record["step"]
        self.parts: list[str] = []
        self.empty: list[str] = []

    def clock(self, x: float, width: float, y: float, bottom: float) -> t.Callable[[float], float]:
        """The axis of time, in minutes of the run; gives where a moment lies."""

        def place(moment: float) -> float:
            return x + (moment - self.start) / (self.end - self.start) * width

        for minute in ticks(0, (self.end - self.start) / 60):
            at = place(self.start + 60 * minute)
            self.parts += [line(at, y, at, bottom), text(at, bottom + 13, f"{minute:g} min", 9, PALE, "middle")]
        return place

    def stat(self, panel: Json, results: list[Json], x: float, y: float, width: float, height: float) -> None:
        defaults = panel["fieldConfig"]["defaults"]
        value = float(results[0]["value"][1]) if results else math.nan
        shown = "no data" if math.isnan(value) else written(value, defaults["unit"], defaults.get("decimals"))
        fill = PALE if math.isnan(value) else colour(value, defaults["thresholds"]["steps"])
        self.parts.append(text(x + width / 2, y + height / 2 + 16, shown, 26, fill, "middle", "bold"))

    def series(self, panel: Json, answers: list[list[Json]], x: float, y: float, width: float, height: float) -> None:
        defaults = panel["fieldConfig"]["defaults"]
        drawn: list[tuple[str, Points]] = []
        for query, results in zip(panel["targets"], answers):
            for result in results:
                points = [(float(moment), float(value)) for moment, value in result["values"]]
                drawn.append((named(result["metric"], query["legendFormat"]), [point for point in points if math.isfinite(point[1])]))
        values = [value for dummy, points in drawn for dummy, value in points]
        if not values:
            self.parts.append(text(x + width / 2, y + height / 2, "no data", 14, PALE, "middle"))
            return
        low, high = min(0.0, *values), max(values) * 1.05
        if high <= low:
            high = low + 1
        left, right, top, bottom = x + 62, x + width - 12, y + 30, y + height - 52
        place = self.clock(left, right - left, top, bottom)

        def at(value: float) -> float:
            return bottom - (value - low) / (high - low) * (bottom - top)

        for tick in ticks(low, high, defaults["unit"]):
            self.parts += [line(left, at(tick), right, at(tick)), text(left - 6, at(tick) + 3, written(tick, defaults["unit"]), 9, PALE, "end")]
        if "thresholdsStyle" in defaults["custom"]:
            for step in defaults["thresholds"]["steps"]:
                if step["value"] is not None and low < step["value"] < high:
                    self.parts.append(line(left, at(step["value"]), right, at(step["value"]), COLOURS[step["color"]], "4 3"))
        across = x + 12.0
        for place_in_line, (name, points) in enumerate(drawn):
            stroke = LINES[place_in_line % len(LINES)]
            for part in runs(points, 2.5 * self.step):
                path = " ".join(f"{place(moment):.1f},{at(value):.1f}" for moment, value in part)
                self.parts.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="1.5"/>')
            label = f"{name}: {written(points[-1][1], defaults['unit'])}" if points else name
            self.parts += [line(across, y + height - 17, across + 14, y + height - 17, stroke), text(across + 18, y + height - 13, label, 10)]
            across += 34 + 5.6 * len(label)

    def dashboard(self, answers: dict[str, list[list[Json]]]) -> str:
        bottom = 0
        for panel in dashboard.panels():
            place = panel["gridPos"]
            x, y, width, height = place["x"] * COLUMN, 44 + place["y"] * LINE, place["w"] * COLUMN, place["h"] * LINE
            bottom = max(bottom, y + height)
            if panel["type"] == "row":
                self.parts.append(text(x + 8, y + 24, panel["title"], 15, INK, weight="bold"))
                continue
            self.parts += [box(x + 4, y + 4, width - 8, height - 8), text(x + 14, y + 22, panel["title"], 12, INK, weight="bold")]
            found = answers[str(panel["id"])]
            if not any(found):
                self.empty.append(panel["title"])
            if panel["type"] == "stat":
                self.stat(panel, found[0], x, y, width, height)
            else:
                self.series(panel, found, x + 4, y + 4, width - 8, height - 8)
        return self.whole("Immich: what the dashboard shows of a run of the test scenario", bottom + 12)

    def alerts(self, results: list[Json]) -> str:
        rows: dict[str, dict[str, Points]] = {}
        for result in results:
            metric = result["metric"]
            name = " ".join([metric["alertname"], *(metric[key] for key in ("slo", "name", "endpoint") if key in metric)])
            rows.setdefault(name, {}).setdefault(metric["alertstate"], []).extend((float(moment), 1.0) for moment, dummy in result["values"])
        left, right, y = 330, WIDTH - 24, 70
        bottom = y + 28 * max(1, len(rows))
        self.parts.append(box(12, y - 14, WIDTH - 24, bottom - y + 42))
        place = self.clock(left, right - left, y - 6, bottom)
        for name, states in sorted(rows.items(), key=lambda item: min(points[0] for points in item[1].values())):
            self.parts.append(text(left - 10, y + 15, name, 12, anchor="end"))
            for state, fill in (("pending", COLOURS["yellow"]), ("firing", COLOURS["red"])):
                for part in runs(sorted(states.get(state, [])), 1.5 * self.step):
                    begin, end = place(part[0][0]), place(min(part[-1][0] + self.step, self.end))
                    self.parts.append(box(begin, y + 4, end - begin, 14, fill, fill))
            y += 28
        for place_in_line, (state, fill) in enumerate((("pending", "yellow"), ("firing", "red"))):
            self.parts += [
                box(WIDTH - 190 + 90 * place_in_line, 24, 12, 12, COLOURS[fill], COLOURS[fill]),
                text(WIDTH - 172 + 90 * place_in_line, 34, state, 12),
            ]
        return self.whole("Alerts in the same run", bottom + 36)

    def whole(self, title: str, height: float) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" font-family="Helvetica, Arial, sans-serif">'
        body = [f'<rect width="{WIDTH}" height="{height:g}" fill="{BACK}"/>', text(12, 30, title, 18, weight="bold"), *self.parts]
        self.parts = []
        return "\n".join([head, *body, "</svg>"]) + "\n"


def main() -> None:
    record, folder = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")), pathlib.Path(sys.argv[2])
    picture = Picture(record)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dashboard.svg").write_text(picture.dashboard(record["panels"]), encoding="utf-8")
    (folder / "alerts.svg").write_text(picture.alerts(record["alerts"]), encoding="utf-8")
    print(json.dumps(picture.empty))


if __name__ == "__main__":
    main()
