# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody outside of the house with photos, Immich's own command line client and a browser.

    person.py send RELEASE    uploads new photos with the client, one more by dropping it on the page; makes an album of that one and shares it by a link
    person.py wait RELEASE    until the house is back after a restart
    person.py look RELEASE    is all of it still there? The originals by their hashes, their thumbnails on the page, and each link without an account

What was sent, and its hash before that, is remembered in sent.json; pictures of the pages are left in pictures/RELEASE.
Prints one line for each claim, and ends with the first that is not true.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request

from browser import browser

HERE = pathlib.Path(__file__).resolve().parent
HOME = pathlib.Path.home()
SITE = "https://photos.patriark.org"
EMAIL, PASSWORD = "admin@example.org", "correct-horse"
RECORD = HOME / "sent.json"
DROPPED = "dropped.png"
PATIENCE = 300.0
CALM = 10


class Sent(t.NamedTuple):
    """A photo that Immich has, and what it was before."""

    id: str
    name: str
    sha256: str


class Shared(t.NamedTuple):
    link: str
    title: str
    photo: str


class Record:
    """Everything that was ever sent."""

    def __init__(self) -> None:
        told = json.loads(RECORD.read_text()) if RECORD.exists() else {"photos": [], "links": []}
        self.photos = [Sent(*entry) for entry in told["photos"]]
        self.links = [Shared(*entry) for entry in told["links"]]

    def save(self) -> None:
        RECORD.write_text(json.dumps({"photos": self.photos, "links": self.links}))


def claim(text: str, true: t.Any, found: t.Any = "") -> None:
    if not true:
        raise SystemExit(f"WRONG  {text}: {found}")
    print(f"ok     {text}", flush=True)


def request(method: str, path: str, key: str = "", body: t.Any = None) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = None
    if body is not None:
        headers["Content-Type"], data = "application/json", json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(SITE + path, data, headers, method=method), timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def post(path: str, body: t.Any, key: str = "") -> t.Any:
    status, text = request("POST", path, key, body)
    if status != 201:
        raise SystemExit(f"WRONG  POST {path}: {status} {text.decode(errors='replace')}")
    return json.loads(text)


def log_in() -> str:
    return str(post("/api/auth/login", {"email": EMAIL, "password": PASSWORD})["accessToken"])


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def by_client(release: str, hashes: dict[pathlib.Path, str]) -> list[Sent]:
    """The client of 3.x says that it failed, and ends with 0 all the same: what it did is in its report."""
    key = post("/api/api-keys", {"name": "client", "permissions": ["all"]}, log_in())["secret"]
    environment = {**os.environ, "IMMICH_INSTANCE_URL": SITE + "/api", "IMMICH_API_KEY": key, "NODE_EXTRA_CA_CERTS": str(HERE / "ca.pem")}
    command = ["node", str(HERE / release / "cli/dist/index.js"), "upload", "--json-output", *map(str, hashes)]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    report = json.loads(done.stdout[done.stdout.index("{\n") :]) if done.returncode == 0 and "{\n" in done.stdout else {}
    ids = {pathlib.Path(asset["filepath"]): asset["id"] for asset in report.get("newAssets", [])}
    claim(f"the client uploads {', '.join(path.name for path in hashes)}", ids.keys() == hashes.keys(), done.stdout + done.stderr)
    return [Sent(ids[path], path.name, before) for path, before in hashes.items()]


def send(release: str, record: Record) -> None:
    day = f"{release}-{len(record.photos)}"
    folder = HOME / "camera" / day
    subprocess.run(["sh", str(HERE / "camera.sh"), str(folder), day], check=True)
    hashes = {path: sha256(path.read_bytes()) for path in sorted(folder.iterdir())}
    hash_of_dropped = hashes.pop(folder / DROPPED)
    record.photos += by_client(release, hashes)
    record.save()
    with browser(SITE, HOME / "pictures" / release) as page:
        page.sign_in(EMAIL, PASSWORD)
        page.sees("sees what the client uploaded", {photo.id for photo in record.photos})
        dropped = page.drop(folder / DROPPED)
        title = f"Holidays-{day}"
        page.make_album(title, dropped)
        link = page.share()
    record.photos.append(Sent(dropped, DROPPED, hash_of_dropped))
    record.links.append(Shared(link, title, dropped))
    record.save()


def wait(_release: str, _record: Record) -> None:
    """Until the house is back. Traefik's circuit breaker has opened meanwhile, and lets only some in at first: calm is ten good answers in a row."""
    deadline, calm, last = time.monotonic() + PATIENCE, 0, ""
    while calm < CALM:
        if time.monotonic() > deadline:
            raise SystemExit(f"WRONG  the house is back: {last}")
        try:
            status, text = request("GET", "/api/server/version")
            last = f"{status} {text.decode(errors='replace')}"
        except urllib.error.URLError as error:
            status, last = 0, str(error)
        calm = calm + 1 if status == 200 else 0
        time.sleep(1)


def look(release: str, record: Record) -> None:
    status, version = request("GET", "/api/server/version")
    claim(f"the server is {release}", status == 200 and "v{major}.{minor}.{patch}".format(**json.loads(version)) == release, version)
    key = log_in()
    for photo in record.photos:
        status, content = request("GET", f"/api/assets/{photo.id}/original", key)
        claim(f"{photo.name} comes back with the hash it had", status == 200 and sha256(content) == photo.sha256, f"{status}, {len(content)} bytes")
    for photo in record.photos:
        if photo.name == "oslo.jpg":
            city, deadline = "", time.monotonic() + PATIENCE
            while city != "Oslo" and time.monotonic() < deadline:
                city = json.loads(request("GET", f"/api/assets/{photo.id}", key)[1]).get("exifInfo", {}).get("city")
            claim(f"{photo.name} was taken in Oslo", city == "Oslo", city)
    pictures = HOME / "pictures" / release
    with browser(SITE, pictures) as page:
        page.sign_in(EMAIL, PASSWORD)
        page.sees("sees all thumbnails", {photo.id for photo in record.photos}, "all")
    with browser(SITE, pictures) as page:
        for shared in record.links:
            page.visit(*shared)


def main() -> None:
    what, release = sys.argv[1:]
    {"send": send, "wait": wait, "look": look}[what](release, Record())


main()
