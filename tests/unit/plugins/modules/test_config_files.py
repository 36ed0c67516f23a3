# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are wanted and files that have to go, in directories that are there and that are not."""

from __future__ import annotations

import contextlib
import pathlib
import types
import typing as t

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _inside as inside
from ansible_collections.patriark.homelab.plugins.modules import config_files


class Session:
    """No podman; whoever is asked for does not run."""

    exists, system, user = True, False, "homelab"

    def __init__(self, folder: pathlib.Path) -> None:
        self.state_dir = str(folder / "state")

    @contextlib.contextmanager
    def files(self) -> t.Iterator[None]:
        yield


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> t.Callable[..., dict[str, t.Any]]:
    monkeypatch.setattr(inside, "describe", lambda session, name: None)

    def run(check: bool = False, **files: str | None) -> dict[str, t.Any]:
        wanted = [{"name": name.replace("__", "/") + ".yml", "content": content, "mode": "0644"} for name, content in files.items()]
        params = {"directory": str(tmp_path / "grafana"), "files": wanted, "image": None, "seen_at": None, "check": None, "container": "grafana"}
        module = types.SimpleNamespace(check_mode=check, params={**params, "port": None, "wait_timeout": 1}, warn=print)
        return config_files.work(t.cast(t.Any, module), t.cast(t.Any, Session(tmp_path)))

    return run


def test_a_file_without_content_goes(work: t.Callable[..., dict[str, t.Any]], tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "grafana"
    folder.mkdir()
    (folder / "old.yml").write_text("old\n")
    assert work(check=True, old=None, new="new\n")["changed"]
    assert (folder / "old.yml").exists()
    assert work(old=None, new="new\n")["changed"]
    assert [path.name for path in folder.iterdir()] == ["new.yml"]
    assert not work(old=None, new="new\n")["changed"]


def test_what_has_to_go_from_a_directory_that_is_not_there_is_gone(work: t.Callable[..., dict[str, t.Any]]) -> None:
    assert not work(old=None, deeper__old=None)["changed"]


def test_a_directory_that_is_not_there_yet(work: t.Callable[..., dict[str, t.Any]], tmp_path: pathlib.Path) -> None:
    assert work(check=True, new="new\n")["changed"]
    assert not (tmp_path / "grafana").exists()
    assert work(new="new\n")["changed"]
    assert (tmp_path / "grafana/new.yml").read_text() == "new\n"
    assert work(check=True, deeper__new="new\n", old=None)["changed"]
    assert work(deeper__new="new\n", old=None)["changed"]
    assert not work(deeper__new="new\n", old=None)["changed"]
