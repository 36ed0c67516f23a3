# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three questions about btrfs_directory, each asked side by side on one loop-mounted btrfs.

1. convert: the module's conversion of a tree against cp -a of it, both until everything is on the disk.
2. audit:   the module's audit of many files against lsattr -R of the same.
3. effect:  extents and read rate of a file after random 8 KiB writes, CoW against NOCOW.

    python3 -B tests/bench/nocow.py [--megabytes 2000] [--files 100000] [--rounds 3] [--output FILE]

Needs root, PYTHONPATH with the collection on it, and four times the megabytes of free disk. Every line of the output is one measurement
as JSON, the last ones are medians and their ratios. Rounds change the order of the sides, so that neither profits from its place.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import pathlib
import platform
import random
import re
import statistics
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_audit
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_convert import Progress
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directories import Directories
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directory import Want


class Bench:
    def __init__(self, base: pathlib.Path, options: argparse.Namespace) -> None:
        self.image = base / "disk.img"
        self.path = base / "disk"
        self.options = options
        self.rows: list[dict[str, t.Any]] = []
        self.lines: list[str] = []

    def __enter__(self) -> Bench:
        self.path.mkdir()
        with open(self.image, "wb") as stream:
            stream.truncate((5 * self.options.megabytes + 4096) << 20)
        run("mkfs.btrfs", "-q", str(self.image))
        self.mount()
        return self

    def __exit__(self, *_reason: object) -> None:
        run("umount", str(self.path))
        if self.options.output:
            pathlib.Path(self.options.output).write_text("".join(self.lines), encoding="utf-8")

    def mount(self) -> None:
        run("mount", "-o", "loop,noatime", str(self.image), str(self.path))

    def cold(self) -> None:
        """Forget what is cached: of this file system by mounting it anew, of the image file by asking for it."""
        run("umount", str(self.path))
        with open(self.image, "rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.mount()

    def record(self, **row: t.Any) -> None:
        self.rows.append(row)
        self.lines.append(json.dumps(row) + "\n")
        print(self.lines[-1], end="", flush=True)

    def ratio(self, bench: str, key: str, ours: str, theirs: str) -> None:
        middle = {side: statistics.median(row[key] for row in self.rows if row.get("bench") == bench and row.get("side") == side) for side in (ours, theirs)}
        self.record(result=bench, median={ours: middle[ours], theirs: middle[theirs]}, key=key, ratio=round(middle[ours] / middle[theirs], 3))

    def sides(self, *names: str) -> t.Iterator[tuple[int, str]]:
        for number in range(self.options.rounds):
            for name in names if number % 2 == 0 else reversed(names):
                yield number, name


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def clock() -> t.Iterator[dict[str, float]]:
    found: dict[str, float] = {}
    start, cpu = time.monotonic(), os.times()
    yield found
    after = os.times()
    found["seconds"] = round(time.monotonic() - start, 3)
    found["cpu"] = round(sum(after[:4]) - sum(cpu[:4]), 3)
    found["load"] = os.getloadavg()[0]


def grow(path: pathlib.Path, megabytes: int) -> None:
    """Four fifths in eight large files, the rest in files of 100 KiB."""
    path.mkdir()
    block = os.urandom(1 << 20)
    for number in range(8):
        with open(path / f"large{number}", "wb") as stream:
            stream.writelines(os.urandom(64) + block[64:] for _chunk in range(megabytes // 10))
    for number in range(megabytes * 2):
        folder = path / f"folder{number % 50}"
        folder.mkdir(exist_ok=True)
        (folder / f"small{number}").write_bytes(os.urandom(64) + block[64 : 100 << 10])


def bench_convert(bench: Bench) -> None:
    template = bench.path / "template"
    grow(template, bench.options.megabytes)
    run("sync", "-f", str(bench.path))
    # What the module needs beside the copy, to read the figure: comparing, looking for users, removing the old tree.
    for number, side in bench.sides("cp", "convert"):
        victim = bench.path / f"{side}{number}"
        run("cp", "-a", "--reflink=never", str(template), str(victim))
        run("sync", "-f", str(bench.path))
        bench.cold()
        steps: dict[str, float] = {}
        with clock() as found:
            if side == "cp":
                target = bench.path / "target"
                target.mkdir()
                run("chattr", "+C", str(target))
                run("cp", "-a", "--reflink=never", str(victim), str(target))
                run("sync", "-f", str(target))
            else:
                work = Directories([Want(str(victim), nocow=True)], "convert", "fail")
                if work.errors:
                    raise SystemExit("\n".join(work.errors))
                work.apply(Steps(steps))
        bench.record(bench="convert", side=side, round=number, megabytes=bench.options.megabytes, **found, **({"steps": steps} if steps else {}))
        for name in (victim, bench.path / "target"):
            run("rm", "-rf", str(name))
        run("sync", "-f", str(bench.path))
    bench.ratio("convert", "seconds", "convert", "cp")
    run("rm", "-rf", str(template))


class Steps(Progress):
    """Seconds at which each step was done, counted from the end of the preflight."""

    def __init__(self, into: dict[str, float]) -> None:
        self.into = into
        self.start = time.monotonic()

    def begin(self, path: str, total: int) -> None:
        self.start = time.monotonic()

    def step(self, name: str) -> None:
        self.into[name] = round(time.monotonic() - self.start, 3)


def bench_audit(bench: Bench) -> None:
    tree = bench.path / "many"
    tree.mkdir()
    run("chattr", "+C", str(tree))
    for number in range(bench.options.files):
        folder = tree / f"{number % 100:02}" / f"{number // 100 % 10}"
        if number < 1000:
            folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}").write_bytes(b"some data")
    run("sync", "-f", str(bench.path))
    for cache in ("cold", "warm"):
        for number, side in bench.sides("lsattr", "audit"):
            if cache == "cold":
                bench.cold()
            with clock() as found:
                if side == "lsattr":
                    subprocess.run(["lsattr", "-R", str(tree)], check=True, stdout=subprocess.DEVNULL)
                else:
                    fd = os.open(tree, os.O_RDONLY)
                    result = _btrfs_audit.audit(fd, True)
                    os.close(fd)
                    if (result.files, result.wrong_files) != (bench.options.files, 0):
                        raise SystemExit(f"the audit counted wrongly: {result}")
            bench.record(bench=f"audit {cache}", side=side, round=number, files=bench.options.files, **found)
        for key in ("seconds", "cpu"):
            bench.ratio(f"audit {cache}", key, "audit", "lsattr")
    run("rm", "-rf", str(tree))


def bench_effect(bench: Bench) -> None:
    size, count = 512 << 20, 65536
    for number, side in bench.sides("cow", "nocow"):
        folder = bench.path / f"effect-{side}{number}"
        folder.mkdir()
        if side == "nocow":
            run("chattr", "+C", str(folder))
        file = folder / "relation"
        with open(file, "wb") as stream:
            stream.writelines(os.urandom(1 << 20) for _chunk in range(size >> 20))
        run("sync", "-f", str(bench.path))
        places = random.Random(number)
        with clock() as found:
            fd = os.open(file, os.O_WRONLY)
            for _write in range(count):
                os.pwrite(fd, b"x" * 8192, places.randrange(size // 8192) * 8192)
            os.fsync(fd)
            os.close(fd)
        write = {f"write_{key}": value for key, value in found.items()}
        extents = int(re.findall(r"(\d+) extents? found", run("filefrag", str(file)))[0])
        bench.cold()
        buffer = mmap.mmap(-1, 1 << 20)
        with clock() as found, open(file, "rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass
        bench.record(bench="effect", side=side, round=number, extents=extents, read_mib_per_s=round(512 / found["seconds"], 1), **write, **found)
        run("rm", "-rf", str(folder))
        run("sync", "-f", str(bench.path))
    for key in ("extents", "read_mib_per_s", "write_seconds"):
        bench.ratio("effect", key, "nocow", "cow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000, help="size of the tree to convert")
    parser.add_argument("--files", type=int, default=100_000, help="files to audit, at least 1000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["convert", "audit", "effect"])
    parser.add_argument("--output", help="file to write the lines to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as base, Bench(pathlib.Path(base), options) as bench:
        bench.record(
            kernel=platform.release(),
            python=platform.python_version(),
            cpus=os.cpu_count(),
            btrfs=run("btrfs", "--version").split()[1],
            filesystem=_kind(bench.path),
        )
        for name, work in (("convert", bench_convert), ("audit", bench_audit), ("effect", bench_effect)):
            if options.only in (None, name):
                work(bench)


def _kind(path: pathlib.Path) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        return _btrfs.fstype(fd)
    finally:
        os.close(fd)


if __name__ == "__main__":
    main()
