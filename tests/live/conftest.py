# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a live host with nothing of this collection: is it what the card says?

    pytest tests/live --host NAME -i INVENTORY [-i INVENTORY...]

Reads only. With --write it uploads photos, too.
"""

from __future__ import annotations

import contextlib
import time
import typing as t

import pytest
from live import card, expected, hostvars
from live.absent import Absent
from live.api import Podman, service
from live.host import Host
from live.web import Web

FACTS = pytest.StashKey[expected.Facts]()
HOST = pytest.StashKey[Host]()
CARD = card.read()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("live")
    group.addoption("--host", metavar="NAME", help="the host to look at, by its name in the inventory")
    # pytest keeps small letters for itself and has no -i; Ansible's users know it.
    group._addoption("-i", "--inventory", action="append", default=[], metavar="INVENTORY", help="an inventory that has it; may be given again")
    group.addoption("--write", action="store_true", help="also run the tests that change something: they upload photos")
    group.addoption("--whole", action="store_true", help="a test whose subject is not there fails")
    group.addoption("--without", action="append", default=[], metavar="SUBJECT", help="but for this subject; may be given again")
    group.addoption("--wait", type=float, default=180, metavar="SECONDS", help="for containers that have just been started (180)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "writes: changes something on the host, so it runs with --write only")
    if not config.option.host or not config.option.inventory:
        raise pytest.UsageError("Say which host is meant: pytest tests/live --host NAME -i INVENTORY")
    try:
        variables = hostvars.listed(config.option.host, config.option.inventory)
        config.stash[FACTS] = expected.facts(variables)
    except hostvars.Unfit as unfit:
        raise pytest.UsageError(str(unfit)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a claim runs once for each line of the card that names it; one that takes a container, for each that the inventory asks for."""
    if "claim" in metafunc.fixturenames:
        claims = [claim for claim in CARD.claims if f"test_{claim.test}" == metafunc.function.__name__]
        metafunc.parametrize("claim", claims, ids=[card.name_of(claim, metafunc.config.stash[FACTS]) for claim in claims])
    if "container" in metafunc.fixturenames:
        metafunc.parametrize("container", list(metafunc.config.stash[FACTS]["containers"]))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    writing = [item for item in items if item.get_closest_marker("writes")]
    if writing and not config.option.write:
        config.hook.pytest_deselected(items=writing)
        items[:] = [item for item in items if item not in writing]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Reaches for the host before any test does: when it is not there, one sentence says so."""
    if session.config.option.collectonly:
        return
    facts = session.config.stash[FACTS]
    try:
        session.config.stash[HOST] = Host(session.config.option.host, facts["variables"], facts["account"])
    except hostvars.Unfit as unfit:
        raise pytest.UsageError(str(unfit)) from None


def pytest_unconfigure(config: pytest.Config) -> None:
    if HOST in config.stash:
        config.stash[HOST].close()


@pytest.fixture(scope="session")
def facts(request: pytest.FixtureRequest) -> expected.Facts:
    """What the inventory says has to be true."""
    return request.config.stash[FACTS]


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Host:
    return request.config.stash[HOST]


@pytest.fixture(scope="session")
def absent(request: pytest.FixtureRequest) -> Absent:
    return Absent(request.config.option.whole, request.config.option.without)


@pytest.fixture(scope="session")
def podman(request: pytest.FixtureRequest, host: Host, facts: expected.Facts) -> t.Iterator[Podman]:
    """Podman's API, once the containers had the time to become healthy."""
    with service(host) as path, contextlib.closing(Podman(host, path)) as client:
        deadline = time.monotonic() + request.config.option.wait
        while time.monotonic() < deadline and not all(client.healthy(name) for name in facts["containers"]):
            time.sleep(1)
        yield client


@pytest.fixture(scope="session")
def web(host: Host, podman: Podman, facts: expected.Facts) -> t.Iterator[Web]:
    with contextlib.closing(Web(host, podman, facts)) as asking:
        yield asking
