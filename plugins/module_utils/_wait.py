# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting until services are active and healthy, with a deadline. Private to the collection."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _systemd as systemd
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

# A service without a health check must stay up that long: podman reports a start before the program inside can fail.
SETTLE = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 2.0


class State(t.NamedTuple):
    """What one look tells about a service: done, failed, or still on its way, and why."""

    verdict: str
    reason: str


def judge(properties: t.Mapping[str, str], health: str | None, settled: bool) -> State:
    """Verdict of one look: up, failed or waiting."""
    active, sub, result = properties.get("ActiveState", ""), properties.get("SubState", ""), properties.get("Result", "success")
    restarts = properties.get("NRestarts", "0")
    if properties.get("LoadState") not in ("loaded", None):
        return State("failed", f"not loaded ({properties.get('LoadState')})")
    pending = properties.get("Job", "0") not in ("", "0")
    if active == "failed" and not pending:
        return State("failed", f"failed ({result}, status {properties.get('ExecMainStatus', '?')})")
    if active == "inactive" and not pending:
        return State("failed", "stopped" if result == "success" else f"stopped ({result})")
    if active != "active" or pending:
        again = f", {restarts} restarts" if restarts not in ("", "0") else ""
        return State("waiting", f"{active} ({sub}{again})")
    if health is not None and health != "healthy":
        return State("waiting", f"health: {health}")
    if health is None and not settled:
        return State("waiting", "active, settling")
    return State("up", "healthy" if health else "active")


class Waiting:
    """A wait for services.

    settle: those which must stay up for a moment, because this run started them.
    health: those whose container has a health check.
    """

    def __init__(self, session: Session, services: t.Sequence[str], settle: t.Container[str], health: t.Container[str]) -> None:
        self.session = session
        self.services = list(services)
        self.settle, self.health = settle, health
        self.states: dict[str, State] = {}
        self.properties: dict[str, dict[str, str]] = {}
        self._since: dict[str, tuple[str, str, float]] = {}

    def look(self) -> bool:
        """One look at all services. Whether the wait is over (all up, or one failed)."""
        self.properties = systemd.show(self.session, self.services)
        now = time.monotonic()
        found: dict[str, str | None] = {}
        if any(service in self.health and self.properties.get(service, {}).get("ActiveState") == "active" for service in self.services):
            for container in podman.containers(self.session):
                service = (container.get("Labels") or {}).get(podman.SERVICE_LABEL)
                if service:
                    found[service] = podman.health(container.get("Status") or "")
        for service in self.services:
            properties = self.properties.get(service, {})
            health = (found.get(service) or "starting") if service in self.health else None
            self.states[service] = judge(properties, health, self._settled(service, properties, now))
        verdicts = {state.verdict for state in self.states.values()}
        return "failed" in verdicts or verdicts <= {"up"}

    def _looked(self) -> bool:
        """A look which podman or systemd, busy with the start, may fail to answer."""
        try:
            return self.look()
        except SessionError as error:
            self.states = {service: State("waiting", str(error)) for service in self.services}
            return False

    def _settled(self, service: str, properties: t.Mapping[str, str], now: float) -> bool:
        if service not in self.settle or properties.get("Type") == "oneshot" or not service.endswith(".service"):
            return True
        key = (properties.get("InvocationID", ""), properties.get("NRestarts", ""))
        if properties.get("ActiveState") != "active":
            self._since.pop(service, None)
            return False
        if service not in self._since or self._since[service][:2] != key:
            self._since[service] = (*key, now)
        return now - self._since[service][2] >= SETTLE

    def run(self, timeout: float, progress: t.Callable[[t.Mapping[str, str], float, float], None] | None = None) -> bool:
        """Look until all are up (True), or one failed or the time is over (False)."""
        start = time.monotonic()
        pause = FIRST_PAUSE
        while not self._looked():
            elapsed = time.monotonic() - start
            if progress:
                progress(self.missing(), elapsed, timeout)
            if elapsed >= timeout:
                return False
            time.sleep(min(pause, max(0.05, timeout - elapsed)))
            pause = min(pause * 1.3, LONGEST_PAUSE)
        return all(state.verdict == "up" for state in self.states.values())

    def failed(self) -> dict[str, str]:
        """Service -> how it failed."""
        return {service: state.reason for service, state in self.states.items() if state.verdict == "failed"}

    def missing(self) -> dict[str, str]:
        """Service -> why it is not up."""
        return {service: state.reason for service, state in self.states.items() if state.verdict != "up"}
