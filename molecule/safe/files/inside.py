# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody has who has broken into a container: looked at from inside, as root of the machine, and held against the lists beside the roles.

    inside.py ACCOUNT <LISTS

For each container a process is born into its namespaces, once with the ids of its program, and where it may become root, as root with every capability
that the container has. It tries to write into every mount, to connect to every socket, to open every device, and searches environments and files for the
values of the account's secrets.
LISTS is JSON: {"every": what each container has, "containers": {name: what it has besides}}. More than the lists is a fault, and so is less.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import pathlib
import socket
import stat
import subprocess
import sys
import tempfile
import typing as t

NAMESPACES = ("user", "mnt", "net", "ipc", "uts", "cgroup", "pid")
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK"
    " IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE"
    " AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
KINDS = ("writes", "reads", "sockets", "devices", "secrets", "capabilities", "inherits", "shares", "others", "lacks")
MOST_ENTRIES, MOST_BYTES = 20000, 1 << 18
NULL = os.makedev(1, 3)
TOLD_ELSEWHERE = ("/proc/", "/sys/", "/run/secrets")
ZONES = "/usr/share/zoneinfo/"  # the link /etc/localtime leads there
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
LIBC = ctypes.CDLL(None, use_errno=True)
Found = dict[str, set[str]]


def differences(name: str, found: t.Mapping[str, t.Collection[str]], *lists: t.Mapping[str, t.Collection[str]]) -> list[str]:
    """What a container has and no list tells, and what a list tells and it has not."""
    said = []
    for kind in KINDS:
        listed = {item for one in lists for item in one.get(kind) or ()}
        said += [f"{name}: more than its list, {kind}: {item}" for item in sorted(set(found[kind]) - listed)]
        said += [f"{name}: less than its list, {kind}: {item}" for item in sorted(listed - set(found[kind]))]
    return said


def union(*looks: Found) -> Found:
    """What one of them can write is not only read."""
    found = {kind: set().union(*(look[kind] for look in looks)) for kind in KINDS}
    found["reads"] -= found["writes"]
    return found


def mounts(table: str) -> dict[str, str]:
    """From mount point to type, of mountinfo; of several on one place the last is seen."""
    halves = [line.partition(" - ")[::2] for line in table.splitlines()]
    return {first.split()[4].replace("\\040", " "): second.split()[0] for first, second in halves}


def names_of(mask: int) -> set[str]:
    return {CAPABILITIES[number] if number < len(CAPABILITIES) else str(number) for number in range(64) if mask >> number & 1}


def can_create(folder: str) -> int:
    """0, or why not."""
    try:
        handle, path = tempfile.mkstemp(prefix=".inside-", dir=folder)
    except OSError as error:
        return error.errno or errno.EIO
    os.close(handle)
    os.unlink(path)
    return 0


def can_open(path: str, flags: int) -> bool:
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY))
    except OSError:
        return False
    return True


def can_connect(path: str) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(2)
            try:
                client.connect(path)
            except OSError:
                continue
            return True
    return False


def text_of(path: str) -> bytes:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as handle:
            return handle.read(MOST_BYTES)
    except OSError:
        return b""


def misplaced(where: str, text: bytes, secrets: t.Mapping[str, bytes]) -> set[str]:
    """Secrets whose values are elsewhere than at their own place."""
    return {f"{name} in {where}" for name, value in secrets.items() if value and value in text and where != f"/run/secrets/{name}"}


def variable(line: bytes) -> str:
    return "the environment, " + line.partition(b"=")[0].decode(errors="replace")


