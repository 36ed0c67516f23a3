# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plugin's part of a conversion, with the target played by a script. molecule/btrfs has it over ssh."""

from __future__ import annotations

import json
import time
import types
import typing as t

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.patriark.homelab.plugins.action.btrfs_directory import ActionModule, _quoted
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_progress import VARIABLE

JOB = {"ansible_job_id": "j1.2", "results_file": "/var/tmp/.ansible_async/j1.2", "started": 1, "finished": 0, "changed": True}
END = {"ansible_job_id": "j1.2", "results_file": "x", "finished": 1, "started": 1, "stdout": "", "stderr": "", "changed": False, "directories": []}


class Target:
    """Plays a job on the target: what its progress file holds at each look ("" when there is none)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, looks: t.Sequence[str], args: dict[str, t.Any], check_mode: bool = False, job: t.Any = None) -> None:
        self.looks = list(looks)
        self.calls: list[dict[str, t.Any]] = []
        self.commands: list[str] = []
        self.shown: list[str] = []
        self.now = 0.0
        self.job = job or JOB
        self.end = END
        self.alive = True
        self.ends = True
        monkeypatch.setattr(ActionBase, "run", lambda self, tmp, task_vars: {})
        monkeypatch.setattr(time, "sleep", self._sleep)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.action = ActionModule.__new__(ActionModule)
        self.action._task = types.SimpleNamespace(args=args, check_mode=check_mode, async_val=0, environment=[{"LANG": "C"}])
        self.action._connection = types.SimpleNamespace(always_pipeline_modules=False)
        self.action._display = types.SimpleNamespace(display=self.shown.append)
        monkeypatch.setattr(self.action, "_execute_module", self._module)
        monkeypatch.setattr(self.action, "_low_level_execute_command", self._command)
        monkeypatch.setattr(self.action, "get_shell_option", lambda name, default: default)

    def _sleep(self, seconds: float) -> None:
        self.now += 3

    def _module(self, **options: t.Any) -> dict[str, t.Any]:
        task = self.action._task
        self.calls.append({**options, "async_val": task.async_val, "environment": [*task.environment]})
        if options.get("wrap_async"):
            return dict(self.job)
        if "module_name" in options:
            return dict(self.end if not self.looks and self.ends else JOB)
        return {"changed": True, "plain": True}

    def _command(self, command: str) -> dict[str, t.Any]:
        self.commands.append(command)
        if command.startswith("grep"):
            return {"rc": 0 if self.alive else 1}
        return {"stdout": self.looks.pop(0) if command.startswith("if") and self.looks else ""}

    def run(self) -> dict[str, t.Any]:
        return self.action.run(task_vars={"inventory_hostname": "photos"})


def progress(done: int) -> str:
    return json.dumps({"path": "/pg", "total": 100, "done": done, "seconds": 10.0, "step": "marked", "pid": 4711})


def test_progress_is_shown_and_the_result_is_the_module_s(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(monkeypatch, ["", progress(20), progress(50), progress(90), ""], {"existing": "convert"})
    assert target.run() == {"changed": False, "directories": []}
    assert target.shown == ["photos: /pg: 20 % of 100 bytes, 2 bytes/s, 0:41 left", "photos: /pg: 90 % of 100 bytes, 9 bytes/s, 0:02 left"]
    start = target.calls[0]
    assert start["wrap_async"] is True
    assert start["async_val"] > 86400
    path = start["environment"][-1][VARIABLE]
    assert path.startswith("~/.ansible_async/homelab-")
    assert target.action._task.environment == [{"LANG": "C"}]
    assert target.action._task.async_val == 0
    # The heartbeat at each look, and nothing left at the end.
    assert all(f"touch {path}.alive" in command for command in target.commands[:-1])
    assert target.commands[-1] == f"rm -f {path} {path}.alive"
    assert target.calls[-1]["module_args"]["mode"] == "cleanup"
    assert target.calls[-1]["module_args"]["_async_dir"] == "/var/tmp/.ansible_async"


def test_a_job_that_died_and_left_its_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(monkeypatch, [progress(20)] * 10, {"existing": "convert"})
    assert target.run()["changed"] is False
    assert [call["module_args"]["mode"] for call in target.calls[1:]] == ["status", "cleanup"]


@pytest.mark.parametrize("looks", [[progress(20)] * 100, [progress(20)] * 12 + [""] * 100, [""] * 200])
def test_a_job_that_was_killed_with_all_that_watched_it_does_not_hang_the_playbook(monkeypatch: pytest.MonkeyPatch, looks: list[str]) -> None:
    """It never writes a result: the target was restarted, or the module was killed with its wrapper."""
    target = Target(monkeypatch, looks, {"existing": "convert"})
    target.alive = target.ends = False
    got = target.run()
    assert got["failed"]
    assert "was killed" in got["msg"]
    assert target.looks
    assert target.commands[-1].startswith("rm -f")
    assert target.calls[-1]["module_args"]["mode"] == "cleanup"
    if looks[0]:
        token = target.calls[0]["environment"][-1][VARIABLE].rpartition("/")[2]
        assert f"grep -qs {token} /proc/4711/environ" in target.commands


@pytest.mark.parametrize("stderr, wanted", [("", "was killed, by a restart or for lack of memory"), ("Traceback: a defect", "No start of json char found")])
def test_a_module_that_was_killed_alone(monkeypatch: pytest.MonkeyPatch, stderr: str, wanted: str) -> None:
    """What the wrapper of ansible-core 2.19 then writes."""
    target = Target(monkeypatch, [progress(20)], {"existing": "convert"})
    target.end = {"failed": 1, "cmd": "AnsiballZ_btrfs_directory.py", "data": "", "msg": "No start of json char found", "finished": 1, "stderr": stderr}
    got = target.run()
    assert got["failed"]
    assert wanted in got["msg"]
    assert target.calls[-1]["module_args"]["mode"] == "cleanup"


def test_a_job_that_lives_is_waited_for_and_a_moment_without_a_process_is_no_death(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(monkeypatch, [progress(20)] * 300, {"existing": "convert"})
    asked: list[int] = []

    def lives(*arguments: t.Any) -> bool:
        asked.append(1)
        return len(asked) % 3 == 0

    monkeypatch.setattr(target.action, "_lives", lives)
    assert target.run() == {"changed": False, "directories": []}
    assert len(asked) > 50


@pytest.mark.parametrize("args, check_mode", [({}, False), ({"existing": "fail"}, False), ({"existing": "convert"}, True)])
def test_what_cannot_take_long_runs_at_once(monkeypatch: pytest.MonkeyPatch, args: dict[str, t.Any], check_mode: bool) -> None:
    target = Target(monkeypatch, [], args, check_mode)
    assert target.run() == {"changed": True, "plain": True}
    assert [call["wrap_async"] for call in target.calls] == [0]


def test_a_job_that_did_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(monkeypatch, [], {"existing": "convert"}, job={"failed": True, "msg": "no python"})
    assert target.run() == {"failed": True, "msg": "no python"}


def test_quoting_keeps_the_home_folder() -> None:
    assert _quoted("~/a b/c") == "~/'a b/c'"
    assert _quoted("/a b") == "'/a b'"
