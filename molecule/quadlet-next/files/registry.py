# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry on 127.0.0.1:5000 with one artifact, notes:1, that holds one file: what an .artifact unit can be pulled from."""

import hashlib
import http.server
import json

FILE = b"from the registry\n"
EMPTY = b"{}"


def described(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


KIND = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": KIND,
        "artifactType": "text/plain",
        "config": described("application/vnd.oci.empty.v1+json", EMPTY),
        "layers": [{**described("text/plain", FILE), "annotations": {"org.opencontainers.image.title": "note.txt"}}],
    }
).encode()
BLOBS = {str(described("", data)["digest"]): data for data in (FILE, EMPTY, MANIFEST)}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.wfile.write(self.answered())

    def do_HEAD(self) -> None:
        self.answered()

    def answered(self) -> bytes:
        """The head of the answer is sent; its body is returned."""
        name = self.path.rpartition("/")[2]
        manifest = "/manifests/" in self.path
        data = MANIFEST if manifest and name == "1" else b"{}" if self.path == "/v2/" else BLOBS.get(name)
        self.send_response(404 if data is None else 200)
        data = data or b""
        self.send_header("Content-Type", KIND if manifest else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", str(described("", data)["digest"]))
        self.end_headers()
        return data


http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Handler).serve_forever()
