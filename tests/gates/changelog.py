# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the changelog fragments and CHANGELOG.md; with --write, write CHANGELOG.md anew.

CHANGELOG.md always is what a release of the version in galaxy.yml would make of the fragments now, so that it is never empty, never
stale, and the release itself ("antsibull-changelog release", which eats the fragments) changes nothing a reader sees.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tree
import yaml


def rendered(source: pathlib.Path) -> str:
    """CHANGELOG.md as a release from the tree would make it; the tree stays as it is."""
    with tempfile.TemporaryDirectory(dir=tree.ROOT / ".build") as work:
        copy = pathlib.Path(work) / "ansible_collections/patriark/homelab"
        for name in ("changelogs", "plugins", "roles", "playbooks", "meta"):
            if (source / name).is_dir():
                shutil.copytree(source / name, copy / name, symlinks=True)
        for name in ("galaxy.yml", "README.md"):
            if (source / name).is_file():
                shutil.copyfile(source / name, copy / name)
        version = yaml.safe_load((copy / "galaxy.yml").read_text(encoding="utf-8"))["version"]
        fragments = sorted(path for path in (copy / "changelogs/fragments").glob("*") if path.suffix in (".yml", ".yaml"))
        data = copy / "changelogs/changelog.yaml"
        released = (yaml.safe_load(data.read_text(encoding="utf-8"))["releases"]) if data.is_file() else {}
        if fragments and version in released:
            raise SystemExit(f"changelog: there are fragments and {version} is released: raise the version in galaxy.yml")
        # The lint and the release tell the truth only for fragments they can see.
        run(copy, "lint")
        if fragments:
            run(copy, "release", "--version", version, "--date", "2000-01-01")
        elif released:
            run(copy, "generate")
        else:
            raise SystemExit("changelog: neither fragments nor a release")
        return (copy / "CHANGELOG.md").read_text(encoding="utf-8")


def run(folder: pathlib.Path, *arguments: str) -> None:
    command = [str(tree.BIN / "antsibull-changelog"), *arguments]
    # It calls ansible-doc by that name, to list new modules and roles.
    environment = {**os.environ, "PATH": f"{tree.BIN}:{os.environ['PATH']}", "ANSIBLE_HOME": str(tree.ROOT / ".cache/ansible")}
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise SystemExit(f"changelog: antsibull-changelog {arguments[0]} failed\n{done.stdout}{done.stderr}")


def main() -> int:
    tree.main()
    text = rendered(tree.TREE)
    target = tree.ROOT / "CHANGELOG.md"
    if sys.argv[1:] == ["--write"]:
        target.write_text(text, encoding="utf-8")
    elif not target.is_file() or target.read_text(encoding="utf-8") != text:
        print("CHANGELOG.md is not what the fragments give; run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
