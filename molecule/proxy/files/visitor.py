# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A family member outside of the house: talks to the proxy over TLS, from a network namespace of its own.

    visitor.py get PATH [--from ADDRESS] [--header NAME=VALUE]...     one request; prints status, headers and body
    visitor.py upload NAME SIZE [--seconds N] [--cut FRACTION]        uploads random bytes, spread over so many seconds or cut off; reads them back
    visitor.py claims                                                 the page, the API, log in, WebSocket, ranges, a photo, a large video
    visitor.py probe FILE                                             ten requests a second until SIGTERM; writes what failed, and apart from it
                                                                      what failed while the file /run/interruption was there

Prints JSON, but claims prints one line for each claim and exits 1 when one is false. Standard library only.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import sys
import threading
import time
import typing as t
import uuid

HOST, ADDRESS, PORT = "photos.patriark.org", "192.0.2.1", 443
FIRST = "192.0.2.10"
CA = pathlib.Path(__file__).with_name("ca.pem")
INTERRUPTION = pathlib.Path("/run/interruption")
EMAIL, PASSWORD = "admin@example.org", "correct-horse"
BLOCK = 1 << 20
VIDEO_SIZE = 300 << 20
PATIENCE = 60.0

wrong: list[str] = []


def claim(text: str, true: t.Any, found: t.Any = "") -> None:
    print(f"{'ok    ' if true else 'WRONG '} {text}" + (f": {found}" if found != "" and not true else ""), flush=True)
    if not true:
        wrong.append(text)


def context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CA))


class Connection(http.client.HTTPConnection):
    """HTTPS to the proxy's address, asking for the site's name, from the address given."""

    def __init__(self, source: str = FIRST, timeout: float = PATIENCE) -> None:
        super().__init__(HOST, PORT, timeout=timeout)
        self.source = source

    def connect(self) -> None:
        plain = socket.create_connection((ADDRESS, PORT), timeout=self.timeout, source_address=(self.source, 0))
        self.sock = context().wrap_socket(plain, server_hostname=HOST)


class Answer(t.NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> t.Any:
        return json.loads(self.body or b"null")


def request(path: str, method: str = "GET", body: t.Any = None, headers: t.Mapping[str, str] | None = None, source: str = FIRST) -> Answer:
    with contextlib.closing(Connection(source)) as connection:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {**({} if data is None else {"Content-Type": "application/json"}), **(headers or {})})
        answer = connection.getresponse()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())


def log_in() -> dict[str, str]:
    """The headers of somebody who is logged in; the account is made when there is none yet."""
    if not request("/api/server/config").json["isInitialized"]:
        request("/api/auth/admin-sign-up", "POST", {"email": EMAIL, "password": PASSWORD, "name": "Admin"})
    return {"Authorization": f"Bearer {request('/api/auth/login', 'POST', {'email': EMAIL, 'password': PASSWORD}).json['accessToken']}"}


def content(seed: str, size: int) -> t.Iterator[bytes]:
    """Bytes that nothing can compress, the same for the same seed, with the beginning of a JPEG."""
    source = random.Random(seed)
    for start in range(0, size, BLOCK):
        block = source.randbytes(min(BLOCK, size - start))
        yield (b"\xff\xd8\xff\xe0" + block)[: len(block)] if start == 0 else block


class Upload:
    """One file on its way to the library."""

    def __init__(self, name: str, size: int, headers: t.Mapping[str, str]) -> None:
        self.name, self.size, self.headers = name, size, dict(headers)
        self.seed = uuid.uuid4().hex
        self.sha256 = hashlib.sha256()
        for block in content(self.seed, size):
            self.sha256.update(block)

    def send(self, seconds: float = 0.0, cut: float = 2.0) -> Answer:
        """Raises OSError when the connection ends before the answer, and ends it itself once the fraction cut is sent."""
        boundary, now = uuid.uuid4().hex, time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        fields = {"deviceAssetId": self.seed, "deviceId": "visitor", "fileCreatedAt": now, "fileModifiedAt": now}
        head = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items())
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="assetData"; filename="{self.name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        tail = f"\r\n--{boundary}--\r\n"
        with contextlib.closing(Connection()) as connection:
            connection.putrequest("POST", "/api/assets")
            for key, value in self.headers.items():
                connection.putheader(key, value)
            connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
            connection.putheader("Content-Length", str(len(head) + self.size + len(tail)))
            connection.endheaders(head.encode())
            sent, start = 0, time.monotonic()
            for block in content(self.seed, self.size):
                for piece in (block[at : at + BLOCK // 8] for at in range(0, len(block), BLOCK // 8)):
                    connection.send(piece)
                    sent += len(piece)
                    if sent >= self.size * cut:
                        return Answer(0, {}, b"")
                    time.sleep(max(0.0, start + seconds * sent / self.size - time.monotonic()))
            connection.send(tail.encode())
            answer = connection.getresponse()
            return Answer(answer.status, {}, answer.read())

    def comes_back(self, asset: str) -> bool:
        """Whether a download has the same content."""
        found = hashlib.sha256()
        with contextlib.closing(Connection()) as connection:
            connection.request("GET", f"/api/assets/{asset}/original", headers=self.headers)
            answer = connection.getresponse()
            while block := answer.read(BLOCK):
                found.update(block)
        return answer.status == 200 and found.digest() == self.sha256.digest()


def upload(name: str, size: int, seconds: float, cut: float) -> dict[str, t.Any]:
    sending = Upload(name, size, log_in())
    start = time.monotonic()
    try:
        answer = sending.send(seconds, cut)
    except OSError as error:
        return {"status": 0, "error": str(error), "seconds": round(time.monotonic() - start, 1)}
    took = round(time.monotonic() - start, 1)
    same = answer.status == 201 and sending.comes_back(answer.json["id"])
    return {"status": answer.status, "seconds": took, "same": same, "answer": answer.body.decode(errors="replace")[:200]}


class WebSocket:
    """Enough of RFC 6455 to say hello and read an answer."""

    def __init__(self, path: str, headers: t.Mapping[str, str]) -> None:
        self.connection = Connection()
        key = base64.b64encode(os.urandom(16)).decode()
        wanted = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
        self.connection.connect()
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": HOST, **wanted, **headers}.items())
        self.stream = self.connection.sock.makefile("rwb")
        self.stream.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        self.stream.flush()
        self.status = int(self.stream.readline().split()[1])
        while self.stream.readline().strip():
            pass

    def read(self) -> str:
        """Next text; frames of a server are not masked."""
        dummy, length = self.stream.read(2)
        if length == 126:
            length = int.from_bytes(self.stream.read(2), "big")
        return t.cast(bytes, self.stream.read(length)).decode()

    def write(self, text: str) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text.encode()))
        self.stream.write(bytes([0x81, 0x80 | len(masked)]) + mask + masked)
        self.stream.flush()


