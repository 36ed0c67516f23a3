# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes metrics of containers, the database, BTRFS and file systems for the textfile collector of the node exporter.

Run by a timer of the account, on the host: a container that should see the host's file systems would have to have them.
What cannot be read has no series: a value that is not known is not a zero.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import struct
import subprocess
import typing as t

# linux/btrfs.h
FS_INFO, FS_INFO_SIZE = 0x8400941F, 1024
DEV_INFO, DEV_INFO_SIZE = 0xD000941E, 4096
WAIT = 20
WAIT_FOR_A_DISK = 5
NO_DISKS = re.compile(
    "autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fuse.*|fusectl|hugetlbfs|mqueue|nsfs|overlay|proc|pstore|rpc_pipefs|securityfs"
    "|squashfs|sysfs|tmpfs|tracefs"
)
NO_PLACES = re.compile(r"/(dev|etc|proc|run|sys|var/lib/containers)(/|\Z)")
HELP = {
    "podman_container_running": "Whether the container runs.",
    "podman_container_healthy": "Whether its last health check succeeded; without a check there is no series.",
    "podman_container_restarts_total": "How often systemd restarted it by itself.",
    "btrfs_unallocated_bytes": "Bytes that no block group has taken yet.",
    "node_filesystem_size_bytes": "Size of the file system.",
    "node_filesystem_free_bytes": "Bytes that are free.",
    "node_filesystem_avail_bytes": "Bytes that are free for others than root.",
    "node_filesystem_files": "Inodes; 0 where there is no fixed number.",
    "node_filesystem_files_free": "Inodes that are free.",
    "node_filesystem_readonly": "Whether it is mounted read-only.",
    "immich_database_up": "Whether PostgreSQL answers a query.",
    "immich_cache_up": "Whether Valkey answers.",
    "immich_database_checksum_failures_total": "Pages with a wrong checksum that PostgreSQL has found.",
}

FILE_SYSTEM = ("size_bytes", "free_bytes", "avail_bytes", "files", "files_free", "readonly")

Samples = list[tuple[str, dict[str, str], float]]


def run(argv: t.Sequence[str], wait: float = WAIT) -> str | None:
    """What a command prints; None when it fails."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=wait, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def containers(listing: t.Sequence[t.Mapping[str, t.Any]], restarts: t.Mapping[str, int]) -> Samples:
    """From podman ps --all --format json, and from service to its restarts."""
    found: Samples = []
    for item in listing:
        for name in item.get("Names") or []:
            labels = {"name": str(name)}
            running = item.get("State") == "running"
            found.append(("podman_container_running", labels, running))
            health = re.search(r"\((healthy|unhealthy)\)", str(item.get("Status", "")))
            if running and health:
                found.append(("podman_container_healthy", labels, health.group(1) == "healthy"))
            unit = (item.get("Labels") or {}).get("PODMAN_SYSTEMD_UNIT")
            if unit in restarts:
                found.append(("podman_container_restarts_total", labels, restarts[unit]))
    return found


def restarts_of(shown: str) -> dict[str, int]:
    """From systemctl show --property=Id,NRestarts."""
    found = {}
    for block in shown.split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        if fields.get("NRestarts", "").isdigit():
            found[fields.get("Id", "")] = int(fields["NRestarts"])
    return found


def podman() -> Samples:
    listing = run(["podman", "ps", "--all", "--format", "json"])
    if listing is None:
        return []
    items = json.loads(listing or "[]")
    units = sorted({unit for item in items for unit in [(item.get("Labels") or {}).get("PODMAN_SYSTEMD_UNIT")] if unit})
    shown = run(["systemctl", *([] if os.getuid() == 0 else ["--user"]), "show", "--property=Id,NRestarts", "--", *units]) if units else ""
    return containers(items, restarts_of(shown or ""))


def unallocated(path: str) -> int | None:
    """None where there is no BTRFS."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        info = bytearray(FS_INFO_SIZE)
        fcntl.ioctl(handle, FS_INFO, info)
        most, count = struct.unpack_from("=QQ", info)
        total = 0
        for number in range(1, most + 1):
            device = bytearray(DEV_INFO_SIZE)
            struct.pack_into("=Q", device, 0, number)
            try:
                fcntl.ioctl(handle, DEV_INFO, device)
            except OSError:
                continue  # the numbers of removed devices are not used again
            used, size = struct.unpack_from("=QQ", device, 24)
            total += size - used
            count -= 1
        return total if count <= 0 else None
    except OSError:
        return None
    finally:
        os.close(handle)


