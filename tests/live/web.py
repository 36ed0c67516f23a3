# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain HTTP to where a visitor, a neighbour or the program itself would ask: on the host, on its containers' networks, or inside of one container."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import typing as t

from live.api import Podman
from live.expected import Facts
from live.host import RELAY, Host, Tunnel


class Answer(t.NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> t.Any:
        return json.loads(self.body)


class Place(t.NamedTuple):
    """Where a connection begins (argv in front of the relay), and where it goes."""

    prefix: tuple[str, ...]
    address: str
    port: int
    tls: bool = False
    site: str = "localhost"


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, place: Place, trust: ssl.SSLContext | None) -> None:
        super().__init__(place.site, timeout=60)
        self._path, self._place, self._trust = path, place, trust

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
        if self._place.tls:
            self.sock = (self._trust or ssl._create_unverified_context()).wrap_socket(self.sock, server_hostname=self._place.site)


class Web:
    def __init__(self, host: Host, podman: Podman, facts: Facts) -> None:
        self._host, self._podman, self._facts = host, podman, facts
        self._tunnels: dict[Place, Tunnel] = {}

    def visitor(self) -> Place | None:
        """The way a browser comes: through the proxy, or to the port that the inventory publishes."""
        variables = self._facts["variables"]
        if self._facts["site"]:
            return Place((), "127.0.0.1", int(variables.get("traefik_https_port", 443)), tls=True, site=self._facts["site"])
        if self._facts["published"]:
            address, dummy, port = str(self._facts["published"]).rpartition(":")
            return Place((), address if address not in ("", "0.0.0.0") else "127.0.0.1", int(port))
        return None

    def on_network(self, name: str, port: int, network: str = "") -> Place:
        """A container's port, from the namespace in which the account's networks are; on a certain one, where it is on that."""
        networks = self._podman.containers[name]["NetworkSettings"]["Networks"]
        return Place(("podman", "unshare", "--rootless-netns"), (networks.get(network) or next(iter(networks.values())))["IPAddress"], port)

    def within(self, name: str, port: int) -> Place:
        """A port of a container on its own loopback."""
        pid = str(self._podman.containers[name]["State"]["Pid"])
        return Place(("podman", "unshare", "nsenter", "-t", pid, "-n"), "127.0.0.1", port)

    def _path(self, place: Place) -> str:
        if place not in self._tunnels:
            argv = [*place.prefix, self._host.python, "-c", RELAY, place.address, str(place.port)]
            self._tunnels[place] = Tunnel(self._host, f"web-{len(self._tunnels)}", argv)
        return self._tunnels[place].path

    def connection(self, place: Place, trust: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        return _Connection(self._path(place._replace(tls=False, site="")), place, trust)

    def ask(
        self,
        place: Place,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: t.Mapping[str, str] | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> Answer:
        with contextlib.closing(self.connection(place, trust)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            # After 101 there is no end to wait for.
            return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, b"" if answer.status == 101 else answer.read())

    def close(self) -> None:
        for tunnel in self._tunnels.values():
            tunnel.close()
