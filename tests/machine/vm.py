# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other kind of test machine: a QEMU virtual machine with its own kernel, for what containers cannot show.

Memory limits are enforced, `reboot` reboots, and killing it is a power cut. QEMU runs in a network namespace of its own, so
that ssh reaches the machine as it reaches the others, and neither has an address of the host.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import shutil
import subprocess
import typing as t

from nspawn import Machine, private_mount
from runs import PLACE, state_root

MEMORY = "4G"

# On the mounted root file system ($2), for the machine $4 in $3: what nspawn does for the others, and what a kernel of one's own wants.
EQUIP = """
cp -L "$2/vmlinuz" "$2/initrd.img" "$3"
echo "$4" >"$2/etc/hostname"
echo "127.0.1.1 $4" >>"$2/etc/hosts"
mkdir -p "$2/mnt/btrfs-pool"
echo 'LABEL=btrfs-pool /mnt/btrfs-pool btrfs defaults 0 0' >"$2/etc/fstab"
rm -f "$2/etc/containers/containers.conf.d/test.conf"
sed -i /^ListenAddress/d "$2/etc/ssh/sshd_config.d/test.conf"
printf '%s\\n' '[Match]' 'Name=en*' '[Network]' 'Address=10.0.2.15/24' 'Gateway=10.0.2.2' >"$2/etc/systemd/network/vm.network"
ln -sf /usr/lib/systemd/system/systemd-networkd.service "$2/etc/systemd/system/multi-user.target.wants/"
"""


class VirtualMachine(Machine):
    # Without KVM everything takes twenty to thirty times as long.
    boot_deadline = 1200.0
    stop_deadline = 600.0
    mark = "disk.img"

    @property
    def leader(self) -> int | None:
        """QEMU itself: whatever runs inside ends with it."""
        return self.supervisor

    @property
    def cgroup(self) -> pathlib.Path | None:
        return None

    def create(self, disk: pathlib.Path, pool: pathlib.Path | None = None, networks: t.Sequence[str] = (), hostname: str = "") -> None:
        if networks:
            raise SystemExit("machine: a virtual machine cannot be on a network with others: leave --vm or --network away")
        if not shutil.which("qemu-system-x86_64"):
            raise SystemExit("machine: there is no qemu-system-x86_64: run tests/setup vm")
        super().create(disk, pool, networks, hostname)

    def equip(self) -> None:
        private_mount(self.dir / "disk.img", self.dir / "root", EQUIP, str(self.dir), self.hostname)

    def launch(self, console: t.IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["unshare", "--net", "sh", "-ec", 'ip link set lo up && exec "$@"', "sh", *qemu(self.dir, kvm_works())],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], PLACE: str(self.dir.parent)},
            start_new_session=True,
        )

    def answers(self) -> bool:
        return self.inside("true", check=False).returncode == 0

    def adapt(self) -> None:
        """It has all controllers."""

    def enter(self, *command: str) -> list[str]:
        options = ("-F", str(self.dir / "ssh_config"), "-o", "ConnectTimeout=60")
        return ["ssh", *options, self.name, shlex.join(command)]


def find(name: str, place: pathlib.Path | None = None) -> Machine:
    """The machine of that name, of the kind it was made as. Its whole directory is a name too: of a machine of any run."""
    directory = (place or state_root()) / name
    kind = VirtualMachine if (directory / "vmlinuz").exists() else Machine
    return kind(directory.name, directory.parent)


def machines(place: pathlib.Path) -> list[Machine]:
    """All there are in a directory of machines."""
    if not place.is_dir():
        return []
    return [find(path.name, place) for path in sorted(place.iterdir()) if path.is_dir() and not path.name.startswith(".")]


def kvm_works(cpuinfo: pathlib.Path = pathlib.Path("/proc/cpuinfo"), device: str = "/dev/kvm") -> bool:
    """A device alone proves nothing: without the processor's own means a hypervisor may offer one that no stock kernel gets far on."""
    return not {"svm", "vmx"}.isdisjoint(cpuinfo.read_text().split()) and os.access(device, os.R_OK | os.W_OK)


def qemu(directory: pathlib.Path, kvm: bool) -> list[str]:
    """The command line. `unsafe` spares the host the flushes: what QEMU was given survives QEMU, only the guest's memory is lost in a power cut."""
    if kvm:
        processor = ["-accel", "kvm", "-cpu", "host", "-smp", "2"]
    else:
        # Its clock counts instructions (2 ns each) while it works: in its own eyes it is not slow, and no health check runs out of time.
        # With cx16 exposed to it, the kernel falls over in its allocator (QEMU 7.2).
        processor = ["-accel", "tcg,thread=single", "-icount", "shift=1", "-cpu", "Haswell-v4,-cx16,-pcid"]
    return [
        "qemu-system-x86_64",
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"),
        *("-machine", "q35", *processor, "-m", MEMORY),
        *("-kernel", str(directory / "vmlinuz"), "-initrd", str(directory / "initrd.img")),
        *("-append", "root=/dev/vda rw console=ttyS0"),
        *("-drive", f"file={directory / 'disk.img'},format=raw,if=virtio,cache=unsafe"),
        *("-drive", f"file={directory / 'pool.img'},format=raw,if=virtio,cache=unsafe"),
        *("-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:22-:22", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
    ]