def btrfs(paths: t.Sequence[str]) -> Samples:
    read = [(path, unallocated(path)) for path in paths]
    return [("btrfs_unallocated_bytes", {"path": path}, value) for path, value in read if value is not None]


def mounts(table: str) -> dict[str, dict[str, str]]:
    """From mount point to device, type and options, from mountinfo. Of several on one place the last is the one that is seen."""
    found = {}
    for line in table.splitlines():
        first, second = (half.split() for half in line.partition(" - ")[::2])
        if len(first) < 6 or len(second) < 2:
            continue
        place, device = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code.group(1), 8)), text) for text in (first[4], second[1]))
        found[place] = {"device": device, "fstype": second[0], "options": first[5]}
    return {place: seen for place, seen in found.items() if not NO_DISKS.fullmatch(seen["fstype"]) and not NO_PLACES.match(place)}


def file_systems() -> Samples:
    """As the node exporter names them. Each is asked by a process of its own: one of a disk or a server that is gone never answers."""
    samples: Samples = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as handle:
        table = mounts(handle.read())
    for place, seen in table.items():
        told = run(["stat", "--file-system", "--format=%S %b %f %a %c %d", "--", place], WAIT_FOR_A_DISK)
        if told is None:
            continue
        block, size, free, available, files, files_free = map(int, told.split())
        labels = {"mountpoint": place, "device": seen["device"], "fstype": seen["fstype"]}
        values = (block * size, block * free, block * available, files, files_free, "ro" in seen["options"].split(","))
        samples += [(f"node_filesystem_{name}", labels, value) for name, value in zip(FILE_SYSTEM, values)]
    return samples


def database(container: str) -> Samples:
    query = "select coalesce(sum(checksum_failures), 0) from pg_stat_database"
    told = run(["podman", "exec", container, "sh", "-c", 'exec psql -X -U "$POSTGRES_USER" -d "$POSTGRES_DB" -Atc "$0"', query])
    if told is None or not told.strip().isdigit():
        return [("immich_database_up", {}, 0)]
    return [("immich_database_up", {}, 1), ("immich_database_checksum_failures_total", {}, int(told))]


def cache(container: str) -> Samples:
    return [("immich_cache_up", {}, (run(["podman", "exec", container, "valkey-cli", "ping"]) or "").strip() == "PONG")]


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def exposition(samples: Samples) -> str:
    """The text format, the samples of one metric together."""
    lines = []
    for name, told in HELP.items():
        mine = [(labels, value) for other, labels, value in samples if other == name]
        if mine:
            lines += [f"# HELP {name} {told}", f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"]
        for labels, value in mine:
            inside = ",".join(f'{key}="{escaped(text)}"' for key, text in sorted(labels.items()))
            lines.append(f"{name}{{{inside}}} {int(value)}" if inside else f"{name} {int(value)}")
    return "".join(line + "\n" for line in lines)


def write(path: str, text: str) -> None:
    """By a rename, so that nobody reads half of it. Readable by everybody: the exporter may be another user."""
    fresh = f"{path}.new"
    with open(fresh, "w", encoding="utf-8") as handle:
        os.fchmod(handle.fileno(), 0o644)
        handle.write(text)
    os.replace(fresh, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True)
    parser.add_argument("--btrfs", action="append", default=[], metavar="PATH")
    parser.add_argument("--database", metavar="CONTAINER")
    parser.add_argument("--cache", metavar="CONTAINER")
    given = parser.parse_args()
    samples = podman() + btrfs(given.btrfs) + file_systems()
    if given.database:
        samples += database(given.database)
    if given.cache:
        samples += cache(given.cache)
    write(given.output, exposition(samples))


if __name__ == "__main__":
    main()
