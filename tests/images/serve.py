# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry that can only be read: upstream.py's cache, on the loopback of whatever network namespace this runs in.

    serve.py DIRECTORY REFERENCE...

Prints its port when it is ready, and ends with its standard input. A name has the registry it comes from in front.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import sys
import threading
import typing as t

import upstream

PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<what>[^/]+)")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: t.ClassVar[upstream.Store]
    tags: t.ClassVar[dict[tuple[str, str], str]]

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, body: bool) -> None:
        if self.path == "/v2/":
            self.head(200, "application/json", 0)
            return
        found = PATH.fullmatch(self.path)
        digest = self.tags.get((found["name"], found["what"]), found["what"]) if found else ""
        path = self.store.blob(digest)
        if not found or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not os.path.exists(path):
            self.head(404, "application/json", 0)
            return
        with open(path, "rb") as handle:
            self.head(200, media_type(path) if found["kind"] == "manifests" else "application/octet-stream", os.stat(path).st_size, digest)
            if body:
                shutil.copyfileobj(handle, self.wfile)

    def head(self, status: int, kind: str, size: int, digest: str = "") -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(size)), ("Docker-Content-Digest", digest)):
            if value:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_arguments: t.Any) -> None:
        """Nobody reads it."""


def media_type(path: str) -> str:
    with open(path, "rb") as handle:
        manifest = json.load(handle)
    kind = "index" if "manifests" in manifest else "manifest"
    return str(manifest.get("mediaType") or f"application/vnd.oci.image.{kind}.v1+json")


def server(directory: str, references: t.Sequence[str]) -> http.server.ThreadingHTTPServer:
    store = upstream.Store(directory)
    tags = {(one.name, one.tag or "latest"): store.known(one) or "" for one in map(upstream.parse, references) if not one.digest}
    handler = type("Handler", (Handler,), {"store": store, "tags": tags})
    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


if __name__ == "__main__":
    serving = server(sys.argv[1], sys.argv[2:])
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    print(serving.server_address[1], flush=True)
    sys.stdin.read()
