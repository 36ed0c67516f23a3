# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Immich the test machines run, and the inventory that goes with it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import typing as t

import immich
import inventory
import pytest

IMAGES = pathlib.Path(immich.__file__).parent


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where immich.py lies in a checkout that has no builds beside it."""
    here = tmp_path / "src/checkout/tests/images"
    here.mkdir(parents=True)
    return here


def builds(directory: pathlib.Path, *releases: str) -> pathlib.Path:
    directory.mkdir(parents=True, exist_ok=True)
    for release in releases:
        (directory / immich.archive_name(release)).touch()
    return directory


def choose(asked: str | None, here: pathlib.Path) -> immich.Choice:
    return immich.choose({} if asked is None else {immich.VARIABLE: asked}, here)


def test_the_variable_is_obeyed(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    builds(tmp_path / "src/shared/real-immich", *immich.RELEASES)
    elsewhere = builds(tmp_path / "elsewhere", *immich.RELEASES)
    assert choose("stand-in", checkout)[:2] == ("stand-in", None)
    assert choose("upstream", checkout)[:2] == ("upstream", None)
    assert choose(str(elsewhere), checkout)[:2] == ("builds", elsewhere)


def test_a_directory_is_meant_from_the_checkout_on(checkout: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = builds(tmp_path / "src/builds", *immich.RELEASES)
    monkeypatch.chdir("/")
    assert choose("../builds", checkout).directory == there
    assert choose("../builds", tmp_path / "src/checkout" / pathlib.Path(*immich.COPY) / "tests/images").directory == there


@pytest.mark.parametrize("asked", [None, ""])
def test_without_it_the_builds_beside_the_checkout_are_taken_where_they_are(asked: str | None, checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert choose(asked, checkout).kind == "stand-in"
    there = builds(tmp_path / "src/shared/real-immich", *immich.RELEASES)
    assert choose(asked, checkout)[:2] == ("builds", there)


def test_the_copy_that_the_gates_make_is_beside_the_same_builds(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    there = builds(tmp_path / "src/shared/real-immich", *immich.RELEASES)
    assert choose(None, tmp_path / "src/checkout" / pathlib.Path(*immich.COPY) / "tests/images").directory == there


def test_a_worktree_finds_the_builds_beside_its_repository(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    there = builds(tmp_path / "src/shared/real-immich", *immich.RELEASES)
    tree = tmp_path / "far/away"
    (tree / "tests/images").mkdir(parents=True)
    assert choose(None, tree / "tests/images").kind == "stand-in"
    (tree / ".git").write_text(f"gitdir: {tmp_path}/src/checkout/.git/worktrees/away\n")
    assert choose(None, tree / "tests/images").directory == there


@pytest.mark.parametrize(
    ("present", "told"),
    [
        (None, "is no directory: HOMELAB_TEST_IMMICH is stand-in, upstream, or a directory with immich-server-2.5.5.tar.zst and immich-server-3.1.0.tar.zst"),
        ([], "lacks immich-server-2.5.5.tar.zst and immich-server-3.1.0.tar.zst: HOMELAB_TEST_IMMICH is"),
        (["2.5.5"], "lacks immich-server-3.1.0.tar.zst: HOMELAB_TEST_IMMICH is"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_remedy(present: list[str] | None, told: str, checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    asked = tmp_path / "standin"
    if present is not None:
        builds(asked, *present)
    with pytest.raises(immich.Unclear) as caught:
        choose(str(asked), checkout)
    assert f"{asked} {told}" in str(caught.value)


def test_half_of_the_builds_beside_the_checkout_is_no_reason_to_take_the_stand_in(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    builds(tmp_path / "src/shared/real-immich", "3.1.0")
    with pytest.raises(immich.Unclear, match=r"lacks immich-server-2\.5\.5"):
        choose(None, checkout)


def test_the_sentence_says_which_and_why(checkout: pathlib.Path, tmp_path: pathlib.Path) -> None:
    there = builds(tmp_path / "src/shared/real-immich", *immich.RELEASES)
    assert "the stand-in, as HOMELAB_TEST_IMMICH says" in choose("stand-in", checkout).sentence
    assert f"real server, 2.5.5 and 3.1.0, from the builds in {there}" in choose(None, checkout).sentence
    assert "upstream's own images" in choose("upstream", checkout).sentence


def test_a_checksum_is_read_from_the_list_beside_the_archive(tmp_path: pathlib.Path) -> None:
    (tmp_path / "SHA256SUMS").write_text("aa  other\nbb  immich.tar.zst\ncc *binary.tar.zst\n")
    assert immich.checksum(tmp_path, "immich.tar.zst") == "bb"
    assert immich.checksum(tmp_path, "binary.tar.zst") == "cc"
    with pytest.raises(immich.Unclear, match="SHA256SUMS does not name immich: copy both anew"):
        immich.checksum(tmp_path, "immich")


def test_builds_without_checksums_are_not_used(tmp_path: pathlib.Path) -> None:
    with pytest.raises(immich.Unclear, match=r"SHA256SUMS cannot be read .*: the builds are checked against it"):
        immich.checksum(tmp_path, "immich.tar.zst")


@pytest.mark.parametrize(("kind", "server"), [("stand-in", "immich-server-stand-in"), ("builds", "immich-server")])
def test_the_server_follows_the_release_and_the_rest_is_the_same(kind: str, server: str) -> None:
    found = inventory.variables(kind)
    assert found.pop("immich_server_image") == f"localhost/homelab-test/{server}:{{{{ immich_version }}}}"
    assert found == inventory.REST
    assert found["immich_ml_image"].endswith("immich-ml-stand-in:{{ immich_version }}")


def test_with_the_images_of_upstream_nothing_differs_from_the_example() -> None:
    assert inventory.variables("upstream") == {}


def run(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([IMAGES / "inventory", "--list"], env={**os.environ, **environ}, capture_output=True, text=True, check=False)


def test_as_a_program_it_prints_what_ansible_reads() -> None:
    told: dict[str, t.Any] = json.loads(run(HOMELAB_TEST_IMMICH="stand-in").stdout)
    assert told["all"]["vars"] == inventory.variables("stand-in")
    assert told["_meta"] == {"hostvars": {}}


def test_as_a_program_it_fails_with_the_sentence() -> None:
    done = run(HOMELAB_TEST_IMMICH="/does/not/exist")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "/does/not/exist is no directory" in done.stderr
