# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a request, in the words of each release: 2.x has a list of sentences, 3.x a list of objects."""

from __future__ import annotations

import typing as t

from immich_server import MAJOR

Found = t.Union[str, dict[str, t.Any]]


def invalid(path: list[t.Any], wanted: str, received: str = "undefined", code: str = "invalid_type", **more: t.Any) -> dict[str, t.Any]:
    return {**more, "code": code, "path": path, "message": f"Invalid input: expected {wanted}, received {received}"}


def text(document: t.Mapping[str, t.Any], *names: str) -> list[Found]:
    """Fields that have to be text. An empty one is text for 3.x."""
    found: list[Found] = []
    for name in names:
        value = document.get(name)
        if MAJOR >= 3:
            found += [] if isinstance(value, str) else [invalid([name], "string", expected="string")]
        elif not isinstance(value, str) or not value:
            found += [f"{name} should not be empty"] + ([] if isinstance(value, str) else [f"{name} must be a string"])
    return found


def email(value: str) -> list[Found]:
    good = value.count("@") == 1 and all(value.split("@")) and not set(value) & set(" \t\n")
    if good:
        return []
    return [invalid(["email"], "email", "string", "invalid_format", origin="string", format="email") if MAJOR >= 3 else "email must be an email"]


def choice(value: t.Any, allowed: t.Sequence[str], path: list[t.Any]) -> list[Found]:
    """One of some words; an element of a list has its place as the second part of its path."""
    if value in allowed:
        return []
    if MAJOR >= 3:
        words = "|".join(f'"{word}"' for word in allowed)
        return [{"code": "invalid_value", "values": list(allowed), "path": path, "message": f"Invalid option: expected one of {words}"}]
    subject = f"each value in {path[0]}" if len(path) > 1 else str(path[0])
    return [f"{subject} must be one of the following values: {', '.join(allowed)}"]


def upload(fields: t.Mapping[str, str], is_time: t.Callable[[str], bool]) -> list[Found]:
    """The fields beside a photo. 3.x wants nothing of the device."""
    found: list[Found] = []
    for name in ("deviceAssetId", "deviceId") if MAJOR < 3 else ():
        found += [] if fields.get(name) else [f"{name} must be a string", f"{name} should not be empty"]
    for name in ("fileCreatedAt", "fileModifiedAt"):
        if not is_time(fields.get(name, "")):
            old: list[Found] = [f"{name} must be a Date instance", *([] if fields.get(name) else [f"{name} should not be empty"])]
            found += [invalid([name], "ISO 8601 datetime string", expected="string")] if MAJOR >= 3 else old
    return found


def body(message: str | list[Found], status: int, correlation: str) -> dict[str, t.Any]:
    """The answer to a request that is refused."""
    if MAJOR >= 3:
        if isinstance(message, str):
            return {"message": message}
        errors = [entry if isinstance(entry, dict) else {"code": "custom", "path": [], "message": entry} for entry in message]
        return {"message": "Validation failed", "errors": errors}
    reason = {} if status == 500 else {"error": REASONS.get(status, "Error")}
    return {"message": message, **reason, "statusCode": status, "correlationId": correlation}


REASONS = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}
