# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disk images of test machines, made once and cached under the hash of what defines them.

Three layers: a Debian root file system, the same with the offline container images in the store of the account, and that with
an example deployed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from troubles import explained, gist

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("HOMELAB_TEST_CACHE", "/var/cache/patriark-homelab-test"))
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DISK_SIZE = "24G"  # sparse: only what is written takes room
MARGIN = 500_000_000  # bytes that have to be free when an image is made
KEEP = 3  # newest images kept of each kind

PACKAGES = """
acl attr aardvark-dns btrfs-progs ca-certificates catatonit conmon crun curl dbus dbus-user-session e2fsprogs iproute2 libpam-systemd
netavark nftables openssh-server passt passwd podman procps python3 strace sudo systemd systemd-sysv uidmap
""".split()
KERNEL = ["linux-image-cloud-amd64", "initramfs-tools", "udev", "zstd"]  # a virtual machine brings its own


def say(text: str) -> None:
    print(f"machine: {text}", flush=True)


def digest(*parts: bytes | str) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() if isinstance(part, str) else part)
        total.update(b"\0")
    return total.hexdigest()[:16]


@contextlib.contextmanager
def locked(path: pathlib.Path) -> t.Iterator[None]:
    """One builder at a time; the kernel lets go of the lock when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def cached(kind: str, key: str, make: t.Callable[[pathlib.Path], None], suffix: str = ".img") -> pathlib.Path:
    """The cached disk image (or folder of them) of that kind and key; `make(path)` builds it when it is not there."""
    target = CACHE / f"{kind}-{key}{suffix}"
    if not target.exists():
        with locked(CACHE / f"{kind}.lock"):
            if not target.exists():
                for stale in CACHE.glob(f"{kind}-making-*"):  # of a builder that was killed; we hold the lock
                    shutil.rmtree(stale)
                with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{kind}-making-") as work, explained(CACHE):
                    part = pathlib.Path(work) / f"disk{suffix}"
                    make(part)
                    part.rename(target)
                forget_old(kind, suffix, target)
    os.utime(target)
    return target


def need_room(size: int) -> None:
    """A machine does not notice that the disk below its own is full: what it wrote is lost, and an image made that way must not be kept."""
    free = shutil.disk_usage(CACHE).free
    if free < size + MARGIN:
        raise SystemExit(
            f"machine: {(size + MARGIN) / 1e9:.1f} GB are needed in {CACHE}, and {free / 1e9:.1f} GB are free: "
            "make room, or let HOMELAB_TEST_CACHE name a directory on a larger disk"
        )


def forget_old(kind: str, suffix: str, keep: pathlib.Path) -> None:
    images = sorted(CACHE.glob(f"{kind}-{'[0-9a-f]' * 16}{suffix}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in images[KEEP:]:
        if path != keep:
            remove(path)


def remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Holes stay holes, and nothing is searched for more of them: that would take twice as long."""
    subprocess.run(["cp", "--sparse=auto", "--reflink=auto", str(source), str(target)], check=True)


def base(suite: str, vm: bool = False) -> pathlib.Path:
    """Debian of that suite with systemd, ssh and podman; for a virtual machine with a kernel."""
    packages = PACKAGES + KERNEL if vm else PACKAGES
    key = digest(suite, " ".join(packages), DISK_SIZE, (HERE / "customize").read_bytes())
    return cached(kind("base", suite, vm), key, lambda path: debootstrap(suite, packages, path))


def kind(layer: str, suite: str, vm: bool) -> str:
    """What the cached images of a kind are called; no name is the beginning of another's."""
    return f"{'vm-' if vm else ''}{layer}-{suite}"


def debootstrap(suite: str, packages: list[str], disk: pathlib.Path) -> None:
    if not KEYRING.exists():
        raise SystemExit(f"machine: {KEYRING} is missing: install debian-archive-keyring")
    say(f"building the Debian {suite} root file system (once, about a minute)")
    tar = disk.with_suffix(".tar")
    log = disk.with_suffix(".log")
    with open(log, "wb") as out:
        # Namespaces of its own: whatever ends us ends all of it, and its scratch space goes with our working directory.
        done = subprocess.run(
            [
                *("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                "mmdebstrap",
                "--variant=apt",
                f"--include={','.join(packages)}",
                f"--keyring={KEYRING}",
                "--aptopt=Acquire::Languages none",
                # a mirror that stopped being refreshed still has a whole and signed set of packages
                "--aptopt=Acquire::Check-Valid-Until false",
                f"--customize-hook={HERE / 'customize'} $1",
                suite,
                str(tar),
            ],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(disk.parent)},
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"machine: mmdebstrap failed:\n{gist(log.read_text(errors='replace'))}")
    subprocess.run(["truncate", "-s", DISK_SIZE, str(disk)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", str(disk)], check=True)
    # A private mount namespace: the mount goes with the process, whatever happens to it.
    script = 'mount -o loop "$1" "$2" && tar -C "$2" --xattrs --xattrs-include="*" --numeric-owner -xf "$3"'
    mountpoint = disk.with_suffix(".mnt")
    mountpoint.mkdir()
    subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", str(disk), str(mountpoint), str(tar)], check=True)
    mountpoint.rmdir()
    tar.unlink()


def purge() -> None:
    """Remove every cached disk image."""
    shutil.rmtree(CACHE, ignore_errors=True)
