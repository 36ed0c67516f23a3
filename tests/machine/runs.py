# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose machines are whose, and whether anybody still wants them.

The machines of a checkout have a directory; those of a run (HOMELAB_TEST_RUN) have one of their own, and so has the making of a layer.
Its name is in the name of all that belongs to it: machines, cgroups, the files behind loop devices, the arguments of processes. A file in
it says whose it is. What belongs to a process that is gone, or to a checkout that is gone, is stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import typing as t

import processes

REPO = pathlib.Path(__file__).resolve().parents[2]
CHECKOUT = pathlib.Path(str(REPO).split("/.build/", 1)[0])  # the copy that the gates work on is the same checkout
BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")
PLACE = "HOMELAB_TEST_PLACE"  # in the environment of all that is started for the machines of a directory
NEW = ".new"


class Owner(t.NamedTuple):
    """Whose a directory of machines is: a checkout's, and a process's if there is a run."""

    checkout: str
    run: str = ""
    pid: int = 0
    started: str = ""
    boot: str = ""

    @property
    def gone(self) -> bool:
        """Whether nobody can want the machines any more."""
        if self.run:
            return self.boot != BOOT.read_text() or not processes.same(self.pid, self.started)
        return not (pathlib.Path(self.checkout) / "tests" / "machine").is_dir()


def top() -> pathlib.Path:
    """Machines of all checkouts."""
    return pathlib.Path(os.environ.get("HOMELAB_TEST_STATE", "/var/lib/patriark-homelab-test"))


def current() -> str:
    run = os.environ.get("HOMELAB_TEST_RUN", "")
    if run and not run.replace("-", "").isalnum():
        raise SystemExit(f"machine: HOMELAB_TEST_RUN is {run!r}: letters, digits and dashes only")
    return run


def name(run: str = "") -> str:
    checkout = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]
    return f"{checkout}-{run}" if run else checkout


def state_root() -> pathlib.Path:
    """Machines of this checkout and run; other checkouts and runs have their own directories and never meet them."""
    return top() / name(current())


def of_checkout() -> list[pathlib.Path]:
    """The directories of this checkout's machines, of all runs."""
    return [place for place in places() if place.name == name() or place.name.startswith(f"{name()}-")]


def places() -> list[pathlib.Path]:
    root = top()
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")) if root.is_dir() else []


def owner(place: pathlib.Path) -> Owner | None:
    try:
        return Owner(**json.loads((place / "owner").read_text()))
    except (OSError, ValueError, TypeError):
        return None


# ---- taking a directory and giving it back


def claim() -> pathlib.Path:
    """The directory for machines of this checkout and run, with the name of the owner in it."""
    run = current()
    place = take(Owner(str(CHECKOUT), run, *identity(process_of(run))) if run else Owner(str(CHECKOUT)))
    os.environ[PLACE] = str(place)
    return place


def claim_for_build() -> pathlib.Path:
    """A directory for the one machine on which a layer is made; when the maker is gone, nobody wants it."""
    return take(Owner(str(CHECKOUT), f"build-{os.getpid()}", *identity(os.getpid())))


def identity(pid: int) -> tuple[int, str, str]:
    try:
        return pid, processes.start_time(pid), BOOT.read_text()
    except OSError:
        raise SystemExit("machine: the run that this belongs to has ended: nothing is made for it any more") from None


def process_of(run: str) -> int:
    """The process that is the run: it says so itself, or it is the one above all that were started with the run's name."""
    told = os.environ.get("HOMELAB_TEST_RUN_PID", "")
    if told:
        return int(told)
    mark = f"HOMELAB_TEST_RUN={run}".encode()
    born = [pid for pid in processes.ancestors(os.getpid()) if mark in processes.environment(pid)]
    outermost = born[-1] if born else os.getpid()
    above = processes.parent(outermost)
    return above if above > 1 else outermost


def take(mine: Owner) -> pathlib.Path:
    place = top() / name(mine.run)
    with changing():
        there = owner(place)
        if there is None or there.gone:
            sign(place, mine)
    return place


def sign(place: pathlib.Path, mine: Owner) -> None:
    """It is there with an owner or not at all."""
    work = top() / NEW
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "owner").write_text(json.dumps(mine._asdict()))
    if place.exists():
        (work / "owner").rename(place / "owner")
        work.rmdir()
    else:
        work.rename(place)


def make_room(directory: pathlib.Path) -> None:
    """The directory of a machine. Somebody who removed the last one of this checkout may just have taken away what it is in."""
    with changing():
        if not directory.parent.exists():
            sign(directory.parent, Owner(str(CHECKOUT)))
        directory.mkdir()


def give_back(place: pathlib.Path, entirely: bool = False) -> None:
    """Remove the directory when no machine is left in it. A run's stays until the run ends, since more may come."""
    with changing():
        there = owner(place)
        if not entirely and there and there.run and not there.run.startswith("build-"):
            return
        remove_empty(place)


def remove_empty(place: pathlib.Path) -> None:
    if not place.is_dir() or any(path.name != "owner" for path in place.iterdir()):
        return
    with contextlib.suppress(FileNotFoundError):
        (place / "owner").unlink()
    with contextlib.suppress(OSError):
        place.rmdir()


@contextlib.contextmanager
def changing() -> t.Iterator[None]:
    """One change of what there is at a time. The lock is on the directory itself, so that no file of it is left."""
    top().mkdir(parents=True, exist_ok=True)
    with locked(top()):
        yield


@contextlib.contextmanager
def locked(path: pathlib.Path) -> t.Iterator[None]:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


# ---- what nobody wants any more


def stale() -> list[pathlib.Path]:
    found = []
    for place in places():
        there = owner(place)
        if there and there.gone:
            found.append(place)
    return found


def unknown() -> list[pathlib.Path]:
    """Made before there were owners, or damaged: nobody can tell, so nobody touches them."""
    return [place for place in places() if owner(place) is None]


def leftovers(place: pathlib.Path, whose: Owner) -> list[int]:
    """Processes which were started for these machines or by the run they belonged to, and are still there; never ourselves."""
    ours = processes.ancestors(os.getpid())
    return [pid for pid in processes.all_pids() if pid not in ours and belongs(pid, place, whose)]


def belongs(pid: int, place: pathlib.Path, whose: Owner) -> bool:
    environment = processes.environment(pid)
    if f"{PLACE}={place}".encode() in environment:
        return True
    # Two checkouts may have runs of one name.
    return bool(whose.run) and f"HOMELAB_TEST_RUN={whose.run}".encode() in environment and f"{whose.checkout}/".encode() in processes.everything(pid)


def end_leftovers(place: pathlib.Path, whose: Owner) -> int:
    """A process may start another while it is looked for, so look until there is none."""
    count = 0
    for dummy in range(20):
        found = leftovers(place, whose)
        for pid in found:
            processes.end_tree(pid)  # process 1 of a machine has an environment of its own
        count += len(found)
        if not found:
            break
    return count


def forget_builds(cache: pathlib.Path) -> list[pathlib.Path]:
    """Remove half-made disks and images of builders that are gone: whoever works on one holds the lock of its kind."""
    removed = []
    for lock in sorted(cache.glob("*.lock")):
        patterns = ("images-work.*",) if lock.stem == "images" else (f"{lock.stem}-making-*",)
        with open(lock, "rb") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            for path in (path for pattern in patterns for path in cache.glob(pattern)):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
    return removed
