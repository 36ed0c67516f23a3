# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reading playbook must not change, as JSON: units and their starts, containers, networks, secrets, images, files.

What runs writes its own data, so the directories of database and cache are left out, and health checks, which come and go as units.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import subprocess

ENVIRONMENT = ["XDG_RUNTIME_DIR=/run/user/1000", "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus", "HOME=/home/homelab"]
COMMANDS = {
    "units": "systemctl --user list-units --all --plain --no-legend --no-pager --type=service,timer,socket,mount",
    "starts": "systemctl --user show --property=Id,InvocationID,NRestarts,ActiveEnterTimestampMonotonic *immich*.service",
    "containers": "podman ps --all --no-trunc --format {{.ID}}|{{.Names}}|{{.Image}}|{{.State}}|{{.StartedAt}}",
    "networks": "podman network ls --no-trunc --format {{.ID}}|{{.Name}}",
    "secrets": "podman secret inspect --format {{.ID}}|{{.Spec.Name}}|{{.UpdatedAt}} immich-db-password",
    "images": "podman images --all --no-trunc --format {{.ID}}|{{.Repository}}:{{.Tag}}",
    "volumes": "podman volume ls --quiet",
}
# Podman's database has it while something is written, as by every health check.
JOURNAL = "db.sql-journal"
HEALTH_CHECK = re.compile(r"[0-9a-f]{64}")
FOLDERS = ("/etc", "/home/homelab/.config", "/home/homelab/.local/state", "/var/lib/systemd/linger", "/mnt/btrfs-pool/subvol3-opptak")
LISTED = ("/mnt/btrfs-pool", "/mnt/btrfs-pool/subvol7-containers", "/home/homelab", "/home/homelab/.local/share/containers/storage")


def said(name: str, command: str) -> list[str]:
    argv = ["runuser", "-u", "homelab", "--", "env", "--chdir=/", *ENVIRONMENT, *command.split()]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(line for line in lines if name != "units" or not HEALTH_CHECK.match(line))


def described(path: str) -> list[object]:
    info = os.lstat(path)
    content = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() if os.path.isfile(path) and not os.path.islink(path) else None
    return [oct(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns, info.st_ctime_ns, content]


state: dict[str, object] = {name: said(name, command) for name, command in COMMANDS.items()}
state["files"] = {
    path: described(path)
    for folder in FOLDERS
    for parent, folders, files in os.walk(folder)
    for path in (os.path.join(parent, name) for name in folders + files)
}
state["listed"] = {folder: sorted(name for name in os.listdir(folder) if name != JOURNAL) for folder in LISTED}
print(json.dumps(state, indent=1, sort_keys=True))
