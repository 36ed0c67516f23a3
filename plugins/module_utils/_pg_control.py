# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL's control file tells of a data directory: whose it is, and how far it has come.

The fields read here lie at the same places in every release since 9.3. Private to the collection.
"""

from __future__ import annotations

import os
import struct
import typing as t

PATH = "global/pg_control"
SIZE = 8192
# system identifier, versions of format and catalogue, state, a gap, time of the file, position of the last checkpoint
_HEAD = struct.Struct("<QIIi4xqQ")
IDENTIFIER_BYTES = 8
# Where the image has the data directory: what a link in it leads to, it leads to in the container.
INSIDE = "/var/lib/postgresql/data"


class Control(t.NamedTuple):
    """identifier is text, since JSON's numbers are too small for it; checkpoint grows as long as the database lives."""

    identifier: str
    checkpoint: int
    time: int


def parse(content: bytes) -> Control | None:
    """None for what is no control file."""
    if len(content) < _HEAD.size:
        return None
    identifier, version, _catalogue, _state, when, checkpoint = _HEAD.unpack_from(content)
    if not identifier or not 900 < version < 10000:
        return None
    return Control(str(identifier), checkpoint, when)


def position(checkpoint: int) -> str:
    """As PostgreSQL's tools write it."""
    return f"{checkpoint >> 32:X}/{checkpoint & 0xFFFFFFFF:X}"


def leads_out(name: str, target: str) -> bool:
    """Whether a link with this name in the data directory leads out of it, seen from the container."""
    where = os.path.normpath(os.path.join(INSIDE, os.path.dirname(name), target))
    return where != INSIDE and not where.startswith(INSIDE + "/")
