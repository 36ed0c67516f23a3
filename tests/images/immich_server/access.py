# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what: secrets, their hashes, permissions of API keys."""

from __future__ import annotations

import hashlib
import secrets
import string
import typing as t

import bcrypt

ALPHABET = string.ascii_letters + string.digits
# Permission words an API key can have (the part of the original's list that addresses here ask for, and their neighbours).
PERMISSIONS = frozenset(
    ["all", "server.about", "server.statistics", "server.storage", "systemConfig.read", "systemConfig.update", "maintenance"]
    + [f"asset.{verb}" for verb in ("read", "update", "delete", "statistics", "share", "view", "download", "upload", "replace")]
    + [
        f"{thing}.{verb}"
        for thing in ("activity", "album", "apiKey", "library", "person", "session", "tag", "user")
        for verb in ("create", "read", "update", "delete")
    ]
    + [f"{thing}.{verb}" for thing in ("adminUser", "adminSession") for verb in ("create", "read", "update", "delete")]
    + [f"{thing}.{verb}" for thing in ("job", "queue", "queueJob") for verb in ("create", "read", "update", "delete")]
    + [f"backup.{verb}" for verb in ("list", "download", "upload", "delete")]
    + [
        "auth.changePassword",
        "timeline.read",
        "timeline.download",
        "memory.read",
        "map.read",
        "notification.read",
        "systemMetadata.read",
        "systemMetadata.update",
    ]
)


def new_secret(length: int = 40) -> str:
    return "".join(secrets.choice(ALPHABET) for _number in range(length))


def digest(secret: str) -> bytes:
    """What is kept of a session token or an API key."""
    return hashlib.sha256(secret.encode()).digest()


def hash_password(password: str) -> str:
    # bcrypt reads 72 bytes; newer libraries refuse more instead of cutting.
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(10)).decode()


def password_fits(password: str, hashed: str) -> bool:
    return bool(hashed) and bcrypt.checkpw(password.encode()[:72], hashed.encode())


def allows(granted: t.Collection[str], wanted: str) -> bool:
    return "all" in granted or wanted in granted


def excess(granted: t.Collection[str], wanted: t.Iterable[str]) -> list[str]:
    """Permissions somebody with C(granted) cannot hand on."""
    return [] if "all" in granted else [name for name in wanted if name not in granted]
