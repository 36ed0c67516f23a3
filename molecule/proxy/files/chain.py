# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sees each link of the chain at work, from outside of the house, and prints one line for each claim. Exits 1 when one is false.

Immich itself is asked where it can show a link; moody.patriark.org has the same links in front of a backend that fails as it is told.
The file moody.yml gives it one host name for each link, since links keep a state.

    chain.py RAWDATA                 all claims; RAWDATA is what Traefik's API says
    chain.py status ADDRESS PATH     one request to Immich from that address; prints the status, and "secured" when it carries the security headers
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import socket
import ssl
import sys
import time
import typing as t

ADDRESS, SITE = "192.0.2.1", "photos.patriark.org"
FIRST, SECOND = "192.0.2.10", "192.0.2.11"
HEADERS = {
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
}
APP = {"User-Agent": "Immich_Android_2.5.5", "Accept": "application/json"}
wrong: list[str] = []


def claim(text: str, true: t.Any, found: t.Any = "") -> None:
    print(f"{'ok    ' if true else 'WRONG '} {text}" + (f": {found}" if not true else ""), flush=True)
    if not true:
        wrong.append(text)


class Connection(http.client.HTTPSConnection):
    """To the proxy, asking for a host. What the certificate says is somebody else's claim."""

    def __init__(self, host: str, source: str) -> None:
        super().__init__(host, 443, timeout=60)
        self.from_here = source

    def connect(self) -> None:
        plain = socket.create_connection((ADDRESS, 443), 60, (self.from_here, 0))
        self.sock = ssl._create_unverified_context().wrap_socket(plain, server_hostname=self.host)


class Answer(t.NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def secured(self) -> bool:
        return HEADERS.items() <= self.headers.items()


def ask(host: str, path: str, method: str = "GET", body: bytes | None = None, headers: t.Mapping[str, str] | None = None, source: str = FIRST) -> Answer:
    with contextlib.closing(Connection(host, source)) as connection:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())


