# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawing of a run: what is known is drawn, what is not known is told and no line is drawn across it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import dashboard
import picture
import pytest
import rendering

SVG = "{http://www.w3.org/2000/svg}"
START, STEP = 1_700_000_000.0, 5.0
MOMENTS = [START + STEP * number for number in range(121)]


def result(moments, value, **labels):
    return {"metric": labels, "values": [[moment, str(value)] for moment in moments]}


def record(**of_panel):
    """All panels with a value, but those named: title -> their answers."""
    found = {}
    for panel in dashboard.panels():
        queries = panel.get("targets", [])
        default = [[{"metric": {}, "value": [MOMENTS[-1], "1"]}] if query["instant"] else [result(MOMENTS, 1, code="200")] for query in queries]
        found[str(panel["id"])] = of_panel.get(panel["title"].replace(" ", "_"), default)
    return {"start": START, "end": MOMENTS[-1], "step": STEP, "panels": found, "alerts": []}


def drawn(data):
    made = picture.Picture(data)
    return ElementTree.fromstring(made.dashboard(data["panels"])), made.empty


def words(tree):
    return [element.text for element in tree.iter(SVG + "text")]


def test_every_panel_is_there_with_its_value():
    tree, empty = drawn(record())
    said = words(tree)
    assert empty == [] and "no data" not in said
    assert [panel["title"] for panel in dashboard.panels() if panel["title"] not in said] == []


def test_what_is_not_known_is_not_nought():
    tree, empty = drawn(record(Last_backup=[[]], Retries=[[]]))
    assert empty == ["Last backup", "Retries"] and words(tree).count("no data") == 2


def test_a_value_that_is_no_number_is_not_drawn():
    tree, empty = drawn(record(From_outside=[[{"metric": {}, "value": [START, "NaN"]}]]))
    assert empty == [] and words(tree).count("no data") == 1


def test_gaps_stay_gaps():
    lines = len(list(drawn(record())[0].iter(SVG + "polyline")))
    split = [[result(MOMENTS[:40] + MOMENTS[80:], 1)]]
    assert len(list(drawn(record(Retries=split))[0].iter(SVG + "polyline"))) == lines + 1


def test_moments_without_a_number_are_gaps():
    points = [[moment, "NaN" if 40 <= place < 80 else "1"] for place, moment in enumerate(MOMENTS)]
    drawing = list(drawn(record(Retries=[[{"metric": {}, "values": points}]]))[0].iter(SVG + "polyline"))
    assert len(drawing) == len(list(drawn(record())[0].iter(SVG + "polyline"))) + 1
    assert not any("nan" in element.get("points") for element in drawing)


def test_lines_stay_within_their_panel():
    tree, _empty = drawn(record(Retries=[[result(MOMENTS[:60], 0), result(MOMENTS[60:], 12345)]]))
    for element in tree.iter(SVG + "polyline"):
        assert all(0 <= float(number) <= picture.WIDTH for number in re.findall(r"([\d.-]+),", element.get("points")))
    _x, _y, _width, height = map(float, tree.get("viewBox").split())
    assert all(0 < float(y) < height for element in tree.iter(SVG + "polyline") for y in re.findall(r",([\d.-]+)", element.get("points")))


def test_alerts_wait_and_fire():
    data = record()
    states = [("pending", MOMENTS[10:20]), ("firing", MOMENTS[20:60]), ("firing", MOMENTS[80:90])]
    data["alerts"] = [result(moments, 1, alertname="ImmichProbeFailed", alertstate=state) for state, moments in states]
    tree = ElementTree.fromstring(picture.Picture(data).alerts(data["alerts"]))
    fills = [element.get("fill") for element in tree.iter(SVG + "rect") if element.get("height") == "14.0"]
    assert fills == [picture.COLOURS["yellow"], picture.COLOURS["red"], picture.COLOURS["red"]]
    assert "ImmichProbeFailed" in words(tree)


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "shown"),
    [
        (0.99512, "percentunit", 3, "99.512 %"),
        (5 * 1024**3, "bytes", None, "5 GiB"),
        (0.004, "s", None, "4 ms"),
        (7200, "s", None, "2 h"),
        (89.4, "d", 0, "89 days"),
        (0.25, "reqps", None, "0.25 /s"),
        (0, "bytes", None, "0 B"),
        (-3, "short", 1, "-3.0"),
    ],
)
def test_values_as_people_write_them(value, unit, decimals, shown):
    assert picture.written(value, unit, decimals) == shown


def test_the_committed_pictures_show_this_dashboard():
    """They are of a run, so they cannot be made anew here; but when a panel comes or goes, it is time to draw them again."""
    tree = ElementTree.parse(rendering.ROOT / "docs/images/dashboard.svg").getroot()
    said = words(tree)
    assert [panel["title"] for panel in dashboard.panels() if panel["title"] not in said] == [], "docs/testing.md tells how to draw them"
