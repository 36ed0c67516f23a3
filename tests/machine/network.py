# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of test machines: a bridge in a network namespace of its own, which no address of the host belongs to.

A process holds the namespace. Each machine is plugged in before its systemd starts, with an address that it keeps, a default route, and
the names of all who are there in its /etc/hosts.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import typing as t

import processes
from runs import PLACE, locked

FOLDER = ".networks"  # no machine can be called so
GATEWAY, FIRST, LAST = 1, 11, 250  # last parts of addresses
WORDS = "homelab-network"  # in the arguments of a holder, for people who look at the list of processes

# Makes the bridge and stays for as long as something is plugged in. A machine that restarts is away for a moment, and comes back
# within the minute; when all were killed, the namespace goes by itself.
HOLD = """
ip link set lo up
ip link add bridge type bridge
ip address add "$1" dev bridge
ip link set bridge up
echo ready
exec >/dev/null 2>&1
idle=0
while [ "$idle" -lt 30 ]; do
    sleep 2
    if [ -n "$(ip -oneline link show master bridge)" ]; then idle=0; else idle=$((idle + 1)); fi
done
"""

# In the network namespace that will be the machine's ($1 its directory): plugs it into its networks.
PLUG = """
ip link set lo up
while read -r holder name port address gateway; do
    nsenter --net="/proc/$holder/ns/net" ip link delete "$port" 2>/dev/null || true # the kernel may still be about to
    ip link add "$name" type veth peer name "$port" netns "$holder"
    nsenter --net="/proc/$holder/ns/net" ip link set "$port" master bridge up
    ip address add "$address" dev "$name"
    ip link set "$name" up
    [ "$gateway" = - ] || ip route add default via "$gateway"
done <"$1/links"
"""

BEGIN, END = "# the machines of its networks", "# and no more of them"

# In the root file system $1: the names of standard input are in /etc/hosts, and those of earlier are not.
NAMES = f"""
sed -i '/^{BEGIN}$/,/^{END}$/d' "$1/etc/hosts"
cat >>"$1/etc/hosts"
"""


class Member(t.NamedTuple):
    """A machine on a network."""

    number: int
    names: list[str]


class State(t.NamedTuple):
    """What is written down of a network."""

    subnet: int
    members: dict[str, Member]

    def address(self, number: int) -> str:
        return f"198.18.{self.subnet}.{number}"

    def joined(self, machine: str, names: t.Sequence[str]) -> State:
        """With that machine, or with more names of it. A name belongs to one machine: who asks last has it."""
        known = self.members.get(machine)
        taken = {member.number for member in self.members.values()}
        number = known.number if known else next((free for free in range(FIRST, LAST) if free not in taken), 0)
        if not number:
            raise SystemExit("machine: the network is full")
        others = {other: Member(member.number, [name for name in member.names if name not in names]) for other, member in self.members.items()}
        mine = list(dict.fromkeys([*(known.names if known else []), *names]))
        return State(self.subnet, {**others, machine: Member(number, mine)})

    def left(self, machine: str) -> State:
        return State(self.subnet, {other: member for other, member in self.members.items() if other != machine})

    def hosts(self) -> list[str]:
        return [f"{self.address(member.number)} {' '.join(member.names)}" for member in self.members.values()]

    def to_json(self) -> str:
        return json.dumps({"subnet": self.subnet, "members": {name: member._asdict() for name, member in self.members.items()}}, indent=2)


def from_json(text: str) -> State:
    data = json.loads(text)
    return State(data["subnet"], {name: Member(**member) for name, member in data["members"].items()})


def check_name(name: str) -> str:
    """It is also the name of the interface inside, so the kernel's limit holds."""
    if not name.replace("-", "").isalnum() or len(name) > 15 or name == "lo":
        raise SystemExit(f"machine: {name!r} is not a name for a network: letters, digits and dashes, 15 at most")
    return name


def hosts_block(hostname: str, states: t.Sequence[State]) -> str:
    """A machine that is on no network has to know its own name all the same: sudo complains otherwise."""
    lines = [line for state in states for line in state.hosts()]
    return "\n".join([BEGIN, *(lines or [f"127.0.1.1 {hostname}"]), END, ""])


class Network:
    def __init__(self, root: pathlib.Path, name: str) -> None:
        self.root = root
        self.name = check_name(name)
        self.dir = root / FOLDER / name

    @property
    def state(self) -> State:
        return from_json((self.dir / "state.json").read_text())

    def members(self) -> list[str]:
        return list(self.state.members) if (self.dir / "state.json").exists() else []

    def write(self, state: State) -> None:
        new = self.dir / "state.json.new"
        new.write_text(state.to_json())
        new.rename(self.dir / "state.json")

    @property
    def holder(self) -> int | None:
        """Process id of what holds the namespace, if it is alive and really ours."""
        try:
            pid, started = (self.dir / "holder").read_text().split()
        except (OSError, ValueError):
            return None
        return int(pid) if processes.same(int(pid), started) else None

    def join(self, machine: str, names: t.Sequence[str]) -> None:
        with locked(self.root):
            if not (self.dir / "state.json").exists():
                self.dir.mkdir(parents=True, exist_ok=True)
                self.write(State(free_subnet(self.root), {}))
            self.write(self.state.joined(machine, names))

    def leave(self, machine: str) -> None:
        with locked(self.root):
            if (self.dir / "state.json").exists():
                self.write(self.state.left(machine))
                if self.state.members:
                    return
            self.remove()

    def remove(self) -> None:
        holder = self.holder
        if holder:
            processes.end_tree(holder)
        shutil.rmtree(self.dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.dir.parent.rmdir()

    def hold(self) -> int:
        """The namespace with the bridge, made when it is not there."""
        with locked(self.root):
            holder = self.holder
            if holder:
                return holder
            gateway = f"{self.state.address(GATEWAY)}/24"
            process = subprocess.Popen(
                ["unshare", "--net", "sh", "-ec", HOLD, WORDS, gateway, str(self.dir)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env={"PATH": os.environ["PATH"], PLACE: str(self.root)},
                start_new_session=True,
            )
            (self.dir / "holder").write_text(f"{process.pid} {processes.start_time(process.pid)}")
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise SystemExit(f"machine: the network {self.name} could not be made")
            return process.pid


def free_subnet(root: pathlib.Path) -> int:
    taken = {from_json(path.read_text()).subnet for path in (root / FOLDER).glob("*/state.json")}
    return next(number for number in range(1, 255) if number not in taken)


def links(machine: str, networks: t.Sequence[Network]) -> str:
    """What PLUG reads: one line for each network. The default route leads through the first."""
    lines = []
    for number, network in enumerate(networks):
        state = network.state
        mine = state.members[machine].number
        gateway = "-" if number else state.address(GATEWAY)
        lines.append(f"{network.hold()} {network.name} port{mine} {state.address(mine)}/24 {gateway}\n")
    return "".join(lines)
