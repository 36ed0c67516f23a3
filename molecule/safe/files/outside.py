# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody does who knows the address and has no account, from the street's first address; a family member comes from the second meanwhile.

    outside.py [SECONDS]     a storm of clients that hang up lasts so long; 8 when omitted

Prints one line for each claim and exits 1 when one is false. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import sys
import threading
import time
import typing as t

SITE, HOUSE = "photos.patriark.org", "192.0.2.1"
STRANGER, FAMILY = "192.0.2.10", "192.0.2.11"
SIGN_UP = (
    "/api/auth/admin-sign-up",
    "/API/Auth/Admin-Sign-Up/",
    "/api/auth/admin%2Dsign%2dup",
    "/api/auth/%61dmin-sign-up",
    "//api//auth/./admin-sign-up",
    "/api/auth/x/../admin-sign-up",
    "/api/auth/admin-sign-up?x=y",
    "/api/auth%2Fadmin-sign-up",
    "/api/admin/database-backups/start-restore",
)
FORGED = "X-Forwarded-For: 203.0.113.{0}\r\nX-Real-Ip: 203.0.113.{0}\r\nForwarded: for=203.0.113.{0}\r\nX_Forwarded_For: 203.0.113.{0}\r\n"
wrong: list[str] = []


def claim(text: str, true: t.Any, found: t.Any = "") -> None:
    print(f"{'ok    ' if true else 'WRONG '} {text}" + (f": {found}" if not true else ""), flush=True)
    if not true:
        wrong.append(text)


def connect(source: str, tls: bool = True) -> socket.socket:
    plain = socket.create_connection((HOUSE, 443 if tls else 80), 20, (source, 0))
    if not tls:
        return plain
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(plain, server_hostname=SITE)


def ask(path: str, method: str = "GET", headers: str = "", body: t.Any = None, source: str = STRANGER, tls: bool = True) -> int:
    """The status, 0 when there was none. Bytes are sent as they are: a client of the standard library would put them right."""
    sent = b"" if body is None else json.dumps(body).encode()
    kind = f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n" if sent else ""
    try:
        with contextlib.closing(connect(source, tls)) as stream:
            with contextlib.suppress(OSError):  # a door that has heard enough hangs up before all is said
                stream.sendall(f"{method} {path} HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n{headers}{kind}\r\n".encode() + sent)
            line = stream.recv(100).split(b" ")
            return int(line[1]) if len(line) > 1 else 0
    except OSError:
        return 0


def page(source: str = FAMILY) -> int:
    return ask("/api/server/version", source=source)


def sign_up() -> None:
    person = {"email": "stranger@example.net", "password": "stranger", "name": "Stranger"}
    found = {path: ask(path, "POST", body=person) for path in SIGN_UP}
    claim("nobody signs up from outside, however it is spelt", set(found.values()) == {403}, found)
    claim("the server is there for everybody else", page() == 200)


def large() -> None:
    """Each time the next visitor is served: what is too large never gets to the server, and opens nothing."""
    for name, path, headers in (
        ("an address line of 900,000 characters", "/" + "a" * 900000, ""),
        ("one that Traefik would take and Node would not", "/" + "a" * 20000, ""),
        ("headers of 900,000 characters", "/", f"X-Large: {'a' * 900000}\r\n"),
        ("a thousand headers", "/", "".join(f"X-{number}: {'a' * 20}\r\n" for number in range(1000))),
    ):
        found = [(ask(path, headers=headers), page()) for dummy in range(3)]
        claim(f"{name}: 431, and the next visitor is served", set(found) == {(431, 200)}, found)
    claim("the other door has the same limit", ask("/" + "a" * 900000, tls=False) == 431)
    claim("what a browser sends passes", ask("/api/server/version?" + "a" * 4000, headers=f"Cookie: {'a' * 3000}\r\n") == 200)


def passwords() -> None:
    def attempt(source: str, headers: str = "") -> int:
        return ask("/api/auth/login", "POST", headers, {"email": "admin@example.org", "password": "guess"}, source)

    found = [attempt(STRANGER) for dummy in range(30)]
    claim("a family signs in on all of its phones", set(found[:15]) <= {400, 401}, found)
    claim("who guesses on gets 429", found[-5:] == [429] * 5, found)
    claim("another address to claim is of no use", [attempt(STRANGER, FORGED.format(number)) for number in range(5)] == [429] * 5)
    claim("another spelling neither", ask("/API/auth/Login/", "POST", body={"email": "a", "password": "b"}) == 429)
    claim("somebody else signs in meanwhile", attempt(FAMILY) in (400, 401))
    claim("and who guessed still sees the page", page(STRANGER) == 200)
    ask("/forged-address", headers=FORGED.format(77))


def storm(seconds: float) -> None:
    """Phones that go into a tunnel: pages nobody waits for, and uploads that end with a reset half way."""
    over, hung_up = threading.Event(), [0]

    def phone(number: int) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), contextlib.closing(connect(STRANGER)) as stream:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if number % 2:
                    stream.sendall(f"GET /api/server/version HTTP/1.1\r\nHost: {SITE}\r\n\r\n".encode())
                else:
                    head = f"POST /api/assets HTTP/1.1\r\nHost: {SITE}\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n"
                    stream.sendall(head.encode() + b"a" * 100000)
                hung_up[0] += 1

    phones = [threading.Thread(target=phone, args=(number,)) for number in range(6)]
    for each in phones:
        each.start()
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        found.append(page())
        time.sleep(0.1)
    over.set()
    for each in phones:
        each.join()
    claim(f"{hung_up[0]} clients hang up in {seconds:.0f} s: another one is served all the time", hung_up[0] > 20 and set(found) == {200}, found)


if __name__ == "__main__":
    sign_up()
    large()
    storm(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
    passwords()
    if wrong:
        raise SystemExit(f"\n{len(wrong)} claims are wrong: {'; '.join(wrong)}")
