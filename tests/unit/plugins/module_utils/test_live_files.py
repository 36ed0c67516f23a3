# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory that a service watches, with a service that exists in this file only."""

from __future__ import annotations

import contextlib
import errno
import os

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _live_files as live
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import LiveFailed, LiveRefused, apply, plan
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node

OLD, NEW = Node("old\n"), Node("new\n")


class Session:
    user = "homelab"

    def __init__(self, folder):
        self.state_dir = str(folder / "state")

    @contextlib.contextmanager
    def files(self):
        yield


class Killed(BaseException):
    """Not an Exception: nothing in between may tidy up, as after SIGKILL."""


class Watcher(live.Service):
    """Has loaded what lies in the directory, unless it is told to be stubborn."""

    def __init__(self, root, stubborn=False, refuses=None, dies=False):
        self.root, self.stubborn, self.refuses, self.dies = root, stubborn, refuses, dies
        self.staged = self.root_at_judging = None
        self.reloads = 0

    def judge(self, staged):
        self.staged = {os.path.relpath(os.path.join(folder, name), staged) for folder, _dirs, names in os.walk(staged) for name in names}
        self.root_at_judging = sorted(os.listdir(self.root))
        self.mode = os.stat(staged).st_mode & 0o777
        self.outside = not staged.startswith(str(self.root))
        return [self.refuses] if self.refuses else []

    def reload(self):
        self.reloads += 1

    def ask(self):
        if self.dies and self.reloads:
            raise Killed
        if self.stubborn:
            return "it has not"
        return None


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "PAUSE", 0)
    folder = tmp_path / "dynamic"
    folder.mkdir()
    (folder / "foreign.yml").write_text("theirs\n")
    (folder / "below").mkdir()
    (folder / "below/deep.yml").write_text("theirs too\n")
    return folder


def run(tmp_path, root, wanted, service, timeout=0.0):
    session = Session(tmp_path)
    made = plan(session, str(root), {"immich.yml": wanted}, service)
    apply(session, made, service, timeout)
    return made


def texts(root):
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


THEIRS = {"foreign.yml": "theirs\n", "below/deep.yml": "theirs too\n"}


def test_the_judge_sees_all_files_with_the_change_and_the_service_none_of_it(tmp_path, root):
    service = Watcher(root)
    made = run(tmp_path, root, NEW, service)
    assert service.staged == {"foreign.yml", "below/deep.yml", "immich.yml"}
    assert service.root_at_judging == ["below", "foreign.yml"]
    assert service.outside and service.mode == 0o755
    assert made.changed and texts(root) == {**THEIRS, "immich.yml": "new\n"}
    assert os.stat(root / "immich.yml").st_mode & 0o777 == 0o644
    assert sorted(os.listdir(tmp_path)) == ["dynamic", "state"] and os.listdir(tmp_path / "state/live") == []


def test_a_plan_changes_nothing_and_tells_a_diff(tmp_path, root):
    (root / "immich.yml").write_text("old\napiKey: abc\n")
    made = plan(Session(tmp_path), str(root), {"immich.yml": NEW}, Watcher(root))
    assert made.changed and texts(root)["immich.yml"] == "old\napiKey: abc\n" and not (tmp_path / "state").exists()
    (shown,) = made.diff()
    assert shown["after"] == "new\n" and "abc" not in shown["before"] and shown["after_header"] == "immich.yml (mode 0644)"


def test_refused_is_not_put_in_place(tmp_path, root):
    with pytest.raises(LiveRefused, match="no such middleware"):
        run(tmp_path, root, NEW, Watcher(root, refuses=Finding("immich.yml", "no such middleware")))
    assert texts(root) == THEIRS


def test_a_warning_is_told_and_does_not_stop_it(tmp_path, root):
    made = run(tmp_path, root, NEW, Watcher(root, refuses=Finding("foreign.yml", "odd", severity="warning")))
    assert [str(finding) for finding in made.warnings] == ["foreign.yml: odd"] and "immich.yml" in texts(root)


