# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test sanity, every test that is on by default, in environments made from the package index alone.

ansible-test keeps the environments below the home folder, hands its children little of its own environment and downloads
a script from a site of its own to start pip with. So it gets a home in .cache, with pip's effective configuration and our get_pip.py.
"""

from __future__ import annotations

import ast
import configparser
import os
import pathlib
import re
import shutil
import subprocess
import sys

from tree import BIN, ROOT, TREE

HOME = ROOT / ".cache/sanity"


def pip_configuration() -> dict[str, str]:
    """What pip goes by here, from its files and the environment; the environment wins, as it does for pip."""
    listed = subprocess.run([BIN / "python", "-m", "pip", "config", "list"], check=True, stdout=subprocess.PIPE, text=True).stdout
    found = re.findall(r"^(global|:env:)\.([a-z-]+)=(.+)$", listed, re.MULTILINE)
    return {key: ast.literal_eval(value) for _source, key, value in sorted(found, key=lambda row: row[0] == ":env:")}


def bootstrap_names() -> set[str]:
    """The names under which this release of ansible-test looks for the get-pip script, one a version of pip."""
    source = next(BIN.parent.glob("lib/python3*/site-packages/ansible_test/_internal/python_requirements.py")).read_text()
    versions = set(re.findall(r"\bpip='([0-9.]+)'", source))
    if not versions:
        raise SystemExit("sanity: cannot tell which pip this release of ansible-test wants; see bootstrap_names()")
    return {f"get_pip_{version.replace('.', '_')}.py" for version in versions}


def works(python: pathlib.Path) -> bool:
    return subprocess.run([python, "-c", ""], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def search_path() -> str:
    """PATH as the compile and import tests need it: they try every python3.N they find.

    pyenv has a shim for each version it ever installed, which refuses to run most of the time: those folders are left out.
    Of its Pythons the oldest that a managed host may have is put in; the newer ones break nothing that it does not.
    """
    folders = [pathlib.Path(name) for name in os.environ["PATH"].split(os.pathsep) if name]
    honest = [folder for folder in folders if all(works(python) for python in folder.glob("python3.*[0-9]"))]
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    return os.pathsep.join(str(folder) for folder in [BIN, *honest, *sorted(pyenv.glob("versions/3.9.*/bin"))])


def prepare_home() -> None:
    config = configparser.RawConfigParser()
    config["global"] = {**pip_configuration(), "quiet": "2"}
    config["install"] = {"no-compile": "true"}  # most of what is installed is never imported
    path = HOME / ".config/pip/pip.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    # An index address may hold a password.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        config.write(stream)
    cache = HOME / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name in bootstrap_names():
        shutil.copyfile(ROOT / "tests/gates/get_pip.py", cache / name)


def main() -> int:
    ignores = sorted(TREE.glob("tests/sanity/ignore*"))
    if ignores:
        print(f"sanity: fix what these would hide: {', '.join(path.name for path in ignores)}", file=sys.stderr)
        return 1
    prepare_home()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    environment.update(HOME=str(HOME), PATH=search_path())
    command = [BIN / "ansible-test", "sanity", "--color", "no", *sys.argv[1:]]
    try:
        return subprocess.run(command, check=False, cwd=TREE, env=environment, stdin=subprocess.DEVNULL).returncode
    finally:
        shutil.rmtree(TREE / "tests/output", ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
