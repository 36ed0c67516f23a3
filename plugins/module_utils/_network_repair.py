# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recreating networks with the least interruption: who uses one, whether that may be interrupted, and finishing what was begun.

Podman cannot change a network in place, and its C(network rm --force) kills the containers on it. So the services that depend
on a network are stopped, the network is removed without force, made anew by its service, and they are started again.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular
from ansible_collections.patriark.homelab.plugins.module_utils import _systemd
from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import Finding, Network, OtherUnit
from ansible_collections.patriark.homelab.plugins.module_utils._network_drift import Difference
from ansible_collections.patriark.homelab.plugins.module_utils._podman import SERVICE_LABEL
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

DEPENDANTS = ("RequiredBy", "BoundBy", "ConsistsOf")  # a stop of the unit stops these too
RUNNING = ("running", "paused", "stopping")


@dataclasses.dataclass(frozen=True)
class User:
    """A container that refers to a network, running or not. C(service) is the systemd unit it says it belongs to."""

    container: str
    service: str
    running: bool


def users(containers: t.Iterable[t.Mapping[str, t.Any]], network: str) -> list[User]:
    """Who uses the network, from C(podman ps --all)."""
    return [
        User(container["Names"][0], (container.get("Labels") or {}).get(SERVICE_LABEL, ""), container.get("State") in RUNNING)
        for container in containers
        if network in (container.get("Networks") or [])
    ]


@dataclasses.dataclass(frozen=True)
class Impact:
    """What removing a network means.

    stop: active services to stop first. blocked: those of them that cannot run on the new network, each with the reason.
    leftovers: stopped containers of known services; their next start would replace them, so they may be removed.
    foreign: containers nobody could start again; they are never touched.
    """

    stop: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    blocked: tuple[tuple[str, str], ...] = ()

    @property
    def used(self) -> bool:
        return bool(self.stop or self.leftovers or self.foreign)

    @property
    def start(self) -> tuple[str, ...]:
        """The services to start again."""
        return tuple(service for service in self.stop if service not in dict(self.blocked))


