# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers and archives, read back with nothing but tarfile."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pathlib
import stat
import subprocess
import tarfile
import typing as t

import archive
import pytest

EPOCH = 1700000000


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


def tree_layer(root: pathlib.Path, before: dict[str, tuple[t.Any, ...]], skip: t.Container[str] = ()) -> dict[str, tarfile.TarInfo]:
    stream = io.BytesIO()
    archive.write_tree(stream, str(root), archive.changed_paths(before, archive.scan(str(root), skip)), EPOCH)
    return members(stream.getvalue())


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    made = tmp_path / "root"
    (made / "etc/sub").mkdir(parents=True)
    (made / "etc/kept").write_text("kept")
    (made / "etc/changed").write_text("old")
    (made / "etc/sub/lost").write_text("lost")
    (made / "etc/sub/also").write_text("also")
    (made / "private").mkdir(mode=0o700)
    return made


def test_a_layer_holds_what_changed_and_its_parents_only(root: pathlib.Path) -> None:
    before = archive.scan(str(root))
    (root / "etc/changed").write_text("newer")
    (root / "private/new").write_text("new")
    found = tree_layer(root, before)
    assert sorted(found) == ["etc", "etc/changed", "private", "private/new"]
    # Without its own entry the engine would make the directory with rights of its choice.
    assert stat.S_IMODE(found["private"].mode) == 0o700


def test_a_change_of_rights_alone_is_a_change(root: pathlib.Path) -> None:
    before = archive.scan(str(root))
    (root / "etc/kept").chmod(0o600)
    assert sorted(tree_layer(root, before)) == ["etc", "etc/kept"]


def test_lost_files_become_white_outs_and_a_lost_directory_is_one(root: pathlib.Path) -> None:
    before = archive.scan(str(root))
    (root / "etc/kept").unlink()
    (root / "etc/sub/lost").unlink()
    (root / "etc/sub/also").unlink()
    (root / "etc/sub").rmdir()
    found = tree_layer(root, before)
    assert sorted(found) == ["etc", "etc/.wh.kept", "etc/.wh.sub"]


def test_skipped_directories_are_kept_empty(root: pathlib.Path) -> None:
    assert sorted(archive.scan(str(root), {"etc"})) == ["etc", "private"]


def test_times_are_cut_at_the_epoch_and_earlier_ones_kept(root: pathlib.Path) -> None:
    os.utime(root / "etc/kept", (1000000000, 1000000000))
    found = tree_layer(root, {})
    assert found["etc/kept"].mtime == 1000000000
    assert found["etc/changed"].mtime == EPOCH


def test_hard_links_stay_links_and_fifos_are_left_out(root: pathlib.Path) -> None:
    os.link(root / "etc/kept", root / "etc/zweiter")
    os.mkfifo(root / "etc/pipe")
    found = tree_layer(root, {})
    assert found["etc/zweiter"].islnk()
    assert found["etc/zweiter"].linkname == "etc/kept"
    assert "etc/pipe" not in found


def test_files_from_memory_have_their_rights_owners_and_parents() -> None:
    stream = io.BytesIO()
    archive.write_files(
        stream,
        [
            archive.File("usr/bin/x", b"abc", 0o755),
            archive.File("data", owner=999, group=998, mode=0o1777),
            archive.File("usr/bin/y", link="/usr/bin/x"),
        ],
        EPOCH,
    )
    found = members(stream.getvalue())
    assert list(found) == ["data", "usr", "usr/bin", "usr/bin/x", "usr/bin/y"]
    assert (found["data"].uid, found["data"].gid, found["data"].mode, found["data"].type) == (999, 998, 0o1777, tarfile.DIRTYPE)
    assert (found["usr/bin/x"].size, found["usr/bin/x"].mode) == (3, 0o755)
    assert found["usr/bin/y"].linkname == "/usr/bin/x"


