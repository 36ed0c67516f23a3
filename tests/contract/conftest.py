# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in and the real server, two releases of each, told the same story at the same time on one throw-away machine.

pytest tests/contract                   all four; only the stand-in's two where there are no builds
pytest tests/contract --face real-3.1.0    one of them
pytest tests/contract --on NAME         on this machine, which stays
pytest tests/contract --record          write down what the real servers do, instead of judging
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import pathlib
import sys
import tempfile
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "molecule" / "shared" / "files"))  # for photo

import immich
from contract import expected, facts, story
from contract.host import Machine, throw_away
from contract.servers import Face, Server

NAME = "contract"
AT_A_TIME = 2
# Told and never judged: seconds from the start on an empty database to the first answer.
STARTS = pytest.StashKey[dict[str, float]]()


@functools.cache
def faces() -> tuple[list[Face], str]:
    """The servers there are, the slow ones first, and what is said about the others."""
    chosen = immich.choose()
    real = [Face("real", release) for release in immich.RELEASES] if chosen.kind == immich.BUILDS else []
    return real + [Face("stand-in", release) for release in immich.RELEASES], "" if real else f"real: not run: {chosen.sentence}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--face", action="append", help="only this one, such as real-3.1.0 (may be given more than once)")
    parser.addoption("--on", metavar="MACHINE", help="use this running machine and leave it (default: a throw-away one)")
    parser.addoption("--record", action="store_true", help="write what the real servers do into tests/contract/expected")


def wanted(config: pytest.Config) -> list[Face]:
    asked = config.getoption("--face")
    return [face for face in faces()[0] if not asked or slug(face) in asked]


def slug(face: Face) -> str:
    return f"{face.kind}-{face.version}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "claim" in metafunc.fixturenames:
        metafunc.parametrize("claim", [pytest.param(name, id=name.replace(" ", "-")) for name in facts.CLAIMS])
        metafunc.parametrize("face", [pytest.param(face, id=slug(face)) for face in wanted(metafunc.config)])


@pytest.fixture(scope="session")
def stories(request: pytest.FixtureRequest) -> t.Iterator[dict[Face, story.Seen]]:
    """What each server did. All are asked before anything is judged: two at a time, since a start waits more than it works."""
    with contextlib.ExitStack() as stack:
        name = request.config.getoption("--on") or NAME
        if not request.config.getoption("--on"):
            # Upstream's own images are not part of a machine.
            without = {} if any(face.kind == "real" for face in faces()[0]) else {immich.VARIABLE: immich.STAND_IN}
            stack.enter_context(throw_away(name, without))
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="contract-")))
        machine = stack.enter_context(Machine(name, folder).connected())
        servers = [Server(machine, face, number) for number, face in enumerate(wanted(request.config))]
        for server in servers:
            server.remove()
            stack.callback(server.remove)
        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            told = dict(zip([server.face for server in servers], pool.map(story.observe, servers)))
        if request.config.getoption("--record"):
            for face, seen in told.items():
                if face.kind == "real":
                    expected.write(face.version, {name: function(seen) for name, function in facts.CLAIMS.items()})
        begun = {slug(face): seen.values.get("start") for face, seen in told.items()}
        request.config.stash[STARTS] = {name: start["first answer"] - start["begun"] for name, start in begun.items() if start}
        yield told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Rows are claims, columns are servers."""
    outcomes: dict[str, dict[str, str]] = {}
    for word in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(word, []):
            found = dict(getattr(report, "user_properties", ()))
            if "claim" in found and (report.when == "call" or word != "passed"):
                outcomes.setdefault(found["claim"], {})[found["face"]] = {"passed": "ok"}.get(word, word.upper())
    if not outcomes:
        return
    columns = [slug(face) for face in wanted(config)]
    width = max(map(len, outcomes))
    terminalreporter.section("what each server does")
    terminalreporter.line(" " * width + "".join(f"  {name:>14}" for name in columns))
    for row, cells in outcomes.items():
        terminalreporter.line(f"{row:{width}}" + "".join(f"  {cells.get(name, '-'):>14}" for name in columns))
    starts = config.stash.get(STARTS, {})
    terminalreporter.line(f"{'(seconds to the first answer)':{width}}" + "".join(f"  {starts.get(name, 0):>14.1f}" for name in columns))
    if faces()[1]:
        terminalreporter.line(faces()[1])
