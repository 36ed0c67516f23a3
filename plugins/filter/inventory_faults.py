# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory must not ask for, as text for a check."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.patriark.homelab.plugins.plugin_utils import _inventory

DOCUMENTATION = r"""
name: inventory_faults
short_description: What is wrong with a value of the inventory
version_added: 0.1.0
author:
  - The patriark.homelab maintainers (@patriark)
description:
  - Judges a value by its text alone, without looking at a host, and gives each fault in words with the way to write it right.
  - C(trusted) adds up the ranges of addresses whose C(X-Forwarded-For) is believed; more of the internet than proxies can have is a fault.
  - C(plain_secrets) finds secrets in plain text in receivers of Alertmanager, at any depth.
  - C(paths) wants directories that are absolute, in their plain form, no part of the system, and that units take as they are written.
  - C(nested) wants directories that neither are the same nor lie inside one another.
  - C(external) wants folders of photos that are none of the system's, and neither contain nor lie in Immich's own.
  - C(variables) finds names that no variable of an environment can have.
positional: kind
options:
  _input:
    description: A list of addresses, receivers or names; a dictionary of directories by the option that names them for V(paths) and V(nested).
    type: raw
    required: true
  kind:
    description: What it is judged as.
    type: str
    required: true
    choices: [external, nested, paths, plain_secrets, trusted, variables]
  pool:
    description: Mount point of the pool, which is no directory of one program. For V(nested).
    type: str
  own:
    description: Immich's own directories by the option that names them. For V(external).
    type: dict
  anywhere:
    description: Whether directories of the system will do. For V(external) and V(paths).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show which proxies nobody should trust
  ansible.builtin.debug:
    msg: "{{ ['0.0.0.0/1', '128.0.0.0/1'] | patriark.homelab.inventory_faults('trusted') }}"
"""

RETURN = r"""
_value:
  description: The faults; empty when there are none.
  type: list
  elements: str
  sample: ["0.0.0.0/0: together 100 % of all IPv4 addresses"]
"""

JUDGES: dict[str, t.Callable[..., list[str]]] = {
    "external": _inventory.external,
    "nested": _inventory.nested,
    "paths": _inventory.paths,
    "plain_secrets": _inventory.plain_secrets,
    "trusted": _inventory.trusted,
    "variables": _inventory.variables,
}


def inventory_faults(value: t.Any, kind: str, **options: t.Any) -> list[str]:
    if kind not in JUDGES:
        raise AnsibleFilterError(f"inventory_faults: {kind!r} is none of {', '.join(JUDGES)}")
    return JUDGES[kind](value, **options)


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"inventory_faults": inventory_faults}
