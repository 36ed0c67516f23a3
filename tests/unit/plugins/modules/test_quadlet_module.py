# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module from its options to what it prints, on a machine without podman or account: nothing secret, no traceback."""

from __future__ import annotations

import json
import os

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.patriark.homelab.plugins.module_utils._request import TransactionError
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.modules import quadlet

UNIT = "[Container]\nImage=localhost/a:1\nEnvironment=DB_PASSWORD=hunter2\n[Install]\nWantedBy=default.target\n"


def ran(monkeypatch, capsys, **options):
    """The result, and what went into the journal of the host."""
    logged = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda self, msg, log_args=None: logged.append(f"{msg} {log_args}"))
    with patch_module_args({"user": "nobody-at-all", "stack": "demo", "_ansible_no_log": False, **options}), pytest.raises(SystemExit):
        quadlet.main()
    return json.loads(capsys.readouterr().out), "\n".join(logged)


def test_check_mode_tells_no_secret_to_anybody(monkeypatch, capsys):
    files = [{"name": "a.env", "content": "PLAIN=hunter2\n"}]
    units = [{"name": "a.container", "content": UNIT + "[Container]\nEnvironmentFile=a.env\n"}]
    result, logged = ran(monkeypatch, capsys, units=units, files=files, _ansible_check_mode=True, _ansible_diff=True)
    assert result["changed"] and len(result["diff"]) == 3
    result.pop("invocation", None)  # only shown to whoever asks for all options with -vvv
    assert "hunter2" not in json.dumps(result) + logged


def test_a_refusal_tells_no_secret_to_anybody(monkeypatch, capsys):
    units = [
        {"name": "a.container", "content": UNIT.replace("hunter2", "a hunter2") + "Nonsense API_TOKEN: hunter2\n"},
        {"name": "b.container", "sections": {"Container": {"Environment": {"DB_PASSWORD": ["hunter2"]}}}},
    ]
    for chosen, count in ((units[:1], 2), (units[1:], 1)):
        result, logged = ran(monkeypatch, capsys, units=chosen, _ansible_check_mode=True)
        assert result["failed"] and len(result["findings"]) == count
        result.pop("invocation", None)
        assert "hunter2" not in json.dumps(result) + logged


@pytest.mark.parametrize(
    "units",
    [
        [],
        [{"name": "a/b.container", "content": UNIT}],
        [{"name": "../b.container", "content": UNIT}],
        [{"name": "a" * 250 + ".container", "content": UNIT}],
        [{"name": "a" * 200 + ".container", "content": UNIT}],
        [{"name": "ä.container", "content": UNIT}],
        [{"name": "a.container", "content": UNIT + "# grüße ☃ \u2028 \x85\n"}],
        [{"name": "a.container", "content": UNIT.replace("\n", "\r\n")}],
        [{"name": "a.container", "content": ""}],
        [{"name": "a.container", "content": "\0"}],
        [{"name": "a.container"}],
        [{"name": "a.container", "sections": {}}],
        [{"name": "a.container", "sections": {"Container": None}}],
        [{"name": "a.container", "sections": {"Container": {"HealthRetries": "${X}", "Image": "a.io/b:1", "HealthCmd": "x", "Notify": "healthy"}}}],
        [{"name": "a.container", "content": UNIT}, {"name": "a.container", "content": UNIT}],
    ],
)
def test_odd_requests_are_answered_in_words(monkeypatch, capsys, units):
    for options in ({}, {"user": "root"}):
        result, dummy = ran(monkeypatch, capsys, units=units, _ansible_check_mode=True, **options)
        assert result.get("failed") is None or result["findings"]
        assert "Traceback" not in json.dumps(result)


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system", "/x"), TransactionError([])])
def test_what_goes_wrong_before_anything_is_done_is_told(monkeypatch, capsys, error):
    def refuse(session, request):
        raise error

    monkeypatch.setattr(quadlet, "plan", refuse)
    result, dummy = ran(monkeypatch, capsys, units=[], _ansible_check_mode=True)
    assert result["failed"]
    assert "/x" in result["msg"] or "refused" in result["msg"]


def test_commands_get_their_words_as_they_are(monkeypatch):
    said = {}

    class Module:
        def run_command(self, argv, **options):
            said.update(argv=argv, **options)
            return 0, "", ""

    Session(Module()).run(["echo", "~", "$HOME"])
    assert said["argv"] == ["echo", "~", "$HOME"] and said["expand_user_and_vars"] is False


@pytest.mark.parametrize(
    ("uid", "running_as", "end"),
    [
        (None, 0, ["--unit=a.service"]),
        (1000, 1000, ["--user-unit=a.service"]),
        (1000, 0, ["_UID=1000", "_SYSTEMD_USER_UNIT=a.service", "+", "_UID=1000", "USER_UNIT=a.service"]),
    ],
)
def test_lines_of_the_journal_are_read_by_whoever_may(monkeypatch, uid, running_as, end):
    said = []

    class Module:
        def run_command(self, argv, **options):
            said.append(argv)
            return 0, "", ""

    session = Session(Module())
    monkeypatch.setattr(os, "geteuid", lambda: running_as)
    session.user, session.uid = (None, 0) if uid is None else ("somebody", uid)
    session.journal("a.service", "--lines=5")
    assert said == [["journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=5", *end]]


def test_two_runs_wait_for_each_other_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Session, "state_dir", str(tmp_path))
    told = []
    with Session(None).lock(), pytest.raises(SessionError, match="another run holds"), Session(None).lock(0.0, told.append):
        raise AssertionError("both at once")
    assert told == ["another run on this account is under way"]
    with Session(None).lock(0.0, told.append):
        assert len(told) == 1