@pytest.mark.parametrize("before", [None, OLD])
def test_a_service_that_does_not_agree_gets_the_previous_file_back(tmp_path, root, before):
    if before:
        (root / "immich.yml").write_text(before.content)
        (root / "immich.yml").chmod(0o640)
    service = Watcher(root, stubborn=True)
    with pytest.raises(LiveFailed, match="it has not") as caught:
        run(tmp_path, root, NEW, service)
    assert texts(root) == ({**THEIRS, "immich.yml": "old\n"} if before else THEIRS)
    if before:
        assert os.stat(root / "immich.yml").st_mode & 0o777 == 0o640
    assert caught.value.rollback == {"done": True, "in_effect": True, "message": "the previous files are back, and in effect"}
    assert service.reloads == 2 and os.listdir(tmp_path / "state/live") == []


def test_a_second_run_changes_nothing_but_looks(tmp_path, root):
    run(tmp_path, root, NEW, Watcher(root))
    inode = os.stat(root / "immich.yml").st_ino
    service = Watcher(root)
    assert not run(tmp_path, root, NEW, service).changed
    assert service.staged and service.reloads == 0 and os.stat(root / "immich.yml").st_ino == inode


def test_a_file_that_is_right_and_not_in_effect_is_a_change(tmp_path, root):
    (root / "immich.yml").write_text("new\n")
    inode = os.stat(root / "immich.yml").st_ino
    service = Watcher(root, stubborn=True)
    made = plan(Session(tmp_path), str(root), {"immich.yml": NEW}, service)
    assert made.changed and made.diff()[0]["before"] == "not in effect: it has not\n"
    with pytest.raises(LiveFailed, match="as wanted, but it has not") as caught:
        apply(Session(tmp_path), made, service, 0)
    assert caught.value.rollback is None and texts(root)["immich.yml"] == "new\n"
    assert os.stat(root / "immich.yml").st_ino != inode  # whoever watches was woken up
    service.stubborn = False
    apply(Session(tmp_path), made, service, 0)


def test_the_service_is_asked_until_it_agrees(tmp_path, root):
    service, answers = Watcher(root), iter(["not yet", "not yet", None])
    service.ask = lambda: next(answers)
    run(tmp_path, root, NEW, service, timeout=30)
    assert next(answers, "none left") == "none left"


def test_absent_removes_our_file_only(tmp_path, root):
    run(tmp_path, root, NEW, Watcher(root))
    service = Watcher(root)
    assert run(tmp_path, root, None, service).changed and texts(root) == THEIRS
    assert service.staged == {"foreign.yml", "below/deep.yml"}
    assert not run(tmp_path, root, None, Watcher(root)).changed


def test_after_a_kill_the_next_run_knows_what_the_service_had_agreed_to(tmp_path, root):
    (root / "immich.yml").write_text("old\n")
    with pytest.raises(Killed):
        run(tmp_path, root, NEW, Watcher(root, dies=True))
    assert texts(root) == {**THEIRS, "immich.yml": "new\n"}
    # asked for something else that the service does not take: back to what it had agreed to, not to what the killed run left
    with pytest.raises(LiveFailed):
        run(tmp_path, root, Node("newer\n"), Watcher(root, stubborn=True))
    assert texts(root)["immich.yml"] == "old\n"


def test_after_a_kill_the_same_run_finishes(tmp_path, root):
    with pytest.raises(Killed):
        run(tmp_path, root, NEW, Watcher(root, dies=True))
    assert plan(Session(tmp_path), str(root), {"immich.yml": NEW}, Watcher(root)).pending
    assert not run(tmp_path, root, NEW, Watcher(root)).changed
    assert os.listdir(tmp_path / "state/live") == []


