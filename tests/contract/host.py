# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test machine seen from here: podman of its account over one ssh connection, and its ports as sockets of this host's file system."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shlex
import subprocess
import threading
import time
import typing as t

TOOL = pathlib.Path(__file__).resolve().parents[1] / "machine" / "machine"
RUNTIME = "/run/user/1000"
AS_ACCOUNT = (
    f"runuser --user homelab -- env --chdir=/home/homelab HOME=/home/homelab XDG_RUNTIME_DIR={RUNTIME} DBUS_SESSION_BUS_ADDRESS=unix:path={RUNTIME}/bus"
)


class Failed(Exception):
    """A command on the machine failed; the text is what it said."""


class Machine:
    """A machine that is running. C(folder) is a short-lived one of ours, for sockets."""

    def __init__(self, name: str, folder: pathlib.Path) -> None:
        self.name = name
        self.folder = folder
        self.ssh_command = ["ssh", "-F", str(config_of(name)), "-S", str(folder / "ssh")]

    @contextlib.contextmanager
    def connected(self) -> t.Iterator[Machine]:
        """While this holds, every command and every forwarded port goes through one connection."""
        die_with_us = ("setpriv", "--pdeathsig", "TERM", "--")
        keeper = subprocess.Popen([*die_with_us, *self.ssh_command, "-M", "-N", self.name], stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while subprocess.run([*self.ssh_command, "-O", "check", self.name], capture_output=True, check=False).returncode:
                if time.monotonic() > deadline or keeper.poll() is not None:
                    raise Failed(f"no ssh connection to {self.name}")
                time.sleep(0.1)
            yield self
        finally:
            keeper.terminate()
            keeper.wait(10)

    def forward(self, port: int) -> pathlib.Path:
        """A socket file that leads to this port of the machine's loopback."""
        path = self.folder / str(port)
        subprocess.run([*self.ssh_command, "-O", "forward", "-L", f"{path}:127.0.0.1:{port}", self.name], check=True, capture_output=True)
        return path

    def run(self, *command: str, given: str | bytes = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command as the account."""
        text = f"{AS_ACCOUNT} {shlex.join(command)}"
        data = given.encode() if isinstance(given, str) else given
        raw = subprocess.run([*self.ssh_command, self.name, text], input=data, capture_output=True, check=False, timeout=300)
        done = subprocess.CompletedProcess(command, raw.returncode, raw.stdout.decode(errors="replace"), raw.stderr.decode(errors="replace"))
        if check and done.returncode:
            raise Failed(f"{shlex.join(command)}: status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def talk(self, *command: str, answers: t.Sequence[tuple[str, str]], limit: float = 240) -> tuple[int, str]:
        """A command that asks: each answer is typed when its question is there. Status and both streams."""
        text = f"{AS_ACCOUNT} {shlex.join(command)}"
        child = subprocess.Popen([*self.ssh_command, self.name, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        given, taken = t.cast(t.IO[bytes], child.stdin), t.cast(t.IO[bytes], child.stdout)
        alarm = threading.Timer(limit, child.kill)
        alarm.start()
        left, said, read = list(answers), b"", 0
        try:
            while block := os.read(taken.fileno(), 65536):
                said += block
                if left and left[0][0].encode() in said[read:]:
                    given.write(left.pop(0)[1].encode() + b"\n")
                    given.flush()
                    read = len(said)
            status = child.wait()
        finally:
            alarm.cancel()
            child.kill()
            given.close()
            taken.close()
        return status, said.decode(errors="replace").replace("\r\n", "\n")

    def podman(self, *arguments: str, given: str | bytes = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("podman", *arguments, given=given, check=check)


def config_of(name: str) -> pathlib.Path:
    """The ssh configuration of a machine, from its inventory."""
    told = json.loads(subprocess.run([str(TOOL), "inventory", name], check=True, capture_output=True, text=True).stdout)
    return pathlib.Path(told["all"]["hosts"][name]["ansible_ssh_common_args"].partition("-F ")[2])


@contextlib.contextmanager
def throw_away(name: str, environment: t.Mapping[str, str]) -> t.Iterator[None]:
    """A machine with all images, gone afterwards."""
    subprocess.run([str(TOOL), "create", name], check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    try:
        yield
    finally:
        subprocess.run([str(TOOL), "destroy", name], check=True, stdout=subprocess.DEVNULL)
