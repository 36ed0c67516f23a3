# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backend that fails in chosen ways, for what Immich cannot be asked to do. Listens on port 8000.

/status/NNN answers with that status. /drop reads the request and hangs up. /hits tells how many requests for /drop came.
/type/MAJOR/MINOR answers 20 kB of that media type, which would compress well.
"""

from __future__ import annotations

import http.server


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    hits = 0

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, kind, body = 200, "text/plain", b"moody\n"
        if self.path == "/drop":
            Handler.hits += 1
            self.close_connection = True
            return
        if self.path == "/hits":
            body = str(Handler.hits).encode()
        elif self.path.startswith("/status/"):
            status = int(self.path.rpartition("/")[2])
        elif self.path.startswith("/type/"):
            kind, body = self.path[len("/type/") :], b'{"name": "value"}, ' * 1000
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *dummy: object) -> None:
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
