# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the live machine, as root, with nothing of this collection: is it what the card says?

    live.py PHOTO_SCRIPT

What is expected stands here once more on purpose, typed from the card and not taken from an inventory.
Prints one line for each claim and exits 1 when one of them is false.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import typing as t

ACCOUNT, UID = "homelab", 1000
POOL = "/mnt/btrfs-pool"
LIBRARY = f"{POOL}/subvol3-opptak/immich"
DATA = f"{POOL}/subvol7-containers"
FOLDERS = ("upload", "library", "thumbs", "encoded-video", "profile", "backups")
FIRST_SUBUID = 100000

ADDRESSES = {
    "immich-server": {"10.89.2.12", "10.89.5.5", "10.89.4.22"},
    "immich-ml": {"10.89.5.2"},
    "postgresql-immich": {"10.89.5.3"},
    "redis-immich": {"10.89.5.4"},
}
NETWORKS = {"systemd-reverse_proxy": "10.89.2.0/24", "systemd-photos": "10.89.5.0/24", "systemd-monitoring": "10.89.4.0/24"}
MEMORY = {"immich-server": 4 << 30, "immich-ml": 4 << 30, "postgresql-immich": 1 << 30, "redis-immich": 512 << 20}
SECOND = 10**9
HEALTH = {  # command, interval, start period
    "immich-server": ("curl -f http://localhost:2283/api/server/ping", 30, 300),
    "immich-ml": ("python3 .*urllib", 30, 600),
    "postgresql-immich": ("pg_isready -U immich -d immich", 30, 30),
    "redis-immich": ("valkey-cli ping", 30, 15),
}
MOUNTS = {
    "immich-server": {"/data": LIBRARY},
    "immich-ml": {"/cache": f"{DATA}/immich-ml-cache"},
    "postgresql-immich": {"/var/lib/postgresql/data": f"{DATA}/postgresql-immich"},
    "redis-immich": {"/data": f"{DATA}/redis-immich"},
}
# Who listens where, and what may be reached from a network. From the host nothing: it has no route into rootless networks, and nothing is published.
PORTS = {5432: "postgresql-immich", 6379: "redis-immich", 3003: "immich-ml", 2283: "immich-server", 8081: "immich-server", 8082: "immich-server"}
REACHABLE = {
    "systemd-reverse_proxy": {2283: "10.89.2.12", 8081: "10.89.2.12", 8082: "10.89.2.12"},
    "systemd-monitoring": {2283: "10.89.4.22", 8081: "10.89.4.22", 8082: "10.89.4.22"},
}
URL = "http://10.89.2.12:2283"
EMAIL, PASSWORD = "admin@example.org", "correct-horse"

# Numbers of capabilities: CHOWN 0, DAC_OVERRIDE 1, DAC_READ_SEARCH 2, FOWNER 3, SETGID 6, SETUID 7.
CAPABILITIES = {"postgresql-immich": {0, 1, 3, 6, 7}, "redis-immich": {0, 2, 6, 7}}

wrong: list[str] = []


def claim(text: str, true: t.Any, found: t.Any = "") -> None:
    print(f"{'ok    ' if true else 'WRONG '} {text}" + (f": {found}" if found != "" and not true else ""))
    if not true:
        wrong.append(text)


def equal(text: str, found: t.Any, expected: t.Any) -> None:
    claim(text, found == expected, f"found {found!r}, expected {expected!r}")


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def account(*command: str, check: bool = True) -> str:
    runtime = f"/run/user/{UID}"
    env = [f"XDG_RUNTIME_DIR={runtime}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus", f"HOME=/home/{ACCOUNT}"]
    return run("runuser", "-u", ACCOUNT, "--", "env", "--chdir=/", *env, *command, check=check)


def show(service: str, key: str) -> str:
    return account("systemctl", "--user", "show", "--value", "-p", key, f"{service}.service")


def nocow(*paths: str) -> dict[str, bool]:
    """Path -> whether lsattr shows C, for every regular file and directory below."""
    flags = {}
    for path in paths:
        for line in run("find", path, "(", "-type", "f", "-o", "-type", "d", ")", "-exec", "lsattr", "-d", "{}", "+").splitlines():
            letters, name = line.split(maxsplit=1)
            flags[name] = "C" in letters
    return flags