def until(host: str, path: str, status: int, seconds: float = 60) -> int:
    """The last status, asked until it is the one that is waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = ask(host, path).status
        if found == status or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def headers() -> None:
    page = ask(SITE, "/")
    claim("headers: on a page", page.status == 200 and page.secured, page)
    claim("headers: HSTS names neither subdomains nor preload", page.headers.get("strict-transport-security") == "max-age=31536000", page.headers)
    refused = ask(SITE, "/api/users/me", headers=APP)
    claim("headers: on what Immich refuses", refused.status == 401 and refused.secured, refused)


def apps() -> None:
    """Nobody but Immich asks who is there."""
    for path, method, status in (
        ("/api/server/version", "GET", 200),
        ("/.well-known/immich", "GET", 200),
        ("/api/auth/login", "POST", 401),
        ("/api/assets", "POST", 401),
        ("/api/sync/stream", "POST", 401),
    ):
        found = ask(SITE, path, method, b"{}" if method == "POST" else None, {**APP, "Content-Type": "application/json"})
        ours = found.headers.get("x-immich-cid") and "location" not in found.headers and "www-authenticate" not in found.headers
        claim(f"apps: {method} {path} is answered by Immich itself", ours and found.status in (status, 400, 404), found)


def flood() -> None:
    """Many more at once than the burst; another client is served meanwhile."""

    def twenty(dummy: int) -> list[Answer]:
        found = []
        with contextlib.closing(Connection("limited.patriark.org", FIRST)) as connection:
            for dummy in range(20):
                connection.request("GET", "/")
                answer = connection.getresponse()
                found.append(Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()))
        return found

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        flooding = [pool.submit(twenty, number) for number in range(8)]
        neighbour = [ask("limited.patriark.org", "/", source=SECOND).status for dummy in range(10)]
        answers = [answer for each in flooding for answer in each.result()]
    refused = [answer for answer in answers if answer.status == 429]
    claim("rate limit: a flooding client gets 429", refused, {answer.status for answer in answers})
    claim("rate limit: its burst was served", len(answers) - len(refused) >= 20, len(answers) - len(refused))
    claim("rate limit: 429 carries the security headers", refused and all(answer.secured for answer in refused), refused[:1])
    claim("rate limit: another client is served all the time", set(neighbour) == {200}, neighbour)
    claim("rate limit: a page of thumbnails at once passes at Immich", parallel(SITE, "/api/server/version", 100) == {200})


def parallel(host: str, path: str, count: int) -> set[int]:
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        return set(pool.map(lambda dummy: ask(host, path).status, range(count)))


def breaker() -> None:
    host = "breaker.patriark.org"
    statuses = [ask(host, path).status for path in ("/status/500", "/", "/", "/")]
    claim("breaker: one 500 goes through as it is and does not open it", statuses == [500, 200, 200, 200], statuses)
    seen: list[Answer] = []
    deadline = time.monotonic() + 30
    while not (seen and seen[-1].status == 503) and time.monotonic() < deadline:
        seen.append(ask("broken.patriark.org", "/status/502"))
    claim("breaker: a backend that is gone opens it", seen[-1].status == 503, [answer.status for answer in seen])
    claim("breaker: its 503 carries the security headers", seen[-1].secured, seen[-1])
    claim("breaker: it closes again by itself", until("broken.patriark.org", "/", 200) == 200)


def retry() -> None:
    host = "retry.patriark.org"
    claim("retry: with one of two servers gone all requests are served", [ask(host, "/").status for dummy in range(10)] == [200] * 10)
    hanging = ask("hanging.patriark.org", "/drop", "POST", b"a photo")
    claim("retry: a server that hangs up gives 502", hanging.status == 502, hanging)
    hits = int(ask("plain.patriark.org", "/hits").body)
    claim("retry: and got the request once", hits == 1, hits)


def compression() -> None:
    for kind, packed in (
        ("application/json", True),
        ("text/html", True),
        ("image/svg+xml", True),
        ("image/jpeg", False),
        ("image/heic", False),
        ("image/webp", False),
        ("video/mp4", False),
        ("application/octet-stream", False),
        ("application/zip", False),
    ):
        found = ask("compress.patriark.org", f"/type/{kind}", headers={"Accept-Encoding": "gzip"})
        right = found.headers.get("content-encoding") == "gzip" if packed else found.headers.get("content-length") == "19000"
        claim(f"compression: {kind} is {'' if packed else 'not '}compressed", found.status == 200 and right, found.headers)


def routers(rawdata: str) -> None:
    """What Traefik says of them, read from its API by the caller."""
    with open(rawdata, encoding="utf-8") as handle:
        found = json.load(handle)
    ours = {name: found["routers"][f"{name}@file"] for name in ("immich", "immich-upload", "immich-probe", "immich-sign-in")}
    claim("routers: all of them are enabled", all(router["status"] == "enabled" for router in ours.values()), ours)
    full = ["immich-security-headers", "rate-limit-immich", "immich-circuit-breaker", "immich-retry", "immich-compression"]
    chain = [name.partition("@")[0] for name in ours["immich"]["middlewares"] if not name.startswith("crowdsec")]
    claim("routers: the chain in its order, headers outermost", chain == full, chain)
    short = [name.partition("@")[0] for name in ours["immich-upload"]["middlewares"] if not name.startswith("crowdsec")]
    claim("routers: uploads pass headers only", short == ["immich-security-headers"], short)
    sign_in = [name.partition("@")[0] for name in ours["immich-sign-in"]["middlewares"] if not name.startswith("crowdsec")]
    claim("routers: passwords have a limit of their own before the rest of the chain", sign_in == [full[0], "immich-sign-in", *full[1:]], sign_in)
    order = sorted(ours, key=lambda name: -ours[name]["priority"])
    claim("routers: passwords, the probe and uploads come before the rest", order == ["immich-sign-in", "immich-probe", "immich-upload", "immich"], order)
    urls = [server["url"] for server in found["services"]["immich@file"]["loadBalancer"]["servers"]]
    claim("routers: the server's static address", urls == ["http://10.89.2.12:2283"], urls)
    limit = found["middlewares"]["rate-limit-immich@file"]["rateLimit"]
    claim("routers: the rate limit has room for a page of thumbnails", (limit["average"], limit["burst"]) == (200, 400), limit)
    retry = found["middlewares"]["immich-retry@file"]["retry"]
    claim("routers: no answer is ever a reason to send a request again", not retry.get("status") and retry["attempts"] <= 3, retry)
    kinds = [kind for definition in found["middlewares"].values() for kind in definition]
    claim("routers: nothing holds whole files back", "buffering" not in kinds, kinds)


if __name__ == "__main__":
    if sys.argv[1] == "status":
        answer = ask(SITE, sys.argv[3], source=sys.argv[2])
        print(answer.status, "secured" if answer.secured else "bare")
        raise SystemExit
    routers(sys.argv[1])
    headers()
    apps()
    compression()
    retry()
    breaker()
    flood()
    if wrong:
        raise SystemExit(f"\n{len(wrong)} claims are wrong: {'; '.join(wrong)}")
