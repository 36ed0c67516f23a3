# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what: secrets, their hashes, permissions of API keys."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import typing as t

import bcrypt


def new_secret() -> str:
    """32 random bytes in base64 without what is neither letter nor digit: 43 characters, a few less by chance."""
    return re.sub(r"\W", "", base64.b64encode(secrets.token_bytes(32)).decode())


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
