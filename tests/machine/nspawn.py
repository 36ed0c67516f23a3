# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One running test machine: a systemd-nspawn container with its own disk image and BTRFS pool.

Everything it mounts lives in a private mount namespace and every loop device detaches itself, so that nothing can be left
behind once its processes are gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import time
import typing as t

import clone
import network
from processes import alive, children, end, end_tree, init_of_namespace, start_time
from rootfs import copy, say
from runs import PLACE, give_back, locked, make_room, state_root
from troubles import explained

POOL_SIZE = "12G"  # sparse
DEVICES = {"fuse": (10, 229), "net/tun": (10, 200)}  # character devices by number (Documentation/admin-guide/devices.txt)
SUBVOLUMES = ("subvol3-opptak", "subvol7-containers")
STOP_DEADLINE = 40.0

# In a cgroup ($2, may be empty) and mount and network namespaces of its own: mounts the root and the pool, plugs in, then becomes systemd-nspawn.
START = f"""
[ -z "$2" ] || echo $$ >"$2/cgroup.procs"
mount -o loop,noatime "$1/disk.img" "$1/root"
mount -o loop "$1/pool.img" "$1/pool"
{network.PLUG}
names() {{ {network.NAMES} }}
names "$1/root" <"$1/hosts"
cp "$1/hostname" "$1/root/etc/hostname"
shift 2
exec systemd-nspawn "$@"
"""


