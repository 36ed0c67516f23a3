# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman's own API for the account, by the client from PyPI."""

from __future__ import annotations

import contextlib
import functools
import secrets
import shlex
import time
import typing as t

import podman
from live.host import RELAY, Failed, Host, Tunnel

Data = dict[str, t.Any]


@contextlib.contextmanager
def service(host: Host) -> t.Iterator[str]:
    """The socket of the account's API. Where the unit podman.socket does not listen, a transient service does until the end."""
    usual = f"{host.runtime}/podman/podman.sock"
    if host.run("systemctl", "--user", "--quiet", "is-active", "podman.socket").returncode == 0:
        yield usual
        return
    unit = f"homelab-live-{secrets.token_hex(4)}"
    path = f"{host.runtime}/{unit}.sock"
    # It also ends by itself, should nobody be left to end it.
    host.said("systemd-run", "--user", "--quiet", "--collect", f"--unit={unit}", "podman", "system", "service", "--time=120", f"unix://{path}")
    try:
        for dummy in range(100):
            if host.run("test", "-S", path).returncode == 0:
                break
            time.sleep(0.1)
        yield path
    finally:
        host.run("systemctl", "--user", "stop", f"{unit}.service")
        host.run("rm", "-f", path)


class Podman:
    def __init__(self, host: Host, path: str) -> None:
        self._tunnel = Tunnel(host, "podman", [host.python, "-c", RELAY, path])
        self.client = podman.PodmanClient(base_url=f"http+unix://{self._tunnel.path}", timeout=120)

    def names(self) -> set[str]:
        return {container.name for container in self.client.containers.list()}

    @functools.cached_property
    def containers(self) -> dict[str, Data]:
        """Every running container as `inspect` has it, looked at once."""
        return {name: self.inspect(name) for name in sorted(self.names())}

    def forget(self) -> None:
        """What was looked at is not so any more."""
        self.__dict__.pop("containers", None)

    def inspect(self, name: str) -> Data:
        return t.cast(Data, self.client.containers.get(name).attrs)

    def network(self, name: str) -> Data:
        return t.cast(Data, self.client.networks.get(name).attrs)

    def health(self, name: str) -> str:
        """Runs the container's check now and says how it went."""
        answer = self.client.api.get(f"/containers/{name}/healthcheck")
        answer.raise_for_status()
        return str(answer.json()["Status"])

    def healthy(self, name: str) -> bool:
        with contextlib.suppress(podman.errors.NotFound):
            return (self.inspect(name)["State"].get("Health") or {}).get("Status") == "healthy"
        return False

    def exec(self, name: str, *command: str) -> str:
        """What a command in a container prints; it has to work."""
        status, (output, errors) = self.client.containers.get(name).exec_run(list(command), demux=True)
        said, complained = ((text or b"").decode(errors="replace") for text in (output, errors))
        if status:
            raise Failed(f"in {name}: {shlex.join(command)}: exit {status}\n{said[-2000:]}{complained[-2000:]}")
        return said

    def close(self) -> None:
        self.client.close()
        self._tunnel.close()
