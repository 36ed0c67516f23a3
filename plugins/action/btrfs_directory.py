# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module, and shows how far a conversion is.

Only a conversion may take long. Then the module runs as a job of its own on the target, writes its progress into a file there,
and this plugin reads the file until the job is done. It renews another file at each look: when that gets old, the playbook is gone
and the module stops.
"""

from __future__ import annotations

import json
import secrets
import shlex
import time
import typing as t

from ansible.plugins.action import ActionBase
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_progress import ALIVE, VARIABLE, line

# Seconds between two looks: short at first, since mostly there is nothing to convert.
_FIRST, _LAST = 0.3, 2.0
# Seconds between two lines.
_LINES = 5.0
# Looks after which the job itself is asked, in case it died and left its file; and how long it may take to start.
_ASK = 10
_START = 300.0
# Answers of that kind after which it is dead: between its end and its result there is a moment.
_DEAD = 3
_LONGEST = 7 * 86400
_KILLED = (
    "the module's process on the target was killed, by a restart or for lack of memory. A conversion was left as it was and no data was lost;"
    " run again to take it up."
)
# What the job's file has beside the module's own result.
_JOB = ("ansible_job_id", "finished", "started", "results_file", "stdout", "stdout_lines", "stderr", "stderr_lines")


class ActionModule(ActionBase):
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        long = self._task.args.get("existing") == "convert" and not self._task.check_mode
        if not long or self._task.async_val or self._connection.always_pipeline_modules:
            result.update(self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
        else:
            result.update(self._watched(task_vars or {}))
        return result

    def _watched(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        folder = self.get_shell_option("async_dir", default="~/.ansible_async")
        progress = f"{folder}/homelab-{secrets.token_hex(8)}"
        job = self._start(task_vars, progress)
        if job.get("failed") or "ansible_job_id" not in job:
            return job
        interval, asked, gone, pid = _FIRST, 0, 0, None
        begun = shown = time.monotonic()
        try:
            while True:
                time.sleep(interval)
                interval = min(interval * 1.5, _LAST)
                state = self._look(progress)
                pid = state.get("pid") if state else pid
                if state is not None and time.monotonic() - shown >= _LINES:
                    shown = time.monotonic()
                    self._display.display(f"{task_vars.get('inventory_hostname', '')}: {line(state)}")
                asked += 1
                if state is None or gone or asked % _ASK == 0:
                    found = self._status(task_vars, job)
                    if found.get("finished"):
                        break
                    gone = 0 if self._lives(pid, progress, begun) else gone + 1
                    if gone == _DEAD:
                        found = {"failed": True, "msg": _KILLED}
                        break
        finally:
            self._low_level_execute_command(f"rm -f {_quoted(progress)} {_quoted(progress + ALIVE)}")
        self._status(task_vars, job, mode="cleanup")
        if "cmd" in found and not found.get("data") and not found.get("stderr"):
            # These are the wrapper's words about a module that said nothing at all.
            found = {"failed": True, "msg": _KILLED}
        return {key: value for key, value in found.items() if key not in _JOB}

    def _start(self, task_vars: dict[str, t.Any], progress: str) -> dict[str, t.Any]:
        """Start the module as a job, as a task with the keyword async would."""
        extra = {VARIABLE: progress}
        self._task.environment.append(extra)
        self._task.async_val = _LONGEST
        try:
            job: dict[str, t.Any] = self._execute_module(task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
            self._task.environment.remove(extra)
        return job

    def _look(self, progress: str) -> dict[str, t.Any] | None:
        """What the module wrote last; None before and after its work."""
        file = _quoted(progress)
        seen = self._low_level_execute_command(f"if [ -e {file} ]; then touch {_quoted(progress + ALIVE)}; cat {file}; fi")
        try:
            state = json.loads(seen["stdout"])
        except ValueError:
            return None
        return state if isinstance(state, dict) else None

    def _lives(self, pid: int | None, progress: str, begun: float) -> bool:
        """Whether the module's process is there: that number may be another one's after a restart of the target."""
        if pid is None:
            return time.monotonic() - begun < _START
        seen = self._low_level_execute_command(f"grep -qs {shlex.quote(progress.rpartition('/')[2])} /proc/{int(pid)}/environ")
        return bool(seen["rc"] == 0)

    def _status(self, task_vars: dict[str, t.Any], job: dict[str, t.Any], mode: str = "status") -> dict[str, t.Any]:
        arguments = {"jid": job["ansible_job_id"], "_async_dir": job["results_file"].rpartition("/")[0], "mode": mode}
        found: dict[str, t.Any] = self._execute_module(module_name="ansible.legacy.async_status", module_args=arguments, task_vars=task_vars)
        return found


def _quoted(path: str) -> str:
    """For a shell that is to resolve the home folder."""
    return "~/" + shlex.quote(path[2:]) if path.startswith("~/") else shlex.quote(path)
