# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a virtual machine is made with, and how it is told from a container; none is started."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import nspawn
import pytest
import rootfs
import vm

HERE = pathlib.Path("/srv/machines/photos")


def after(words: list[str], option: str) -> list[str]:
    return [words[number + 1] for number, word in enumerate(words) if word == option]


def test_checkouts_do_not_share_a_connection() -> None:
    machine = nspawn.Machine("photos")
    assert str(machine.host_variables()["ansible_control_path"]) % {"directory": "/cp"} == f"/cp/{nspawn.state_root().name}-%h-%r"


def test_the_processor() -> None:
    real, emulated = vm.qemu(HERE, kvm=True), vm.qemu(HERE, kvm=False)
    assert (after(real, "-accel"), after(real, "-cpu"), after(real, "-icount")) == (["kvm"], ["host"], [])
    # Instructions can be counted on one core and in one thread only.
    assert (after(emulated, "-accel"), after(emulated, "-smp")) == (["tcg,thread=single"], [])
    assert after(emulated, "-cpu") == ["Haswell-v4,-cx16,-pcid"]
    assert after(emulated, "-icount") == ["shift=1"]


def test_the_root_is_the_first_disk_and_the_pool_the_second() -> None:
    words = vm.qemu(HERE, kvm=False)
    assert [drive.split(",")[0] for drive in after(words, "-drive")] == [f"file={HERE}/disk.img", f"file={HERE}/pool.img"]
    assert "root=/dev/vda" in after(words, "-append")[0].split()
    assert (after(words, "-kernel"), after(words, "-initrd")) == ([f"{HERE}/vmlinuz"], [f"{HERE}/initrd.img"])


def test_its_network_leads_to_its_sshd_and_nowhere_else() -> None:
    (network,) = after(vm.qemu(HERE, kvm=True), "-netdev")
    assert network.split(",") == ["user", "id=net", "restrict=on", "hostfwd=tcp:127.0.0.1:22-:22"]


@pytest.mark.parametrize(("flags", "works"), [("fpu vmx sse", True), ("fpu svm sse", True), ("fpu hypervisor svm_lock sse", False)])
def test_kvm_needs_the_processors_own_means(tmp_path: pathlib.Path, flags: str, works: bool) -> None:
    (tmp_path / "kvm").touch()
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: sysret_ss_attrs\n")
    assert vm.kvm_works(tmp_path / "cpuinfo", str(tmp_path / "kvm")) is works
    assert not vm.kvm_works(tmp_path / "cpuinfo", str(tmp_path / "missing"))


def test_a_machine_is_of_the_kind_it_was_made_as(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMELAB_TEST_STATE", str(tmp_path))
    made = nspawn.state_root() / "made"
    made.mkdir(parents=True)
    assert not isinstance(vm.find("made"), vm.VirtualMachine)
    (made / "vmlinuz").touch()
    assert isinstance(vm.find("made"), vm.VirtualMachine)


@pytest.mark.parametrize(("disk", "ours"), [("mine", True), ("other", False)])
def test_only_its_own_qemu_is_taken_for_its_supervisor(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, disk: str, ours: bool) -> None:
    """A process of the number that is written down may be another's by now."""
    monkeypatch.setenv("HOMELAB_TEST_STATE", str(tmp_path))
    machine = vm.VirtualMachine("mine")
    assert machine.leader is None
    machine.dir.mkdir(parents=True)
    # As qemu would be: a program with the disk among its arguments. It says when it runs, and waits.
    waits = [sys.executable, "-c", "input('>')", f"file={machine.dir.parent / disk / 'disk.img'},format=raw"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b">"
        (machine.dir / "pid").write_text(str(process.pid))
        assert machine.leader == (process.pid if ours else None)
        process.communicate(b"\n")
    assert machine.leader is None


def test_a_command_reaches_the_other_side_word_by_word() -> None:
    command = vm.VirtualMachine("mine").enter("sh", "-c", "echo 'a b' >/tmp/c")
    assert command[-2:] == ["mine", """sh -c 'echo '"'"'a b'"'"' >/tmp/c'"""]


def test_no_kind_of_cached_image_is_taken_for_another() -> None:
    """Old ones are found by how their names begin."""
    kinds = [rootfs.kind(layer, "trixie", with_kernel) for layer in ("base", "stocked") for with_kernel in (False, True)]
    assert len(set(kinds)) == 4
    assert [(one, other) for one in kinds for other in kinds if one != other and other.startswith(f"{one}-")] == []
