# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman secrets of a stack: compared, made and replaced, never shown. Private to the collection."""

from __future__ import annotations

import dataclasses
import secrets as randomness
import string
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

_LETTERS = string.ascii_letters + string.digits


@dataclasses.dataclass(frozen=True)
class SecretRequest:
    """A secret the stack uses. Without a value it is made on the host once, of letters and digits."""

    name: str
    value: str | None = None
    length: int = 32


@dataclasses.dataclass(frozen=True)
class SecretChange:
    """verb is create, generate or replace. before is the value to bring back in a rollback."""

    name: str
    verb: str
    value: str = dataclasses.field(repr=False)
    before: str | None = dataclasses.field(default=None, repr=False)


def changes(session: Session, wanted: t.Sequence[SecretRequest], existing: t.Container[str]) -> list[SecretChange]:
    """What has to be done to the secrets. Reads the values of those which must have a certain one."""
    found = podman.secret_values(session, [item.name for item in wanted if item.value is not None and item.name in existing])
    result = []
    for item in wanted:
        if item.name not in existing:
            value = item.value if item.value is not None else "".join(randomness.choice(_LETTERS) for dummy in range(item.length))
            result.append(SecretChange(item.name, "generate" if item.value is None else "create", value))
        elif item.value is not None and found.get(item.name) != item.value:
            result.append(SecretChange(item.name, "replace", item.value, found.get(item.name)))
    return result


def write(session: Session, name: str, value: str, replace: bool) -> None:
    """The value goes through standard input: no command line or log ever holds it."""
    options = ["--replace"] if replace else []
    rc, dummy, err = session.podman("secret", "create", *options, name, "-", data=value)
    if rc != 0:
        raise SessionError(f"podman secret create {name} failed: {err.strip()}")
