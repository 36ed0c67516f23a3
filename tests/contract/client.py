# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's program: HTTP over a socket file."""

from __future__ import annotations

import http.client
import json
import pathlib
import socket
import typing as t
import uuid


class Answer(t.NamedTuple):
    """Status 0 without anything else: nobody answered."""

    status: int
    headers: t.Mapping[str, str]
    body: bytes

    @property
    def json(self) -> t.Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


class Connection(http.client.HTTPConnection):
    def __init__(self, path: pathlib.Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Client:
    """One server's address."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.token = ""

    def ask(self, method: str, path: str, body: t.Any = None, headers: t.Mapping[str, str] | None = None, timeout: float = 30) -> Answer:
        """A request; with the token of the last sign-in when there was one. A body that is not bytes is sent as JSON."""
        sent = dict(headers or {})
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        if self.token and "x-api-key" not in sent:
            sent["Authorization"] = f"Bearer {self.token}"
        connection = Connection(self.path, timeout)
        try:
            connection.request(method, path, body=data, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except (OSError, http.client.HTTPException):
            return Answer(0, {}, b"")
        finally:
            connection.close()

    def get(self, path: str, **options: t.Any) -> Answer:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: t.Any = None, **options: t.Any) -> Answer:
        return self.ask("POST", path, body, **options)

    def upload(self, photo: bytes, name: str, fields: t.Mapping[str, str]) -> Answer:
        boundary = uuid.uuid4().hex
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items()]
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="assetData"; filename="{name}"\r\nContent-Type: image/jpeg\r\n\r\n'.encode())
        whole = b"".join(parts) + photo + f"\r\n--{boundary}--\r\n".encode()
        return self.post("/api/assets", whole, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
