# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links: those of an administrator lead on, those that somebody else could have made are refused."""

from __future__ import annotations

import os
import pathlib
import types
import typing as t

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _reach as reach
from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular
from ansible_collections.patriark.homelab.plugins.module_utils._places import describe

STRANGER = 4242


@pytest.fixture
def owned(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., None]:
    """Lets paths belong to somebody, which only root could arrange: lstat says so."""
    owners: dict[str, int] = {}
    real = os.lstat

    def lstat(path: str) -> t.Any:
        info = real(path)
        return types.SimpleNamespace(st_mode=info.st_mode, st_uid=owners.get(path, info.st_uid))

    def give(path: pathlib.Path, uid: int = STRANGER) -> None:
        owners[str(path)] = uid

    monkeypatch.setattr(reach.os, "lstat", lstat)
    return give


def test_resolves_as_the_system_does(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real/x").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "absolute").symlink_to(tmp_path / "link/x")
    (tmp_path / "up").symlink_to("real/x/../../link")
    (tmp_path / "gone").symlink_to("nowhere/at/all")
    for path in ("link", "link/x", "absolute", "absolute/..", "up/x", "./real//x/.", "gone/below", "real/new/../other", "../..", "link/../link"):
        assert reach.resolve(f"{tmp_path}/{path}") == os.path.realpath(f"{tmp_path}/{path}"), path
    assert reach.resolve("/") == reach.resolve("/..") == "/"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(reach.Misled, match="too many links"):
        reach.resolve(f"{tmp_path}/round/x")


def test_canonical_keeps_the_last_component(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert reach.canonical(f"{tmp_path}/link/x/") == str(tmp_path / "real/x")
    assert reach.canonical(f"{tmp_path}/link") == str(tmp_path / "link")
    assert reach.canonical(f"{tmp_path}/real/..") == str(tmp_path)


def test_links_that_others_could_have_made(tmp_path: pathlib.Path, owned: t.Callable[..., None]) -> None:
    folder = tmp_path / "theirs"
    (folder / "deep").mkdir(parents=True)
    (folder / "link").symlink_to("/etc")
    (folder / "deep/link").symlink_to("/etc")
    assert reach.resolve(f"{folder}/link/x") == "/etc/x"
    owned(folder)
    assert reach.resolve(f"{folder}/deep/x") == f"{folder}/deep/x"
    # also one that root owns, and one in a directory of root's: what is above can be put elsewhere
    for link in (folder / "link", folder / "deep/link"):
        with pytest.raises(reach.Misled, match=rf"{link} is a link to /etc that others than root could have made.*real path"):
            reach.resolve(f"{link}/traefik/acme")
    # who is led there by an administrator's link is in their reach too
    (tmp_path / "in").symlink_to("theirs")
    with pytest.raises(reach.Misled, match="theirs/link is a link"):
        reach.resolve(f"{tmp_path}/in/link/x")
    # and out of it again
    (tmp_path / "out").symlink_to("theirs/../plain")
    assert reach.resolve(f"{tmp_path}/out/x") == f"{tmp_path}/plain/x"


@pytest.mark.parametrize(
    ("mode", "link_of", "followed"), [(0o755, STRANGER, True), (0o775, 0, False), (0o777, 0, False), (0o1777, 0, True), (0o1777, STRANGER, False)]
)
def test_directories_that_others_may_write(tmp_path: pathlib.Path, owned: t.Callable[..., None], mode: int, link_of: int, followed: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    (folder / "link").symlink_to("/etc")
    owned(folder / "link", link_of)
    if followed:
        assert reach.resolve(f"{folder}/link/x") == "/etc/x"
    else:
        with pytest.raises(reach.Misled):
            reach.resolve(f"{folder}/link/x")


def test_nothing_is_followed_while_opening(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real/x").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    os.close(reach.open_path(str(tmp_path / "real/x")))
    with pytest.raises(OSError, match=r"directory|symbolic links"):
        reach.open_path(str(tmp_path / "link/x"))


def test_reading_for_root(tmp_path: pathlib.Path, owned: t.Callable[..., None]) -> None:
    (tmp_path / "PG_VERSION").write_text("14\n")
    assert reach.read_text(str(tmp_path / "PG_VERSION")) == "14\n"
    (tmp_path / "secret").write_text("root's")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    for name, why in (("link", "is a link to secret"), ("fifo", "is a fifo and not a regular file"), (".", "is a directory")):
        with pytest.raises(OSError, match=why):
            reach.read_text(f"{tmp_path}/{name}" if name != "." else f"{tmp_path}/")
    with pytest.raises(OSError, match="larger than 2 bytes"):
        reach.read_text(str(tmp_path / "PG_VERSION"), 2)
    owned(tmp_path)
    (tmp_path / "away").symlink_to("/etc")
    with pytest.raises(reach.Misled, match="away is a link to /etc"):
        reach.read_text(str(tmp_path / "away/hostname"))


def test_describing_a_place(tmp_path: pathlib.Path, owned: t.Callable[..., None]) -> None:
    (tmp_path / "file").write_text("abc")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "away").symlink_to("/etc")
    kinds = {name: describe(str(tmp_path / name), ["/"]).get("kind") for name in ("file", "fifo", "link", "gone", "gone/below", "")}
    assert kinds == {"file": "file", "fifo": "other", "link": "link", "gone": None, "gone/below": None, "": "directory"}
    assert describe("/", ["/"])["kind"] == "directory"
    assert describe(str(tmp_path / "file"), ["/"])["size"] == 3
    owned(tmp_path)
    told = describe(str(tmp_path / "away/hostname"), ["/"])
    assert not told["exists"]
    assert "away is a link to /etc" in told["reason"]


def test_what_is_in_the_way(tmp_path: pathlib.Path, owned: t.Callable[..., None]) -> None:
    (tmp_path / "state").symlink_to("/nowhere")
    (tmp_path / "file").write_text("")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/on").symlink_to("/nowhere")
    assert reach.obstacle(f"{tmp_path}/there/on/x") is None  # root's, as an administrator's are
    owned(tmp_path / "state")
    assert f"{tmp_path}/state is a link to /nowhere: take it away" in str(reach.obstacle(f"{tmp_path}/state/patriark.homelab"))
    assert f"{tmp_path}/file is a file and no directory" in str(reach.obstacle(f"{tmp_path}/file/x"))
    assert reach.obstacle(f"{tmp_path}/there/not/yet") is None


def test_a_file_is_read_in_time(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow").write_bytes(b"x")
    monkeypatch.setattr(regular, "SECONDS", -1.0)
    with pytest.raises(OSError, match="could not be read within"):
        regular.read_bytes(str(tmp_path / "slow"))
