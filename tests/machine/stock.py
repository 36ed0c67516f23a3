# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second layer of a machine's disk: the offline container images, loaded into the account's own podman store."""

from __future__ import annotations

import os
import pathlib
import subprocess

import rootfs
import runs
from nspawn import Machine
from runs import REPO
from troubles import explained

BUILDER = REPO / "tests" / "images" / "build"
AS_ACCOUNT = ("runuser", "--user", "homelab", "--", "env", "--chdir=/home/homelab", "HOME=/home/homelab", "XDG_RUNTIME_DIR=/run/user/1000")


def stocked(suite: str, vm: bool = False) -> pathlib.Path:
    """The cached disk of that suite with all images in the account's store.

    The stand-ins are always there. The real servers are a layer of their own on top, so that who wants the stand-in copies no more than before.
    """
    base = rootfs.base(suite, vm)
    plain = build("stand-in")
    disk = loaded("stocked", suite, vm, base, plain)
    if ask("which", "--kind") != ["builds"]:
        return disk
    return loaded("builds", suite, vm, disk, [tar for tar in build() if tar not in plain])


def ask(*words: str, immich: str | None = None) -> list[str]:
    """Lines of the image builder; what is wrong it has said itself."""
    env = os.environ if immich is None else {**os.environ, "HOMELAB_TEST_IMMICH": immich}
    done = subprocess.run([str(BUILDER), *words], check=False, stdout=subprocess.PIPE, text=True, env=env)
    if done.returncode != 0:
        raise SystemExit("machine: without its images no machine can be made")
    return done.stdout.splitlines()


def build(immich: str | None = None) -> list[pathlib.Path]:
    return [pathlib.Path(line) for line in ask("build", immich=immich)]


def loaded(layer: str, suite: str, vm: bool, base: pathlib.Path, tars: list[pathlib.Path]) -> pathlib.Path:
    key = rootfs.digest(base.name, *(tar.name for tar in tars))  # each name carries the hash of what the image is made of
    return rootfs.cached(rootfs.kind(layer, suite, vm), key, lambda disk: load_images(base, tars, disk))


def load_images(base: pathlib.Path, tars: list[pathlib.Path], disk: pathlib.Path) -> None:
    rootfs.say(f"loading {len(tars)} container images into the account's store (once)")
    sizes = [path.stat().st_size for path in tars]
    rootfs.need_room(base.stat().st_blocks * 512 + sum(sizes) + 2 * max(sizes))
    machine = Machine("stock", runs.claim_for_build())
    machine.create(base)
    try:
        with explained(machine.dir):
            for path in tars:
                with open(path, "rb") as tar:
                    subprocess.run(machine.enter(*AS_ACCOUNT, "podman", "load", "--quiet"), stdin=tar, check=True, stdout=subprocess.DEVNULL)
        machine.inside("sh", "-c", "sync && fstrim --all")  # podman unpacked each archive beside its store first: what was freed need not be copied
        machine.stop()
        rootfs.need_room(0)  # else some of it may have been lost on the way to the disk
        (machine.dir / "disk.img").rename(disk)
    finally:
        machine.destroy()
