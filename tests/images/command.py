# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the image builder. Started by tests/images/build."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import subprocess
import sys
import typing as t

import archive
import immich
import recipes
import upstream
from builder import Builder, BuildError, check_host, plan, say

# An inventory with other references, for those who have the images elsewhere under other digests.
INVENTORY = "HOMELAB_TEST_UPSTREAM_INVENTORY"
DEFAULT_CACHE = "/var/cache/patriark-homelab-test"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="build",
        description=f"Build the container images of the test machines as OCI archives for 'podman load -i'. Cache: $HOMELAB_TEST_CACHE or {DEFAULT_CACHE}. "
        f"$HOMELAB_TEST_MIRROR names a Debian mirror (default: mmdebstrap's own), ${immich.VARIABLE} the Immich: see docs/testing.md.",
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, text, count in (
        ("build", "build the named images (all, if none is named) that are not in the cache; prints their paths", "*"),
        ("path", "print the path of a built image; fails when it is not built", None),
        ("hash", "print the hash of what defines the named images (all, if none is named)", "*"),
        ("list", "print name, reference, kind and state of every image", ""),
        ("upstream", "fetch upstream's images of examples/card that are not in the cache; prints each reference and its digest", ""),
        ("which", "print the sentence that says which Immich a run has", ""),
    ):
        sub = commands.add_parser(command, help=text, description=text)
        if count != "":
            sub.add_argument("names" if count else "name", nargs=count, metavar="NAME", help="as 'list' names it")
        if command == "which":
            sub.add_argument("--kind", action="store_true", help=f"one word instead: {immich.STAND_IN}, {immich.BUILDS} or {immich.UPSTREAM}")
    return made


def main(arguments: t.Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    builder = Builder(os.environ.get("HOMELAB_TEST_CACHE") or DEFAULT_CACHE)
    try:
        chosen = immich.choose()
        if options.command == "which":
            print(chosen.kind if options.kind else chosen.sentence)
        elif options.command == "upstream":
            fetch_upstream(os.environ.get("HOMELAB_TEST_UPSTREAM") or os.path.join(builder.cache, "upstream"))
        else:
            about_images(options, builder, {image.name: image for image in recipes.images(chosen)})
    except (BuildError, archive.Damaged, immich.Unclear, upstream.Unavailable) as error:
        say(str(error))
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        say(f"no room left in {builder.cache}: free some, or let HOMELAB_TEST_CACHE name a directory on a larger disk. What was half made is gone.")
        return 1
    return 0


def fetch_upstream(directory: str) -> None:
    if shutil.which("skopeo") is None:
        raise BuildError(f"skopeo is not here, which fetches upstream's images: run tests/setup with {immich.VARIABLE}={immich.UPSTREAM}")
    python = immich.checkout() / ".venv/bin/python"
    if not python.exists():
        raise BuildError("no .venv here, whose Ansible knows the card's images: run tests/setup")
    more = os.environ.get(INVENTORY)
    command = [str(python), "-B", str(immich.HERE / "card_images.py"), *([more] if more else [])]
    store = upstream.Store(directory, say=say)
    for reference in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split():
        print(reference, store.fetch(reference))


def about_images(options: argparse.Namespace, builder: Builder, images: dict[str, recipes.Image]) -> None:
    wanted = getattr(options, "names", None) or ([options.name] if hasattr(options, "name") else list(images))
    unknown = [name for name in wanted if name not in images]
    if unknown:
        raise BuildError(f"no such image: {', '.join(unknown)}; there are {', '.join(images)}")
    plans = [plan(images[name]) for name in wanted]
    if options.command == "build":
        check_host()
        builder.build(plans)
    for planned in plans:
        path = builder.image_path(planned)
        built = os.path.exists(path)
        if options.command == "hash":
            print(f"{planned.image.name} {planned.whole}" if len(plans) > 1 else planned.whole)
        elif options.command == "list":
            kind = "stand-in" if recipes.STAND_IN in planned.image.config["Labels"] else "real"
            print(f"{planned.image.name:28} {planned.image.reference:56} {kind:9} {'built' if built else 'not built'}")
        elif not built:
            raise BuildError(f"{planned.image.name} is not built: run 'build {planned.image.name}' first")
        else:
            builder.touch(planned)
            print(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
