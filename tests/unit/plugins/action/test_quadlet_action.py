# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines that are shown while a start is waited for: from the module's file, over a channel of its own, and never in the way."""

from __future__ import annotations

import contextlib
import os
import threading
import types
import typing as t

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.patriark.homelab.plugins.action import quadlet
from ansible_collections.patriark.homelab.plugins.module_utils._wait_progress import VARIABLE, ProgressFile


class Connection:
    """To a target that is this machine."""

    always_pipeline_modules = False
    become: t.Any = "sudo"

    def __init__(self, breaks: bool = False) -> None:
        self.breaks = breaks

    def exec_command(self, command: str, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        assert self.become is None and not sudoable, "it reads as the account that logged in"
        if self.breaks:
            raise AnsibleConnectionFailure("gone")
        program, path = command.split()
        assert program == "cat"
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as handle:
            return 0, handle.read(), b""
        return 1, b"", b""


class Action:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any, work: t.Callable[[ProgressFile], None], **options: t.Any) -> None:
        self.shown: list[str] = []
        self.line = threading.Event()
        self.asked: list[dict[str, t.Any]] = []
        monkeypatch.setattr(ActionBase, "run", lambda self, tmp, task_vars: {})
        monkeypatch.setattr(quadlet, "_LINES", 0.01)
        monkeypatch.setattr(quadlet.secrets, "token_hex", lambda count: f"..{tmp_path}/wait")
        self.action = quadlet.ActionModule.__new__(quadlet.ActionModule)
        task = {"args": {}, "check_mode": False, "async_val": 0, "environment": [{"LANG": "C"}], **options}
        self.task = self.action._task = types.SimpleNamespace(**task)
        self.action._connection = Connection()
        self.action._display = types.SimpleNamespace(display=self.show)
        monkeypatch.setattr(self.action, "_execute_module", self.module)
        self.work = work

    def show(self, text: str) -> None:
        self.shown.append(text)
        self.line.set()

    def module(self, **options: t.Any) -> dict[str, t.Any]:
        environment = {key: value for part in self.task.environment for key, value in part.items()}
        self.asked.append(environment)
        os.environ[VARIABLE] = environment.get(VARIABLE, "").replace("/tmp/homelab-wait-..", "")
        try:
            with ProgressFile() as progress:
                self.work(progress)
        finally:
            del os.environ[VARIABLE]
        return {"changed": True}

    def run(self) -> dict[str, t.Any]:
        return self.action.run(task_vars={"inventory_hostname": "photos"})


@pytest.fixture(autouse=True)
def _plain_paths(monkeypatch):
    real = Connection.exec_command
    monkeypatch.setattr(Connection, "exec_command", lambda self, command, sudoable=True: real(self, command.replace("/tmp/homelab-wait-..", ""), sudoable))


def test_each_new_line_is_shown_once(monkeypatch, tmp_path):
    def work(progress):
        for seconds in (5, 11):
            progress.show({"db.service": "activating (start)"}, seconds, 300)
            assert played.line.wait(20)
            played.line.clear()
            assert not played.line.wait(0.1), "the same line is not shown again"

    played = Action(monkeypatch, tmp_path, work)
    assert played.run() == {"changed": True}
    assert played.shown == [f"photos: after {seconds} s of 300: db.service activating (start)" for seconds in (5, 11)]
    assert played.task.environment == [{"LANG": "C"}], "the next task does not get it"
    assert os.listdir(tmp_path) == []


def test_a_run_that_waits_for_another_says_so(monkeypatch, tmp_path):
    def work(progress):
        progress.say("another run on this account is under way")
        assert played.line.wait(20)

    played = Action(monkeypatch, tmp_path, work)
    played.run()
    assert played.shown == ["photos: another run on this account is under way"]


@pytest.mark.parametrize("options", [{"check_mode": True}, {"async_val": 60}, {"args": {"state": "absent"}}])
def test_where_nothing_is_waited_for_nothing_is_asked(monkeypatch, tmp_path, options):
    played = Action(monkeypatch, tmp_path, lambda progress: None, **options)
    assert played.run() == {"changed": True}
    assert VARIABLE not in played.asked[0]


def test_a_connection_that_breaks_does_no_harm(monkeypatch, tmp_path):
    played = Action(monkeypatch, tmp_path, lambda progress: threading.Event().wait(0.1))
    played.action._connection = Connection(breaks=True)
    assert played.run() == {"changed": True}
    assert played.shown == []


def test_a_file_that_cannot_be_written_does_no_harm(monkeypatch, tmp_path):
    def full(*args):
        raise OSError(28, "No space left on device")

    (tmp_path / "wait").mkdir()
    played = Action(monkeypatch, tmp_path, lambda progress: progress.say("x"))
    assert played.run() == {"changed": True}
    monkeypatch.setattr(os, "pwrite", full)
    (tmp_path / "wait").rmdir()
    assert Action(monkeypatch, tmp_path, lambda progress: progress.say("x")).run() == {"changed": True}


def test_check_mode_says_what_would_be_pulled(monkeypatch, tmp_path):
    played = Action(monkeypatch, tmp_path, lambda progress: None, check_mode=True)
    monkeypatch.setattr(played.action, "_execute_module", lambda **options: {"changed": True, "images": [{"told": "a.test/a:1 (3.0 MB)"}]})
    played.run()
    assert played.shown == ["photos: would pull a.test/a:1 (3.0 MB)"]
