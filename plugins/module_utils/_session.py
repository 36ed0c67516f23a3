# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One systemd manager and one podman store: the system's, or those of one rootless account.

Modules run as root or as the account itself. As root for an account, commands go through C(setpriv) and files are touched
with the account's effective ids, so that everything ends up owned by the account and no symlink in its home can be used
to write elsewhere with root's rights.

Private to the collection.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import pwd
import select
import struct
import subprocess
import termios
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _reach as reach

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

STATE_NAME = "patriark.homelab"
BUS_DEADLINE = 30.0
# Rows and columns of the terminal that a program gets which tells how far it is; seconds between two looks at it, and until it must have ended
_WINDOW = (50, 200)
_LOOK, _END = 0.5, 10.0


class SessionError(Exception):
    """The account or its manager cannot be used; the text says why and what to do."""


class Session:
    """Where commands run and files live for O(user), or for the system when no user is given.

    Attributes:
        user: account name, or None for the system scope.
        exists: False while the account is not there (check mode before the account is made).
        uid, gid, home: of the account (0, 0, /root for the system scope).
        unit_dir: directory that holds one sub-directory of quadlets per stack.
        systemd_dir: directory for plain systemd units.
        state_dir: manifests and locks, outside every unit directory.
    """

    def __init__(self, module: AnsibleModule, user: str | None = None) -> None:
        self.module = module
        self.user = user
        self.exists = True
        self.uid, self.gid, self.home = 0, 0, "/root"
        if user is not None:
            try:
                entry = pwd.getpwnam(user)
            except KeyError:
                self.exists = False
                self.uid, self.gid, self.home = -1, -1, "/nonexistent"
            else:
                self.uid, self.gid, self.home = entry.pw_uid, entry.pw_gid, entry.pw_dir
        if self.exists and os.geteuid() not in (0, self.uid):
            wanted = "root" if user is None else f"root or {user}"
            raise SessionError(f"run this task as {wanted}: it runs as uid {os.geteuid()}")

    @property
    def system(self) -> bool:
        return self.user is None or self.uid == 0

    @property
    def runtime_dir(self) -> str:
        return "/run" if self.system else f"/run/user/{self.uid}"

    @property
    def unit_dir(self) -> str:
        return "/etc/containers/systemd" if self.system else f"{self.home}/.config/containers/systemd"

    @property
    def systemd_dir(self) -> str:
        return "/etc/systemd/system" if self.system else f"{self.home}/.config/systemd/user"

    @property
    def state_dir(self) -> str:
        return f"/var/lib/{STATE_NAME}" if self.system else f"{self.home}/.local/state/{STATE_NAME}"

    @property
    def search_dirs(self) -> list[str]:
        """Quadlet search roots of this scope, first match wins (podman-systemd.unit(5))."""
        if self.system:
            return ["/run/containers/systemd", "/etc/containers/systemd", "/usr/share/containers/systemd"]
        return [
            f"{self.runtime_dir}/containers/systemd",
            f"{self.home}/.config/containers/systemd",
            f"/etc/containers/systemd/users/{self.uid}",
            "/etc/containers/systemd/users",
        ]

    @property
    def env(self) -> dict[str, str]:
        env = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
        if not self.system:
            env.update(
                HOME=self.home,
                USER=str(self.user),
                LOGNAME=str(self.user),
                XDG_RUNTIME_DIR=self.runtime_dir,
                XDG_CONFIG_HOME=f"{self.home}/.config",
                DBUS_SESSION_BUS_ADDRESS=f"unix:path={self.runtime_dir}/bus",
            )
        return env

    @property
    def ready(self) -> bool:
        """Whether the manager can be talked to right now."""
        if self.system:
            return os.path.isdir("/run/systemd/system")
        return self.exists and os.path.exists(f"{self.runtime_dir}/bus")

    @property
    def lingering(self) -> bool:
        return self.system or os.path.exists(f"/var/lib/systemd/linger/{self.user}")

    def ensure(self) -> bool:
        """Make the account linger and wait for its bus. Returns whether lingering had to be enabled."""
        if not self.exists:
            raise SessionError(f"the account {self.user} does not exist: create it first (the role host does)")
        if self.system:
            return False
        changed = not self.lingering
        if changed or not self.ready:
            rc, out, err = self.module.run_command(["loginctl", "enable-linger", str(self.user)])
            if rc != 0:
                raise SessionError(
                    f"cannot enable lingering for {self.user}: {err.strip() or out.strip()}; run as root, or once: loginctl enable-linger {self.user}"
                )
        deadline = time.monotonic() + BUS_DEADLINE
        while not self.ready:
            if time.monotonic() > deadline:
                raise SessionError(
                    f"the user manager of {self.user} did not open {self.runtime_dir}/bus within {BUS_DEADLINE:.0f} s;"
                    f" see: systemctl status user@{self.uid}.service, and check that dbus-user-session is installed"
                )
            time.sleep(0.1)
        return changed

    def run(self, args: t.Sequence[str], data: str | bytes | None = None) -> tuple[int, str, str]:
        """Run a command in this session: (rc, stdout, stderr). Never raises for a non-zero rc."""
        return self._command(self._as_account(args), data)

    def _as_account(self, args: t.Sequence[str]) -> list[str]:
        if self.system or os.geteuid() != 0:
            return list(args)
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--", *args]

    def _command(self, argv: t.Sequence[str], data: str | bytes | None = None) -> tuple[int, str, str]:
        rc, out, err = self.module.run_command(argv, data=data, binary_data=True, environ_update=self.env, cwd=self._cwd, expand_user_and_vars=False)
        return int(rc), str(out), str(err)

    @property
    def _cwd(self) -> str:
        with self.files():
            return self.home if os.path.isdir(self.home) else "/"

    def follow(self, args: t.Sequence[str], hear: t.Callable[[str], None]) -> tuple[int, str]:
        """Run a command on a terminal, where programs draw how far they are: (rc, all it said).

        hear is given what is new, and nothing now and then; what it raises ends the command.
        """
        ours, theirs = pty.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *_WINDOW, 0, 0))
            child = subprocess.Popen(
                self._as_account(args),
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                cwd=self._cwd,
                env={**os.environ, **self.env},
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        said = ""
        try:
            while True:
                new = _read(ours) if select.select([ours], [], [], _LOOK)[0] else ""
                if new is None or (not new and child.poll() is not None):
                    break
                said += new
                hear(new)
            return child.wait(), said
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(_END)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
            os.close(ours)

    def systemctl(self, *args: str) -> tuple[int, str, str]:
        scope = [] if self.system else ["--user"]
        return self.run(["systemctl", *scope, "--no-pager", *args])

    def podman(self, *args: str, data: str | bytes | None = None) -> tuple[int, str, str]:
        return self.run(["podman", *args], data=data)

    def journal(self, unit: str, *options: str) -> tuple[int, str, str]:
        """The bare lines of a unit and its container."""
        command = ["journalctl", "--no-pager", "--quiet", "--output=cat", *options]
        if self.system:
            return self.run([*command, f"--unit={unit}"])
        if os.geteuid() != 0:
            return self.run([*command, f"--user-unit={unit}"])
        # a journal that is kept in memory is not open to accounts; these are the lines that --user-unit means
        account = f"_UID={self.uid}"
        return self._command([*command, account, f"_SYSTEMD_USER_UNIT={unit}", "+", account, f"USER_UNIT={unit}"])

    @contextlib.contextmanager
    def files(self) -> t.Iterator[None]:
        """Touch files with the account's effective ids while the block runs (do not run commands inside)."""
        if self.system or not self.exists or os.geteuid() != 0:  # without an account (check mode) there is only to be read
            yield
            return
        groups, egid = os.getgroups(), os.getegid()
        os.setgroups(os.getgrouplist(str(self.user), self.gid))
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(egid)
            os.setgroups(groups)

    @contextlib.contextmanager
    def lock(self, deadline: float = 3600.0, waiting: t.Callable[[str], None] | None = None) -> t.Iterator[None]:
        """Hold the account's lock, so that two runs wait for each other. Released by the kernel if we die.

        The other run may wait for a start that takes long: waiting is told that there is one.
        """
        with self.files():
            try:
                os.makedirs(self.state_dir, mode=0o700, exist_ok=True)
                handle = os.open(os.path.join(self.state_dir, "lock"), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            except OSError as error:
                place = os.path.join(self.state_dir, "lock") if error.errno in (errno.ELOOP, errno.EISDIR) else self.state_dir
                raise SessionError(f"{place}, where runs note what they do, cannot be used: {reach.obstacle(place) or error.strerror}") from None
        try:
            end = time.monotonic() + deadline
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if waiting:
                        waiting("another run on this account is under way")
                    if time.monotonic() > end:
                        raise SessionError(f"another run holds {self.state_dir}/lock for more than {deadline:.0f} s") from None
                    time.sleep(0.2)
            yield
        finally:
            os.close(handle)


def _read(terminal: int) -> str | None:
    """What a program has said; None when it has closed its end."""
    try:
        return os.read(terminal, 65536).decode(errors="replace") or None
    except OSError:  # EIO, when nobody has the other end open
        return None
