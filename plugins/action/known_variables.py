# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stops at misspelt variables; see the documentation of the module of the same name."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.patriark.homelab.plugins.plugin_utils import _role_specs


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(argument_spec={"role": {"type": "str", "required": True}})
        role = args["role"]
        if role not in _role_specs.role_names():
            raise AnsibleActionFail(f"this collection has no role {role}")
        unknown = _role_specs.unknown(role, task_vars or {})
        result.update(changed=False, failed=bool(unknown), unknown=sorted(unknown))
        if unknown:
            hints = [name + (f" (did you mean {near}?)" if near else "") for name, near in unknown.items()]
            result["msg"] = f"the role {role} does not know: {', '.join(hints)}"
        return result
