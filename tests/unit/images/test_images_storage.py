# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folder markers and their refusals."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from immich_server import logs, storage

SIX = ["backups", "encoded-video", "library", "profile", "thumbs", "upload"]
LOG = logs.Logger("StorageService")


@pytest.fixture(autouse=True)
def options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs.Options, "worker", "Microservices")
    monkeypatch.setattr(logs.Options, "color", False)


def check(media: pathlib.Path, known: dict[str, bool], ignore: bool = False, seconds: float = 1000) -> dict[str, bool]:
    return storage.check_folders(str(media), known, LOG, ignore, now=lambda: seconds)


def test_a_first_start_makes_six_markers_with_the_time(tmp_path: pathlib.Path) -> None:
    assert check(tmp_path, {}) == dict.fromkeys(storage.FOLDERS, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == SIX
    assert {(tmp_path / name / ".immich").read_text() for name in SIX} == {"1000000"}


def test_each_start_writes_the_markers_again(tmp_path: pathlib.Path) -> None:
    known = check(tmp_path, {}, seconds=100000)
    check(tmp_path, known, seconds=5)
    assert (tmp_path / "thumbs/.immich").read_text() == "5000"


def test_a_known_marker_that_is_gone_is_fatal_and_not_made_again(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = check(tmp_path, {})
    (tmp_path / "thumbs/.immich").unlink()
    with pytest.raises(storage.StorageError) as caught:
        check(tmp_path, known)
    assert str(caught.value).startswith(f'Failed to read: "<UPLOAD_LOCATION>/thumbs/.immich ({tmp_path}/thumbs/.immich) - Please see')
    assert not (tmp_path / "thumbs/.immich").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert f"ERROR [Microservices:StorageService] Failed to read ({tmp_path}/thumbs/.immich): Error: ENOENT: no such file or directory" in line


def test_an_unmounted_library_is_fatal_and_stays_empty(tmp_path: pathlib.Path) -> None:
    known = check(tmp_path, {})
    for name in SIX:
        shutil.rmtree(tmp_path / name)
    with pytest.raises(storage.StorageError, match="encoded-video"):
        check(tmp_path, known)
    assert list(tmp_path.iterdir()) == []


def test_a_new_database_takes_the_folders_that_are_there(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(tmp_path, {})
    assert check(tmp_path, {}) == dict.fromkeys(storage.FOLDERS, True)
    assert "Found existing mount file, skipping creation" in capsys.readouterr().out


def test_ignored_errors_are_told_and_teach_the_database_nothing(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = check(tmp_path, {})
    (tmp_path / "upload/.immich").unlink()
    assert check(tmp_path, known, ignore=True) == known
    told = capsys.readouterr()
    assert "Failed to read" in told.err
    assert "Ignoring mount folder errors" in told.out


def test_a_folder_that_cannot_be_made_is_fatal(tmp_path: pathlib.Path) -> None:
    # A file in the place of the folder fails for root too.
    (tmp_path / "encoded-video").write_text("")
    with pytest.raises(storage.StorageError, match=r'Failed to create "<UPLOAD_LOCATION>/encoded-video/\.immich - Please see'):
        check(tmp_path, {})


def test_paths_take_two_levels_from_the_name() -> None:
    assert storage.nested("/data", "upload", "me", "9748abcd.jpg") == "/data/upload/me/97/48/9748abcd.jpg"


@pytest.mark.parametrize(("size", "text"), [(0, "0.0 B"), (270553174016, "252.0 GiB"), (1536, "1.5 KiB"), (5 << 50, "5.0 PiB")])
def test_sizes_for_people(size: int, text: str) -> None:
    assert storage.size_text(size) == text


def test_the_disk_adds_up(tmp_path: pathlib.Path) -> None:
    found = storage.disk(str(tmp_path))
    assert found["diskSizeRaw"] >= found["diskUseRaw"] + found["diskAvailableRaw"] > 0
    assert 0 <= found["diskUsagePercentage"] <= 100
