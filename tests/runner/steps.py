# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of steps: what can be run, how, and about how long it takes."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = ROOT / ".build/ansible_collections/patriark/homelab"

SHELLCHECK = "git -c safe.directory='*' grep -lIzE --untracked -e '^#!(/usr/bin/env bash|/bin/bash|/bin/sh)' | xargs -0 shellcheck --"
# Loop devices and mounts, in a mount namespace of its own so that none can be left behind; in memory, since every test syncs.
IN_MEMORY = 'mount -t tmpfs -o mode=1777 tmpfs /dev/shm && exec "$@"'


@dataclasses.dataclass(frozen=True)
class Step:
    """`weight` is the first guess of its seconds, until a run has measured them; `needs` are steps that must have passed when they are in the same run."""

    name: str
    command: tuple[str, ...]
    weight: int = 1
    needs: tuple[str, ...] = ()
    root: bool = False
    in_tree: bool = False  # where ansible-test and its like want the collection to lie, not in the checkout
    env: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    limit: int = 3600  # seconds after which it hangs


def gate(name: str, weight: int = 1, *, module: str = "", command: tuple[str, ...] = (), **more: t.Any) -> Step:
    return Step(name, command or ("python", f"tests/gates/{module or name}.py"), weight, **more)


# One after the other, and the first that fails ends the run: whoever typed something wrong is told so in seconds.
QUICK = (
    gate("ruff", command=("ruff", "check", "--quiet", "--output-format", "concise", ".")),
    gate("format", command=("ruff", "format", "--quiet", "--check", "--diff", ".")),
    gate("yamllint", 5, command=("yamllint", "--strict", ".")),
    gate("shellcheck", 5, command=("sh", "-c", SHELLCHECK)),
    gate("mypy", 10, command=("mypy",), in_tree=True),
    gate("roles", module="role_specs"),
    gate("modules", module="plugin_docs"),
    gate("changelog"),
)
LINT = gate("ansible-lint", 60, command=("ansible-lint",), in_tree=True)
UNIT = gate("unit", 120, command=("python", "-m", "pytest"))
SLOW = (
    # The scenarios wait for the image anyhow, each holding a slot.
    Step("images", ("tests/machine/machine", "build"), 300, root=True),
    LINT,
    UNIT,
    gate("sanity", 300),
    gate("rules", 200, command=("python", "tests/rules/check.py", "--damage")),
    # It leaves a log in the home folder.
    gate(
        "docs",
        30,
        command=("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--check-extra-docs-refs", "--validate-collection-refs", "all", str(TREE)),
        env={"HOME": str(ROOT / ".cache/home")},
    ),
    gate("galaxy", 20),
    # Molecule outside of this checkout, for whoever has the tarball only.
    Step("own-scenario", ("tests/own-scenario",), 60, root=True),
    # Images and machine as in the scenarios.
    Step("contract", ("python", "-m", "pytest", "tests/contract"), 250, needs=("images",), root=True),
    Step(
        "btrfs",
        (*"unshare --mount --propagation private sh -c".split(), IN_MEMORY, "sh", str(ROOT / ".venv/bin/python"), "-m", "pytest", "tests/btrfs"),
        100,
        root=True,
        in_tree=True,
        env={"PYTHONPATH": str(ROOT / ".build"), "TMPDIR": "/dev/shm"},
    ),
)

# Molecule's scenarios are found; this is what is known of some of them.
SECONDS = {"default": 600, "monitoring": 600, "quadlet": 600, "proxy": 500, "options": 600, "faults": 900, "btrfs": 250, "minimal": 300, "quadlet-next": 400}
SECONDS["real"] = 450
SECONDS["pull"] = 300
SECONDS["moving"] = 900
# Not in CI: these take long, or run on the next Debian, which changes every day.
MORE = ("faults", "moving", "options", "quadlet-next")
# Wants skopeo and a registry: HOMELAB_TEST_IMMICH=upstream tests/setup.
UPSTREAM = Step("upstream", ("tests/images/trial",), 200, root=True)
# In no group: `vm` wants QEMU (tests/setup vm).
ALONE = ("vm",)
LIMITS = {"vm": 3 * 3600}
# Where there is only the stand-in, these are skipped.
REAL = ("real",)


def scenario(name: str) -> Step:
    command = ("molecule", "test", "-s", name)
    if name in REAL:
        command = ("python", "tests/images/if_real.py", *command)
    return Step(f"molecule/{name}", command, SECONDS.get(name, 200), needs=("images",), root=True, limit=LIMITS.get(name, 3600))


def scenarios(root: pathlib.Path = ROOT) -> list[str]:
    return sorted(path.parent.name for path in root.glob("molecule/*/molecule.yml"))


@dataclasses.dataclass(frozen=True)
class Table:
    """`quick` steps run before the `wide` ones, of which several run at a time."""

    quick: tuple[Step, ...]
    wide: tuple[Step, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.quick + self.wide


def groups(names: t.Sequence[str]) -> dict[str, Table]:
    """What can be asked for by one word, given the names of the scenarios."""
    ci = tuple(scenario(name) for name in names if name not in MORE + ALONE)
    return {
        "check": Table((*QUICK, LINT, UNIT), ()),
        "more": Table((), (UPSTREAM, *(scenario(name) for name in names if name in MORE))),
        "all": Table(QUICK, SLOW + ci),
        "alone": Table((), tuple(scenario(name) for name in names if name in ALONE)),
    }
