# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is using a tree: open and mapped files, working directories, containers that have it mounted, swap files, loop devices.

Files are matched by device and inode, never by path: a path means something else in a container.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import os
import signal
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs_walk
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BtrfsError
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_walk import printable

Key = tuple[int, int]

# What /proc answers for a process that ends while it is read; EINVAL is mountinfo's answer when the namespace is left already.
_ENDED = frozenset({errno.ENOENT, errno.ESRCH, errno.EINVAL})


@dataclasses.dataclass
class Users:
    """Who uses a tree.

    Attributes:
        found: one text for each use, with the name of the process.
        blind: processes that this account could not look into, at least.
        bound: whether the tree is also mounted at another place of our own mount namespace.
    """

    found: list[str] = dataclasses.field(default_factory=list)
    blind: int = 0
    bound: bool = False


def pids() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _process(pid: str) -> str:
    """A process for people: its name, and the service or container that it belongs to."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as stream:
            name = stream.read().strip()
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="backslashreplace") as stream:
            unit = unit_of(stream.read())
    except OSError:
        return f"process {pid}"
    # Any account may name its processes as it likes.
    return printable(f"{name} (pid {pid}{', ' + unit if unit else ''})")


def unit_of(cgroup: str) -> str:
    """The innermost service or scope in the text of /proc/PID/cgroup."""
    found = ""
    for line in cgroup.splitlines():
        for part in line.split(":", 2)[-1].split("/"):
            if part.endswith((".service", ".scope")) and not part.startswith(("user@", "init.scope")):
                found = part
    return found


def _key(path: str) -> Key | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def mapped(maps: str, numbers: t.Container[int]) -> list[str]:
    """The address ranges of a maps file whose inode number is one of ours (its device number is not that of stat)."""
    found = []
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) > 4 and fields[4] != "0" and int(fields[4]) in numbers:
            found.append(fields[0])
    return found


def _files_of(pid: str, inodes: dict[Key, str], numbers: t.Container[int]) -> t.Iterator[tuple[str, str]]:
    """(what, name) for each entry of the tree the process holds. Raises PermissionError when it may not be looked into."""
    base = f"/proc/{pid}"
    for what in ("cwd", "root", "exe"):
        key = _key(f"{base}/{what}")
        if key in inodes:
            yield {"cwd": "works in", "root": "is rooted in", "exe": "runs"}[what], inodes[key]
    for number in os.listdir(f"{base}/fd"):
        key = _key(f"{base}/fd/{number}")
        if key in inodes:
            yield "has open", inodes[key]
    with open(f"{base}/maps", encoding="utf-8", errors="surrogateescape") as stream:
        ranges = mapped(stream.read(), numbers)
    for where in ranges:
        # 00400000-00452000 in maps is 400000-452000 in map_files.
        plain = "-".join(f"{int(end, 16):x}" for end in where.split("-"))
        key = _key(f"{base}/map_files/{plain}")
        if key in inodes:
            yield "has mapped", inodes[key]


@dataclasses.dataclass(frozen=True)
class Mount:
    """One line of mountinfo: the file system's number, which of its directories is mounted, and where."""

    device: str
    root: str
    point: str


def mounts(mountinfo: str) -> list[Mount]:
    found = []
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        if len(fields) > 4:
            found.append(Mount(fields[2], _btrfs_walk.unescape(fields[3]), _btrfs_walk.unescape(fields[4])))
    return found


def inside(real: str, table: t.Sequence[Mount]) -> tuple[str, str]:
    """(device, path within the file system) of a path, from the mount that covers it."""
    covering = [mount for mount in table if real == mount.point or real.startswith(mount.point.rstrip("/") + "/")]
    if not covering:
        raise BtrfsError(f"no mount that holds {printable(real)} is known here, as in a chroot, so nobody could tell who uses it")
    # The last of several mounts on one place is the one on top.
    best = max(enumerate(covering), key=lambda pair: (len(pair[1].point), pair[0]))[1]
    return best.device, os.path.join(best.root, real[len(best.point) :].strip("/")).rstrip("/") or "/"


