# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module, and shows what is being pulled and waited for when that takes long. In check mode it shows what would be pulled.

The module runs as it would without this plugin, so that a run with nothing to wait for costs nothing more. A thread reads the file in
which the module tells how far it is, over a channel of its own. When that fails, there are no lines, and nothing else is different.
"""

from __future__ import annotations

import copy
import secrets
import threading
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.patriark.homelab.plugins.module_utils._wait_progress import VARIABLE

# Seconds between two lines; shorter waits show none.
_LINES = 5.0


class ActionModule(ActionBase):
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        args = self._task.args
        waits = args.get("state", "started") == "started" and not self._task.check_mode and not self._task.async_val
        if not waits or self._connection.always_pipeline_modules:
            result.update(self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
            if self._task.check_mode:
                self._predict(result, (task_vars or {}).get("inventory_hostname", ""))
            return result
        extra = {VARIABLE: f"/tmp/homelab-wait-{secrets.token_hex(8)}"}
        done = threading.Event()
        follower = threading.Thread(target=self._follow, args=(extra[VARIABLE], done, (task_vars or {}).get("inventory_hostname", "")), daemon=True)
        self._task.environment.append(extra)
        follower.start()
        try:
            result.update(self._execute_module(task_vars=task_vars))
        finally:
            self._task.environment.remove(extra)
            done.set()
            follower.join(_LINES)
        return result

    def _predict(self, result: dict[str, t.Any], host: str) -> None:
        for image in result.get("images") or []:
            self._display.display(f"{host}: would pull {image['told']}")

    def _follow(self, path: str, done: threading.Event, host: str) -> None:
        """Show the line in the file every few seconds."""
        channel = copy.copy(self._connection)
        channel.become = None
        shown = ""
        while not done.wait(_LINES):
            try:
                status, out, dummy = channel.exec_command(f"cat {path}", sudoable=False)
            except (AnsibleError, OSError):
                return
            text = out.decode(errors="replace").strip()
            if status == 0 and text and text != shown and not done.is_set():
                shown = text
                self._display.display(f"{host}: {text}")
