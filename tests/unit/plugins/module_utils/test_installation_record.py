# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an installation: its damages, and what is kept of another one."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _installation_record
from ansible_collections.patriark.homelab.plugins.module_utils._installation_record import Damaged, Record, load, parse, save

GOOD = Record("one", {"id": "a", "name": "b"}, {"name": "homelab", "uid": 1}, {"path": "/db"}, {"path": "/photos"})


def test_record_comes_back():
    assert parse(GOOD.text()) == GOOD


@pytest.mark.parametrize(
    "change",
    [
        {"host": {}},
        {"host": "x"},
        {"account": {"name": "x"}},
        {"library": {}},
        {"database": {}},
        {"database": {"paths": 1}},
        {"held": "yes"},
        {"version": 2},
        {"new": 1},
    ],
)
def test_damaged_record(change):
    with pytest.raises(Damaged):
        parse(json.dumps({**json.loads(GOOD.text()), **change}))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '"x"', "[1]"])
def test_record_that_is_none(text):
    with pytest.raises(Damaged):
        parse(text)


@pytest.fixture
def where(tmp_path, monkeypatch):
    path = tmp_path / "installations" / "immich.json"
    monkeypatch.setattr(_installation_record, "path", lambda session, stack: str(path))
    return path


def loaded():
    return load(None, "immich")


def saved(record):
    save(None, "immich", record)


def kept(where):
    return sorted(path.name for path in where.parent.iterdir() if path != where)


def test_saved_and_loaded(where):
    assert loaded() is None
    saved(GOOD)
    saved(dataclasses.replace(GOOD, held=True))
    assert loaded().held
    assert where.stat().st_mode & 0o777 == 0o600
    assert kept(where) == []


def test_another_one_is_kept(where):
    saved(GOOD)
    saved(dataclasses.replace(GOOD, installation="two"))
    (old,) = kept(where)
    assert parse((where.parent / old).read_text()).installation == "one"
    assert loaded().installation == "two"


def test_cut_off_record_is_kept(where):
    saved(GOOD)
    where.write_text(GOOD.text()[:40].replace("one", "on"))
    with pytest.raises(Damaged):
        loaded()
    saved(GOOD)
    assert loaded() == GOOD
    assert len(kept(where)) == 1


def test_there_is_a_record_at_each_moment(where, monkeypatch):
    """Killed when the new one is about to be written: the old one is where it was."""
    saved(GOOD)

    def killed(path, node):
        raise KeyboardInterrupt

    monkeypatch.setattr(_installation_record, "write_node", killed)
    with pytest.raises(KeyboardInterrupt):
        saved(dataclasses.replace(GOOD, installation="two"))
    assert loaded() == GOOD


def test_link_is_not_followed(where, tmp_path):
    saved(GOOD)
    where.rename(tmp_path / "elsewhere")
    where.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Damaged, match="link"):
        loaded()
    saved(dataclasses.replace(GOOD, installation="two"))
    assert not where.is_symlink()
    assert parse((tmp_path / "elsewhere").read_text()) == GOOD


def test_record_that_others_can_write(where, monkeypatch):
    saved(GOOD)
    where.chmod(0o620)
    with pytest.raises(Damaged, match="others than root can write it"):
        loaded()
    where.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    found = os.lstat(where)
    monkeypatch.setattr(os, "lstat", lambda path: os.stat_result((found.st_mode, *found[1:4], 1000, *found[5:])))
    with pytest.raises(Damaged, match="uid 1000"):
        loaded()