def test_an_image_is_a_whole_oci_archive_whose_digests_are_true(tmp_path: pathlib.Path) -> None:
    def fill(text: bytes) -> t.Callable[[t.Any], None]:
        return lambda stream: archive.write_files(stream, [archive.File("f", text)], EPOCH)

    layers = [archive.write_layer(str(tmp_path / f"{number}.tar"), fill(b"%d" % number)) for number in range(2)]
    config = archive.image_config(layers, {"Cmd": ["x"]}, ["one", "two"], "2026-01-01T00:00:00Z")
    with open(tmp_path / "image.tar", "wb") as stream:
        digest = archive.write_image(stream, "localhost/a:1", layers, config)

    with tarfile.open(tmp_path / "image.tar") as tar:
        content = {member.name: t.cast(t.IO[bytes], tar.extractfile(member)).read() for member in tar}
    for name, data in content.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(content["index.json"])["manifests"]
    assert entry["digest"] == digest
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "localhost/a:1"}
    manifest = json.loads(content["blobs/sha256/" + digest.partition(":")[2]])
    assert [layer["digest"] for layer in manifest["layers"]] == ["sha256:" + layer.digest for layer in layers]
    assert [layer["size"] for layer in manifest["layers"]] == [os.stat(layer.path).st_size for layer in layers]
    stored = json.loads(content["blobs/sha256/" + manifest["config"]["digest"].partition(":")[2]])
    # The layers are not compressed: their digests are those of their content.
    assert stored["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert stored["config"] == {"Cmd": ["x"]}


def test_the_same_input_gives_the_same_bytes(tmp_path: pathlib.Path) -> None:
    files = [archive.File("b", b"2"), archive.File("a", b"1")]
    first, second = (
        archive.write_layer(str(tmp_path / name), lambda stream, chosen=chosen: archive.write_files(stream, chosen, EPOCH))
        for name, chosen in (("1", files), ("2", files[::-1]))
    )
    assert first.digest == second.digest


def test_a_layer_without_its_digest_is_not_finished(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "layer.tar")
    made = archive.write_layer(path, lambda stream: archive.write_files(stream, [archive.File("a", b"1")], EPOCH))
    assert archive.read_layer(path) == made
    os.unlink(path + ".digest")
    assert archive.read_layer(path) is None


@pytest.fixture
def packed(tmp_path: pathlib.Path) -> pathlib.Path:
    stream = io.BytesIO()
    archive.write_files(stream, [archive.File("a", bytes(100_000))], EPOCH)
    path = tmp_path / "immich-server-1.tar.zst"
    subprocess.run(["zstd", "-q", "--long=27", "-o", path], input=stream.getvalue(), check=True)
    return path


def test_a_compressed_tar_becomes_a_layer_as_it_is(packed: pathlib.Path) -> None:
    stream = io.BytesIO()
    archive.write_packed(stream, str(packed), hashlib.sha256(packed.read_bytes()).hexdigest())
    assert members(stream.getvalue())["a"].size == 100_000


def test_another_checksum_is_told_with_file_found_expected_and_remedy(packed: pathlib.Path) -> None:
    found = hashlib.sha256(packed.read_bytes()).hexdigest()
    stream = io.BytesIO()
    with pytest.raises(archive.Damaged) as caught:
        archive.write_packed(stream, str(packed), "0" * 64)
    assert f"{packed} is damaged, or not the file it should be: its SHA-256 is {found}, expected is {'0' * 64}" in str(caught.value)
    assert "copy the archive and SHA256SUMS anew" in str(caught.value)
    assert stream.getvalue() == b""


def test_what_cannot_be_unpacked_is_told_even_with_the_right_checksum(packed: pathlib.Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(archive.Damaged, match=r"zstd cannot unpack it: .*premature end"):
        archive.write_packed(io.BytesIO(), str(packed), hashlib.sha256(packed.read_bytes()).hexdigest())
