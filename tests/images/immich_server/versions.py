# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Version ranges, and which vector extension is used: the original's rules as pure functions."""

from __future__ import annotations

import re
import typing as t

POSTGRES_RANGE = ">=14.0.0"


class Extension(t.NamedTuple):
    """A vector extension: its name in PostgreSQL, its name for people, what is accepted, and how a column and an index are made with it."""

    name: str
    title: str
    accepted: str
    column: str
    index: str


# In the order in which they are tried when DB_VECTOR_EXTENSION does not choose.
EXTENSIONS = {
    "vectorchord": Extension("vchord", "VectorChord", ">=0.3 <2", "vector", "vchordrq (embedding vector_cosine_ops)"),
    "pgvecto.rs": Extension("vectors", "pgvecto.rs", ">=0.2 <0.4", "vectors.vector", "vectors (embedding vectors.vector_cos_ops)"),
    "pgvector": Extension("vector", "pgvector", ">=0.5 <1", "vector", "hnsw (embedding vector_cosine_ops)"),
}


class Unsupported(Exception):
    """The database cannot be used; the text is what the original says."""


def parse(text: str) -> tuple[int, int, int]:
    """First three numbers of a version; missing ones are 0. Raises C(ValueError) without any."""
    found = re.match(r"\s*v?(\d+)(?:\.(\d+))?(?:\.(\d+))?", text)
    if not found:
        raise ValueError(f"not a version: {text!r}")
    return int(found.group(1)), int(found.group(2) or 0), int(found.group(3) or 0)


def satisfies(version: str, accepted: str) -> bool:
    """Whether a version is in a range of the form C(>=0.2 <0.4)."""
    number = parse(version)
    for part in accepted.split():
        operator = part.rstrip("0123456789.")
        bound = parse(part[len(operator) :])
        if not {">=": number >= bound, "<": number < bound, ">": number > bound, "<=": number <= bound, "=": number == bound}[operator]:
            return False
    return True


def check_postgres(version: str) -> None:
    if not satisfies(version, POSTGRES_RANGE):
        raise Unsupported(f"Invalid PostgreSQL version. Found {version}, but needed {POSTGRES_RANGE}. Please use a supported version.")


def choose_extension(wanted: str, available: t.Mapping[str, str]) -> Extension:
    """The extension of DB_VECTOR_EXTENSION, else the first one the server offers (it need not be created yet)."""
    if wanted:
        return EXTENSIONS[wanted]
    for extension in EXTENSIONS.values():
        if extension.name in available:
            return extension
    raise Unsupported(f"No vector extension found. Available extensions: {', '.join(extension.name for extension in EXTENSIONS.values())}")


def plan_extension(extension: Extension, available: str | None, installed: str | None) -> str:
    """C(create), C(update) or C(keep); raises C(Unsupported) like the original refuses."""
    title = extension.title
    if available is None:
        raise Unsupported(
            f"The {title} extension is not available in this Postgres instance.\n    If using a container image, ensure the image has the extension installed."
        )
    if parse(available) == (0, 0, 0):
        raise Unsupported(f"The {title} extension version is {available}, which means it is a nightly release.")
    if not satisfies(available, extension.accepted):
        raise Unsupported(
            f"The {title} extension version is {available}, but Immich only supports {extension.accepted}.\n"
            f"    Please change {title} to a compatible version in the Postgres instance."
        )
    if installed is None:
        return "create"
    if parse(installed) > parse(available):
        raise Unsupported(
            f"The database currently has {title} {installed} activated, but the Postgres instance only has {available} available.\n"
            "    This most likely means the extension was downgraded."
        )
    if parse(installed) < parse(available):
        return "update"
    if not satisfies(installed, extension.accepted):
        raise Unsupported(f"The {title} extension version is {installed}, but Immich only supports {extension.accepted}.")
    return "keep"
