# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Immich's API, asked from inside the server's container: it works without a published port, and no secret is on a command line.

Private to the collection.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._session import Session

URL = "http://localhost:2283"
SECONDS = 60


class ApiError(Exception):
    """A request was refused, or nobody answered. status is 0 when nobody did."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def curl_config(method: str, path: str, headers: t.Mapping[str, str], body: t.Any) -> str:
    """What curl reads from its standard input."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'

    lines = [f"url = {quoted(URL + path)}", f"request = {method}", "silent", "show-error", f"max-time = {SECONDS}", 'write-out = "\\n%{http_code}"']
    lines += [f"header = {quoted(f'{name}: {value}')}" for name, value in headers.items()]
    if body is not None:
        lines += [f"header = {quoted('Content-Type: application/json')}", f"data-raw = {quoted(json.dumps(body))}"]
    return "\n".join(lines) + "\n"


def reason(document: t.Any) -> str:
    """What Immich says of a refusal: a text, a list of texts, or (from release 3 on) errors with paths."""
    if not isinstance(document, dict):
        return "no reason given"
    said = document.get("message")
    texts = [str(item) for item in said] if isinstance(said, list) else [str(said)] if said else []
    texts += [f"{'.'.join(map(str, item.get('path') or []))} {item.get('message')}" for item in document.get("errors") or [] if isinstance(item, dict)]
    return "; ".join(texts) or "no reason given"


class Api:
    """One server. Set headers to log in."""

    def __init__(self, session: Session, container: str) -> None:
        self.session, self.container = session, container
        self.headers: dict[str, str] = {}

    def call(self, method: str, path: str, body: t.Any = None, headers: t.Mapping[str, str] | None = None) -> t.Any:
        """The answer's document. Raises ApiError for every status that is no success."""
        text = curl_config(method, path, self.headers if headers is None else headers, body)
        rc, out, err = self.session.podman("exec", "-i", self.container, "curl", "--config", "-", data=text)
        answer, dummy, code = out.rpartition("\n")
        if rc != 0 or not code.strip().isdigit():
            raise ApiError(f"{method} {path}: no answer from {self.container}: {err.strip()[-300:]}")
        status = int(code)
        try:
            document = json.loads(answer) if answer.strip() else None
        except ValueError:
            document = None
        if not 200 <= status < 300:
            raise ApiError(f"{method} {path}: {status}, {reason(document)}", status)
        return document

    def allows(self, headers: t.Mapping[str, str]) -> bool:
        """Whether these headers belong to somebody; what they may do does not matter."""
        try:
            self.call("GET", "/api/users/me", headers=headers)
        except ApiError as error:
            if error.status == 401:
                return False
            if error.status != 403:
                raise
        return True