def services(inspected: dict[str, t.Any]) -> None:
    for name in ADDRESSES:
        equal(f"{name}: service is active", show(name, "ActiveState"), "active")
        equal(f"{name}: starts at boot", "default.target" in show(name, "WantedBy"), True)
        equal(f"{name}: podman says healthy", inspected[name]["State"]["Health"]["Status"], "healthy")
        command, interval, start = HEALTH[name]
        check = inspected[name]["Config"]["Healthcheck"]
        text = " ".join(check["Test"])
        pattern = command if ".*" in command else re.escape(command)
        claim(f"{name}: checks its health with the card's command", re.search(pattern, text), text)
        equal(f"{name}: interval and start period", (check["Interval"], check["StartPeriod"]), (interval * SECOND, start * SECOND))
        equal(f"{name}: memory limit", show(name, "MemoryMax"), str(MEMORY[name]))
        equal(f"{name}: no User=", inspected[name]["Config"]["User"], "")
        mounts = {item["Destination"]: item["Source"] for item in inspected[name]["Mounts"] if item["Destination"] in MOUNTS[name]}
        equal(f"{name}: mounts", mounts, MOUNTS[name])
    claim("immich-server: has the graphics device", account("podman", "exec", "immich-server", "ls", "/dev/dri", check=False) == "renderD128")


def networks(inspected: dict[str, t.Any]) -> None:
    found = {item["name"]: item["subnets"][0]["subnet"] for item in json.loads(account("podman", "network", "inspect", *NETWORKS))}
    equal("subnets of the three networks", found, NETWORKS)
    for name, expected in ADDRESSES.items():
        links = json.loads(run("nsenter", "-t", str(inspected[name]["State"]["Pid"]), "-n", "ip", "-j", "-4", "address"))
        inside = {info["local"] for link in links for info in link["addr_info"] if link["ifname"] != "lo"}
        equal(f"{name}: addresses seen inside", inside, expected)
    routes = json.loads(run("nsenter", "-t", str(inspected["immich-server"]["State"]["Pid"]), "-n", "ip", "-j", "route", "show", "default"))
    best = min(routes, key=lambda route: route.get("metric", 0))
    equal("immich-server: way out is the reverse_proxy network", best["gateway"], "10.89.2.1")
    claim("immich-server: that way out is the only one of its metric", [route.get("metric") for route in routes].count(best.get("metric")) == 1, routes)
    for name in ("postgresql-immich", "redis-immich", "immich-ml"):
        answer = account("podman", "exec", "immich-server", "getent", "hosts", name, check=False)
        equal(f"immich-server resolves {name}", set(answer.split()[:1]), ADDRESSES[name])


# Tries every address and port at once, from wherever it runs, and prints those that took the connection.
TRY = """
import concurrent.futures, json, socket, sys
def opens(pair):
    try:
        socket.create_connection(pair, 2).close()
        return True
    except OSError:
        return False
pairs = [tuple(pair) for pair in json.loads(sys.argv[1])]
with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
    print(json.dumps([pair for pair, open in zip(pairs, pool.map(opens, pairs)) if open]))
"""


def as_pairs(text: str) -> set[tuple[str, int]]:
    return set(map(tuple, json.loads(text)))


def connections(inspected: dict[str, t.Any]) -> None:
    """Who reaches whom: a matrix of networks, addresses and ports, with nothing assumed about firewalls or routes."""
    pairs = [(address, port) for addresses in ADDRESSES.values() for address in sorted(addresses) for port in PORTS]
    question = json.dumps(pairs)

    def reached(*prefix: str) -> set[tuple[str, int]]:
        return as_pairs(run(*prefix, "python3", "-c", TRY, question))

    server = reached("nsenter", "-t", str(inspected["immich-server"]["State"]["Pid"]), "-n")
    needed = {("10.89.5.3", 5432), ("10.89.5.4", 6379), ("10.89.5.2", 3003)}
    claim("immich-server reaches database, cache and machine learning", needed <= server, needed - server)
    image = inspected["immich-ml"]["ImageName"]
    for network in ("systemd-reverse_proxy", "systemd-monitoring"):
        opened = as_pairs(account("podman", "run", "--rm", "--network", network, "--entrypoint", "python3", image, "-c", TRY, question))
        equal(f"{network}: reaches the server and nothing behind it", opened, {(address, port) for port, address in REACHABLE[network].items()})
    equal("the host reaches none of them", reached(), set())
    listening = {line.split()[3].rsplit(":", 1)[-1] for line in run("ss", "-Hltn").splitlines()}
    equal("no port of theirs is open on the host", listening & {str(port) for port in PORTS}, set())


def hardening(inspected: dict[str, t.Any]) -> None:
    """As the kernel has it, for the first process of each container."""
    for name, data in inspected.items():
        status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{data['State']['Pid']}/status").read_text().splitlines() if ":\t" in line)
        equal(f"{name}: no new privileges", status["NoNewPrivs"], "1")
        equal(f"{name}: a seccomp filter", status["Seccomp"], "2")
        allowed = CAPABILITIES.get(name, set())
        given = {number for number in range(64) if int(status["CapBnd"], 16) >> number & 1}
        claim(f"{name}: no capability beyond those it needs", given <= allowed, given - allowed)
        equal(f"{name}: read-only root", data["HostConfig"]["ReadonlyRootfs"], True)


