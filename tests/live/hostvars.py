# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says about one host, with its templates filled in."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import jinja2
import jinja2.nativetypes
import yaml
from live import expected

Variables = dict[str, t.Any]


class Unfit(Exception):
    """Nothing can be tested; the text is one sentence for whoever asked."""


def listed(host: str, inventories: t.Sequence[str]) -> Variables:
    """The variables of the host, as ansible-inventory lists them."""
    missing = [name for name in inventories if "," not in name and not pathlib.Path(name).exists()]
    if missing:
        raise Unfit(f"There is no inventory {', '.join(missing)}.")
    beside = pathlib.Path(sys.executable).with_name("ansible-inventory")
    argv = [str(beside) if beside.exists() else "ansible-inventory", "--list", *(f"--inventory={name}" for name in inventories)]
    # By itself it takes an inventory that it cannot read for an empty one.
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"})
    if done.returncode != 0:
        raise Unfit(f"ansible-inventory cannot read {', '.join(inventories)}: {last_line(done.stderr)}")
    return of_host(host, json.loads(done.stdout))


def of_host(host: str, inventory: t.Mapping[str, t.Any]) -> Variables:
    hosts = inventory.get("_meta", {}).get("hostvars", {})
    names = sorted({name for group in inventory.values() for name in group.get("hosts", [])} | set(hosts))
    if host not in names:
        raise Unfit(f"The inventory has no host {host}; it has {', '.join(names) or 'none at all'}.")
    return filled(hosts.get(host, {}))


def filled(variables: Variables) -> Variables:
    """Templates are filled in with the variables and their defaults; one that needs more than that (a vault, a lookup) stays as it was written."""
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)

    def fill(value: t.Any) -> t.Any:
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [fill(item) for item in value]
        if isinstance(value, str) and "{{" in value:
            with contextlib.suppress(jinja2.TemplateError, yaml.YAMLError, TypeError, ValueError):
                rendered = environment.from_string(value).render({**expected.DEFAULTS, **known})
                return value if isinstance(rendered, jinja2.Undefined) else rendered
        return value

    known = variables
    for dummy in range(5):  # a template may lead to another one
        fuller = {key: fill(value) for key, value in known.items()}
        if fuller == known:
            break
        known = fuller
    return known


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no word about why"
