# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the key of a layer takes notice of."""

from __future__ import annotations

import pathlib

import layers
import pytest
import rootfs


def test_the_key_notices_all_that_a_layer_is_made_of(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "tests" / "machine"
    folder = tmp_path / "files" / "etc"
    here.mkdir(parents=True)
    folder.mkdir(parents=True)
    (here / "script").write_text("true\n")
    (folder / "conf").write_text("one\n")
    monkeypatch.setattr(layers, "HERE", here)
    layer = layers.Layer("", ("curl",), "script", "files")
    keys = [layers.key(layer, "base-1"), layers.key(layer, "base-2"), layers.key(layer._replace(packages=("curl", "openssl")), "base-1")]
    (here / "script").write_text("false\n")
    keys.append(layers.key(layer, "base-1"))
    (folder / "conf").write_text("two\n")
    keys.append(layers.key(layer, "base-1"))
    (folder / "conf").chmod(0o755)
    keys.append(layers.key(layer, "base-1"))
    (folder / "conf").rename(folder / "other")
    keys.append(layers.key(layer, "base-1"))
    monkeypatch.setattr(layers, "INSTALL", "true")
    keys.append(layers.key(layer, "base-1"))
    assert len(set(keys)) == len(keys)


def test_every_layer_has_what_it_names() -> None:
    for layer in layers.LAYERS.values():
        assert not layer.script or (layers.HERE / layer.script).is_file()
        assert not layer.files or layers.content(layer.files)


def test_no_kind_of_cached_image_is_taken_for_another() -> None:
    """Old ones are found by how their names begin."""
    kinds = [rootfs.kind(name, "trixie", vm) for name in layers.NAMES for vm in (False, True)]
    assert [(one, other) for one in kinds for other in kinds if one != other and other.startswith(f"{one}-")] == []
