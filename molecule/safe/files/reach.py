# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches whom on this host, measured: from inside the network of each container, of another account and of another machine, every port that listens
in any other is tried. Prints the rows of the table in docs/security.md. Run as root; the account is the argument.

A second machine of the LAN, a metadata service and services of the host are made for the time of the run, in a network namespace of its own.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import socket
import subprocess
import sys
import typing as t

LAN, HOST, METADATA = "10.222.0.2", "10.222.0.1", "169.254.169.254"
OPEN, LOOPBACK = 18888, 18889
# How a rootless container might name its host: the addresses that podman and pasta give to it.
WAYS = ("169.254.1.1", "169.254.1.2", "169.254.1.3", "169.254.2.1", "169.254.2.2", HOST)
LISTEN = """
import os, socket, sys
for place in sys.argv[1:]:
    address, dummy, port = place.rpartition(":")
    listening = socket.create_server((address, int(port)), backlog=512)
    if os.fork() == 0:
        while True:
            listening.accept()[0].close()
print("listening", flush=True)
os.wait()
"""
TRY = """
import concurrent.futures, json, socket, sys
def opens(pair):
    try:
        socket.create_connection(pair, 2).close()
        return True
    except OSError:
        return False
pairs = [tuple(pair) for pair in json.load(sys.stdin)]
with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
    print(json.dumps([pair for pair, opened in zip(pairs, pool.map(opens, pairs)) if opened]))
"""
Pair = tuple[str, int]


def said(*command: str, data: str | None = None) -> str:
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, text=True, check=True, cwd="/").stdout


def containers(account: str) -> dict[str, t.Any]:
    runtime = f"/run/user/{said('id', '-u', account).strip()}"
    session = ["env", f"XDG_RUNTIME_DIR={runtime}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus"]
    podman = ["runuser", "-u", account, "--", *session, "podman"]
    names = said(*podman, "ps", "--format", "{{.Names}}").split()
    return {item["Name"]: item for item in json.loads(said(*podman, "container", "inspect", *names))}


def listening(table: str) -> set[int]:
    """Ports of /proc/net/tcp or tcp6 that listen on more than the loopback."""
    found = set()
    for line in table.splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, port = local.split(":")
        if state == "0A" and address not in ("0100007F", "00000000000000000000000001000000"):
            found.add(int(port, 16))
    return found


def ports_of(pid: int) -> set[int]:
    found = set()
    for name in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{name}", encoding="ascii") as handle:
            found |= listening(handle.read())
    return found


def targets(running: dict[str, t.Any]) -> dict[Pair, str]:
    """Address and port, and what that is called in the table."""
    found: dict[Pair, str] = {(LAN, OPEN): "the LAN", (METADATA, 80): "metadata"}
    found.update({(way, OPEN): "the host" for way in WAYS})
    found.update({(way, LOOPBACK): "the host's loopback" for way in WAYS})
    for name, item in running.items():
        for port in ports_of(item["State"]["Pid"]):
            found.update({(network["IPAddress"], port): f"{name}:{port}" for network in item["NetworkSettings"]["Networks"].values()})
    return found


def published() -> dict[Pair, str]:
    """Ports of the host, but for those that are made here, and sshd."""
    return {(HOST, port): f"host:{port}" for port in ports_of(os.getpid()) - {OPEN, LOOPBACK, 22}}


def row(source: str, enter: t.Sequence[str], tried: dict[Pair, str]) -> str:
    others = {pair: name for pair, name in tried.items() if name.partition(":")[0] != source}
    reached = json.loads(said(*enter, sys.executable, "-c", TRY, data=json.dumps(sorted(others))))
    return f"| {source} | {', '.join(sorted({others[tuple(pair)] for pair in reached})) or 'nobody'} |"


@contextlib.contextmanager
def neighbours() -> t.Iterator[None]:
    """A machine of the LAN that also answers where a cloud has its metadata, and two services of the host."""
    for command in (
        "ip netns add reach-lan",
        "ip link add reach0 type veth peer name eth0 netns reach-lan",
        f"ip address add {HOST}/24 dev reach0",
        "ip link set reach0 up",
        f"ip -n reach-lan address add {LAN}/24 dev eth0",
        f"ip -n reach-lan address add {METADATA}/32 dev eth0",
        "ip -n reach-lan link set eth0 up",
        f"ip route add {METADATA}/32 dev reach0",
    ):
        said(*command.split())
    places = {("ip", "netns", "exec", "reach-lan"): [f"{LAN}:{OPEN}", f"{METADATA}:80"], (): [f"0.0.0.0:{OPEN}", f"127.0.0.1:{LOOPBACK}"]}
    started = []
    try:
        for enter, listens in places.items():
            process = subprocess.Popen([*enter, sys.executable, "-c", LISTEN, *listens], stdout=subprocess.PIPE, text=True, start_new_session=True)
            started.append(process)
            assert process.stdout is not None and process.stdout.readline() == "listening\n"
        for address in (LAN, METADATA):
            socket.create_connection((address, OPEN if address == LAN else 80), 5).close()
        yield
    finally:
        for process in started:
            os.killpg(process.pid, 15)
            process.wait()
        said("ip", "link", "delete", "reach0")
        said("ip", "netns", "delete", "reach-lan")


def main() -> None:
    running = containers(sys.argv[1])
    with neighbours(), concurrent.futures.ThreadPoolExecutor(len(running) + 2) as pool:
        inside, outside = targets(running), published()
        sources = [(name, ["nsenter", "-t", str(item["State"]["Pid"]), "-n"], inside) for name, item in sorted(running.items())]
        outside.update({pair: name for pair, name in inside.items() if ":" in name})
        sources.append(("another account", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], outside))
        sources.append(("another machine", ["ip", "netns", "exec", "reach-lan"], outside))
        for text in pool.map(lambda source: row(*source), sources):
            print(text)


if __name__ == "__main__":
    main()
