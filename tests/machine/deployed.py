# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The third layer: an example of the collection, deployed once by its own playbook; the disk and the pool of that machine are kept."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import typing as t

import platforms
import rootfs
import runs
import stock
from nspawn import Machine, wait_for
from runs import CHECKOUT, REPO
from troubles import explained, gist

IMAGES = REPO / "tests" / "images" / "inventory"  # what the example's images are here
PARTS = ("roles", "plugins", "playbooks", "meta")  # of the collection, as far as a deployment is made of them
BUILDER = ("deployed.py", "nspawn.py", "vm.py")  # and of the machine it is made on
GRAPHICS = ("card",)  # the examples whose host has a graphics device

# systemd makes it anew at each boot, before the first container starts.
DEVICE = "printf '%s\\n' 'd /dev/dri 0755 root root' 'c /dev/dri/renderD128 0666 root root - 1:3' >/etc/tmpfiles.d/graphics.conf && systemd-tmpfiles --create"


def deployed(example: str, suite: str, kind: type[Machine], stocked: pathlib.Path) -> pathlib.Path:
    """The cached folder with `disk.img` and `pool.img` of a machine that was made from the stocked disk, with that example on it."""
    inventory = REPO / "examples" / example / "inventory.yml"
    if not inventory.is_file():
        known = sorted(path.parent.name for path in inventory.parents[1].glob("*/inventory.yml"))
        raise SystemExit(f"machine: there is no example {example!r}: {', '.join(known)}")
    name = rootfs.kind(f"deployed-{example}", suite, kind is not Machine)
    made_of = key(REPO, inventory, IMAGES, stocked.name, ansible_version())
    return rootfs.cached(name, made_of, lambda folder: deploy(kind, example, stocked, inventory, folder), suffix=".disks")


def key(repo: pathlib.Path, inventory: pathlib.Path, images: pathlib.Path, stocked: str, ansible: str) -> str:
    """Changes with everything the layer is made of. The name of the stocked disk stands for all that is in it."""
    files = [path for part in PARTS for path in (repo / part).rglob("*") if path.is_file() and path.suffix not in (".md", ".pyc")]
    files += [inventory, images, repo / "galaxy.yml", *(repo / "tests" / "machine" / name for name in BUILDER)]
    parts = (part for path in sorted(files) for part in (str(path.relative_to(repo)), path.read_bytes()))
    chosen = subprocess.run([str(images)], check=True, stdout=subprocess.PIPE).stdout  # it says something else for another Immich
    return rootfs.digest(stocked, ansible, chosen, *parts)


def tool(name: str) -> str:
    """Of the checkout's own environment, or whichever is on the path."""
    own = CHECKOUT / ".venv" / "bin" / name
    found = str(own) if own.exists() else shutil.which(name)
    if not found:
        raise SystemExit(f"machine: there is no {name}: run tests/setup")
    return found


def ansible_version() -> str:
    said = subprocess.run([tool("ansible-playbook"), "--version"], check=True, stdout=subprocess.PIPE, text=True)
    return said.stdout.partition("\n")[0]


def deploy(kind: type[Machine], example: str, stocked: pathlib.Path, inventory: pathlib.Path, folder: pathlib.Path) -> None:
    rootfs.say(f"deploying examples/{example} (once, a minute or two)")
    rootfs.need_room(2 * stocked.stat().st_blocks * 512)
    machine = kind("deploy", runs.claim_for_build())
    machine.create(stocked, hostname="photos")
    try:
        if example in GRAPHICS:
            machine.inside("sh", "-ec", DEVICE)
        work = folder.with_suffix(".work")
        with explained(machine.dir):
            play(machine, [inventory, IMAGES], work)
        machine.inside("fstrim", "--all", check=False)  # what was freed need not be copied
        if not machine.stop():
            raise SystemExit(f"machine: the machine with examples/{example} had to be killed")
        folder.mkdir()
        for name in ("disk.img", "pool.img"):
            (machine.dir / name).rename(folder / name)
    finally:
        machine.destroy()


def settle(machine: Machine) -> list[str]:
    """Wait until what the account starts at boot has started, and no container's health is still to be found out; those that are not well."""
    bus = "/run/user/1000/systemd/private"
    wait_for(lambda: machine.inside("test", "-S", bus, check=False).returncode == 0, f"the account's systemd of {machine.name} does not start")
    machine.inside(*stock.AS_ACCOUNT, "systemctl", "--user", "is-system-running", "--wait", check=False)
    late = f"not all containers of {machine.name} have said how they are"
    wait_for(lambda: not containers(machine, "starting"), late, seconds=machine.boot_deadline)
    return containers(machine, "unhealthy")


def containers(machine: Machine, health: str) -> list[str]:
    command = ("podman", "ps", "--all", f"--filter=health={health}", "--format={{.Names}}")
    return machine.inside(*stock.AS_ACCOUNT, *command).stdout.split()


def play(machine: Machine, inventories: t.Sequence[pathlib.Path], work: pathlib.Path) -> None:
    """Deploy with a copy of the collection: somebody may edit the checkout meanwhile."""
    collection = work / "ansible_collections" / "patriark" / "homelab"
    for part in PARTS:
        shutil.copytree(REPO / part, collection / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "galaxy.yml", collection)
    own = work / "machine.json"
    own.write_text(json.dumps(platforms.inventory({"photos": machine.host_variables()}, {})))
    log = work / "log"
    with open(log, "wb") as out:
        done = subprocess.run(
            [tool("ansible-playbook"), "patriark.homelab.site", *(f"--inventory={path}" for path in (*inventories, own))],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_COLLECTIONS_PATH": str(work),
                "ANSIBLE_PIPELINING": "1",
                "ANSIBLE_LOCALHOST_WARNING": "0",
            },
            cwd=work,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"machine: the deployment failed:\n{gist(log.read_text(errors='replace'))}")
