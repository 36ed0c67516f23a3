# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images without a container engine: layer tars and OCI archives.

A layer is an uncompressed tar in OCI form (white-out files for what was removed). An image is an OCI archive that C(podman load) reads.
Like most published images it is OCI, so podman does not take a health check from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import subprocess
import tarfile
import typing as t

WHITEOUT = ".wh."
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}


class Damaged(Exception):
    """A file cannot become a layer; the text says why."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of the build host that goes into an image. The path is no part of its hash: C(what) names the content, such as a version."""

    path: str = dataclasses.field(repr=False)
    what: str


class File(t.NamedTuple):
    """One entry of a layer. C(content) None means a directory; C(link) makes a symbolic link."""

    path: str
    content: bytes | Source | None = None
    mode: int = 0o755
    owner: int = 0
    group: int = 0
    link: str = ""


class Layer(t.NamedTuple):
    """A layer's tar and the digest that names it."""

    path: str
    digest: str
    size: int


class HashedWriter:
    """A write-only file that knows the SHA-256 and the length of what went through it."""

    def __init__(self, stream: t.BinaryIO) -> None:
        self.stream = stream
        self.sha = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.sha.update(data)
        self.size += len(data)
        return self.stream.write(data)


def scan(root: str, skip: t.Container[str] = ()) -> dict[str, tuple[t.Any, ...]]:
    """What a later comparison needs to see that a path was changed: kind, rights, owner, size, time, target."""
    found: dict[str, tuple[t.Any, ...]] = {}
    for path in walk(root, skip):
        info = os.lstat(os.path.join(root, path))
        target = os.readlink(os.path.join(root, path)) if stat.S_ISLNK(info.st_mode) else ""
        size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
        found[path] = (info.st_mode, info.st_uid, info.st_gid, size, info.st_mtime_ns, target)
    return found


def walk(root: str, skip: t.Container[str] = ()) -> t.Iterator[str]:
    """Every path below root, sorted, parents first; nothing below a skipped directory."""
    stack = [""]
    while stack:
        base = stack.pop()
        if base:
            yield base
        full = os.path.join(root, base)
        if base in skip or os.path.islink(full) or not os.path.isdir(full):
            continue
        stack.extend(os.path.join(base, name) for name in sorted(os.listdir(full), reverse=True))


def changed_paths(before: dict[str, tuple[t.Any, ...]], after: dict[str, tuple[t.Any, ...]]) -> list[str]:
    """Paths a layer must carry: new and changed ones, white-outs for lost ones, and every parent of those.

    Parents are carried because an engine that meets a file without its directory makes that directory with rights of its own choice.
    """
    wanted = {path for path, entry in after.items() if before.get(path) != entry}
    for path in before:
        parent, name = os.path.split(path)
        # A lost directory takes its children with it: one white-out is enough.
        if path not in after and (not parent or parent in after):
            wanted.add(os.path.join(parent, WHITEOUT + name))
    for path in list(wanted):
        parent = os.path.dirname(path)
        while parent:
            wanted.add(parent)
            parent = os.path.dirname(parent)
    return sorted(wanted, key=lambda path: path.split("/"))


