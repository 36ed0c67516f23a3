# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second layer of a machine's disk: the offline container images, loaded into the account's own podman store."""

from __future__ import annotations

import pathlib
import subprocess

import rootfs
import runs
from nspawn import Machine
from runs import REPO

BUILDER = REPO / "tests" / "images" / "build"
AS_ACCOUNT = ("runuser", "--user", "homelab", "--", "env", "--chdir=/home/homelab", "HOME=/home/homelab", "XDG_RUNTIME_DIR=/run/user/1000")


def stocked(suite: str, vm: bool = False) -> pathlib.Path:
    """The cached disk of that suite with all images in the account's store."""
    base = rootfs.base(suite, vm)
    built = subprocess.run([str(BUILDER), "build"], check=True, stdout=subprocess.PIPE, text=True).stdout
    tars = [pathlib.Path(line) for line in built.splitlines()]
    key = rootfs.digest(base.name, *(tar.name for tar in tars))  # each name carries the hash of what the image is made of
    return rootfs.cached(rootfs.kind("stocked", suite, vm), key, lambda disk: load_images(base, tars, disk))


def load_images(base: pathlib.Path, tars: list[pathlib.Path], disk: pathlib.Path) -> None:
    rootfs.say("loading the container images into the account's store (once)")
    machine = Machine("stock", runs.claim_for_build())
    machine.create(base)
    try:
        for path in tars:
            with open(path, "rb") as tar:
                subprocess.run(machine.enter(*AS_ACCOUNT, "podman", "load", "--quiet"), stdin=tar, check=True, stdout=subprocess.DEVNULL)
        machine.stop()
        (machine.dir / "disk.img").rename(disk)
    finally:
        machine.destroy()