class Services:
    """What systemd knows about services, read when asked for and kept."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.known: dict[str, dict[str, str]] = {}

    def read(self, names: t.Iterable[str]) -> None:
        unknown = sorted(set(names) - set(self.known))
        self.known.update({name: {} for name in unknown})
        self.known.update(_systemd.show(self.session, unknown))

    def active(self, name: str) -> bool:
        return self.known.get(name, {}).get("ActiveState") in ("active", "activating", "reloading", "deactivating")

    def loaded(self, name: str) -> bool:
        return self.known.get(name, {}).get("LoadState") == "loaded"

    def dependants(self, roots: t.Iterable[str]) -> set[str]:
        """All that a stop of C(roots) reaches, without themselves."""
        start = set(roots)
        found: set[str] = set()
        asked = set(start)
        while asked:
            self.read(asked)
            named = {name for unit in asked for key in DEPENDANTS for name in self.known[unit].get(key, "").split()}
            asked = {name for name in named if not name.endswith((".target", ".slice"))} - found
            found |= asked
        return found - start


def impact(services: Services, network: Network, using: t.Sequence[User], units: t.Iterable[OtherUnit]) -> Impact:
    """What recreating C(network), or removing it, does to those who use it."""
    dependants = services.dependants([network.service])
    services.read([user.service for user in using if user.service])
    stop = {name for name in dependants if services.active(name)}
    leftovers, foreign = [], []
    for user in using:
        if user.running and services.active(user.service):
            stop.add(user.service)
        elif not user.running and services.loaded(user.service):
            leftovers.append(user.container)
        else:
            foreign.append(user.container)
    stop |= {name for name in services.dependants(stop) if services.active(name)} if stop else set()
    blocked = _blocked(services, network, units)
    return Impact(
        tuple(sorted(stop)), tuple(sorted(leftovers)), tuple(sorted(foreign)), tuple((name, blocked[name]) for name in sorted(stop) if name in blocked)
    )


def _blocked(services: Services, network: Network, units: t.Iterable[OtherUnit]) -> dict[str, str]:
    """Services whose units ask for an address which the planned network does not have, and those that need them."""
    found: dict[str, str] = {}
    for unit in units:
        strange = [text for file_name, text in unit.addresses if file_name == network.file_name and not _inside(text, network)]
        if strange:
            found[unit.service] = f"its unit asks for {', '.join(strange)} on {network.name}"
    for service in list(found):
        for name in services.dependants([service]):
            found.setdefault(name, f"it needs {service}, whose unit asks for another address on {network.name}")
    return found


def _inside(text: str, network: Network) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # a specifier or a variable: nobody can tell
        return True
    return any(address in subnet.net for subnet in network.subnets)


def refusal(network: Network, drift: t.Sequence[Difference], effect: Impact, recreate: str) -> Finding | None:
    """Why a network that is not as planned may not be recreated, with the exact consequence of allowing it."""
    problem = f"is not as planned: {'; '.join(map(str, drift))}"
    if effect.foreign:
        names = ", ".join(effect.foreign)
        return Finding(network.name, f"{problem}. Containers outside the services of this account use it", f"remove these or disconnect them: {names}", names)
    if recreate == "stop_users" or (recreate == "unused" and not effect.used):
        return None
    if not effect.used:
        return Finding(network.name, problem, "nothing uses it: allow recreate: unused, and it is removed and made again")
    todo = [f"stop {', '.join(effect.stop)}"] if effect.stop else []
    todo += [f"remove the stopped container{'s' if len(effect.leftovers) > 1 else ''} {', '.join(effect.leftovers)}"] if effect.leftovers else []
    todo += ["remove the network and make it again"]
    todo += [f"start {', '.join(effect.start)}"] if effect.start else []
    todo += [f"leave {name} stopped ({reason})" for name, reason in effect.blocked]
    return Finding(network.name, problem, f"allow recreate: stop_users, which will {', '.join(todo)}")


def still_used(name: str, effect: Impact, references: t.Iterable[str]) -> Finding | None:
    """Why a network may not be removed for good."""
    what = [*(f"the service {service}" for service in effect.stop), *(f"the container {container}" for container in (*effect.leftovers, *effect.foreign))]
    what += [f"the unit {unit}" for unit in references]
    if not what:
        return None
    return Finding(name, f"is to be removed, and is used by {', '.join(dict.fromkeys(what))}", "remove these first, or list the network again")


def remove(session: Session, network: str, leftovers: t.Sequence[str] = ()) -> None:
    """Remove a network, without force. It is no error when it is gone already."""
    if leftovers:
        session.podman("rm", "--", *leftovers)
    rc, out, err = session.podman("network", "rm", "--", network)
    if rc not in (0, 1):  # 1: there is none
        raise SessionError(f"cannot remove the network {network}: {err.strip() or out.strip()}")


class Journal:
    """The services to be started again, kept on disk from before they are stopped until they run, for a run after a crash."""

    def __init__(self, session: Session, stack: str) -> None:
        self.session = session
        self.path = os.path.join(session.state_dir, f"{stack}.repair.json")

    def read(self) -> list[str]:
        if not self.session.exists:
            return []
        try:
            with self.session.files():
                return [str(name) for name in json.loads(regular.read_text(self.path))["services"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return []

    def write(self, services: t.Sequence[str]) -> None:
        with self.session.files():
            os.makedirs(self.session.state_dir, mode=0o700, exist_ok=True)
            with open(self.path + ".new", "w", encoding="utf-8") as handle:
                json.dump({"services": list(services)}, handle)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(self.path + ".new", self.path)

    def done(self) -> None:
        with self.session.files():
            if os.path.exists(self.path):
                os.remove(self.path)
