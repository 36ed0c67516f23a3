# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stack's directory: replaced whole, with unchanged files keeping their inode and what is not ours left alone."""

from __future__ import annotations

import contextlib
import os

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _stack_files
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import (
    Node,
    read_node,
    read_tree,
    remove_file,
    replace_tree,
    tidy,
    write_node,
)

OLD = {"a.container": Node("a1"), "b.container": Node("b"), "c.env": Node("c", 0o600), "a.container.d/x.conf": Node("x"), "conf/f.yml": Node("f")}


def listing(root):
    return {str(path.relative_to(root)): read_node(str(path)) for path in root.rglob("*") if not path.is_dir()}


def inode(path):
    return os.stat(path).st_ino


@pytest.fixture
def stack(tmp_path):
    root = tmp_path / "units" / "demo"
    replace_tree(str(root), OLD, set())
    return root


def test_a_new_directory(stack):
    assert listing(stack) == OLD
    assert sorted(os.listdir(stack.parent)) == ["demo"]


def test_a_change_keeps_everything_else(stack):
    kept = {name: inode(stack / name) for name in ("b.container", "c.env", "conf", "conf/f.yml", "a.container.d")}
    new = {**OLD, "a.container": Node("a2"), "d.container": Node("d")}
    replace_tree(str(stack), new, set(OLD))
    assert listing(stack) == new
    assert {name: inode(stack / name) for name in kept} == kept
    assert sorted(os.listdir(stack.parent)) == ["demo"]


def test_a_changed_mode_is_a_change(stack):
    replace_tree(str(stack), {**OLD, "c.env": Node("c", 0o640)}, set(OLD))
    assert read_node(str(stack / "c.env")).mode == 0o640


def test_what_is_ours_and_not_wanted_goes(stack):
    replace_tree(str(stack), {"b.container": OLD["b.container"]}, set(OLD))
    assert listing(stack) == {"b.container": Node("b")}


def test_what_is_not_ours_stays(stack):
    (stack / "theirs.container").write_text("t")
    (stack / "link.container").symlink_to("theirs.container")
    (stack / "folder").mkdir()
    (stack / "folder" / "file").write_text("f")
    (stack / "a.container.d" / "theirs.conf").write_text("tc")
    folder = inode(stack / "folder")
    replace_tree(str(stack), {"a.container.d/x.conf": Node("x2")}, set(OLD))
    found = listing(stack)
    assert set(found) == {"a.container.d/x.conf", "a.container.d/theirs.conf", "theirs.container", "link.container", "folder/file"}
    assert found["a.container.d/x.conf"].content == "x2"
    assert inode(stack / "folder") == folder


def test_nothing_wanted_removes_the_directory_unless_something_is_not_ours(stack):
    (stack / "theirs").write_text("t")
    replace_tree(str(stack), {}, set(OLD))
    assert set(listing(stack)) == {"theirs"}
    (stack / "theirs").unlink()
    replace_tree(str(stack), {}, set())
    assert not stack.exists()


@pytest.mark.parametrize("step", ["write_node", "_exchange", "_sync"])
def test_killed_at_any_step_it_is_the_old_or_the_new_set_and_the_next_run_mends_it(stack, monkeypatch, step):
    class Killed(BaseException):
        pass

    def kill(*args):
        raise Killed

    (stack / "folder").mkdir()
    (stack / "folder" / "file").write_text("f")
    theirs = {"folder/file": Node("f", read_node(str(stack / "folder" / "file")).mode)}
    new = {"a.container": Node("a2"), "d.container": Node("d")}
    with monkeypatch.context() as context:
        context.setattr(_stack_files, step, kill)
        with pytest.raises(Killed):
            replace_tree(str(stack), new, set(OLD))
    found = {name: node for name, node in listing(stack).items() if name not in theirs}
    assert found in (OLD, new)
    replace_tree(str(stack), new, set(OLD))
    assert listing(stack) == {**new, **theirs}
    assert sorted(os.listdir(stack.parent)) == ["demo"]


def test_killed_between_the_exchange_and_the_move_of_a_foreign_directory(stack, monkeypatch):
    (stack / "folder").mkdir()
    (stack / "folder" / "file").write_text("f")

    def stop(*args):
        raise KeyboardInterrupt

    real = os.rename

    def rename(source, target):
        if source.endswith("/folder"):
            stop()
        real(source, target)

    with monkeypatch.context() as context:
        context.setattr(os, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            replace_tree(str(stack), {"a.container": Node("a2")}, set(OLD))
    replace_tree(str(stack), {"a.container": Node("a2")}, set(OLD))
    assert set(listing(stack)) == {"a.container", "folder/file"}


class Libc:
    """Of a file system without exchange."""

    def __init__(self, *args, **kwargs):
        pass

    def renameat2(self, *args):
        _stack_files.ctypes.set_errno(22)
        return -1


def test_a_file_system_without_exchange(stack, monkeypatch):
    monkeypatch.setattr(_stack_files.ctypes, "CDLL", Libc)
    replace_tree(str(stack), {"a.container": Node("a2")}, set(OLD))
    assert listing(stack) == {"a.container": Node("a2")}


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("back", [True, False])
def test_killed_at_any_call_nothing_of_anybody_is_lost(tmp_path, monkeypatch, exchange, back):
    """Folders of others beside new and old ones of ours, and the next run wants the new or the old set."""
    old = {**OLD, "b.container.d/only-ours.conf": Node("o")}
    new = {"a.container": Node("a2"), "conf/f.yml": OLD["conf/f.yml"], "d.container.d/y.conf": Node("y")}
    if not exchange:
        monkeypatch.setattr(_stack_files.ctypes, "CDLL", Libc)
    number = 0
    while True:
        number += 1
        root = tmp_path / str(number) / "demo"
        replace_tree(str(root), old, set())
        theirs = ("folder/file", "conf/theirs/file", "a.container.d/theirs.conf")
        for name in theirs:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(name)
        (root / "empty").mkdir()
        theirs = {name: read_node(str(root / name)) for name in theirs}
        calls = []

        def stepped(real, number, calls):
            def call(*args, **kwargs):
                calls.append(args)
                if len(calls) == number:
                    raise KeyboardInterrupt
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as context:
            for name in ("rename", "link", "unlink", "mkdir", "rmdir"):
                context.setattr(os, name, stepped(getattr(os, name), number, calls))
            context.setattr(_stack_files, "_sync", stepped(_stack_files._sync, number, calls))
            if exchange:
                context.setattr(_stack_files, "_exchange", stepped(_stack_files._exchange, number, calls))
            with contextlib.suppress(KeyboardInterrupt):
                replace_tree(str(root), new, set(old))
                break
        found = {name: node for name, node in listing(root).items() if name not in theirs and name != ".new-set"}
        assert found in (old, new) or (not exchange and found == {})
        wanted = old if back else new
        if found == wanted:
            tidy(str(root), {*old, *new})
        else:
            replace_tree(str(root), wanted, {*old, *new})
        assert listing(root) == {**wanted, **theirs}, calls[-1]
        assert (root / "empty").is_dir()
        assert sorted(os.listdir(root.parent)) == ["demo"]
    assert number > 20


def test_single_files(tmp_path):
    path = str(tmp_path / "x.service.d" / "a.conf")
    write_node(path, Node("one\r\n", 0o640))
    assert read_node(path) == Node("one\r\n", 0o640)
    assert read_tree(str(tmp_path), ["x.service.d/a.conf", "none"]) == {"x.service.d/a.conf": Node("one\r\n", 0o640)}
    remove_file(path)
    remove_file(path)
    assert os.listdir(tmp_path) == []
