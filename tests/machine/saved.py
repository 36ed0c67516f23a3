# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States of a machine to go back to: its disk and its pool, kept in its own directory under a tag."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import typing as t

import rootfs
from nspawn import Machine, loop_devices_below, wait_for

DISKS = ("disk.img", "pool.img")


def save(machine: Machine, tag: str) -> None:
    """Power off, keep both disks, start again. A state of that tag is replaced, once the new one is whole."""
    if not tag.replace("-", "").isalnum():
        raise SystemExit(f"machine: {tag!r} is not a tag: letters, digits and dashes only")
    must_exist(machine)
    running = machine.leader is not None
    try:
        if running and not machine.stop():
            raise SystemExit(f"machine: {machine.name} had to be killed, and nothing was saved")
        released(machine)
        with made_whole(machine.saved / tag) as part:
            for name in DISKS:
                rootfs.copy(machine.dir / name, part / name)
    finally:
        if running:
            machine.start()


def rewind(machine: Machine, tag: str) -> None:
    """Throw away what happened since, and start. Until both copies are whole nothing happens to the machine."""
    must_exist(machine)
    state = machine.saved / tag
    if tag not in machine.tags():
        raise SystemExit(f"machine: {machine.name} has no saved state {tag!r}: {', '.join(machine.tags()) or 'none was saved'}")
    try:
        for name in DISKS:
            rootfs.copy(state / name, machine.dir / f"{name}.rewound")
        machine.kill()
        released(machine)
        for name in DISKS:
            (machine.dir / f"{name}.rewound").rename(machine.dir / name)
    finally:
        for name in DISKS:
            (machine.dir / f"{name}.rewound").unlink(missing_ok=True)
    machine.start()


def must_exist(machine: Machine) -> None:
    if not machine.exists:
        raise SystemExit(f"machine: there is no machine {machine.name}")


def released(machine: Machine) -> None:
    """The last writes are in the images once nothing is mounted from them."""
    wait_for(lambda: not loop_devices_below(machine.dir), f"loop devices below {machine.dir} are still in use")


@contextlib.contextmanager
def made_whole(folder: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A folder to fill, which takes its place when that went well. Its name until then is no tag."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
