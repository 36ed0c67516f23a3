# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upload a photo to an Immich server over its API and read it back; prints one JSON object.

    photo.py URL EMAIL PASSWORD [--damaged]

The account is made when the server has no admin yet. Standard library only, so that it runs anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
import typing as t
import urllib.error
import urllib.request
import uuid

JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/2wBDARUXFx4aHjshITt8"
    "U0ZTfHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHz/wAARCAAwAEADASIAAhEBAxEB/8QAGQABAAMBAQAAAAAAAAAAAAAABAIDBQAB/8QAKRAA"
    "AQQCAAQGAgMAAAAAAAAAAQACAxEhMRJBUWEEEyJCcZGBoVKSsf/EABcBAQEBAQAAAAAAAAAAAAAAAAMFBAb/xAAkEQABAgUEAwEBAAAAAAAAAAACAAEDBBEh8BIiMaFBYbFx0f/aAAwD"
    "AQACEQMRAD8AxYY0psWF7BGmMiwghhrXQQYlGQXw9kaWDsteRobirKFKxzu3wtgBCF9PLoJmI9FlSQAbwqvKYDtOkha3arDBeG/a1swt4Zu/ignE3KEcTMYJ/CbDE3+J+lGNhFXTUyFm"
    "suPwiiaWfhs7VGViJHh49JnDwtFbKj4aPSUI+J57YU0DcYe3l00E7IZhwizNJJDcDqtSVlnhGhtFmZXpbvmUoEw7Rszd+mQzJ2WTJG1pqrPRV8B2fSE2SPhNAWVX5dHOXdFqEqNTjO/x"
    "QDPcoRRj2tv5TYmaz/VQjZ1+gmxMrGuw2hM6KlKmk+GZQvokxx8LLpdAyoylCPDR+VMY6CPpvtk0E7Ibo+FmNnSLLHwigMlaj2ZJOmokrCBfuKUCo9vGd+EMydllPjr0t3zKrEdYbQHV"
    "NkjrA1zVYZokY5BaWKjZn9UEz3KEUdawOqbDHQGKH7UI4zff/EyJnP8AfMojKmZnLqjKmv/Z"
)


def a_photo(damaged: bool) -> bytes:
    """A JPEG that no server has seen: the same picture with a comment of its own. Damaged: cut in the middle."""
    comment = uuid.uuid4().hex.encode()
    whole = JPEG[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + JPEG[2:]
    return whole[: len(whole) // 2] if damaged else whole


class Server:
    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.token: str | None = None

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> tuple[int, bytes]:
        headers = {"Content-Type": kind} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, method: str, path: str, body: t.Any = None) -> t.Any:
        status, text = self.call(method, path, None if body is None else json.dumps(body).encode())
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {text.decode(errors='replace')}")
        return json.loads(text or b"null")

    def log_in(self, email: str, password: str) -> None:
        if not self.json("GET", "/api/server/config")["isInitialized"]:
            self.json("POST", "/api/auth/admin-sign-up", {"email": email, "password": password, "name": "Admin"})
        self.token = self.json("POST", "/api/auth/login", {"email": email, "password": password})["accessToken"]

    def upload(self, photo: bytes, name: str) -> dict[str, t.Any]:
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        fields = {"deviceAssetId": name, "deviceId": "test", "fileCreatedAt": now, "fileModifiedAt": now}
        boundary = uuid.uuid4().hex
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items()]
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="assetData"; filename="{name}"\r\nContent-Type: image/jpeg\r\n\r\n'.encode())
        body = b"".join(parts) + photo + f"\r\n--{boundary}--\r\n".encode()
        status, text = self.call("POST", "/api/assets", body, f"multipart/form-data; boundary={boundary}")
        return {"status_code": status, **json.loads(text)}

    def thumbnail(self, asset: str, deadline: float) -> tuple[int, bytes]:
        end = time.monotonic() + deadline
        while True:
            status, content = self.call("GET", f"/api/assets/{asset}/thumbnail?size=preview")
            if status == 200 or time.monotonic() > end:
                return status, content
            time.sleep(0.3)


def main() -> None:
    url, email, password = sys.argv[1:4]
    damaged = "--damaged" in sys.argv
    server = Server(url)
    server.log_in(email, password)
    photo = a_photo(damaged)
    created = server.upload(photo, f"{uuid.uuid4().hex}.jpg")
    status, original = server.call("GET", f"/api/assets/{created.get('id')}/original")
    thumbnail_status, thumbnail = (0, b"") if damaged else server.thumbnail(created["id"], 30)
    json.dump(
        {
            "asset": created,
            "sha1": hashlib.sha1(photo).hexdigest(),
            "sha256": hashlib.sha256(photo).hexdigest(),
            "original_status": status,
            "original_sha256": hashlib.sha256(original).hexdigest(),
            "thumbnail_status": thumbnail_status,
            "thumbnail_is_jpeg": thumbnail[:3] == b"\xff\xd8\xff",
            "version": server.json("GET", "/api/server/version"),
        },
        sys.stdout,
    )
    print()


if __name__ == "__main__":
    main()