class Look:
    """In the namespaces of one container."""

    def __init__(self, secrets: t.Mapping[str, bytes]) -> None:
        self.secrets = secrets
        self.mounts = mounts(text_of("/proc/self/mountinfo").decode(errors="replace"))
        self.found: Found = {kind: set() for kind in KINDS}

    def everything(self) -> Found:
        for place, kind in self.mounts.items():
            if kind == "proc" and os.path.isdir(f"{place}/self"):
                self.processes(place)
            if kind in ("proc", "sysfs", "cgroup2", "debugfs", "tracefs", "nsfs"):
                self.kernel(place)
            elif os.path.isdir(place):
                self.walk(place, kind)
            else:
                self.file(place, place)
            if place not in self.found["writes"] and (os.path.isdir(place) or os.path.isfile(place)) and not place.startswith(TOLD_ELSEWHERE):
                self.found["reads"].add("/etc/localtime" if place.startswith(ZONES) else place)
        for line in text_of("/proc/net/unix").decode(errors="replace").splitlines()[1:]:
            name = line.split()[-1]
            if name.startswith("@") and can_connect("\0" + name[1:]):
                self.found["sockets"].add(name)
        return self.found

    def kernel(self, place: str) -> None:
        """A file system of the kernel: a process' own files are its own, and others must not be there to write."""
        if not os.path.isdir(place) or os.statvfs(place).f_flag & os.ST_RDONLY:
            return
        for folder, folders, files in os.walk(place):
            # Everybody on the machine may ask to be told of pressure.
            passed = [name for name in folders if folder == place and (name.isdigit() or "self" in name or name == "pressure")]
            folders[:] = [name for name in folders if name not in passed and f"{folder}/{name}" not in self.mounts]
            paths = [f"{folder}/{name}" for name in files]
            if any(path not in self.mounts and not os.path.islink(path) and os.access(path, os.W_OK) for path in paths):
                self.found["writes"].add(place)
                return

    def walk(self, place: str, kind: str) -> None:
        reason = can_create(place)
        if not reason:
            self.found["writes"].add(place)
        if reason == errno.EROFS and kind == "overlay" and place == "/":
            return  # the image's own files, and nothing lives in there
        seen = 0
        for folder, folders, files in os.walk(place):
            folders[:] = [name for name in folders if os.path.join(folder, name) not in self.mounts]
            if reason not in (0, errno.EROFS) and folder != place and not can_create(folder):
                self.found["writes"].add(place)
            for name in files:
                path = os.path.join(folder, name)
                if path not in self.mounts:
                    self.file(path, place)
            seen += len(files) + 1
            if seen > MOST_ENTRIES:
                break

    def file(self, path: str, place: str) -> None:
        try:
            status_of = os.lstat(path)
        except OSError:
            return
        mode = status_of.st_mode
        if status_of.st_rdev == NULL and path.startswith("/proc/"):
            return  # so Podman hides a file
        if stat.S_ISSOCK(mode) and can_connect(path):
            self.found["sockets"].add(path)
        elif (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and (can_open(path, os.O_RDWR) or can_open(path, os.O_RDONLY)):
            self.found["devices"].add(path)
        elif stat.S_ISREG(mode):
            if can_open(path, os.O_WRONLY):
                self.found["writes"].add(place)
            self.search(path, text_of(path))

    def search(self, where: str, text: bytes) -> None:
        if where.startswith("/run/secrets/") and text:
            self.found["secrets"].add(where.removeprefix("/run/secrets/"))
        self.found["secrets"] |= misplaced(where, text, self.secrets)

    def processes(self, place: str) -> None:
        """Environments of its own; of those of others nothing must be open."""
        mine = os.readlink("/proc/self/ns/pid")
        for number in [name for name in os.listdir(place) if name.isdigit()]:
            try:
                theirs = os.readlink(f"{place}/{number}/ns/pid")
            except OSError:
                continue
            if theirs != mine:
                self.found["others"].add(f"processes in {place}")
            else:
                for line in text_of(f"{place}/{number}/environ").split(b"\0"):
                    self.search(variable(line), line)


def status(pid: int) -> dict[str, str]:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines}


def mapped(pid: int, kind: str, outside: int) -> int:
    """The id inside of an id of the machine."""
    for line in pathlib.Path(f"/proc/{pid}/{kind}_map").read_text(encoding="ascii").splitlines():
        inner, outer, count = map(int, line.split())
        if outer <= outside < outer + count:
            return inner + outside - outer
    return -1


def identities(pid: int, shown: t.Mapping[str, str]) -> list[tuple[int, int, int]]:
    """(uid, gid, capabilities) that a program in there has or can take."""
    bounding = int(shown["CapBnd"], 16)
    own = mapped(pid, "uid", int(shown["Uid"].split()[1])), mapped(pid, "gid", int(shown["Gid"].split()[1])), int(shown["CapPrm"], 16)
    return [own, *([(0, 0, bounding)] if "SETUID" in names_of(bounding) else [])]


def become(pid: int, shown: t.Mapping[str, str], uid: int, gid: int, capabilities: int) -> None:
    """One of the container, in its namespaces. Only the filter of system calls is missing."""
    groups = [number for number in (mapped(pid, "gid", int(text)) for text in shown["Groups"].split()) if number >= 0]
    theirs = [f"/proc/{pid}/ns/{name}" for name in NAMESPACES if os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")]
    for handle in [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in theirs]:
        os.setns(handle)
    if os.fork():  # a process is in a namespace of processes from its birth on
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    os.setgroups(groups)
    for number in range(len(CAPABILITIES)):
        if not capabilities >> number & 1:
            LIBC.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, int(shown["NoNewPrivs"]), 0, 0, 0)
    low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
    if LIBC.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)):
        raise OSError(ctypes.get_errno(), "capset")
    os.chdir("/")


