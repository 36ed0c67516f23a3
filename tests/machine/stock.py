# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The second layer of a machine's disk: the offline container images, loaded into the account's own podman store."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t

import rootfs
import runs
from nspawn import Machine
from runs import REPO
from troubles import explained

BUILDER = REPO / "tests" / "images" / "build"
UPSTREAM = pathlib.Path(os.environ.get("HOMELAB_TEST_UPSTREAM") or rootfs.CACHE / "upstream")
MIRRORS = "/etc/containers/registries.conf.d/upstream.conf"
AS_ACCOUNT = ("runuser", "--user", "homelab", "--", "env", "--chdir=/home/homelab", "HOME=/home/homelab", "XDG_RUNTIME_DIR=/run/user/1000")


def stocked(suite: str, vm: bool = False) -> pathlib.Path:
    """The cached disk of that suite with all images in the account's store.

    The stand-ins are always there. The real servers are a layer of their own on top, so that who wants the stand-in copies no more than before.
    """
    base = rootfs.base(suite, vm)
    (kind,) = ask("which", "--kind")
    if kind == "upstream":
        return pulled(suite, vm, base, ask("upstream"))
    plain = build("stand-in")
    disk = loaded("stocked", suite, vm, base, plain)
    if kind != "builds":
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


def pulled(suite: str, vm: bool, base: pathlib.Path, lines: list[str]) -> pathlib.Path:
    """Upstream's images under their own names: lines have a reference and its digest."""
    key = rootfs.digest(base.name, *lines)
    references = [line.split()[0] for line in lines]
    return rootfs.cached(rootfs.kind("upstream", suite, vm), key, lambda disk: pull_images(base, references, disk))


def loaded(layer: str, suite: str, vm: bool, base: pathlib.Path, tars: list[pathlib.Path]) -> pathlib.Path:
    key = rootfs.digest(base.name, *(tar.name for tar in tars))  # each name carries the hash of what the image is made of
    return rootfs.cached(rootfs.kind(layer, suite, vm), key, lambda disk: load_images(base, tars, disk))


def load_images(base: pathlib.Path, tars: list[pathlib.Path], disk: pathlib.Path) -> None:
    rootfs.say(f"loading {len(tars)} container images into the account's store (once)")

    def load(machine: Machine) -> None:
        for path in tars:
            with open(path, "rb") as tar:
                subprocess.run(machine.enter(*AS_ACCOUNT, "podman", "load", "--quiet"), stdin=tar, check=True, stdout=subprocess.DEVNULL)

    sizes = [path.stat().st_size for path in tars]
    fill(base, disk, load, sum(sizes) + 2 * max(sizes))


def pull_images(base: pathlib.Path, references: list[str], disk: pathlib.Path) -> None:
    """Podman pulls, so that names and digests are those of any pull; it takes the machine's own loopback for a mirror of all registries."""
    rootfs.say(f"pulling {len(references)} images of upstream from the cache into the account's store (once)")

    def pull(machine: Machine) -> None:
        command = ["nsenter", f"--target={machine.leader}", "--net", "--", sys.executable, "-B", str(BUILDER.parent / "serve.py"), str(UPSTREAM), *references]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as registry:
            port = int(t.cast("t.IO[str]", registry.stdout).readline())
            machine.inside("sh", "-ec", 'printf "%s" "$1" >"$2"', "sh", mirrors(references, port), MIRRORS)
            for reference in references:
                machine.inside(*AS_ACCOUNT, "podman", "pull", "--quiet", untagged(reference))
                machine.inside(*AS_ACCOUNT, "podman", "image", "exists", reference)
            machine.inside("rm", MIRRORS)
            t.cast("t.IO[str]", registry.stdin).close()

    fill(base, disk, pull, 3 * sum(path.stat().st_size for path in (UPSTREAM / "blobs").iterdir()))


def untagged(reference: str) -> str:
    """Podman pulls by a tag or by a digest, not by both."""
    name, at, digest = reference.partition("@")
    return name[: name.rindex(":")] + at + digest if at and ":" in name.rpartition("/")[2] else reference


def mirrors(references: list[str], port: int) -> str:
    """registries.conf: each registry is asked for at that port."""
    hosts = sorted({reference.partition("/")[0] for reference in references})
    return "".join(f'[[registry]]\nprefix = "{host}"\nlocation = "127.0.0.1:{port}/{host}"\ninsecure = true\n' for host in hosts)


def fill(base: pathlib.Path, disk: pathlib.Path, work: t.Callable[[Machine], None], size: int) -> None:
    """A machine from that base, the work done in it; its disk is kept. The work writes up to that many bytes."""
    rootfs.need_room(base.stat().st_blocks * 512 + size)
    machine = Machine("stock", runs.claim_for_build())
    machine.create(base)
    try:
        with explained(machine.dir):
            work(machine)
        machine.inside("sh", "-c", "sync && fstrim --all")  # what podman unpacked beside its store need not be copied
        machine.stop()
        rootfs.need_room(0)  # else some of it may have been lost on the way to the disk
        (machine.dir / "disk.img").rename(disk)
    finally:
        machine.destroy()
