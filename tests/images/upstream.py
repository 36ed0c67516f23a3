# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's own images, fetched from their registries with skopeo and kept by digest, for HOMELAB_TEST_IMMICH=upstream only.

The cache is content by its hash, as a registry has it: manifests and layers below blobs/, and what each reference stands for below references/.
serve.py gives it to podman, so that a machine pulls the images under their own names and digests, from no network.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
import typing as t

import archive

LISTS = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
CONFIGURATION = "HOMELAB_TEST_REGISTRIES_CONF"
Run = t.Callable[..., bytes]


class Unavailable(Exception):
    """An image cannot be had; the text says which, from where, why, and what can be done."""


class Reference(t.NamedTuple):
    """What a unit says behind Image=."""

    text: str
    name: str  # with the registry, without tag and digest
    tag: str
    digest: str

    @property
    def source(self) -> str:
        """For skopeo, which takes a tag or a digest and not both. The digest says more."""
        return f"docker://{self.name}" + (f"@{self.digest}" if self.digest else f":{self.tag or 'latest'}")


def parse(text: str) -> Reference:
    rest, _at, digest = text.partition("@")
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # a port is no tag
        name, tag = rest, ""
    return Reference(text, name, tag, digest)


def skopeo(*words: str) -> bytes:
    """Standard output of skopeo. Mirrors are those of the host's registries.conf, or of the file that is named; credentials those of the host."""
    own = os.environ.get(CONFIGURATION)
    # Signatures are not looked at: what comes is compared with its digest.
    command = ["skopeo", "--insecure-policy", *(["--registries-conf", own] if own else []), *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        raise Unavailable(done.stderr.decode(errors="replace").strip()[-1000:])
    return done.stdout


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def of_this_machine(index: t.Mapping[str, t.Any]) -> str:
    """The digest of the image for this kind of processor."""
    machine = archive.ARCHITECTURES.get(platform.machine(), platform.machine())
    for entry in index["manifests"]:
        if (entry.get("platform") or {}).get("os") == "linux" and entry["platform"].get("architecture") == machine:
            return str(entry["digest"])
    raise Unavailable(f"there is none for linux on {machine}")


class Store:
    """The cache below a directory. Every file is whole: it was made elsewhere, and moved."""

    def __init__(self, directory: str, run: Run = skopeo, say: t.Callable[[str], None] = print) -> None:
        self.directory = directory
        self.run = run
        self.say = say
        for name in ("blobs", "references"):
            os.makedirs(os.path.join(directory, name), exist_ok=True)

    def blob(self, digest: str) -> str:
        return os.path.join(self.directory, "blobs", digest.partition(":")[2])

    def known(self, reference: Reference) -> str | None:
        """What the reference stands for, if all of it is there."""
        try:
            with open(self.record(reference), encoding="utf-8") as handle:
                digest = str(json.load(handle)["digest"])
        except FileNotFoundError:
            return None
        return digest if all(map(os.path.exists, map(self.blob, self.parts(digest)))) else None

    def record(self, reference: Reference) -> str:
        return os.path.join(self.directory, "references", hashlib.sha256(reference.text.encode()).hexdigest() + ".json")

    def parts(self, digest: str) -> t.Iterator[str]:
        """The manifest and all that it names, as far as this machine wants it."""
        yield digest
        if not os.path.exists(self.blob(digest)):
            return
        with open(self.blob(digest), "rb") as handle:
            manifest = json.load(handle)
        if "manifests" in manifest:
            yield from self.parts(of_this_machine(manifest))
        else:
            yield from (entry["digest"] for entry in (manifest["config"], *manifest["layers"]))

    def fetch(self, text: str) -> str:
        """The digest of the reference, whose content is there now. Nothing is asked of a registry when it was there before."""
        reference = parse(text)
        found = self.known(reference)
        if found:
            return found
        self.say(f"fetching {text}")
        try:
            with tempfile.TemporaryDirectory(dir=self.directory, prefix="fetching-") as work:
                return self.take(reference, work)
        except Unavailable as error:
            registry = reference.name.partition("/")[0]
            raise Unavailable(
                f"{text} cannot be had from {registry}: {error}. Is {registry} reachable from here, or a mirror of it named in registries.conf "
                f"(of the host, or the file that {CONFIGURATION} names), and does it want a login (skopeo login {registry})?"
            ) from error

    def take(self, reference: Reference, work: str) -> str:
        top = self.run("inspect", "--raw", reference.source)
        digest = sha256(top)
        if reference.digest and digest != reference.digest:
            raise Unavailable(f"the registry answered with {digest}")
        document = json.loads(top)
        image = of_this_machine(document) if "manifests" in document else digest
        self.run("copy", "--quiet", "--preserve-digests", f"docker://{reference.name}@{image}", "dir:" + work)
        os.remove(os.path.join(work, "version"))
        with open(os.path.join(work, image.partition(":")[2]), "wb") as handle, open(os.path.join(work, "manifest.json"), "rb") as manifest:
            shutil.copyfileobj(manifest, handle)
        os.remove(os.path.join(work, "manifest.json"))
        with open(os.path.join(work, digest.partition(":")[2]), "wb") as handle:
            handle.write(top)
        with open(os.path.join(work, "record"), "w", encoding="utf-8") as handle:
            json.dump({"reference": reference.text, "digest": digest}, handle)
        for name in os.listdir(work):
            if name != "record":
                os.replace(os.path.join(work, name), os.path.join(self.directory, "blobs", name))
        # Last: without it nothing of this is known.
        os.replace(os.path.join(work, "record"), self.record(reference))
        return digest
