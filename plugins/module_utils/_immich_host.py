# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a host decides how Immich is deployed on it: pure readings of texts, and one look. Private to the collection."""

from __future__ import annotations

import glob
import os
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _reach as reach
from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular
from ansible_collections.patriark.homelab.plugins.module_utils._account import read
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

# Flags of /proc/cpuinfo that each level adds to the one before.
CPU_LEVELS = (
    {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"},
    {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"},
)
# Characters that a version has
_SHORT = 64
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
# /dev/dri is what podman passes on; it wants the render node in it.
DEVICES = {"dri": "/dev/dri/renderD*", "kfd": "/dev/kfd", "rga": "/dev/rga", "mpp": "/dev/mpp_service", "dma_heap": "/dev/dma_heap", "mali": "/dev/mali0"}
VECTORS = "select extname || ' ' || extversion from pg_extension where extname in ('vchord', 'vectors', 'vector')"


def cpu_level(cpuinfo: str, machine: str) -> int:
    """The level of x86-64 (1 to 4), 0 for other processors."""
    if machine != "x86_64":
        return 0
    line = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    flags = set(line.group(1).split()) if line else set()
    level = 1
    for needed in CPU_LEVELS:
        if not needed <= flags:
            break
        level += 1
    return level


def image_of(unit: str) -> str:
    """The image that a container unit names."""
    found = re.findall(r"^Image=(\S+)\s*$", unit, re.MULTILINE)
    return found[-1] if found else ""


def setup_closed(env: str) -> bool:
    """Whether a server's environment file closes the sign-up of the first administrator."""
    return re.search(r"^IMMICH_ALLOW_SETUP=false\s*$", env, re.MULTILINE) is not None


def cdi_kinds(texts: t.Iterable[str]) -> list[str]:
    """Kinds of devices (nvidia.com/gpu) in descriptions of the Container Device Interface, in YAML or JSON."""
    return sorted({found for text in texts for found in re.findall(r"[\"']?kind[\"']?\s*:\s*[\"']?([\w.-]+/[\w.-]+)", text)})


def extensions_of(rows: str) -> dict[str, str]:
    return {name: version for name, dummy, version in (line.partition(" ") for line in rows.splitlines()) if version}


def mounts_below(mountinfo: str, real: str) -> list[str]:
    """What is mounted below a directory, as names in it."""
    points = {re.sub(r"\\([0-7]{3})", lambda code: chr(int(code.group(1), 8)), line.split(" ", 5)[4]) for line in mountinfo.splitlines()}
    inside = real.rstrip("/") + "/"
    return sorted(point[len(inside) :] for point in points if point.startswith(inside))


def obstacles(directories: t.Mapping[str, t.Any]) -> list[str]:
    """What stands in the place of a directory or on the way to it, by the option that names the directory."""
    found = ((option, reach.obstacle(str(path))) for option, path in directories.items() if path)
    return [f"{option}: {obstacle}" for option, obstacle in found if obstacle]


class Look:
    """One look at a host through a session."""

    def __init__(self, session: Session, stack: str) -> None:
        self.session, self.folder = session, os.path.join(session.unit_dir, stack)

    def unit(self, name: str) -> str:
        with self.session.files():
            try:
                return regular.read_text(os.path.join(self.folder, name))
            except OSError:
                return ""

    def postgresql_data(self, directory: str) -> str:
        """Major version of the data directory, empty without one. The directory belongs to a subordinate id of the account."""
        path = os.path.join(directory, "PG_VERSION")
        if os.geteuid() == 0:
            try:
                return reach.read_text(path, _SHORT).strip()
            except FileNotFoundError:
                return ""
            except OSError as error:
                raise SessionError(f"{path}: {error.strerror}") from None
        rc, out, dummy = self.session.podman("unshare", "cat", path)
        return out.strip() if rc == 0 else ""

    def extensions(self, container: str) -> dict[str, str]:
        """Extensions in the running database; empty when none runs."""
        if not (self.session.exists and self.session.ready):
            return {}
        rc, out, dummy = self.session.podman("exec", container, "psql", "-U", "immich", "-d", "immich", "-Atc", VECTORS)
        return extensions_of(out) if rc == 0 else {}

    def devices(self) -> dict[str, bool]:
        """Name of each device there is to whether the account may use it."""
        found = {}
        for name, pattern in DEVICES.items():
            paths = sorted(glob.glob(pattern))
            if paths:
                found[name] = self.session.exists and any(self.session.run(["test", "-r", path, "-a", "-w", path])[0] == 0 for path in paths)
        return found

    def cdi(self) -> list[str]:
        paths = [path for folder in CDI_FOLDERS for suffix in ("yaml", "yml", "json") for path in glob.glob(f"{folder}/*.{suffix}")]
        return cdi_kinds(read(path) for path in paths)
