# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Owners, modes and SELinux types as playbooks write them, compared with what a directory has.

An account given by name stands for itself and its subordinate ids: a rootless container hands its data directory to a
sub-id of the account on first start (PostgreSQL's 999 becomes 100998), and that is still the account's directory.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BtrfsError

_SELINUX = "security.selinux"


@dataclasses.dataclass(frozen=True)
class Principal:
    """An owner or a group as given.

    Attributes:
        text: as written.
        number: its id, None while the account does not exist.
        delegated: (first, count) ranges of its subordinate ids; empty when a number was given.
    """

    text: str
    number: int | None
    delegated: tuple[tuple[int, int], ...] = ()

    def covers(self, number: int) -> bool:
        return number == self.number or any(first <= number < first + count for first, count in self.delegated)


def subids(text: str, account: str, number: int | None) -> tuple[tuple[int, int], ...]:
    """The ranges of one account in the text of /etc/subuid or /etc/subgid."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in (account, str(number)) and fields[1].isdigit() and fields[2].isdigit():
            found.append((int(fields[1]), int(fields[2])))
    return tuple(found)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def owner(text: str | None) -> Principal | None:
    if text is None:
        return None
    if text.isdigit():
        return Principal(text, int(text))
    try:
        number: int | None = pwd.getpwnam(text).pw_uid
    except KeyError:
        return Principal(text, None)
    # Sub-ids of root would be those of the system itself.
    return Principal(text, number, subids(_read("/etc/subuid"), text, number) if number else ())


def group(text: str | None) -> Principal | None:
    """A group given by name; its sub-gids are those of the account of the same name."""
    if text is None:
        return None
    if text.isdigit():
        return Principal(text, int(text))
    try:
        number: int | None = grp.getgrnam(text).gr_gid
    except KeyError:
        return Principal(text, None)
    try:
        account: int | None = pwd.getpwnam(text).pw_uid
    except KeyError:
        account = None
    return Principal(text, number, subids(_read("/etc/subgid"), text, account) if account else ())


def mode(value: t.Any) -> int | None:
    """A mode as a quoted octal string. A number is refused: YAML turns 0750 into 488 and 750 into a strange mode."""
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3,4}", value):
        raise BtrfsError(f"mode {value!r} is not a quoted octal number such as '0750'")
    return int(value, 8)


def user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def selinux_enabled() -> bool:
    return os.path.exists("/sys/fs/selinux/enforce")


def context(fd: int) -> str | None:
    """The whole SELinux context of fd, None where there is none."""
    try:
        return os.getxattr(fd, _SELINUX).rstrip(b"\0").decode("ascii", "replace")
    except OSError:
        return None


def type_of(whole: str | None) -> str | None:
    """The type within a context user:role:type[:level]."""
    parts = (whole or "").split(":", 3)
    return parts[2] if len(parts) >= 3 else None


def with_type(whole: str | None, setype: str) -> str:
    """The context with its type replaced; user, role and level stay."""
    parts = (whole or "system_u:object_r:unlabeled_t:s0").split(":", 3)
    if len(parts) < 3:
        parts = ["system_u", "object_r", setype, "s0"]
    parts[2] = setype
    return ":".join(parts)


def set_context(fd: int, whole: str) -> None:
    os.setxattr(fd, _SELINUX, whole.encode("ascii") + b"\0")
