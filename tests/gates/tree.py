# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lay the collection out at .build/ansible_collections/patriark/homelab, the only kind of place ansible-test and mypy accept.

What git tracks is copied, and what is new and not ignored; what is gone from the checkout goes from the copy.
Files keep their time stamps and unchanged ones are not touched, so that the tools' caches stay warm.
The copy is a git repository of its own, without commits: tools ask git what there is to look at, and the checkout's
git would answer that all of .build is ignored, upon which they look at nothing and are content.
"""

from __future__ import annotations

import fcntl
import filecmp
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv/bin"
TREE = ROOT / ".build/ansible_collections/patriark/homelab"


def same(source: pathlib.Path, copy: pathlib.Path) -> bool:
    """Whether the copy is what the source is: the same link, or the same bytes and mode."""
    if source.is_symlink() or copy.is_symlink():
        return source.is_symlink() and copy.is_symlink() and os.readlink(source) == os.readlink(copy)
    return copy.is_file() and copy.stat().st_mode == source.stat().st_mode and filecmp.cmp(source, copy, shallow=True)


def remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def wanted() -> set[pathlib.PurePath]:
    # A checkout may belong to somebody else than the one who tests it (sudo make test).
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    return {pathlib.PurePath(name) for name in listed if name and os.path.lexists(ROOT / name)}


def main() -> int:
    files = wanted()
    if pathlib.PurePath("galaxy.yml") not in files:
        print(f"{ROOT} is no git checkout of the collection", file=sys.stderr)
        return 1
    TREE.mkdir(parents=True, exist_ok=True)
    with open(ROOT / ".build/tree.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two scenarios at once
        lay_out(files)
    return 0


def lay_out(files: set[pathlib.PurePath]) -> None:
    folders = {parent for name in files for parent in name.parents}
    if not (TREE / ".git").is_dir():
        subprocess.run(["git", "init", "-q", "-b", "main", str(TREE)], check=True)
    for path in sorted(TREE.rglob("*"), reverse=True):
        name = path.relative_to(TREE)
        if name.parts[0] == ".git" or "__pycache__" in name.parts:  # somebody may be about to import
            continue
        is_folder = path.is_dir() and not path.is_symlink()
        if name not in (folders if is_folder else files):
            remove(path)
    for name in sorted(files):
        source, copy = ROOT / name, TREE / name
        if not same(source, copy):
            remove(copy)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


if __name__ == "__main__":
    sys.exit(main())
