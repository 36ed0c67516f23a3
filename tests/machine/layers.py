# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine can start from: Debian alone, and on it packages, a script and files, each layer an entry of a table.

They are installed into a copy of the base image by chroot, in namespaces of their own. The way to the package registries is the host's
(resolv.conf, apt's and npm's configuration, certificates); it lies in memory below /run meanwhile and is not part of the image.
"""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import rootfs
import stock
from troubles import gist

HERE = pathlib.Path(__file__).resolve().parent


class Layer(t.NamedTuple):
    """What is added to the base."""

    about: str
    packages: tuple[str, ...]
    script: str = ""  # a file beside this one, run by chroot when the packages are there
    files: str = ""  # a folder of the checkout (its path), copied over the root when the packages are there


LAYERS = {
    "client": Layer(
        "somebody outside, with a browser",
        (
            *("chromium", "chromium-driver", "python3-selenium", "fonts-dejavu-core", "fonts-liberation", "fonts-noto-color-emoji"),
            *("nodejs", "npm", "restic", "curl", "openssl", "ffmpeg", "libimage-exiftool-perl"),
        ),
        script="client",
    ),
    "registry": Layer(
        "a container registry behind TLS and a password, with a proxy that fails on request",
        ("docker-registry", "skopeo", "openssl", "python3-bcrypt"),
        script="registry",
        files="tests/registry",
    ),
}
NAMES = ("base", "stocked", *LAYERS)

# On a copy of the base image ($1), mounted on $2: the packages $5 and the script $3 and the files $4 of a layer (both may be empty).
INSTALL = """
mount -o loop "$1" "$2"
cd "$2"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/host
apt-config dump | grep -E '^Acquire::https?' >run/host/apt.conf || true
for file in "$HOME/.npmrc" /etc/npmrc /usr/etc/npmrc /usr/local/etc/npmrc; do
    [ ! -e "$file" ] || cat "$file" >>run/host/npmrc
done
cat /etc/ssl/certs/ca-certificates.crt >run/host/ca.crt || true
printf 'exit 101\\n' >usr/sbin/policy-rc.d # nothing is started here
chmod 755 usr/sbin/policy-rc.d
[ -e etc/resolv.conf ] || : >etc/resolv.conf
mount --bind "$(readlink -f /etc/resolv.conf)" etc/resolv.conf
export APT_CONFIG=/run/host/apt.conf DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/root
chroot . apt-get -q -o Acquire::Check-Valid-Until=false update
chroot . apt-get -q -y -o Dpkg::Use-Pty=0 install --no-install-recommends $5
[ -z "$4" ] || cp -RT --preserve=mode "$4" .
if [ -n "$3" ]; then
    # Programs which are not Debian's are fetched with the host's certificates.
    mount --bind run/host/ca.crt etc/ssl/certs/ca-certificates.crt
    cp "$3" run/host/script
    NPM_CONFIG_GLOBALCONFIG=/run/host/npmrc NPM_CONFIG_USERCONFIG=/run/host/none NODE_EXTRA_CA_CERTS=/run/host/ca.crt chroot . sh -eu /run/host/script
fi
umount etc/resolv.conf
rm -rf usr/sbin/policy-rc.d var/lib/apt/lists/* var/cache/apt/*.bin root/.npm
chroot . apt-get -q clean
"""


def disk(name: str, suite: str, vm: bool) -> pathlib.Path:
    """The cached disk of that layer."""
    if name == "base":
        return rootfs.base(suite, vm)
    if name == "stocked":
        return stock.stocked(suite, vm)
    return installed(name, rootfs.base(suite, vm), suite, vm)


def installed(name: str, base: pathlib.Path, suite: str, vm: bool) -> pathlib.Path:
    layer = LAYERS[name]
    return rootfs.cached(rootfs.kind(name, suite, vm), key(layer, base.name), lambda target: install(name, layer, base, target))


def key(layer: Layer, base: str) -> str:
    """A hash of all that the layer is made of."""
    script = (HERE / layer.script).read_bytes() if layer.script else b""
    return rootfs.digest(base, INSTALL, " ".join(layer.packages), script, *content(layer.files))


def content(folder: str) -> list[bytes]:
    if not folder:
        return []
    root = HERE.parents[1] / folder
    parts = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            parts += [str(path.relative_to(root)).encode(), bytes([path.stat().st_mode & 0o111]), path.read_bytes()]
    return parts


def install(name: str, layer: Layer, base: pathlib.Path, target: pathlib.Path) -> None:
    rootfs.say(f"installing the layer {name}: {layer.about} (once)")
    rootfs.copy(base, target)
    mountpoint, log = target.with_suffix(".mnt"), target.with_suffix(".log")
    mountpoint.mkdir()
    words = [
        str(HERE / layer.script) if layer.script else "",
        str(HERE.parents[1] / layer.files) if layer.files else "",
        " ".join(layer.packages),
    ]
    with open(log, "wb") as out:
        done = subprocess.run(
            [
                *("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "--"),
                *("sh", "-ec", INSTALL, "sh", str(target), str(mountpoint), *words),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"machine: the layer {name} could not be installed:\n{gist(log.read_text(errors='replace'))}")
    mountpoint.rmdir()