def write_tree(stream: t.Any, root: str, paths: t.Iterable[str], epoch: int) -> None:
    """Write the named paths of a tree. No time is later than epoch: what a package brought keeps its time, what the build made gets this one."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in paths:
            name = os.path.basename(path)
            if name.startswith(WHITEOUT):
                tar.addfile(_clean(tarfile.TarInfo(path), epoch))
                continue
            info = tar.gettarinfo(os.path.join(root, path), arcname=path)
            if info is None or info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
                continue  # sockets and device nodes cannot be unpacked by a rootless engine
            info.mtime = min(int(info.mtime), epoch)
            _clean(info, info.mtime)
            if info.isreg():
                with open(os.path.join(root, path), "rb") as content:
                    tar.addfile(info, content)
            else:
                tar.addfile(info)


def write_files(stream: t.Any, files: t.Iterable[File], epoch: int) -> None:
    """Write entries given in memory, sorted, each with its parent directories (0755 root unless listed)."""
    entries = {entry.path: entry for entry in files}
    for path in list(entries):
        parent = os.path.dirname(path)
        while parent:
            entries.setdefault(parent, File(parent))
            parent = os.path.dirname(parent)
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(entries.values(), key=lambda item: item.path.split("/")):
            info = _clean(tarfile.TarInfo(entry.path), epoch)
            info.mode, info.uid, info.gid = entry.mode, entry.owner, entry.group
            if entry.link:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
                tar.addfile(info)
            elif entry.content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif isinstance(entry.content, Source):
                info.size = os.stat(entry.content.path).st_size
                with open(entry.content.path, "rb") as source:
                    tar.addfile(info, source)
            else:
                info.size = len(entry.content)
                tar.addfile(info, io.BytesIO(entry.content))


def write_packed(stream: t.Any, path: str, sha256: str) -> None:
    """Write what a tar compressed by zstd holds, as it is. The file must have that SHA-256."""
    with open(path, "rb") as packed:
        sha = hashlib.sha256()
        for block in iter(lambda: packed.read(1 << 20), b""):
            sha.update(block)
    if sha.hexdigest() != sha256:
        raise Damaged(
            f"{path} is damaged, or not the file it should be: its SHA-256 is {sha.hexdigest()}, expected is {sha256} (SHA256SUMS beside it): "
            "copy the archive and SHA256SUMS anew from where they came from"
        )
    with subprocess.Popen(["zstd", "-qdc", "--long=27", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        shutil.copyfileobj(t.cast("t.IO[bytes]", child.stdout), stream, 1 << 20)
        told = t.cast("t.IO[bytes]", child.stderr).read().decode(errors="replace").strip()
    if child.returncode != 0:
        raise Damaged(f"{path} has the SHA-256 it should have, but zstd cannot unpack it: {told}")


def _clean(info: tarfile.TarInfo, mtime: float) -> tarfile.TarInfo:
    info.uname = info.gname = ""
    info.mtime = int(mtime)
    info.pax_headers = {}
    return info


def write_layer(path: str, fill: t.Callable[[t.Any], None]) -> Layer:
    """Let fill write a layer's tar to path; the digest goes into a file beside it, written last: a layer without it is not finished."""
    with open(path, "wb") as raw:
        stream = HashedWriter(raw)
        fill(stream)
    digest = stream.sha.hexdigest()
    with open(path + ".digest", "w", encoding="ascii") as handle:
        handle.write(digest)
    return Layer(path, digest, stream.size)


def read_layer(path: str) -> Layer | None:
    """A finished layer, or None."""
    try:
        with open(path + ".digest", encoding="ascii") as handle:
            return Layer(path, handle.read().strip(), os.stat(path).st_size)
    except FileNotFoundError:
        return None


def image_config(layers: t.Sequence[Layer], config: dict[str, t.Any], comments: t.Sequence[str], created: str) -> dict[str, t.Any]:
    machine = platform.machine()
    return {
        "created": created,
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + layer.digest for layer in layers]},
        "history": [{"created": created, "created_by": comment} for comment in comments],
    }


def write_image(stream: t.Any, reference: str, layers: t.Sequence[Layer], config: dict[str, t.Any]) -> str:
    """Write an OCI archive with one image and return the digest of its manifest (what podman shows as the image's digest)."""
    blobs: dict[str, bytes | Layer] = {layer.digest: layer for layer in layers}

    def add(document: t.Any, media_type: str) -> dict[str, t.Any]:
        data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data)}

    config_entry = add(config, "application/vnd.oci.image.config.v1+json")
    manifest_entry = add(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config_entry,
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:" + layer.digest, "size": layer.size} for layer in layers],
        },
        "application/vnd.oci.image.manifest.v1+json",
    )
    index = {"schemaVersion": 2, "manifests": [dict(manifest_entry, annotations={"org.opencontainers.image.ref.name": reference})]}
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:

        def put(name: str, data: bytes) -> None:
            info = _clean(tarfile.TarInfo(name), 0)
            info.size = len(data)
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(data))

        put("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        put("index.json", json.dumps(index, sort_keys=True).encode())
        for digest, blob in sorted(blobs.items()):
            if isinstance(blob, bytes):
                put("blobs/sha256/" + digest, blob)
                continue
            info = _clean(tarfile.TarInfo("blobs/sha256/" + digest), 0)
            info.size, info.mode = blob.size, 0o644
            with open(blob.path, "rb") as content:
                tar.addfile(info, content)
    return str(manifest_entry["digest"])


def remove(path: str) -> None:
    """Remove a file or a tree; nothing to remove is fine."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)
