# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stops at variables that are misspelt, or of a form that nobody can use; see the documentation of the module of the same name."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.patriark.homelab.plugins.plugin_utils import _inventory, _role_specs


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(argument_spec={"role": {"type": "str"}, "roles": {"type": "list", "elements": "str"}})
        roles = args["roles"] or [args["role"]]
        for role in roles:
            if role not in _role_specs.role_names():
                raise AnsibleActionFail(f"this collection has no role {role}")
        variables = task_vars or {}
        unknown = {name: near for role in roles for name, near in _role_specs.unknown(role, variables).items()}
        forms = self._forms({name: option for role in roles for name, option in _role_specs.specifications(role).items()}, variables)
        result.update(changed=False, failed=bool(unknown or forms), unknown=sorted(unknown), forms=forms)
        said = []
        if unknown:
            hints = [name + (f" (did you mean {near}?)" if near else "") for name, near in unknown.items()]
            said.append(f"the role{'s' if len(roles) > 1 else ''} {', '.join(roles)} {'do' if len(roles) > 1 else 'does'} not know: {', '.join(hints)}")
        if result["failed"]:
            result["msg"] = "; ".join(said + forms)
        return result

    def _forms(self, options: t.Mapping[str, _inventory.Option], variables: t.Mapping[str, t.Any]) -> list[str]:
        found: list[str] = []
        for name, option in options.items():
            if name not in variables:
                continue
            try:
                value = self._templar.template(variables[name])
            except AnsibleError:  # what it refers to is not there yet, or missing: told where it is used
                continue
            found += _inventory.forms(name, value, option)
        return found
