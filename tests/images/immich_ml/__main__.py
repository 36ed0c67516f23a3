# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for immich-machine-learning: its ports, paths and answers, but no models. Standard library only; nothing is ever downloaded.

Environment: IMMICH_HOST (default [::], fails where IPv6 is off, like the original), IMMICH_PORT (3003), MACHINE_LEARNING_CACHE_FOLDER (/cache),
MACHINE_LEARNING_MODEL_TTL (300 s, 0 = keep for ever): a model nobody asked for is dropped from memory after it.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import sys
import time
import typing as t

from immich_ml import predict

VERSION = os.environ.get("IMMICH_VERSION", "v2.5.5").lstrip("v")


def log(level: str, text: str) -> None:
    print(f"[{time.strftime('%m/%d/%y %H:%M:%S')}] {level:8} {text}", file=sys.stderr, flush=True)


class Handler(http.server.BaseHTTPRequestHandler):
    """The three addresses of the original."""

    protocol_version = "HTTP/1.1"
    models: predict.Models

    def do_GET(self) -> None:
        if self.path == "/ping":
            self.answer(200, b"pong", "text/plain; charset=utf-8")
        elif self.path == "/":
            self.answer_json(200, {"message": "Immich ML"})
        else:
            self.answer_json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/predict":
            self.answer_json(404, {"detail": "Not Found"})
            return
        try:
            self.answer_json(200, predict.predict(predict.parse_form(self.headers.get("Content-Type", ""), body), self.models))
        except predict.BadRequest as error:
            self.answer_json(422, {"detail": str(error)})
        except OSError as error:
            log("ERROR", f"Exception in ASGI application: {error}")
            self.answer_json(500, {"detail": "Internal Server Error"})

    def answer_json(self, status: int, document: t.Any) -> None:
        self.answer(status, json.dumps(document).encode(), "application/json")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: t.Any = "-", size: t.Any = "-") -> None:
        """Requests are not logged."""


class Server(http.server.ThreadingHTTPServer):
    """One listening address, IPv6 with IPv4 when it is the wildcard."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def main() -> int:
    host = os.environ.get("IMMICH_HOST") or "[::]"
    port = int(os.environ.get("IMMICH_PORT") or 3003)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    log("INFO", f"Starting the stand-in for immich-machine-learning {VERSION}")
    try:
        server = Server(host.strip("[]"), port)
    except OSError as error:
        log("ERROR", f"cannot listen at {host}:{port}: {error}")
        return 1
    cache = os.environ.get("MACHINE_LEARNING_CACHE_FOLDER") or "/cache"
    Handler.models = predict.Models(cache, float(os.environ.get("MACHINE_LEARNING_MODEL_TTL") or 300), log)
    log("INFO", f"Listening at: http://{host}:{port} ({os.getpid()})")
    log("INFO", "Application startup complete.")
    with server:
        server.serve_forever()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