class Machine:
    boot_deadline = 120.0
    stop_deadline = 120.0  # systemd itself ends what does not stop after 90
    mark = "root"  # what below the machine's directory is an argument of its supervisor, and of no other process

    def __init__(self, name: str, place: pathlib.Path | None = None) -> None:
        if not name.replace("-", "").isalnum():
            raise SystemExit(f"machine: {name!r} is not a name: letters, digits and dashes only")
        self.name = name
        self.dir = (place or state_root()) / name

    # ---- what is there

    @property
    def exists(self) -> bool:
        return self.dir.exists()

    @property
    def saved(self) -> pathlib.Path:
        return self.dir / "saved"

    def tags(self) -> list[str]:
        """Of the states to go back to; half of one has a dot in its name."""
        return sorted(path.name for path in self.saved.glob("*") if "." not in path.name)

    @property
    def supervisor(self) -> int | None:
        """Process id of what runs the machine, if it is alive and really ours."""
        try:
            pid = int((self.dir / "pid").read_text())
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        ours = str(self.dir / self.mark).encode()
        return pid if any(ours in word for word in words) else None

    @property
    def leader(self) -> int | None:
        """Process id, seen from here, of the machine's own process 1."""
        pending = [self.supervisor] if self.supervisor else self.orphans()
        while pending:
            pid = pending.pop()
            if pid is None:
                continue
            if init_of_namespace(pid):
                return pid
            pending += children(pid)
        return None

    def orphans(self) -> list[int]:
        """Process 1 of a machine whose supervisor was killed; it is told from a later process of that number by its start time."""
        try:
            pid, started = (self.dir / "leader").read_text().split()
            return [int(pid)] if start_time(int(pid)) == started else []
        except (OSError, ValueError):
            return []

    @property
    def cgroup(self) -> pathlib.Path | None:
        """The machine's cgroup, where the host has no systemd that would make a scope for it."""
        root = cgroup_root()
        return root / f"homelab-{self.dir.parent.name}-{self.name}" if root else None

    # ---- life

    def create(self, disk: pathlib.Path, pool: pathlib.Path | None = None, networks: t.Sequence[str] = (), hostname: str = "") -> None:
        """On a copy of that disk, with a copy of that pool or a new one."""
        if self.exists:
            raise SystemExit(f"machine: {self.name} exists already: destroy it first")
        make_room(self.dir)
        try:
            with explained(self.dir):
                for mountpoint in ("root", "pool"):
                    (self.dir / mountpoint).mkdir()
                (self.dir / "hostname").write_text(f"{hostname or self.name}\n")
                self.join([network.check_name(name) for name in networks])
                copy(disk, self.dir / "disk.img")
                if pool:
                    clone.pool(pool, self.dir / "pool.img")
                else:
                    self.make_pool()
                self.make_keys(is_known=pool is not None)
                self.equip()
                self.start()
        except BaseException:
            self.destroy()
            raise

    # ---- company

    @property
    def hostname(self) -> str:
        try:
            return (self.dir / "hostname").read_text().strip()
        except OSError:
            return self.name

    @property
    def networks(self) -> list[network.Network]:
        try:
            return [network.Network(self.dir.parent, name) for name in (self.dir / "networks").read_text().split()]
        except OSError:
            return []

    def join(self, networks: t.Sequence[str]) -> None:
        (self.dir / "networks").write_text("\n".join(networks))
        self.be_called(list(dict.fromkeys([self.hostname, self.name])))

    def be_called(self, names: t.Sequence[str]) -> None:
        """Known by these names too, to all on its networks."""
        for one in self.networks:
            one.join(self.name, names)
            self.tell(one)

    def tell(self, one: network.Network) -> None:
        """Write the names of a network into the running machines on it; the others read them when they start."""
        with locked(self.dir.parent):
            for name in one.members():
                type(self)(name, self.dir.parent).hear()

    def hear(self) -> None:
        leader = self.leader
        if leader is None:
            return
        done = subprocess.run(self.enter("sh", "-ec", network.NAMES, "sh", ""), input=self.hosts(), text=True, capture_output=True, check=False)
        if done.returncode != 0 and os.path.exists(f"/proc/{leader}/ns/mnt"):  # else it has just ended
            raise SystemExit(f"machine: {self.name} could not be told who is on its networks: {done.stderr}")

    def hosts(self) -> str:
        return network.hosts_block(self.hostname, [one.state for one in self.networks])

    def part(self) -> None:
        for one in self.networks:
            one.leave(self.name)
            self.tell(one)

    # ---- parts

    def make_pool(self) -> None:
        image, mountpoint = self.dir / "pool.img", self.dir / "pool"
        subprocess.run(["truncate", "-s", POOL_SIZE, str(image)], check=True)
        subprocess.run(["mkfs.btrfs", "-q", "-L", "btrfs-pool", str(image)], check=True, stdout=subprocess.DEVNULL)
        private_mount(image, mountpoint, 'cd "$2" && shift 2 && for name; do btrfs -q subvolume create "$name"; done', *SUBVOLUMES)

    def make_keys(self, is_known: bool) -> None:
        """What a machine has of its own. With a pool it goes on as the machine that was deployed on: an installation knows its host by the id."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "homelab-test", "-f", str(self.dir / "key")], check=True)
        script = """
            for home in root home/homelab; do
                install -m 600 -o "$(stat -c %u "$2/$home")" -g "$(stat -c %g "$2/$home")" "$3.pub" "$2/$home/.ssh/authorized_keys"
            done
            rm -f "$2"/etc/ssh/ssh_host_* "$2/var/lib/systemd/random-seed"
            ssh-keygen -q -t ed25519 -N "" -C homelab-test -f "$2/etc/ssh/ssh_host_ed25519_key"
            cat "$2/etc/ssh/ssh_host_ed25519_key.pub" >"$4"
            [ "$5" = known ] || tr -d - </proc/sys/kernel/random/uuid >"$2/etc/machine-id"
        """
        private_mount(self.dir / "disk.img", self.dir / "root", script, str(self.dir / "key"), str(self.dir / "hostkey"), "known" if is_known else "new")
        host_key = " ".join((self.dir / "hostkey").read_text().split()[:2])
        (self.dir / "known_hosts").write_text(f"{self.name} {host_key}\n")
        (self.dir / "ssh_config").write_text(self.ssh_config())
        if "SUDO_UID" in os.environ:  # the person who typed sudo runs ansible
            for name in ("key", "key.pub", "known_hosts", "ssh_config"):
                os.chown(self.dir / name, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))

    def equip(self) -> None:
        """Device nodes of the machine's own: it sets their permissions at boot, and the host's must stay as they are."""
        for name, (major, minor) in DEVICES.items():
            path = self.dir / "dev" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
            path.chmod(0o666)

    def ssh_config(self) -> str:
        command = f"{pathlib.Path(__file__).with_name('machine')} connect {self.dir}"
        if "SUDO_UID" in os.environ:
            command = f"sudo -n {command}"
        return "\n".join(
            [
                f"Host {self.name}",
                "  User root",
                f"  IdentityFile {self.dir / 'key'}",
                "  IdentitiesOnly yes",
                f"  UserKnownHostsFile {self.dir / 'known_hosts'}",
                f"  HostKeyAlias {self.name}",
                "  StrictHostKeyChecking yes",
                f"  ProxyCommand {command}",
                "  LogLevel ERROR",
                "",
            ]
        )

    def start(self) -> None:
        (self.dir / "hostname").write_text(f"{self.hostname}\n")
        (self.dir / "links").write_text(network.links(self.name, self.networks))
        (self.dir / "hosts").write_text(self.hosts())
        with open(self.dir / "console.log", "ab") as console:
            process = self.launch(console)
        (self.dir / "pid").write_text(str(process.pid))
        self.wait_until_booted(process)
        self.adapt()
        for one in self.networks:  # somebody may have joined while it booted
            self.tell(one)

    def launch(self, console: t.IO[bytes]) -> subprocess.Popen[bytes]:
        if shutil.which("modprobe"):  # a kernel with everything built in may come without it
            subprocess.run(["modprobe", "-qa", "loop", "btrfs", "overlay", "fuse", "tun"], check=False, stderr=subprocess.DEVNULL)
        options = [
            f"--directory={self.dir / 'root'}",
            f"--machine={self.name}-{self.dir.parent.name}"[:74].rstrip("-"),  # 64 without the option  # a systemd on the host makes a scope of this name
            f"--hostname={self.hostname}",
            "--boot",
            "--quiet",
            "--network-namespace-path=/proc/self/ns/net",  # the one it is plugged in by now
            "--capability=all",
            "--system-call-filter=@keyring bpf",
            *(f"--bind={self.dir / 'dev' / path}:/dev/{path}" for path in DEVICES),
            f"--bind={self.dir / 'pool'}:/mnt/btrfs-pool",
            "--register=no",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=pipe",
        ]
        cgroup = self.cgroup
        if cgroup:
            cgroup.mkdir(exist_ok=True)
            options.append("--keep-unit")
        return subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-ec", START, "sh", str(self.dir), str(cgroup or ""), *options],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            # Without the second, a namespace that is handed over cannot set its own /proc/sys/net, as one made by nspawn can.
            env={
                "PATH": os.environ["PATH"],
                PLACE: str(self.dir.parent),
                "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
                "TERM": "dumb",
            },
            start_new_session=True,
        )

    def wait_until_booted(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.boot_deadline
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise SystemExit(f"machine: {self.name} did not start:\n{self.console_tail()}")
            if self.answers():
                state = self.inside("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.1)
        raise SystemExit(f"machine: {self.name} was not up after {self.boot_deadline:.0f} s:\n{self.console_tail()}")

    def answers(self) -> bool:
        """Whether its systemd can be asked something."""
        leader = self.leader
        if not leader or self.inside("test", "-S", "/run/systemd/private", check=False).returncode != 0:
            return False
        (self.dir / "leader").write_text(f"{leader} {start_time(leader)}")
        return True

    def adapt(self) -> None:
        """Where the host keeps controllers in cgroup v1, the machine has none of them and podman must not ask for them."""
        controllers = self.inside("cat", "/sys/fs/cgroup/cgroup.controllers").stdout.split()
        if "pids" not in controllers:
            script = "mkdir -p /etc/containers/containers.conf.d && printf '[containers]\\npids_limit = 0\\n' >/etc/containers/containers.conf.d/test.conf"
            self.inside("sh", "-c", script)

    def stop(self) -> bool:
        """Power off from inside; killing the supervisor alone would leave process 1 and every container running.

        False when it had to be killed in the end.
        """
        leader = self.leader
        if leader is None:
            return True
        self.inside("systemctl", "poweroff", "--no-block", check=False)
        deadline = time.monotonic() + self.stop_deadline
        while alive(leader) or self.supervisor:
            if time.monotonic() > deadline:
                say(f"{self.name} does not power off: killing its process 1")
                self.kill(leader)
                return False
            time.sleep(0.1)
        return True

    def kill(self, leader: int | None = None) -> None:
        leader = leader or self.leader
        if leader is not None:  # the kernel ends every process of a namespace with its process 1
            end(leader)
        supervisor = self.supervisor
        if supervisor is not None:
            end_tree(supervisor)

    def destroy(self) -> None:
        if not self.exists:
            return
        self.kill()
        wait_for(lambda: not loop_devices_below(self.dir), f"loop devices below {self.dir} are still in use")
        cgroup = self.cgroup
        if cgroup and cgroup.exists():
            wait_for(lambda: remove_cgroup(cgroup), f"{cgroup} is still in use")
        self.part()
        shutil.rmtree(self.dir)
        give_back(self.dir.parent)

    # ---- use

    def enter(self, *command: str) -> list[str]:
        leader = self.leader
        if leader is None:
            raise SystemExit(f"machine: {self.name} is not running")
        return ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--", *command]

    def inside(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine's namespaces as root, outside any login session."""
        return subprocess.run(self.enter(*command), check=check, text=True, stdin=subprocess.DEVNULL, capture_output=True)

    def console_tail(self) -> str:
        try:
            return (self.dir / "console.log").read_text(errors="replace")[-3000:]
        except OSError:
            return ""

    def host_variables(self) -> dict[str, object]:
        """How Ansible gets in."""
        return {
            "ansible_host": self.name,
            "ansible_user": "root",
            "ansible_ssh_common_args": f"-F {self.dir / 'ssh_config'}",
            # Ansible's own is named after the host alone: two checkouts would share the connection, and with it the machine.
            "ansible_control_path": f"%(directory)s/{self.dir.parent.name}-%%h-%%r",
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def describe(self) -> str:
        run = self.dir.parent.name.partition("-")[2]
        return json.dumps({"name": self.name, "running": self.leader is not None, "directory": str(self.dir), "run": run or None, "saved": self.tags()})


def private_mount(image: pathlib.Path, mountpoint: pathlib.Path, script: str, *args: str) -> None:
    """Run a script with the image mounted: $1 the image, $2 the mount point, further arguments after."""
    whole = f'mount -o loop "$1" "$2"\n{script}'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", whole, "sh", str(image), str(mountpoint), *args]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def wait_for(condition: t.Callable[[], bool], otherwise: str, seconds: float = STOP_DEADLINE) -> None:
    """The kernel detaches loop devices and empties cgroups a moment after the last process went."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"machine: {otherwise}")
        time.sleep(0.05)


def loop_devices_below(directory: pathlib.Path) -> list[str]:
    found = []
    for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if path.read_text().startswith(f"{directory}/"):
                found.append(path.parts[3])
    return found


def cgroup_root() -> pathlib.Path | None:
    """Where machines get their cgroups, if not from a systemd on the host."""
    if os.path.isdir("/run/systemd/system"):
        return None
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _source, where, kind, *_rest = line.split()
        if kind == "cgroup2":
            return pathlib.Path(where)
    raise SystemExit("machine: no cgroup v2 hierarchy is mounted on this host")


def remove_cgroup(path: pathlib.Path) -> bool:
    try:
        for below, _dirs, _files in os.walk(path, topdown=False):
            os.rmdir(below)
    except OSError:
        return False
    return True
