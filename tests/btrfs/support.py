# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real file systems on loop devices, and the module run as a process of its own. Needs root."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import stat
import subprocess
import sys
import traceback
import typing as t

from ansible.module_utils import basic
from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs
from ansible_collections.patriark.homelab.plugins.modules import btrfs_directory

# Runs the module within another command, which takes more than ten times as long as a fork.
_RUNNER = "import json, sys; from ansible_collections.patriark.homelab.tests.btrfs import support; support.main(json.load(sys.stdin))"


def main(arguments: dict[str, t.Any], uid: int = 0) -> None:
    """The module's whole life in this process."""
    os.umask(0o022)
    if uid:
        # After the imports: the interpreter of a virtual environment is often readable by root only.
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    btrfs_directory.main()


def forked(work: t.Callable[[], object]) -> str:
    """What work prints in a child of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            with open(write, "w", encoding="utf-8") as sys.stdout, contextlib.suppress(SystemExit):
                work()
        except Exception:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


class Image:
    """A file system in a file, mounted on a loop device."""

    def __init__(self, base: pathlib.Path, kind: str = "btrfs", megabytes: int = 1024, options: str = "") -> None:
        self.file = base.with_suffix(".img")
        self.path = base
        base.mkdir()
        with open(self.file, "wb") as stream:
            stream.truncate(megabytes << 20)
        subprocess.run([f"mkfs.{kind}", "-q", str(self.file)], check=True, capture_output=True)
        self.mount(options)

    def mount(self, options: str = "", readonly: bool = False) -> None:
        wanted = ["loop", "ro" if readonly else "rw", *filter(None, [options])]
        subprocess.run(["mount", "-o", ",".join(wanted), str(self.file), str(self.path)], check=True)

    def umount(self) -> None:
        subprocess.run(["umount", "--recursive", str(self.path)], check=True)


@contextlib.contextmanager
def image(base: pathlib.Path, **kwargs: t.Any) -> t.Iterator[Image]:
    disk = Image(base, **kwargs)
    try:
        yield disk
    finally:
        disk.umount()
        os.unlink(disk.file)


class Outcome(dict):
    """What the module printed."""

    @property
    def entry(self) -> dict[str, t.Any]:
        (only,) = self["directories"]
        return t.cast("dict[str, t.Any]", only)


class Run:
    def __init__(self) -> None:
        self.environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))

    def __call__(
        self, *directories: dict[str, t.Any], check: bool = False, uid: int = 0, within: t.Sequence[str] = (), ok: bool = True, **options: t.Any
    ) -> Outcome:
        """Run the module once. within: a command to run it with. ok: whether it has to succeed."""
        arguments = {"directories": list(directories), "_ansible_check_mode": check, "_ansible_diff": True, **options}
        if within:
            command = [*within, sys.executable, "-c", _RUNNER]
            said = subprocess.run(command, input=json.dumps(arguments), stdout=subprocess.PIPE, text=True, env=self.environment, check=False).stdout
        else:
            said = forked(lambda: main(arguments, uid))
        assert said.strip(), "the module ended without a result, see standard error"
        found = Outcome(json.loads(said.strip().splitlines()[-1]))
        # ansible-core 2.18 prints texts, 2.19 prints objects.
        found["warnings"] = [json.dumps(warning) for warning in found.get("warnings", [])]
        assert bool(found.get("failed")) != ok, found
        return found

    def same(self, *directories: dict[str, t.Any], **options: t.Any) -> Outcome:
        """Check mode, the real run, and a second run: the prediction must hold and the second run must change nothing."""
        foretold = self(*directories, check=True, **options)
        real = self(*directories, **options)
        assert foretold["diff"] == real["diff"]
        assert foretold["changed"] == real["changed"]
        assert foretold["directories"] == real["directories"]
        again = self(*directories, **options)
        assert not again["changed"], again
        assert again["diff"] == []
        return real


class Opened:
    """Stands in for os.open, and notes the kind of everything that is opened, paths alone (O_PATH) excepted.

    before: called with each name first, to change what it names behind the back of the caller.
    """

    def __init__(self, before: t.Callable[[str, int | None], object] = lambda name, directory: None) -> None:
        self.open = os.open
        self.before = before
        self.kinds: set[int] = set()

    def __call__(self, path: str, how: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        self.before(path, dir_fd)
        if not how & os.O_PATH:
            with contextlib.suppress(FileNotFoundError):
                self.kinds.add(stat.S_IFMT(os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode))
        return self.open(path, how, mode, dir_fd=dir_fd)


def flags(path: str | bytes | os.PathLike[str]) -> int:
    fd = os.open(path, _btrfs.OPEN_FILE)
    try:
        return _btrfs.get_flags(fd)
    finally:
        os.close(fd)


def nocow(path: str | bytes | os.PathLike[str]) -> bool:
    return bool(flags(path) & _btrfs.FS_NOCOW)


def chattr(change: str, *paths: str | os.PathLike[str]) -> None:
    subprocess.run(["chattr", change, *map(str, paths)], check=True)


def subvolume(path: str | os.PathLike[str]) -> None:
    subprocess.run(["btrfs", "-q", "subvolume", "create", str(path)], check=True)