def from_inside(pid: int, shown: t.Mapping[str, str], identity: tuple[int, int, int], secrets: t.Mapping[str, bytes]) -> Found:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        become(pid, shown, *identity)
        found = Look(secrets).everything()
        with os.fdopen(writer, "w", encoding="utf-8") as handle:
            json.dump({kind: sorted(items) for kind, items in found.items()}, handle)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as handle:
        text = handle.read()
    if os.waitpid(child, 0)[1] or not text:
        raise SystemExit(f"nobody came back from the namespaces of process {pid}")
    return {kind: set(items) for kind, items in json.loads(text).items()}


def lacking(shown: t.Mapping[str, str], machine: t.Mapping[str, str]) -> set[str]:
    """The machine may be a container itself, and everything in it have a filter of that."""
    filtered = int(shown["Seccomp_filters"]) > int(machine["Seccomp_filters"])
    return ({"no new privileges"} if shown["NoNewPrivs"] != "1" else set()) | (set() if filtered else {"a filter of system calls"})


def inodes(pid: int | str) -> dict[str, str]:
    """The sockets of a network namespace, by inode."""
    known = {}
    for kind, at in {"tcp": 9, "tcp6": 9, "udp": 9, "udp6": 9, "raw": 9, "icmp": 9, "unix": 6, "netlink": 9, "packet": 8}.items():
        table = pathlib.Path(f"/proc/{pid}/net/{kind}")
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines()[1:] if table.exists() else []:
            fields = line.split()
            port = f" {int(fields[1].rpartition(':')[2], 16)}" if kind.startswith(("tcp", "udp")) else ""
            known[fields[at]] = kind.removesuffix("6") + port
    return known


def from_outside(pid: int, shown: t.Mapping[str, str], others: t.Iterable[int]) -> Found:
    """What the kernel says of the container's first process, and what that holds of the machine."""
    found: Found = {kind: set() for kind in KINDS}
    found["capabilities"] = names_of(int(shown["CapBnd"], 16))
    found["lacks"] = lacking(shown, status(1))
    for name in sorted(os.listdir(f"/proc/{pid}/ns")):
        mine = os.readlink(f"/proc/{pid}/ns/{name}")
        if not name.endswith("_for_children") and mine in {os.readlink(f"/proc/{other}/ns/{name}") for other in others if other != pid}:
            found["shares"].add(name)
    own, machine = inodes(pid), inodes(1)
    for number in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{number}")
        if target.startswith("socket:[") and target[8:-1] not in own:
            found["inherits"].add(machine.get(target[8:-1], "a socket of nobody knows where"))
    return found


class Podman:
    """The account's."""

    def __init__(self, account: str) -> None:
        uid = subprocess.run(["id", "-u", account], capture_output=True, text=True, check=True).stdout.strip()
        runtime = f"/run/user/{uid}"
        env = [f"XDG_RUNTIME_DIR={runtime}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus"]
        self.command = ["runuser", "-u", account, "--", "env", "--chdir=/", *env, "podman"]

    def json(self, *arguments: str) -> t.Any:
        return json.loads(subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=True).stdout or "[]")

    def containers(self) -> dict[str, tuple[int, str]]:
        """Name -> first process, and the file by which the container was made."""
        names = [item["Names"][0] for item in self.json("ps", "--format", "json")]
        return {item["Name"]: (int(item["State"]["Pid"]), item["OCIConfigPath"]) for item in self.json("inspect", *names)}

    def secrets(self) -> dict[str, bytes]:
        names = subprocess.run([*self.command, "secret", "ls", "--format", "{{.Name}}"], capture_output=True, text=True, check=True).stdout.split()
        shown = self.json("secret", "inspect", "--showsecret", *names) if names else []
        return {item["Spec"]["Name"]: item["SecretData"].encode() for item in shown}


def main() -> None:
    lists = json.load(sys.stdin)
    podman = Podman(sys.argv[1])
    running, secrets = podman.containers(), podman.secrets()
    faults = [f"{name}: a container without a list" for name in sorted(running.keys() - lists["containers"].keys())]
    pids = {1, *(pid for pid, dummy in running.values())}
    for name, (pid, made_by) in sorted(running.items()):
        shown = status(pid)
        looks = [from_inside(pid, shown, identity, secrets) for identity in identities(pid, shown)]
        found = union(from_outside(pid, shown, pids), *looks)
        # A program may cover its environment in /proc, and has it all the same.
        for line in json.loads(pathlib.Path(made_by).read_text(encoding="utf-8"))["process"]["env"]:
            found["secrets"] |= misplaced(variable(line.encode()), line.encode(), secrets)
        print(name, json.dumps({kind: sorted(items) for kind, items in found.items() if items}), flush=True)
        faults += differences(name, found, lists["every"], lists["containers"].get(name) or {})
    for fault in faults:
        print(f"WRONG {fault}", flush=True)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