def bindings(real: str, own: t.Sequence[Mount], other: t.Sequence[Mount]) -> list[Mount]:
    """Mounts of the tree, or of something in it, in another mount namespace that are not copies of our own mounts."""
    device, root = inside(real, own)
    return [mount for mount in other if _within(mount, device, root) and mount not in own]


def _within(mount: Mount, device: str, root: str) -> bool:
    return mount.device == device and (mount.root == root or mount.root.startswith(root.rstrip("/") + "/"))


def is_mount_point(real: str) -> bool:
    return any(mount.point == real for mount in mounts(_btrfs_walk.read_mountinfo()))


def users(real: str, inodes: dict[Key, str]) -> Users:
    """Look through all processes, mount namespaces, swap files and loop devices for uses of the tree.

    Args:
        real: canonical path of the tree.
        inodes: every inode of the tree, with a name for messages.
    """
    result = Users()
    numbers = {key[1] for key in inodes}
    own = mounts(_btrfs_walk.read_mountinfo())
    device, root = inside(real, own)
    result.bound = any(_within(mount, device, root) and not (mount.point + "/").startswith(real.rstrip("/") + "/") for mount in own)
    spaces = {os.readlink("/proc/self/ns/mnt")}
    there = pids()
    # Mounted with hidepid, /proc does not even list the processes of others; the first is always somebody else's.
    result.blind = 0 if "1" in there else 1
    for pid in there:
        seen = set()
        try:
            # One by one: what was found before a refusal counts.
            for what, name in _files_of(pid, inodes, numbers):
                if (what, name) not in seen:
                    seen.add((what, name))
                    result.found.append(f"{_process(pid)} {what} {printable(name)}")
            space = os.readlink(f"/proc/{pid}/ns/mnt")
            if space not in spaces:
                foreign = bindings(real, own, mounts(_btrfs_walk.read_mountinfo(pid)))
                # Only now: of a process that ends meanwhile, others may live in the same namespace.
                spaces.add(space)
                result.found.extend(f"{_process(pid)} has it mounted on {printable(mount.point)}" for mount in foreign)
        except PermissionError:
            result.blind += 1
        except OSError as error:
            if error.errno not in _ENDED:
                raise
    result.found.extend(_kernel_users(inodes))
    return result


def uid_of(status: str) -> int:
    """The real uid in the text of /proc/PID/status; the owner of /proc/PID is root where a process may not be looked into."""
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("Uid:")), 0)


def mounted_by_others(real: str, is_own: t.Callable[[int], bool]) -> list[str]:
    """Processes of other accounts that have the tree mounted, as containers have; is_own tells by uid. One of each mount namespace."""
    own = mounts(_btrfs_walk.read_mountinfo())
    spaces = {os.readlink("/proc/self/ns/mnt")}
    found = []
    for pid in pids():
        try:
            space = os.readlink(f"/proc/{pid}/ns/mnt")
            if space in spaces or not bindings(real, own, mounts(_btrfs_walk.read_mountinfo(pid))):
                continue
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as stream:
                uid = uid_of(stream.read())
        except OSError:  # it has ended, or may not be looked into
            continue
        # A system container of root's has it mounted for whom it runs.
        if uid != 0 and not is_own(uid):
            spaces.add(space)
            found.append(_process(pid))
    return found


def _kernel_users(inodes: dict[Key, str]) -> t.Iterator[str]:
    with open("/proc/swaps", encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream.read().splitlines()[1:]:
            key = _key(_btrfs_walk.unescape(line.split()[0]))
            if key in inodes:
                yield f"the kernel swaps to {printable(inodes[key])}"
    for name in os.listdir("/sys/block") if os.path.isdir("/sys/block") else []:
        try:
            with open(f"/sys/block/{name}/loop/backing_file", encoding="utf-8", errors="surrogateescape") as stream:
                key = _key(stream.read().rstrip("\n"))
        except OSError:
            continue
        if key in inodes:
            yield f"/dev/{name} stands on {printable(inodes[key])}"


def in_use(fd: int) -> bool:
    """Whether a regular file is open or mapped anywhere but here, hidden processes included (a write lease is refused then)."""
    # The signal that breaks a lease would end the process by default.
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except PermissionError:
        # Needs the owner or CAP_LEASE.
        return False
    finally:
        signal.signal(signal.SIGIO, before)
    return False
