# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates rows of checks on the controller; see the documentation of the module of the same name."""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.patriark.homelab.plugins.plugin_utils import _checks


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result = super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(
            argument_spec={
                "rows": {"type": "list", "elements": "dict", "required": True},
                "facts": {"type": "dict", "required": True},
                "title": {"type": "str", "default": "checks"},
                "areas": {"type": "list", "elements": "str"},
                "report": {"type": "path"},
                "blind": {"type": "str", "choices": ["shown", "failed"], "default": "shown"},
                "show": {"type": "str", "choices": ["all", "unmet"], "default": "all"},
            }
        )
        try:
            results = _checks.of_areas(_checks.evaluate(args["rows"], args["facts"], args["blind"]), args["areas"] or [])
        except _checks.RowError as error:
            raise AnsibleActionFail(str(error)) from error
        host = (task_vars or {}).get("inventory_hostname", "")
        summary = _checks.summary(results)
        shown = [item for item in results if args["show"] == "all" or not item.ok]
        if shown:
            self._display.display(f"\n{args['title']} of {host}\n{_checks.table(shown)}\n{summary}\n")
        rows_out = [dataclasses.asdict(item) for item in results]
        if args["report"]:
            self._write(args["report"], {"host": host, "title": args["title"], "summary": summary, "results": rows_out})
        broken = _checks.failed(results)
        result.update(changed=False, failed=bool(broken), summary=summary, unmet=[row for row in rows_out if not row["ok"]])
        result["msg"] = f"{summary}: {', '.join(item.name for item in broken)}" if broken else summary
        return result

    def _write(self, path: str, report: dict[str, t.Any]) -> None:
        temporary = f"{path}.part"
        with open(temporary, "w", encoding="utf-8") as handle:
            json.dump(report, handle, indent=2, default=str)
            handle.write("\n")
        os.replace(temporary, path)
