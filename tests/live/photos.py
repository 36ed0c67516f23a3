# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Photos that are uploaded, as an app does it: through the same door as everybody, with an account of Immich."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import typing as t
import uuid

from live.web import Answer, Place, Web

# 64 by 48 points.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/2wBDARUXFx4aHjshITt8"
    "U0ZTfHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHz/wAARCAAwAEADASIAAhEBAxEB/8QAGQABAAMBAQAAAAAAAAAAAAAABAIDBQAB/8QAKRAA"
    "AQQCAAQGAgMAAAAAAAAAAQACAxEhMRJBUWEEEyJCcZGBoVKSsf/EABcBAQEBAQAAAAAAAAAAAAAAAAMFBAb/xAAkEQABAgUEAwEBAAAAAAAAAAACAAEDBBEh8BIiMaFBYbFx0f/aAAwD"
    "AQACEQMRAD8AxYY0psWF7BGmMiwghhrXQQYlGQXw9kaWDsteRobirKFKxzu3wtgBCF9PLoJmI9FlSQAbwqvKYDtOkha3arDBeG/a1swt4Zu/ignE3KEcTMYJ/CbDE3+J+lGNhFXTUyFm"
    "suPwiiaWfhs7VGViJHh49JnDwtFbKj4aPSUI+J57YU0DcYe3l00E7IZhwizNJJDcDqtSVlnhGhtFmZXpbvmUoEw7Rszd+mQzJ2WTJG1pqrPRV8B2fSE2SPhNAWVX5dHOXdFqEqNTjO/x"
    "QDPcoRRj2tv5TYmaz/VQjZ1+gmxMrGuw2hM6KlKmk+GZQvokxx8LLpdAyoylCPDR+VMY6CPpvtk0E7Ibo+FmNnSLLHwigMlaj2ZJOmokrCBfuKUCo9vGd+EMydllPjr0t3zKrEdYbQHV"
    "NkjrA1zVYZokY5BaWKjZn9UEz3KEUdawOqbDHQGKH7UI4zff/EyJnP8AfMojKmZnLqjKmv/Z"
)


class Photo(t.NamedTuple):
    id: str
    status: str
    content: bytes
    answered: int

    def hash(self, name: str) -> str:
        return hashlib.new(name, self.content).hexdigest()


def content(damaged: bool) -> bytes:
    """A JPEG that no server has seen: the same picture with a comment of its own. Damaged: cut in the middle."""
    comment = uuid.uuid4().hex.encode()
    whole = JPEG[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + JPEG[2:]
    return whole[: len(whole) // 2] if damaged else whole


class App:
    """Somebody with an account. The account is made where the server has none at all."""

    def __init__(self, web: Web, place: Place, email: str, password: str) -> None:
        self._web, self._place, self._token = web, place, ""
        if not self.call("GET", "/api/server/config").json["isInitialized"]:
            # From outside nobody becomes the administrator.
            body = json.dumps({"email": email, "password": password, "name": "Admin"}).encode()
            inside = web.within("immich-server", 2283)
            made = web.ask(inside, "/api/auth/admin-sign-up", "POST", body, {"Content-Type": "application/json"})
            assert made.status == 201, made
        answer = self.call("POST", "/api/auth/login", {"email": email, "password": password})
        assert answer.status == 201, f"{email} cannot log in ({answer.status}); LIVE_EMAIL and LIVE_PASSWORD name somebody who can"
        self._token = answer.json["accessToken"]

    def call(self, method: str, path: str, body: t.Any = None, kind: str = "application/json") -> Answer:
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {**({"Content-Type": kind} if sent is not None else {}), **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        return self._web.ask(self._place, path, method, sent, headers)

    def upload(self, damaged: bool = False) -> Photo:
        photo, name, boundary = content(damaged), f"{uuid.uuid4().hex}.jpg", uuid.uuid4().hex
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        fields = {"deviceAssetId": name, "deviceId": "live", "fileCreatedAt": now, "fileModifiedAt": now}
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="assetData"; filename="{name}"\r\nContent-Type: image/jpeg\r\n\r\n')
        body = "".join(parts).encode() + photo + f"\r\n--{boundary}--\r\n".encode()
        answer = self.call("POST", "/api/assets", body, f"multipart/form-data; boundary={boundary}")
        return Photo(answer.json.get("id", ""), answer.json.get("status", ""), photo, answer.status)

    def original(self, photo: Photo) -> Answer:
        return self.call("GET", f"/api/assets/{photo.id}/original")

    def thumbnail(self, photo: Photo, seconds: float = 60) -> Answer:
        deadline = time.monotonic() + seconds
        while True:
            answer = self.call("GET", f"/api/assets/{photo.id}/thumbnail?size=preview")
            if answer.status == 200 or time.monotonic() > deadline:
                return answer
            time.sleep(0.5)

    def remove(self, *photos: Photo) -> int:
        """For good, and not into the trash."""
        return self.call("DELETE", "/api/assets", {"ids": [photo.id for photo in photos], "force": True}).status

    def log_out(self) -> None:
        self.call("POST", "/api/auth/logout", {})
