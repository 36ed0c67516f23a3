# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Immich the test machines run. HOMELAB_TEST_IMMICH says so, and nothing else looks at it."""

from __future__ import annotations

import os
import pathlib
import typing as t

VARIABLE = "HOMELAB_TEST_IMMICH"
RELEASES = ("2.5.5", "3.1.0")
STAND_IN, BUILDS, UPSTREAM = "stand-in", "builds", "upstream"
HERE = pathlib.Path(__file__).resolve().parent
# Where the gates keep their copy of a checkout.
COPY = pathlib.PurePath(".build/ansible_collections/patriark/homelab").parts


class Unclear(Exception):
    """What was asked for cannot be had; the text says why, and what can be done."""


class Choice(t.NamedTuple):
    kind: str
    directory: pathlib.Path | None  # of the builds
    sentence: str


def archive_name(release: str) -> str:
    return f"immich-server-{release}.tar.zst"


def choose(environ: t.Mapping[str, str] | None = None, here: pathlib.Path = HERE) -> Choice:
    asked = (os.environ if environ is None else environ).get(VARIABLE, "")
    if asked == STAND_IN:
        return Choice(STAND_IN, None, f"Immich is the stand-in, as {VARIABLE} says.")
    if asked == UPSTREAM:
        return Choice(UPSTREAM, None, f"Immich and all beside it are upstream's own images, by digest, as {VARIABLE} says.")
    if asked:  # from the checkout on, wherever those are who ask
        return _builds(checkout(here) / pathlib.Path(asked).expanduser(), f"as {VARIABLE} says")
    for directory in beside(here):
        if any((directory / archive_name(release)).exists() for release in RELEASES):
            return _builds(directory, f"since they are there and {VARIABLE} is not set")
    return Choice(STAND_IN, None, f"Immich is the stand-in: {VARIABLE} is not set, and there are no builds of the real server in {beside(here)[0]}.")


def _builds(directory: pathlib.Path, reason: str) -> Choice:
    remedy = f"{VARIABLE} is {STAND_IN}, {UPSTREAM}, or a directory with {' and '.join(map(archive_name, RELEASES))}"
    if not directory.is_dir():
        raise Unclear(f"{directory} is no directory: {remedy}")
    missing = [archive_name(release) for release in RELEASES if not (directory / archive_name(release)).is_file()]
    if missing:
        raise Unclear(f"{directory} lacks {' and '.join(missing)}: {remedy}")
    directory = directory.resolve()
    return Choice(BUILDS, directory, f"Immich is the real server, {' and '.join(RELEASES)}, from the builds in {directory}, {reason}.")


def checksum(directory: str | os.PathLike[str], name: str) -> str:
    """What SHA256SUMS beside the archive says of it."""
    sums = pathlib.Path(directory, "SHA256SUMS")
    try:
        lines = sums.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Unclear(f"{sums} cannot be read ({error.strerror}): the builds are checked against it; copy it from where they came from") from error
    for line in lines:
        digest, _space, file = line.partition(" ")
        if file.lstrip(" *") == name:
            return digest
    raise Unclear(f"{sums} does not name {name}: copy both anew from where they came from")


def checkout(here: pathlib.Path = HERE) -> pathlib.Path:
    """Of which this folder is a part, or a part of a copy."""
    root = here.parents[1]
    return root.parents[len(COPY) - 1] if root.parts[-len(COPY) :] == COPY else root


def beside(here: pathlib.Path) -> list[pathlib.Path]:
    """Where builds may lie beside the checkout; for a worktree of git, beside the checkout it belongs to as well."""
    found = [checkout(here).parent / "shared" / "real-immich"]
    link = checkout(here) / ".git"
    if link.is_file():
        git = pathlib.Path(link.read_text(encoding="utf-8").partition("gitdir:")[2].strip())
        if git.parent.name == "worktrees":  # .../CHECKOUT/.git/worktrees/NAME
            found.append(git.parents[3] / "shared" / "real-immich")
    return found
