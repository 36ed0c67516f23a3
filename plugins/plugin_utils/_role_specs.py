# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which variables the roles of this collection know, and which given ones nobody reads.

Private to the collection.
"""

from __future__ import annotations

import difflib
import functools
import pathlib
import typing as t

import yaml

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
SHARED = "homelab_"
# Read by the playbooks, so in no role's specification.
PLAYBOOK_VARIABLES = frozenset({"homelab_hosts", "homelab_become", "homelab_domain", "homelab_report", "homelab_checks", "homelab_areas"})


@functools.cache
def specifications(role: str) -> dict[str, dict[str, t.Any]]:
    """The argument specification of a role, all its entry points together: variable -> what is said of it."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    return {name: option for entry in specs.values() for name, option in entry.get("options", {}).items()}


def options(role: str) -> frozenset[str]:
    """Variables in the argument specification of a role."""
    return frozenset(specifications(role))


def role_names() -> list[str]:
    return sorted(path.parents[1].name for path in ROLES.glob("*/meta/argument_specs.yml"))


def owner(variable: str, roles: t.Iterable[str]) -> str | None:
    """The role with the longest name that is a prefix of the variable: immich_backup_dir belongs to immich_backup."""
    fitting = [role for role in roles if variable.startswith(f"{role}_")]
    return max(fitting, key=len, default=None)


def unknown(role: str, variables: t.Iterable[str]) -> dict[str, str | None]:
    """Given variables with the prefix of this role, or the shared one, that no specification has: name -> nearest known name."""
    roles = role_names()
    shared = {name for each in roles for name in options(each) if name.startswith(SHARED)} | PLAYBOOK_VARIABLES
    found: dict[str, str | None] = {}
    for name in sorted(variables):
        if name.startswith(SHARED):
            known: t.Collection[str] = shared
        elif owner(name, roles) == role:
            known = options(role)
        else:
            continue
        if name not in known:
            found[name] = next(iter(difflib.get_close_matches(name, known, 1)), None)
    return found
