# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Traefik and the chain cost: the same request to Immich in four ways, side by side.

direct     from the network of the containers, HTTP, without a proxy
router     from the host through the socket-activated Traefik, TLS, a router without middlewares
chain      the same with the whole chain (its rate limit lifted)
published  the chain again, through a second Traefik whose port podman publishes

    python3 -B proxy.py [--requests 2000] [--connections 8] [--rounds 3] [--output FILE]

Runs as root on a test machine on which the card is deployed (examples/card and tests/images), and removes what it made. Connections stay
open. Every line of the output is one measurement as JSON, then medians, then ratios of medians to the way above. Rounds change the order of
the ways. The client is Python, on the same processors: ratios say more than rates.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing as t

USER = "homelab"
CONFIG = pathlib.Path("/home/homelab/containers/config/traefik/dynamic")
STATIC = "/home/homelab/.config/containers/systemd/traefik/traefik.yml"
BACKEND, PATH = "10.89.2.12:2283", "/api/server/version"
AS_USER = ["runuser", "-u", USER, "--", "env", "--chdir=/", "HOME=/home/homelab", "XDG_RUNTIME_DIR=/run/user/1000", "podman"]
FILE = f"""\
http:
  routers:
    bench-router: {{rule: "Host(`bench-router.test`)", entryPoints: [websecure], service: bench, tls: {{}}}}
    bench-chain:
      rule: Host(`bench-chain.test`)
      entryPoints: [websecure]
      service: bench
      middlewares: [immich-security-headers, bench-limit, immich-circuit-breaker, immich-retry, immich-compression]
      tls: {{}}
  services:
    bench: {{loadBalancer: {{servers: [{{url: "http://{BACKEND}"}}]}}}}
  middlewares:
    bench-limit: {{rateLimit: {{average: 1000000, burst: 1000000, sourceCriterion: {{ipStrategy: {{depth: 0, ipv6Subnet: 64}}}}}}}}
"""
# way -> (address, host name, or None for HTTP)
WAYS: dict[str, tuple[str, str | None]] = {
    "direct": (BACKEND, None),
    "router": ("127.0.0.1:443", "bench-router.test"),
    "chain": ("127.0.0.1:443", "bench-chain.test"),
    "published": ("127.0.0.1:8443", "bench-chain.test"),
}


def connection(address: str, host: str | None) -> http.client.HTTPConnection:
    name, dummy, port = address.partition(":")
    made = http.client.HTTPConnection(name, int(port), timeout=60)
    plain = socket.create_connection((name, int(port)), 60)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.sock = plain if host is None else ssl._create_unverified_context().wrap_socket(plain, server_hostname=host)
    return made


def client(way: str, count: int, connections: int) -> dict[str, t.Any]:
    address, host = WAYS[way]
    taken: list[float] = []
    wrong: list[int] = []
    begin = threading.Barrier(connections + 1)

    def work() -> None:
        with contextlib.closing(connection(address, host)) as line:
            line.request("GET", PATH, headers={"Host": host or address})
            line.getresponse().read()
            begin.wait()
            for dummy in range(count // connections):
                start = time.perf_counter()
                line.request("GET", PATH, headers={"Host": host or address, "Accept-Encoding": "gzip"})
                answer = line.getresponse()
                answer.read()
                taken.append(time.perf_counter() - start)
                if answer.status != 200:
                    wrong.append(answer.status)

    workers = [threading.Thread(target=work) for dummy in range(connections)]
    for worker in workers:
        worker.start()
    begin.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - start
    ordered = sorted(taken)
    figures = {
        "rps": round(len(taken) / seconds, 1),
        "p50_ms": round(statistics.median(ordered) * 1000, 2),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 2),
    }
    return {"way": way, "requests": len(taken), "connections": connections, "failed": len(wrong), **figures}


def measure(way: str, options: argparse.Namespace) -> dict[str, t.Any]:
    command = [sys.executable, "-B", str(pathlib.Path(__file__).resolve()), "--client", way, "--requests", str(options.requests)]
    command += ["--connections", str(options.connections)]
    if way == "direct":
        command = [*AS_USER, "unshare", "--rootless-netns", *command]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {**json.loads(done.stdout), "load": round(os.getloadavg()[0], 1)}


@contextlib.contextmanager
def prepared() -> t.Iterator[None]:
    file = CONFIG / "bench.yml"
    image = subprocess.run([*AS_USER, "inspect", "--format", "{{.ImageName}}", "traefik"], check=True, capture_output=True, text=True).stdout.strip()
    try:
        with tempfile.NamedTemporaryFile("w", dir=CONFIG.parent, delete=False) as handle:
            handle.write(FILE)
        os.chmod(handle.name, 0o644)
        os.rename(handle.name, file)
        made = ["run", "--detach", "--replace", "--name", "bench-published", "--network", "systemd-reverse_proxy", "--publish", "127.0.0.1:8443:443"]
        made += ["--volume", f"{STATIC}:/etc/traefik/traefik.yml:ro", "--volume", f"{CONFIG}:/etc/traefik/dynamic:ro", image]
        subprocess.run([*AS_USER, *made], check=True, stdout=subprocess.DEVNULL)
        for way in WAYS:
            if way != "direct":
                wait(way)
        yield
    finally:
        file.unlink(missing_ok=True)
        subprocess.run([*AS_USER, "rm", "--force", "--ignore", "--time", "0", "bench-published"], check=False, stdout=subprocess.DEVNULL)


def wait(way: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection(*WAYS[way])) as line:
            line.request("GET", PATH, headers={"Host": str(WAYS[way][1])})
            if line.getresponse().status == 200:
                return
        if time.monotonic() > deadline:
            raise SystemExit(f"{way}: Traefik does not serve it")
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--client", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        print(json.dumps(client(options.client, options.requests, options.connections)))
        return
    found: list[dict[str, t.Any]] = [{"cpus": os.cpu_count(), "kernel": os.uname().release, "python": sys.version.split()[0], "path": PATH}]
    ways = list(WAYS)
    with prepared():
        for number in range(options.rounds):
            turn = number % len(ways)
            for way in ways[turn:] + ways[:turn]:
                found.append({**measure(way, options), "round": number})
                print(json.dumps(found[-1]), flush=True)
    medians = {}
    for way in ways:
        runs = [each for each in found if each.get("way") == way]
        medians[way] = {key: round(statistics.median(each[key] for each in runs), 2) for key in ("rps", "p50_ms", "p99_ms")}
        found.append({"median": way, **medians[way]})
    for way, other in (("router", "direct"), ("chain", "direct"), ("chain", "router"), ("published", "chain")):
        ratio = {key: round(medians[way][key] / medians[other][key], 2) for key in medians[way]}
        found.append({"ratio": f"{way} to {other}", **ratio})
    text = "".join(json.dumps(each) + "\n" for each in found)
    print("".join(json.dumps(each) + "\n" for each in found[-8:]), end="")
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
