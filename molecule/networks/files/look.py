# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the live machine, as root, with nothing of this collection; prints JSON.

networks: name -> podman network inspect; containers: name -> addresses, the gateways of its best default routes, state and health;
services: name -> state and invocation.
"""

from __future__ import annotations

import json
import re
import subprocess
import typing as t

RUNTIME = "/run/user/1000"
AS_ACCOUNT = ["runuser", "-u", "homelab", "--", "env", "--chdir=/", f"XDG_RUNTIME_DIR={RUNTIME}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={RUNTIME}/bus"]


def run(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def account(*command: str) -> str:
    return run(*AS_ACCOUNT, "HOME=/home/homelab", *command)


def inside(pid: int) -> dict[str, t.Any]:
    """Addresses and the way out, as the kernel has them in the container's own network namespace."""
    enter = ("nsenter", "-t", str(pid), "-n", "ip", "-j")
    addresses = [info["local"] for link in json.loads(run(*enter, "address")) if link["ifname"] != "lo" for info in link["addr_info"]]
    routes = [route for family in ("-4", "-6") for route in json.loads(run(*enter, family, "route", "show", "default") or "[]")]
    best = min((route.get("metric", 0) for route in routes), default=0)
    return {
        "addresses": sorted(address for address in addresses if not address.startswith("fe80")),
        "ways_out": sorted(route["gateway"] for route in routes if route.get("metric", 0) == best),
    }


def main() -> None:
    names = account("podman", "ps", "--all", "--format", "{{.Names}}").split()
    inspected = json.loads(account("podman", "inspect", *names)) if names else []
    containers = {}
    for item in inspected:
        state = item["State"]
        facts = inside(state["Pid"]) if state["Pid"] else {"addresses": [], "ways_out": []}
        containers[item["Name"]] = {**facts, "state": state["Status"], "health": (state.get("Health") or {}).get("Status", "")}
    networks = json.loads(account("podman", "network", "inspect", *account("podman", "network", "ls", "--quiet").split()))
    for network in networks:
        del network["created"]  # that of podman's default network is always now
    text = account("systemctl", "--user", "show", "--property=Id,ActiveState,InvocationID", "*.service")
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    # Health checks run as services of their own, named by the container's id.
    blocks = [block for block in blocks if not re.match(r"[0-9a-f]{64}", block["Id"])]
    result = {
        "networks": {item["name"]: item for item in networks},
        "containers": containers,
        "services": {block["Id"].removesuffix(".service"): {"state": block["ActiveState"], "invocation": block["InvocationID"]} for block in blocks},
    }
    print(json.dumps(result))


main()
