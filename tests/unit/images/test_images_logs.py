# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log lines against lines of the original."""

from __future__ import annotations

import json
import os
import time

import pytest
from immich_server import logs

# A line of the original, 22 November 2026, 9:29:41 in UTC.
RECORDED = (
    '[Nest] 1  - 11/22/2026, 9:29:41 AM   ERROR [Microservices:{"source":"upload","id":"da4da549"}] '
    "Unable to run job handler (AssetGenerateThumbnails): Error: Input file has corrupt header: VipsJpeg: premature end of JPEG image"
)
SECONDS = 1795339781.0


@pytest.fixture(autouse=True)
def options(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for name, value in (("level", "log"), ("as_json", False), ("color", False), ("worker", "Microservices")):
        monkeypatch.setattr(logs.Options, name, value)
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_line_is_the_recorded_one() -> None:
    context, message = 'Microservices:{"source":"upload","id":"da4da549"}', RECORDED.partition("] Unable")[2]
    assert logs.line("error", context, "Unable" + message, pid=1, seconds=SECONDS) == RECORDED


@pytest.mark.parametrize(("hour", "shown"), [(0, "12:05:09 AM"), (11, "11:05:09 AM"), (12, "12:05:09 PM"), (23, "11:05:09 PM")])
def test_the_clock_has_twelve_hours(hour: int, shown: str) -> None:
    assert logs.clock(1795305600 + hour * 3600 + 5 * 60 + 9) == "11/22/2026, " + shown


def test_levels_line_up() -> None:
    made = [logs.line(level, "X", "m", pid=7, seconds=SECONDS) for level in ("log", "warn", "error", "debug", "verbose")]
    assert {line.index("[X]") for line in made} == {made[0].index("[X]")}


def test_colors_can_be_taken_off() -> None:
    colored = logs.line("error", "X", "m", pid=7, seconds=SECONDS, color=True)
    assert "\x1b[31m" in colored
    assert "\x1b" not in logs.line("error", "X", "m", pid=7, seconds=SECONDS)


def test_json_has_the_fields_of_the_original() -> None:
    made = json.loads(logs.line("warn", "Api:X", 'a "b"', pid=7, seconds=1.5, as_json=True))
    assert made == {"level": "warn", "pid": 7, "timestamp": 1500, "message": 'a "b"', "context": "Api:X"}


def test_errors_go_to_the_standard_error_with_their_stack(capsys: pytest.CaptureFixture[str]) -> None:
    logs.Logger("X").error("bad", stack="Error: bad\n    at here", correlation="abcd1234")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[0].endswith("  ERROR [Microservices:X~abcd1234] bad")
    assert told.err.splitlines()[1:] == ["Error: bad", "    at here"]


def test_a_json_record_with_a_stack_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs.Options, "as_json", True)
    logs.Logger("X").error("bad", stack="Error: bad\n    at here", correlation="abcd1234")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["context"] == "X"  # neither worker nor request
    assert json.loads(line)["stack"] == "Error: bad\n    at here"
    assert json.loads(line)["pid"] == os.getpid()


def test_a_worker_may_log_under_another_process_number(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs.Options, "pid", 2)
    logs.Logger("X").log("said")
    assert capsys.readouterr().out.startswith("[Nest] 2  - ")


def test_the_level_hides_what_is_below_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs.Options, "level", "warn")
    logs.Logger("X").log("hidden")
    logs.Logger("X").warn("shown")
    assert [line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines()] == ["shown"]
