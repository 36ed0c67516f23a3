# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A request the way visitors make it: to the proxy's port, over TLS, with the site's name. Private to the collection."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import socket
import ssl
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _certificate

TIMEOUT = 10.0


class _Visit(http.client.HTTPConnection):
    """Goes to the address, and asks for the host whatever its certificate says."""

    def __init__(self, address: tuple[str, int], host: str, context: ssl.SSLContext) -> None:
        super().__init__(host, address[1], timeout=TIMEOUT)
        self._address, self._context = address, context

    def connect(self) -> None:
        wrapped = self._context.wrap_socket(socket.create_connection(self._address, TIMEOUT), server_hostname=self.host)
        self.sock, self.certificate = wrapped, wrapped.getpeercert(binary_form=True) or b""


def _careless() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def certificate(address: tuple[str, int], host: str) -> dict[str, t.Any]:
    """What the certificate says that a visitor of the host is shown, whoever signed it; faults are why no visitor would take it."""
    try:
        with contextlib.closing(_Visit(address, host, _careless())) as visit:
            visit.connect()
        return _certificate.as_dict(_certificate.read(visit.certificate), host, datetime.datetime.now(datetime.timezone.utc))
    except (OSError, ValueError) as error:
        return {"default": False, "faults": [f"{host}: {'nobody answers: ' if isinstance(error, OSError) else ''}{error}"]}


def ask(address: tuple[str, int], host: str, path: str, method: str = "GET") -> dict[str, t.Any]:
    """Status, null when there was none; then the reason says why."""
    body, headers = (None, {}) if method in ("GET", "HEAD") else ("{}", {"Content-Type": "application/json"})
    try:
        with contextlib.closing(_Visit(address, host, _careless())) as visit:
            visit.request(method, path, body, headers)
            return {"status": visit.getresponse().status, "reason": None}
    except (OSError, http.client.HTTPException) as error:
        return {"status": None, "reason": f"{type(error).__name__}: {error}"}
