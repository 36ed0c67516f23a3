# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the live machine, as root, with nothing of this collection: is the least deployment sound, and hardened as it should be?

    look.py PHOTO_SCRIPT

Prints one line for each claim and exits 1 when one of them is false.
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import time
import typing as t

ACCOUNT, UID = "homelab", 1000
URL = "http://127.0.0.1:2283"
DATABASE = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
CAPABILITIES = {"immich-server": set(), "immich-ml": set(), "postgresql-immich": DATABASE, "redis-immich": {"CHOWN", "DAC_READ_SEARCH", "SETGID", "SETUID"}}
WRITABLE = {
    "immich-server": {"/data", "/tmp"},
    "immich-ml": {"/cache", "/tmp"},
    "postgresql-immich": {"/var/lib/postgresql/data", "/tmp"},
    "redis-immich": {"/tmp"},
}

wrong: list[str] = []


def claim(text: str, true: t.Any, found: t.Any = "") -> None:
    print(f"{'ok    ' if true else 'WRONG '} {text}" + (f": {found}" if found != "" and not true else ""))
    if not true:
        wrong.append(text)


def equal(text: str, found: t.Any, expected: t.Any) -> None:
    claim(text, found == expected, f"found {found!r}, expected {expected!r}")


def account(*command: str) -> str:
    runtime = f"/run/user/{UID}"
    env = [f"XDG_RUNTIME_DIR={runtime}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus", f"HOME=/home/{ACCOUNT}"]
    done = subprocess.run(["runuser", "-u", ACCOUNT, "--", "env", "--chdir=/", *env, *command], capture_output=True, text=True, check=False)
    return (done.stdout if done.returncode == 0 else f"failed: {done.returncode} {done.stdout}{done.stderr}").strip()


def sql(query: str) -> str:
    return account("podman", "exec", "postgresql-immich", "psql", "-U", "immich", "-d", "immich", "-Atc", query)


def settled() -> dict[str, t.Any]:
    """All four containers, once they are healthy; after two minutes, as they are."""
    found: dict[str, t.Any] = {}
    for dummy in range(240):
        text = account("podman", "inspect", *CAPABILITIES)
        if text.startswith("["):
            found = {item["Name"]: item for item in json.loads(text)}
            if len(found) == len(CAPABILITIES) and all((item["State"].get("Health") or {}).get("Status") == "healthy" for item in found.values()):
                return found
        time.sleep(0.5)
    claim("all four are there and healthy", False, {name: item["State"].get("Health") for name, item in found.items()})
    return found


def hardened(found: dict[str, t.Any]) -> None:
    for name, data in found.items():
        status = pathlib.Path(f"/proc/{data['State']['Pid']}/status").read_text(encoding="ascii")
        claim(f"{name}: no new privileges", re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE))
        equal(f"{name}: capabilities", {word.removeprefix("CAP_") for word in data["BoundingCaps"] or []}, CAPABILITIES[name])
        for path in ("/", "/etc", "/usr", "/var", "/usr/src", "/opt"):
            claim(f"{name}: {path} cannot be written to", account("podman", "exec", name, "sh", "-c", f"! test -d {path} || ! touch {path}/x") == "", path)
        for path in WRITABLE[name]:
            equal(f"{name}: {path} can", account("podman", "exec", name, "sh", "-c", f"touch {path}/.probe && rm {path}/.probe"), "")


def database(found: dict[str, t.Any]) -> None:
    equal("data checksums are on", sql("show data_checksums"), "on")
    equal("a restore finds its role", sql("select rolsuper from pg_roles where rolname = 'postgres'"), "t")
    check = " ".join(found["postgresql-immich"]["Config"]["Healthcheck"]["Test"])
    claim("the health check begins with the card's command", check.startswith("CMD-SHELL pg_isready -U immich -d immich"), check)
    # What the image's own check reads is made up in front of it: a checksum failure must make the container unhealthy.
    text = "printf '#!/bin/sh\\necho 3\\n' > /tmp/psql && chmod 755 /tmp/psql && PATH=/tmp:$PATH; " + check.removeprefix("CMD-SHELL ")
    claim("and fails when checksums failed", account("podman", "exec", "postgresql-immich", "sh", "-c", text).startswith("failed: 1"), text)
    claim("and not without", not account("podman", "exec", "postgresql-immich", "sh", "-c", check.removeprefix("CMD-SHELL ")).startswith("failed"))
    account("podman", "exec", "postgresql-immich", "rm", "/tmp/psql")


def reachable() -> None:
    listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    ports = {line.split()[3] for line in listening.splitlines()}
    claim("Immich is published where the inventory says", "127.0.0.1:2283" in ports, ports)
    equal("and nothing else of it", [port for port in ports if port.rpartition(":")[2] in ("5432", "6379", "3003", "8081", "8082")], [])


def photo(script: str) -> None:
    done = subprocess.run([sys.executable, script, URL, "admin@example.org", "correct-horse"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        claim("photo: is taken", False, done.stdout + done.stderr)
        return
    result = json.loads(done.stdout)
    equal("photo: created, and its thumbnail is made", (result["asset"]["status"], result["thumbnail_status"]), ("created", 200))
    equal("photo: comes back as it was", result["original_sha256"], result["sha256"])


def main() -> None:
    found = settled()
    if not wrong:
        hardened(found)
        database(found)
        reachable()
        photo(sys.argv[1])
    if wrong:
        raise SystemExit(f"\n{len(wrong)} claims are wrong: {'; '.join(wrong)}")


main()
