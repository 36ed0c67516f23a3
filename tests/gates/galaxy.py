# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection from the checkout as it lies there, compare the tarball file by file, install it elsewhere and read its documentation."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

import tree

# In the repository, not in the tarball: what is for those who work on the collection, not for those who use it.
FOR_DEVELOPERS = {".ansible-lint", ".ci", ".config", ".gitignore", ".yamllint", "Makefile", "molecule", "pyproject.toml", "tests"}
# Made or replaced by the build.
MANIFESTS = {"FILES.json", "MANIFEST.json"}


def expected() -> set[str]:
    names = {str(name) for name in tree.wanted() if name.parts[0] not in FOR_DEVELOPERS}
    return names - {"galaxy.yml"} | MANIFESTS


def contents(tarball: pathlib.Path) -> set[str]:
    with tarfile.open(tarball) as archive:
        return {member.name for member in archive.getmembers() if not member.isdir()}


def empty_folders(tarball: pathlib.Path) -> set[str]:
    """Folders with contents here, of which only the name got into the tarball, such as __pycache__."""
    with tarfile.open(tarball) as archive:
        members = archive.getmembers()
    files = [member.name for member in members if not member.isdir()]
    empty = {member.name for member in members if member.isdir() and not any(name.startswith(f"{member.name}/") for name in files)}
    return {name for name in empty if any((tree.ROOT / name).iterdir())}


def run(command: list[str], environment: dict[str, str], folder: str) -> str:
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"galaxy: {' '.join(command)} failed\n{done.stdout}{done.stderr}")
    return done.stdout


def problems_of(tarball: pathlib.Path) -> list[str]:
    found, wanted = contents(tarball), expected()
    return [
        *(f"in the tarball and not wanted: {name}" for name in sorted(found - wanted)),
        *(f"missing in the tarball: {name}" for name in sorted(wanted - found)),
        *(f"an empty folder in the tarball: {name}" for name in sorted(empty_folders(tarball))),
    ]


def undocumented(kind: str, names: set[str], environment: dict[str, str], folder: str) -> list[str]:
    """Modules or roles of the installed collection that ansible-doc cannot show."""
    if not names:
        return []
    full = sorted(f"patriark.homelab.{name}" for name in names)
    shown = json.loads(run([str(tree.BIN / "ansible-doc"), "--json", "--type", kind, *full], environment, folder))
    key = {"module": "doc", "role": "entry_points"}[kind]
    return [f"ansible-doc shows no {kind} {name}" for name in full if not shown.get(name, {}).get(key)]


def main() -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    with tempfile.TemporaryDirectory(prefix="homelab-galaxy-") as work:
        environment.update(ANSIBLE_HOME=f"{work}/home", ANSIBLE_COLLECTIONS_PATH=f"{work}/collections", ANSIBLE_NOCOLOR="1")
        environment["PATH"] = f"{tree.BIN}:{os.environ['PATH']}"
        galaxy = str(tree.BIN / "ansible-galaxy")
        run([galaxy, "collection", "build", str(tree.ROOT), "--output-path", work], environment, work)
        (tarball,) = pathlib.Path(work).glob("*.tar.gz")
        problems = problems_of(tarball)
        run([galaxy, "collection", "install", str(tarball), "--no-deps", "--offline", "--collections-path", f"{work}/collections"], environment, work)
        modules = {path.stem for path in (tree.ROOT / "plugins/modules").glob("*.py")} - {"__init__"}
        roles = {path.name for path in (tree.ROOT / "roles").glob("*") if path.is_dir()}
        problems += undocumented("module", modules, environment, work) + undocumented("role", roles, environment, work)
    for problem in problems:
        print(f"galaxy: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
