# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes away all machines of a directory with everything that belongs to them, and finds the directories nobody wants any more."""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
import shutil
import subprocess
import typing as t

import network
import nspawn
import rootfs
import runs
import vm


def remove(place: pathlib.Path) -> None:
    """The machines and networks in it, orderly."""
    for machine in vm.machines(place):
        machine.destroy()
    for path in sorted((place / network.FOLDER).glob("*")):
        network.Network(place, path.name).remove()
    cgroups = nspawn.cgroup_root()
    for path in sorted(cgroups.glob(f"homelab-{place.name}-*")) if cgroups else []:
        # Another's name may begin like this one: its rest has to be the name of no directory that is there.
        if not any(path.name.startswith(f"homelab-{other.name}-") for other in runs.places() if other != place and other.name.startswith(f"{place.name}-")):
            nspawn.remove_cgroup(path)


def remove_stale() -> list[str]:
    """Of any checkout. What was removed, and what nobody can tell whose it is, in words."""
    said = [line for place in runs.stale() for line in remove_if_stale(place)]
    said += [f"removed what a killed builder left: {path}" for path in runs.forget_builds(rootfs.CACHE)]
    return said + [f"left alone, since nothing says whose it is: {place}" for place in runs.unknown()]


def remove_if_stale(place: pathlib.Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError), alone(place) as first:
        whose = runs.owner(place)
        if not first or not whose or not whose.gone:
            return []
        names = [machine.name for machine in vm.machines(place)]
        ended = runs.end_leftovers(place, whose)
        what = f"the run {whose.run}" if whose.run else "a checkout that is gone"
        try:
            remove(place)
            if place.exists():  # else it went with its last machine
                shutil.rmtree(place)
        except (OSError, SystemExit, subprocess.CalledProcessError) as error:  # the others are removed all the same
            return [f"NOT removed: {place} of {what} ({whose.checkout}): {error}"]
        return [f"removed of {what} ({whose.checkout}): {', '.join(names) or 'no machine'}; processes ended: {ended}"]
    return []


@contextlib.contextmanager
def alone(place: pathlib.Path) -> t.Iterator[bool]:
    """Whether nobody else is taking it away at the moment."""
    with open(place / "owner", "rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
