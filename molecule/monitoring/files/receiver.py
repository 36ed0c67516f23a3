# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speaks the part of Discord's webhook API that Alertmanager uses, and takes heartbeats. Each request becomes a line of JSON.

    receiver.py PORT TOKEN LOG

A message that Discord would refuse is refused here too, with its status.
"""

from __future__ import annotations

import http.server
import json
import sys
import typing as t

TITLE, TEXT, TOTAL = 256, 4096, 6000


def refusal(message: t.Any) -> str | None:
    """Why Discord would not take it: execute-webhook needs a content or an embed, within its limits."""
    if not isinstance(message, dict):
        return "not an object"
    embeds = message.get("embeds") or []
    if not message.get("content") and not embeds:
        return "Cannot send an empty message"
    if len(str(message.get("content") or "")) > 2000 or len(embeds) > 10:
        return "too long"
    sizes = [(len(item.get("title") or ""), len(item.get("description") or "")) for item in embeds]
    if any(title > TITLE or text > TEXT for title, text in sizes) or sum(map(sum, sizes)) > TOTAL:
        return "an embed is too long"
    return None


class Receiver(http.server.BaseHTTPRequestHandler):
    token, log = "", ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        status = 404
        if self.path.split("?")[0] == f"/api/webhooks/1/{self.token}":
            status = 204 if refusal(message) is None else 400
        elif self.path == "/beat":
            status = 200
        with open(self.log, "a", encoding="utf-8") as handle:
            handle.write(json.dumps({"path": self.path, "status": status, "message": message}) + "\n")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *dummy: t.Any) -> None:
        pass


if __name__ == "__main__":
    Receiver.token, Receiver.log = sys.argv[2:4]
    http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Receiver).serve_forever()