def storage() -> None:
    database = nocow(f"{DATA}/postgresql-immich")
    files = [path for path in database if os.path.isfile(path)]
    claim("PostgreSQL made files", len(files) > 500, len(files))
    equal("every file and directory of PostgreSQL is NOCOW", [path for path, flag in database.items() if not flag][:5], [])
    equal("the models' directory is NOCOW", all(nocow(f"{DATA}/immich-ml-cache").values()), True)
    equal("nothing in the photo library is NOCOW", [path for path, flag in nocow(LIBRARY).items() if flag][:5], [])
    equal("file system of the library", run("stat", "-f", "-c", "%T", LIBRARY), "btrfs")
    for folder in FOLDERS:
        claim(f"{folder} has its marker", os.path.isfile(f"{LIBRARY}/{folder}/.immich"))
    equal("the library belongs to the account", {os.stat(path).st_uid for path in [LIBRARY, *(f"{LIBRARY}/{f}" for f in FOLDERS)]}, {UID})
    equal("the database belongs to the sub-id of uid 999", os.stat(f"{DATA}/postgresql-immich").st_uid, FIRST_SUBUID + 998)


def secrets(inspected: dict[str, t.Any]) -> None:
    secret = account("podman", "exec", "postgresql-immich", "cat", "/run/secrets/immich-db-password")
    claim("the database password is a generated one", re.fullmatch(r"[A-Za-z0-9]{20,}", secret))
    for name, data in inspected.items():
        environment = pathlib.Path(f"/proc/{data['State']['Pid']}/environ").read_text(errors="replace")
        claim(f"{name}: the password is in no environment and no argument", secret not in json.dumps(data) + environment)
    units = pathlib.Path(f"/home/{ACCOUNT}/.config/containers/systemd")
    claim("the password is in no unit or env file", not any(secret in path.read_text() for path in units.rglob("*") if path.is_file()))


def photo(script: str) -> None:
    def upload(*more: str) -> dict[str, t.Any]:
        text = account("podman", "unshare", "--rootless-netns", "python3", script, URL, EMAIL, PASSWORD, *more)
        return t.cast("dict[str, t.Any]", json.loads(text))

    result = upload()
    asset = result["asset"]["id"]
    equal("photo: created", (result["asset"]["status_code"], result["asset"]["status"]), (201, "created"))
    equal("photo: downloads with the same SHA-256", (result["original_status"], result["original_sha256"]), (200, result["sha256"]))
    equal("photo: has a thumbnail", (result["thumbnail_status"], result["thumbnail_is_jpeg"]), (200, True))
    query = f"select encode(checksum, 'hex') || ' ' || \"originalPath\" from asset where id = '{asset}'"
    row = account("podman", "exec", "postgresql-immich", "psql", "-U", "immich", "-d", "immich", "-Atc", query).split()
    equal("photo: PostgreSQL has its SHA-1", row[:1], [result["sha1"]])
    path = row[1].replace("/data/", f"{LIBRARY}/", 1) if len(row) > 1 else "/nonexistent"
    equal("photo: the file on BTRFS has the same content", run("sha256sum", path).split()[0], result["sha256"])
    equal("photo: file belongs to the account, with copy-on-write", (os.stat(path).st_uid, nocow(path)), (UID, {path: False}))
    claim("photo: thumbnail files are in thumbs", list(pathlib.Path(f"{LIBRARY}/thumbs").rglob(f"{asset}*")))

    broken = upload("--damaged")
    line = rf"ERROR \[Microservices:.*{broken['asset']['id']}.*Unable to run job handler \(AssetGenerateThumbnails\)"
    journal = ""
    for dummy in range(40):
        journal = account("journalctl", "--user", "-u", "immich-server.service", "--no-pager", "-o", "cat")
        if re.search(line, journal):
            break
        time.sleep(0.5)
    claim("damaged photo: accepted, and its failure is in the journal", broken["asset"]["status_code"] == 201 and re.search(line, journal), journal[-500:])
    metrics = account("podman", "exec", "immich-server", "curl", "-s", "http://localhost:8082/metrics")
    claim(
        "damaged photo: counted on port 8082", re.search(r"^immich_jobs_asset_generate_thumbnails_failed_total\S* [1-9]", metrics, re.MULTILINE), metrics[:500]
    )


def main() -> None:
    inspected = {item["Name"]: item for item in json.loads(account("podman", "inspect", *ADDRESSES))}
    services(inspected)
    networks(inspected)
    connections(inspected)
    hardening(inspected)
    storage()
    secrets(inspected)
    photo(sys.argv[1])
    if wrong:
        raise SystemExit(f"\n{len(wrong)} claims are wrong: {'; '.join(wrong)}")


main()