def test_after_a_kill_a_file_that_never_took_effect_is_taken_back(tmp_path, root):
    with pytest.raises(Killed):
        run(tmp_path, root, NEW, Watcher(root, dies=True))
    with pytest.raises(LiveFailed):
        run(tmp_path, root, NEW, Watcher(root, stubborn=True))
    assert texts(root) == THEIRS


def test_killed_while_writing_leaves_the_old_file(tmp_path, root, monkeypatch):
    (root / "immich.yml").write_text("old\n")

    def die(*dummy):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(live.os, "fsync", lambda handle: None)
        session = Session(tmp_path)
        made = plan(session, str(root), {"immich.yml": NEW}, Watcher(root))
        patch.setattr(live, "put", die)
        with pytest.raises(Killed):
            apply(session, made, Watcher(root), 0)
    (tmp_path / ".immich.yml.patriark-homelab.new").write_text("half")  # what a kill between write and rename leaves
    assert texts(root)["immich.yml"] == "old\n"
    run(tmp_path, root, NEW, Watcher(root))
    assert texts(root) == {**THEIRS, "immich.yml": "new\n"} and sorted(os.listdir(tmp_path)) == ["dynamic", "state"]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EACCES])
def test_a_directory_that_is_a_mount_of_its_own(tmp_path, root, monkeypatch, number):
    rename = os.rename

    def strict(one, other):
        if os.path.dirname(one) != os.path.dirname(other):
            raise OSError(number, "no", one)
        rename(one, other)

    monkeypatch.setattr(live.os, "rename", strict)
    run(tmp_path, root, NEW, Watcher(root))
    assert texts(root) == {**THEIRS, "immich.yml": "new\n"} and sorted(os.listdir(tmp_path)) == ["dynamic", "state"]


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path, root, monkeypatch):
    (root / "immich.yml").write_text("old\n")
    (root / "other.yml").write_text("old\n")
    real, session, service = live.put, Session(tmp_path), Watcher(root)
    made = plan(session, str(root), {"immich.yml": NEW, "other.yml": NEW}, service)

    def full(folder, path, node):
        if path == "other.yml" and node == NEW:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        real(folder, path, node)

    monkeypatch.setattr(live, "put", full)
    with pytest.raises(LiveFailed, match="No space left"):
        apply(session, made, service, 0)
    assert texts(root)["immich.yml"] == texts(root)["other.yml"] == "old\n"


def test_links_of_others_are_followed_and_dangling_ones_told(tmp_path, root):
    (tmp_path / "elsewhere.yml").write_text("theirs\n")
    (root / "link.yml").symlink_to(tmp_path / "elsewhere.yml")
    (root / "gone.yml").symlink_to(tmp_path / "nowhere.yml")
    (root / "below/up").symlink_to(root)
    os.mkfifo(root / "fifo")
    service = Watcher(root)
    made = run(tmp_path, root, NEW, service)
    assert service.staged == {"foreign.yml", "below/deep.yml", "immich.yml", "link.yml"}
    assert [finding.unit for finding in made.warnings] == [str(root / "gone.yml")]


def test_what_is_not_a_file_of_ours_is_left_alone(tmp_path, root):
    (root / "immich.yml").symlink_to(root / "foreign.yml")
    with pytest.raises(LiveRefused, match="symbolic link"):
        run(tmp_path, root, NEW, Watcher(root))
    with pytest.raises(LiveRefused, match="is not a directory"):
        run(tmp_path, root / "missing", NEW, Watcher(root))
    with pytest.raises(LiveRefused, match="not lie below"):
        plan(Session(tmp_path), str(root), {"../x.yml": NEW}, Watcher(root))


def test_a_huge_directory_is_a_wrong_path(tmp_path, root, monkeypatch):
    monkeypatch.setattr(live, "LARGEST", 5)
    with pytest.raises(LiveRefused, match="no directory of configuration"):
        run(tmp_path, root, NEW, Watcher(root))
