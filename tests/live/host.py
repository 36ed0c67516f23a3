# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of the account that runs the containers, over ssh, the way the inventory says; and connections that such a command carries.

Everything is done as that account: whoever may log in as it, as root, or become root, can run this suite.
"""

from __future__ import annotations

import contextlib
import pathlib
import shlex
import socket
import subprocess
import tempfile
import threading
import typing as t

from live.hostvars import Unfit, Variables, last_line

# Run on the host: connects to a socket (a path) or to HOST PORT and passes on what comes, both ways, until both ends are closed.
RELAY = """
import os, socket, sys, threading
where = sys.argv[1:]
if len(where) == 1:
    far = socket.socket(socket.AF_UNIX)
    far.connect(where[0])
else:
    far = socket.create_connection((where[0], int(where[1])), 10)
    far.settimeout(None)
def sent():
    while True:
        block = os.read(0, 65536)
        if not block:
            far.shutdown(socket.SHUT_WR)
            return
        far.sendall(block)
threading.Thread(target=sent, daemon=True).start()
while True:
    block = far.recv(65536)
    if not block:
        os._exit(0)
    while block:
        block = block[os.write(1, block):]
"""


class Failed(AssertionError):
    """A command that had to work did not."""


class Host:
    """One host. Close it to end its ssh connection."""

    def __init__(self, name: str, variables: Variables, account: str) -> None:
        self.name, self.account = name, account
        self._kept = tempfile.TemporaryDirectory(prefix="live-")
        self.folder = pathlib.Path(self._kept.name)
        self.python = interpreter(variables)
        self._local = variables.get("ansible_connection") == "local"
        self._ssh = ssh_command(name, variables, str(self.folder / "ssh"))
        login = self._log_in()
        self._become = becoming(account, login)
        self.uid = self._known_account()

    def _log_in(self) -> str:
        done = self._plain("id -un")
        if done.returncode != 0:
            raise Unfit(f"{self.name} cannot be reached: {last_line(done.stderr)}")
        return done.stdout.split()[-1]

    def _known_account(self) -> int:
        done = self._plain(f"getent passwd {shlex.quote(self.account)}")
        if done.returncode != 0:
            raise Unfit(f"{self.name} has no account {self.account}; homelab_user in the inventory names the one that runs the containers.")
        dummy, dummy, uid, dummy, dummy, self.home, dummy = done.stdout.strip().split(":")
        self.runtime = f"/run/user/{uid}"
        tried = self.run("test", "-d", self.runtime)
        if tried.returncode != 0:
            why = last_line(tried.stderr) if tried.stderr else f"it has no {self.runtime}, so nothing of it runs"
            raise Unfit(f"On {self.name} nothing can be asked as {self.account}: {why}.")
        return int(uid)

    def _plain(self, line: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        argv = ["sh", "-c", line] if self._local else [*self._ssh, line]
        try:
            return subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, timeout=300, input=stdin or "")
        except FileNotFoundError as missing:
            raise Unfit(f"There is no program {missing.filename} here.") from None
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{line}: no end after 300 seconds") from late

    def line(self, argv: t.Sequence[str]) -> str:
        """What a shell on the host has to be given to run this as the account."""
        settings = [f"HOME={self.home}", f"XDG_RUNTIME_DIR={self.runtime}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={self.runtime}/bus"]
        return shlex.join([*self._become, "env", "--chdir=/", *settings, *argv])

    def run(self, *argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return self._plain(self.line(argv), stdin)

    def said(self, *argv: str, stdin: str | None = None) -> str:
        """What a command prints that has to work."""
        done = self.run(*argv, stdin=stdin)
        if done.returncode != 0:
            raise Failed(f"{shlex.join(argv)}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def typed(self, line: str) -> str:
        """The same for a line of shell, as somebody types it."""
        return self.said("bash", "-o", "pipefail", "-c", line)

    def stream(self, argv: t.Sequence[str], end: socket.socket) -> subprocess.Popen[bytes]:
        line = self.line(argv)
        return subprocess.Popen(["sh", "-c", line] if self._local else [*self._ssh, line], stdin=end, stdout=end, stderr=subprocess.DEVNULL)

    def close(self) -> None:
        if not self._local:
            subprocess.run([self._ssh[0], "-O", "exit", *self._ssh[1:]], capture_output=True, check=False)
        self._kept.cleanup()


def interpreter(variables: Variables) -> str:
    named = str(variables.get("ansible_python_interpreter", "python3"))
    return "python3" if named.startswith("auto") else named


def ssh_command(name: str, variables: Variables, control: str) -> list[str]:
    """ssh to the host as Ansible would call it, with one connection for all commands."""
    for unfit in ("ansible_password", "ansible_ssh_pass", "ansible_become_password", "ansible_become_pass"):
        if unfit in variables:
            raise Unfit(f"The inventory logs in to {name} with a password ({unfit}); this suite needs a key, and sudo without a password.")
    argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ControlMaster=auto", "-o", f"ControlPath={control}", "-o", "ControlPersist=30"]
    for variable in ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"):
        argv += shlex.split(str(variables.get(variable, "")))
    for option, variables_of_it in (
        ("-p", ("ansible_port", "ansible_ssh_port")),
        ("-l", ("ansible_user", "ansible_ssh_user")),
        ("-i", ("ansible_ssh_private_key_file", "ansible_private_key_file")),
    ):
        given = [str(variables[variable]) for variable in variables_of_it if variables.get(variable)]
        argv += [option, str(pathlib.Path(given[0]).expanduser()) if option == "-i" else given[0]] if given else []
    return [*argv, str(variables.get("ansible_host", variables.get("ansible_ssh_host", name)))]


def becoming(account: str, login: str) -> list[str]:
    """What goes in front of a command. The playbooks become root by themselves, so whoever is neither needs sudo in any case."""
    if login == account:
        return []
    return ["runuser", "-u", account, "--"] if login == "root" else ["sudo", "-n", "-u", account]


class Tunnel:
    """A socket of this machine whose every connection is carried by a command on the host."""

    def __init__(self, host: Host, name: str, argv: t.Sequence[str]) -> None:
        self.path = str(host.folder / name)
        self._host, self._argv = host, argv
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen(16)
        self._running: list[subprocess.Popen[bytes]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, dummy = self._listening.accept()
            except OSError:
                return
            with near:
                self._running.append(self._host.stream(self._argv, near))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for process in self._running:
            process.terminate()
            process.wait()
