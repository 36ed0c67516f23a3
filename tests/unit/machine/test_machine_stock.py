# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks with container images: which layers there are for which Immich. No machine is started."""

from __future__ import annotations

import pathlib
import types

import pytest
import rootfs
import stock


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> list[tuple[str, str, str]]:
    """Disks that were asked for: kind, base, key."""
    disks: list[tuple[str, str, str]] = []
    monkeypatch.setattr(rootfs, "base", lambda suite, vm: pathlib.Path(f"base-{suite}-1.img"))

    def load(base: pathlib.Path, names: list[str], disk: pathlib.Path) -> None:
        disks.append((disk.name.rpartition("-")[0], base.name.rpartition("-")[0], " ".join(map(str, names))))

    def cached(kind: str, key: str, make) -> pathlib.Path:
        make(pathlib.Path(f"{kind}-{key}.img"))
        return pathlib.Path(f"{kind}-{key}.img")

    monkeypatch.setattr(rootfs, "cached", cached)
    monkeypatch.setattr(stock, "load_images", load)
    monkeypatch.setattr(stock, "pull_images", load)
    return disks


def images(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def ask(*words: str, immich: str | None = None) -> list[str]:
        if words[0] == "which":
            return [kind]
        if words[0] == "upstream":
            return ["ghcr.io/a:v1@sha256:ff sha256:ff"]
        return ["postgres.tar", "stand-in.tar", *(["server.tar"] if (immich or kind) == "builds" else [])]

    monkeypatch.setattr(stock, "ask", ask)


def test_the_stand_ins_are_one_layer(made: list, monkeypatch: pytest.MonkeyPatch) -> None:
    images(monkeypatch, "stand-in")
    stock.stocked("trixie")
    assert made == [("stocked-trixie", "base-trixie", "postgres.tar stand-in.tar")]


def test_the_real_servers_are_a_layer_on_it(made: list, monkeypatch: pytest.MonkeyPatch) -> None:
    images(monkeypatch, "builds")
    assert stock.stocked("trixie").name.startswith("builds-trixie-")
    assert made == [("stocked-trixie", "base-trixie", "postgres.tar stand-in.tar"), ("builds-trixie", "stocked-trixie", "server.tar")]


def test_the_images_of_upstream_need_none_of_ours(made: list, monkeypatch: pytest.MonkeyPatch) -> None:
    images(monkeypatch, "upstream")
    stock.stocked("trixie", vm=True)
    assert made == [("vm-upstream-trixie", "base-trixie", "ghcr.io/a:v1@sha256:ff")]


def test_without_images_there_is_no_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "build").write_text("#!/bin/sh\necho wrong >&2\nexit 1\n")
    (tmp_path / "build").chmod(0o755)
    monkeypatch.setattr(stock, "BUILDER", tmp_path / "build")
    with pytest.raises(SystemExit, match="without its images no machine can be made"):
        stock.ask("build")


def test_the_choice_of_a_scenario_reaches_the_builder(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "build").write_text('#!/bin/sh\necho "$1 $HOMELAB_TEST_IMMICH"\n')
    (tmp_path / "build").chmod(0o755)
    monkeypatch.setattr(stock, "BUILDER", tmp_path / "build")
    monkeypatch.setenv("HOMELAB_TEST_IMMICH", "/builds")
    assert (stock.ask("build"), stock.ask("build", immich="stand-in")) == (["build /builds"], ["build stand-in"])


def test_podman_is_given_a_tag_or_a_digest() -> None:
    assert stock.untagged("ghcr.io/a/b:v1@sha256:ff") == "ghcr.io/a/b@sha256:ff"
    assert stock.untagged("localhost:5000/b@sha256:ff") == "localhost:5000/b@sha256:ff"
    assert stock.untagged("ghcr.io/a/b:v1") == "ghcr.io/a/b:v1"


def test_each_registry_is_asked_for_on_the_loopback() -> None:
    text = stock.mirrors(["ghcr.io/a:v1", "ghcr.io/b:v1", "docker.io/c:v1"], 4711)
    assert text == (
        '[[registry]]\nprefix = "docker.io"\nlocation = "127.0.0.1:4711/docker.io"\ninsecure = true\n'
        '[[registry]]\nprefix = "ghcr.io"\nlocation = "127.0.0.1:4711/ghcr.io"\ninsecure = true\n'
    )


def test_a_disk_that_is_nearly_full_is_told_before_anything_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(rootfs, "CACHE", tmp_path)
    monkeypatch.setattr(rootfs.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=2_000_000_000))
    rootfs.need_room(1_000_000_000)
    with pytest.raises(SystemExit, match=rf"2\.5 GB are needed in {tmp_path}, and 2\.0 GB are free: make room, or let HOMELAB_TEST_CACHE"):
        rootfs.need_room(2_000_000_000)
