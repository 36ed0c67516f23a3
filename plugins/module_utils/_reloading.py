# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A containerised service and its configuration. Prometheus, Alertmanager and the blackbox exporter read it again on SIGHUP and tell in their
metrics how that went; others, as Grafana and Alloy, are restarted. Where its own program can judge it, it does so in a throw-away of its own image.

Private to the collection.
"""

from __future__ import annotations

import datetime
import os
import re
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _inside as inside
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import Service
from ansible_collections.patriark.homelab.plugins.module_utils._pull import Puller
from ansible_collections.patriark.homelab.plugins.module_utils._pull_plan import Pull
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

_SUCCESS = re.compile(r"^\w+_config_last_reload_successful (\S+)$", re.MULTILINE)
_MOMENT = re.compile(r"^\w+_config_last_reload_success_timestamp_seconds (\S+)$", re.MULTILINE)
_STARTED = re.compile(r"(.{19})(\.\d+)?(Z|[+-]\d\d:\d\d)")
# The coarse clock of a file's time may be a tick ahead of the one the service reads.
TICK = 0.02


class Recipe(t.NamedTuple):
    """How to try and to ask: the image with the checking program, where it sees the directory, the command; the live container.

    Without a command nothing is tried. Without a port the service reads its files at its start only.
    """

    image: str
    seen_at: str
    check: t.Sequence[str]
    container: str
    port: int | None


def last_reload(metrics: str) -> tuple[bool, float] | None:
    """Whether the last reload went well, and when the last good one was. None when the metrics do not tell."""
    success, moment = _SUCCESS.search(metrics), _MOMENT.search(metrics)
    if not success or not moment:
        return None
    return float(success.group(1)) == 1, float(moment.group(1))


def started(container: t.Mapping[str, t.Any]) -> float:
    """When a container was started, from podman inspect. 0 when it does not tell."""
    match = _STARTED.fullmatch(str((container.get("State") or {}).get("StartedAt")))
    if not match:
        return 0.0
    whole = datetime.datetime.fromisoformat(match.group(1) + match.group(3).replace("Z", "+00:00"))
    return whole.timestamp() + float(match.group(2) or 0)


def complaints(text: str, seen_at: str, directory: str) -> str:
    """What the checking program says, about the real files, without lines of praise."""
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in lines if line and not line.startswith(("SUCCESS:", "Found:")) and not re.fullmatch(r"Checking '?.*|- .*", line)]
    said = " ".join(kept) or " ".join(line for line in lines if line) or "no reason"
    return said.replace(seen_at.rstrip("/") + "/", directory.rstrip("/") + "/")


class Reloading(Service):
    """The service, for the files that are wanted in C(directory)."""

    def __init__(self, session: Session, directory: str, names: t.Sequence[str], recipe: Recipe) -> None:
        self.session, self.directory, self.names, self.recipe = session, directory, names, recipe
        self.since: float | None = None
        self.tried = True
        self.ran = False
        self.unit = ""

    def image_there(self) -> bool:
        return self.session.exists and self.session.podman("image", "exists", self.recipe.image)[0] == 0

    def judge(self, staged: str) -> list[Finding]:
        recipe = self.recipe
        if not recipe.check:
            return []
        if not self.image_there():
            if self.session.module.check_mode:
                self.tried = False  # to pull it would change the host
                return []
            self._bring()
        made = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all", "--security-opt", "label=disable", "--log-driver", "none"]
        made += ["--no-healthcheck", "--user", "0:0", "--entrypoint", recipe.check[0], "--volume", f"{staged}:{recipe.seen_at}:ro"]
        rc, out, err = self.session.podman(*made, recipe.image, *recipe.check[1:])
        if rc == 0:
            return []
        told = complaints(out + "\n" + err, recipe.seen_at, self.directory)
        if rc in (125, 126, 127):
            raise SessionError(f"{recipe.image} could not try the files of {self.directory}: {told}")
        return [Finding(self.directory, told, f"{recipe.container} keeps what it has; a restart with this would not come up")]

    def _bring(self) -> None:
        """Before podman run does, which would say less of a registry that fails, and may wait for it without end."""
        puller = Puller(self.session)
        puller.run([Pull(self.recipe.container, self.recipe.image)])
        if puller.findings:
            raise SessionError(f"nothing was changed: {puller.findings[0]}")

    def reload(self) -> None:
        name = self.recipe.container
        self.since = time.time()
        container = inside.describe(self.session, name)
        if container is not None:
            self.ran = True
            self.unit = str(((container.get("Config") or {}).get("Labels") or {}).get("PODMAN_SYSTEMD_UNIT") or "")
        if not self.ran:
            return
        if self.recipe.port is not None:
            what, (rc, dummy, err) = "podman kill", self.session.podman("kill", "--signal", "HUP", name)
        elif self.unit:
            what, (rc, dummy, err) = f"systemctl restart {self.unit}", self.session.systemctl("restart", "--", self.unit)
        else:
            what, (rc, dummy, err) = "podman restart", self.session.podman("restart", name)
        if rc != 0:
            raise SessionError(err.strip() or f"{what} failed")

    def ask(self) -> str | None:
        name = self.recipe.container
        container = inside.describe(self.session, name)
        if container is None:
            return f"{name} does not run any more" if self.ran else None  # else it reads all of it when it starts
        if self.recipe.port is None:
            return self._restarted(container)
        places = inside.places(container, self.recipe.port, "/metrics")
        if not places:
            return f"{name} has no address on a network"
        answer = inside.get(self.session, [places])[0]
        if answer.status != 200:
            return f"{name} does not show its metrics: {answer.reason or answer.status}"
        told = last_reload(answer.text)
        if told is None:
            return f"{name} does not tell in its metrics whether it took its configuration"
        good, moment = told
        if not good:
            return f"{name} could not take its configuration and runs with the one before: podman logs {name} tells why"
        if moment + TICK < (self.since if self.since is not None else self._written()):
            return f"{name} has not read its configuration again since it was written"
        return None

    ask_back = ask

    def _restarted(self, container: t.Mapping[str, t.Any]) -> str | None:
        name = self.recipe.container
        if started(container) < self._written():
            return f"{name} was started before this was written"
        health = ((container.get("State") or {}).get("Health") or {}).get("Status") or "healthy"
        # who runs with the files already is not judged here
        return f"{name} is {health}" if self.since is not None and health != "healthy" else None

    def _written(self) -> float:
        with self.session.files():
            places = [os.path.join(self.directory, name) for name in self.names]
            return max([os.stat(place).st_mtime for place in places if os.path.exists(place)], default=0.0)