def claims() -> None:
    page = request("/")
    claim("the page comes", page.status == 200 and b"<html" in page.body.lower(), page)
    found = request("/.well-known/immich")
    claim("an app finds the server", found.json == {"api": {"endpoint": "/api"}}, found)
    claim("the API answers without logging in", request("/api/server/ping").json == {"res": "pong"})
    claim("what needs an account is refused by Immich and not by the proxy", request("/api/users/me").status == 401)
    user = log_in()
    me = request("/api/users/me", headers=user)
    claim("logged in", me.json.get("email") == EMAIL, me)

    web_socket = WebSocket("/api/socket.io/?EIO=4&transport=websocket", user)
    claim("WebSocket: upgraded", web_socket.status == 101, web_socket.status)
    opening = web_socket.read()
    web_socket.write("40")
    replies = [web_socket.read(), web_socket.read()]
    claim("WebSocket: talks both ways", opening.startswith("0{") and "on_server_version" in replies[1], (opening, replies))

    photo = Upload("photo.jpg", 3 << 20, user)
    answer = photo.send()
    claim("photo: uploaded", answer.status == 201, answer)
    asset = answer.json.get("id")
    claim("photo: comes back with the same SHA-256", photo.comes_back(asset))
    part = request(f"/api/assets/{asset}/original", headers={**user, "Range": "bytes=1000000-1000099"})
    expected = next(content(photo.seed, photo.size))[1000000:1000100]
    claim("photo: a range comes", (part.status, part.body) == (206, expected), (part.status, part.headers))
    claim("photo: the range says where it is", part.headers.get("content-range") == f"bytes 1000000-1000099/{photo.size}", part.headers)

    video = Upload("video.mp4", VIDEO_SIZE, user)
    answer = video.send()
    claim("video of 300 MB: uploaded", answer.status == 201, answer)
    claim("video of 300 MB: comes back with the same SHA-256", video.comes_back(answer.json.get("id")))
    if wrong:
        raise SystemExit(f"\n{len(wrong)} claims are wrong: {'; '.join(wrong)}")


def probe(output: str) -> None:
    """Each request on a connection of its own, in a thread of its own: one that hangs holds up no other."""
    state: dict[str, t.Any] = {"requests": 0, "failures": [], "interrupted": 0, "announced": 0.0}
    lock, ended = threading.Lock(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *dummy: ended.set())

    def one() -> None:
        at = time.time()
        try:
            status: t.Any = request("/api/server/ping").status
        except (OSError, http.client.HTTPException) as error:
            status = f"{type(error).__name__}: {error}"
        with lock:
            state["requests"] += 1
            if status != 200 and (INTERRUPTION.exists() or state["announced"] >= at):
                state["interrupted"] += 1
            elif status != 200:
                state["failures"].append({"at": round(at, 1), "status": status})

    threads = []
    while not ended.wait(0.1):
        if INTERRUPTION.exists():
            state["announced"] = time.time()
        threads.append(threading.Thread(target=one))
        threads[-1].start()
    for thread in threads:
        thread.join()
    pathlib.Path(output).write_text(json.dumps(state), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    sub = verbs.add_parser("get")
    sub.add_argument("path")
    sub.add_argument("--from", dest="source", default=FIRST)
    sub.add_argument("--method", default="GET")
    sub.add_argument("--header", action="append", default=[])
    sub = verbs.add_parser("upload")
    sub.add_argument("name")
    sub.add_argument("size", type=int)
    sub.add_argument("--seconds", type=float, default=0.0)
    sub.add_argument("--cut", type=float, default=2.0)
    verbs.add_parser("claims")
    verbs.add_parser("probe").add_argument("output")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if args.verb == "get":
        answer = request(args.path, args.method, headers=dict(header.split("=", 1) for header in args.header), source=args.source)
        json.dump({"status": answer.status, "headers": answer.headers, "body": answer.body.decode(errors="replace")[:4000]}, sys.stdout)
    elif args.verb == "upload":
        json.dump(upload(args.name, args.size, args.seconds, args.cut), sys.stdout)
    elif args.verb == "claims":
        claims()
    else:
        probe(args.output)


if __name__ == "__main__":
    main()
