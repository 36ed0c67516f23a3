# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People, API keys and external libraries: what is declared beside what is there, and the steps between them. Pure.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

Json = dict[str, t.Any]

# Keys of ours begin with this; others are somebody's own and left alone.
PREFIX = "homelab:"
SETUP_KEY, SETUP_SECRET = f"{PREFIX}setup", "immich-setup-key"
# What the key of this module may do itself; it also has what it hands on.
OWN_PERMISSIONS = (
    "adminUser.create",
    "adminUser.read",
    "adminUser.update",
    "apiKey.create",
    "apiKey.delete",
    "apiKey.read",
    "apiKey.update",
    "library.create",
    "library.read",
    "library.update",
    "systemMetadata.update",
    "user.read",
)
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class DeclarationError(Exception):
    """A declaration cannot be met; the text says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One request. Owner: email whose id goes into the body as ownerId. Secret: where the answer's secret is kept."""

    text: str
    method: str
    path: str
    body: Json | None = dataclasses.field(default=None, repr=False)
    owner: str | None = None
    secret: str | None = None


@dataclasses.dataclass(frozen=True)
class State:
    """What is there. secrets: names of podman secrets; valid: those of them whose key the server knows."""

    users: t.Sequence[Json] = ()
    keys: t.Sequence[Json] = ()
    libraries: t.Sequence[Json] = ()
    onboarded: bool = False
    secrets: t.AbstractSet[str] = frozenset()
    valid: t.AbstractSet[str] = frozenset()


def size(text: str) -> int | None:
    """Bytes of a size such as 50G; None for no limit."""
    if not text:
        return None
    found = re.fullmatch(r"(\d+)([KMGT]?)", text.strip())
    if not found:
        raise DeclarationError(f"quota {text!r} is not a size: write a number with K, M, G or T")
    return int(found.group(1)) * _SIZES[found.group(2)]


def secret_name(key: str) -> str:
    return f"immich-api-key-{key}"


def setup_permissions(keys: t.Iterable[Json]) -> list[str]:
    """A key can hand on only what it has itself."""
    handed = {name for key in keys for name in key["permissions"]}
    return ["all"] if "all" in handed else sorted(handed.union(OWN_PERMISSIONS))


def plan(users: t.Sequence[Json], keys: t.Sequence[Json], libraries: t.Sequence[Json], state: State) -> list[Step]:
    """All steps, in an order in which they can be done."""
    steps = [] if state.onboarded else [Step("end the welcome tour", "POST", "/api/system-metadata/admin-onboarding", {"isOnboarded": True})]
    return [*steps, *plan_users(users, state.users), *plan_keys(keys, state), *plan_libraries(libraries, state)]


def plan_users(wanted: t.Sequence[Json], found: t.Sequence[Json]) -> t.Iterator[Step]:
    by_email = {str(user["email"]).lower(): user for user in found}
    for user in wanted:
        email = user["email"].lower()
        if not re.fullmatch(r"[\w-]*", user["storage_label"]):
            raise DeclarationError(f"storage_label {user['storage_label']!r} of {email}: Immich keeps letters, digits, - and _ only")
        body = {"name": user["name"], "quotaSizeInBytes": size(user["quota"]), "storageLabel": user["storage_label"] or None, "isAdmin": user["admin"]}
        live = by_email.get(email)
        if live is None:
            full = {**body, "email": email, "password": user["password"], "shouldChangePassword": True}
            yield Step(f"make the account {email}", "POST", "/api/admin/users", {key: value for key, value in full.items() if value is not None})
            continue
        changes = {key: value for key, value in body.items() if live.get(key) != value}
        if changes:
            yield Step(f"change {', '.join(sorted(changes))} of {email}", "PUT", f"/api/admin/users/{live['id']}", changes)


def plan_keys(wanted: t.Sequence[Json], state: State) -> t.Iterator[Step]:
    names = {PREFIX + key["name"]: key for key in wanted}
    for live in state.keys:
        if live["name"].startswith(PREFIX) and live["name"] not in names and live["name"] != SETUP_KEY:
            yield Step(f"remove the key {live['name']}", "DELETE", f"/api/api-keys/{live['id']}", secret=secret_name(live["name"][len(PREFIX) :]))
    for name, key in names.items():
        secret, same = secret_name(key["name"]), [live for live in state.keys if live["name"] == name]
        body = {"name": name, "permissions": sorted(key["permissions"])}
        usable = len(same) == 1 and secret in state.valid
        if not usable:
            # Its secret was shown once, when it was made: without it the key is of no use to anybody.
            for live in same:
                yield Step(f"remove the key {name}, whose secret is not here", "DELETE", f"/api/api-keys/{live['id']}")
            yield Step(
                f"make the key {name}, kept as {secret}", "POST", "/api/api-keys", {"name": name, "permissions": sorted(key["permissions"])}, secret=secret
            )
        elif sorted(same[0]["permissions"]) != sorted(key["permissions"]):
            body = {"name": name, "permissions": sorted(key["permissions"])}
            yield Step(f"change permissions of the key {name}", "PUT", f"/api/api-keys/{same[0]['id']}", body)


def plan_libraries(wanted: t.Sequence[Json], state: State) -> t.Iterator[Step]:
    ids = {str(user["email"]).lower(): user["id"] for user in state.users}
    for library in wanted:
        path, owner = f"/external/{library['name']}", library["owner"].lower()
        body = {"name": library["name"], "importPaths": [path], "exclusionPatterns": list(library["exclusion_patterns"])}
        live = next((item for item in state.libraries if path in item["importPaths"]), None)
        if live is None:
            yield Step(f"declare the library {library['name']} of {owner}", "POST", "/api/libraries", body, owner=owner)
        elif owner in ids and live["ownerId"] != ids[owner]:
            raise DeclarationError(
                f"the library {library['name']} belongs to somebody else than {owner}, and Immich cannot hand it over: remove it in Immich, or name its owner"
            )
        else:
            changes = {key: value for key, value in body.items() if live.get(key) != value}
            if changes:
                yield Step(f"change {', '.join(sorted(changes))} of the library {library['name']}", "PUT", f"/api/libraries/{live['id']}", changes)
