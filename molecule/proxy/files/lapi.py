# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for CrowdSec's local API, for tests: decisions for a bouncer that knows the key. Listens on port 8080.

The file /decisions holds the banned addresses, one in a line.
"""

from __future__ import annotations

import http.server
import json
import os
import pathlib


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.headers.get("X-Api-Key") == os.environ["KEY"]
        banned = pathlib.Path("/decisions").read_text(encoding="utf-8").split()
        new = [{"value": address, "type": "ban", "scope": "Ip", "duration": "4h", "scenario": "test", "origin": "cscli"} for address in banned]
        body = json.dumps({"new": new, "deleted": []} if known else {"message": "access forbidden"}).encode()
        self.send_response(200 if known else 403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
