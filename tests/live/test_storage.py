# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the data lie: mounts, folders, owners, copy-on-write."""

from __future__ import annotations

import typing as t

import pytest
from live.absent import Absent
from live.api import Podman
from live.card import Claim
from live.expected import Facts
from live.host import Host

MARKED = ("upload", "library", "thumbs", "encoded-video", "profile", "backups")


class Files:
    """Files of the host, with the eyes of the containers' root: the account alone may not look into the directories of its sub-ids."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def said(self, *argv: str) -> str:
        return self._host.said("podman", "unshare", *argv)

    def nocow(self, path: str) -> dict[str, bool]:
        """Path -> whether lsattr shows C, for every regular file and directory below. What goes while it is looked at is left out."""
        found = self._host.run("podman", "unshare", "find", path, "(", "-type", "f", "-o", "-type", "d", ")", "-exec", "lsattr", "-d", "{}", "+")
        lines = [line.split(maxsplit=1) for line in found.stdout.splitlines()]
        assert lines, found.stderr
        return {name: "C" in letters for letters, name in lines}

    def file_system(self, path: str) -> str:
        return self._host.said("stat", "-f", "-c", "%T", path).strip()


@pytest.fixture(scope="module")
def files(host: Host) -> Files:
    return Files(host)


def source_of(podman: Podman, name: str, inside: str) -> str | None:
    return {mount["Destination"]: mount["Source"] for mount in podman.containers[name]["Mounts"]}.get(inside)


def on_btrfs(files: Files, path: str, absent: Absent) -> None:
    kind = files.file_system(path)
    if kind != "btrfs":
        absent("btrfs", f"{path} is on {kind}")


def test_library(claim: Claim, podman: Podman, facts: Facts, host: Host) -> None:
    assert source_of(podman, "immich-server", "/data") == facts["library"]
    assert host.said("stat", "-c", "%U", facts["library"]).strip() == facts["account"]


def test_file_system(claim: Claim, facts: Facts, files: Files, absent: Absent) -> None:
    if not facts["pool"]:
        absent("btrfs", "the inventory names no pool")
    assert files.file_system(facts["library"]) == "btrfs"


def test_folder(claim: Claim, facts: Facts, host: Host) -> None:
    folder = f"{facts['library']}/{claim.about['name']}"
    assert host.said("stat", "-c", "%U %F", folder).strip() == f"{facts['account']} directory"


@pytest.mark.parametrize("folder", MARKED)
def test_the_folder_has_its_marker(folder: str, facts: Facts, host: Host) -> None:
    """Immich refuses to start without it."""
    assert host.run("test", "-f", f"{facts['library']}/{folder}/.immich").returncode == 0


def test_data_directory(claim: Claim, facts: Facts, host: Host) -> None:
    assert set(facts["data_of"].values()) <= {f"{facts['data']}/{name}" for name in host.said("ls", facts["data"]).split()}


def test_mount(claim: Claim, podman: Podman, facts: Facts, files: Files, absent: Absent) -> None:
    about = claim.about
    if about["name"] not in facts["containers"]:
        absent(about["name"], "the inventory asks for none")
    directory = facts["directories"][about["directory"]]
    assert source_of(podman, about["name"], about["inside"]) == directory
    if about["nocow"]:
        on_btrfs(files, directory, absent)
        assert files.said("lsattr", "-d", directory).split()[0].count("C") == 1


def test_cache_is_kept(podman: Podman, facts: Facts, absent: Absent) -> None:
    if "redis-immich" not in facts["containers"]:
        absent("redis-immich", "the inventory asks for none")
    assert podman.exec("redis-immich", "valkey-cli", "config", "get", "dir").split() == ["dir", "/data"]


def test_nocow_everywhere(claim: Claim, facts: Facts, files: Files, absent: Absent) -> None:
    for name, directory in facts["directories"].items():
        if name == "redis-immich" or directory not in facts["data_of"].values():
            continue
        on_btrfs(files, directory, absent)
        assert [path for path, flag in files.nocow(directory).items() if not flag][:5] == []


def test_nocow_inherited(claim: Claim, facts: Facts, files: Files, absent: Absent) -> None:
    """The flag is only taken over by what is made later; a database whose directory got it first has it in hundreds of files."""
    if "postgresql-immich" not in facts["containers"]:
        absent("postgresql-immich", "the inventory asks for none")
    directory = facts["directories"]["postgresql-immich"]
    on_btrfs(files, directory, absent)
    assert sum(files.nocow(directory).values()) > 500


def test_nothing_in_the_library_is_nocow(facts: Facts, files: Files, absent: Absent) -> None:
    """Photos keep the file system's checksums."""
    on_btrfs(files, facts["library"], absent)
    assert [path for path, flag in files.nocow(facts["library"]).items() if flag][:5] == []


def test_database_belongs_to_its_sub_id(facts: Facts, host: Host, absent: Absent) -> None:
    """Uid 999 inside of the container is the 998th of the account's subordinate ids, counted from 0."""
    if "postgresql-immich" not in facts["containers"]:
        absent("postgresql-immich", "the inventory asks for none")
    first = [int(line.split(":")[1]) for line in host.said("cat", "/etc/subuid").splitlines() if line.split(":")[0] in (facts["account"], str(host.uid))]
    assert int(host.said("stat", "-c", "%u", facts["directories"]["postgresql-immich"])) == first[0] + 998


def test_models_have_a_place(claim: Claim, facts: Facts, podman: Podman, absent: Absent) -> None:
    """Of their own, so that a backup of the photos and the database leaves them out."""
    if "immich-ml" not in facts["containers"]:
        absent("immich-ml", "the inventory asks for none")
    models = source_of(podman, "immich-ml", "/cache")
    kept: t.Iterable[str | None] = (facts["library"], facts["directories"]["postgresql-immich"])
    assert models and not any(f"{models}/".startswith(f"{path}/") for path in kept)
