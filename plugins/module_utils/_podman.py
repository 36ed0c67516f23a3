# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading podman, many objects in one process. Private to the collection."""

from __future__ import annotations

import json
import os
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

SERVICE_LABEL = "PODMAN_SYSTEMD_UNIT"
GENERATORS = (
    "/usr/lib/systemd/{}-generators/podman-{}-generator",
    "/lib/systemd/{}-generators/podman-{}-generator",
    "/usr/local/lib/systemd/{}-generators/podman-{}-generator",
    "/usr/libexec/podman/quadlet",
    "/usr/lib/podman/quadlet",
)


def generator(session: Session) -> str | None:
    """Podman's own generator, found by the link systemd uses."""
    scope = "system" if session.system else "user"
    for pattern in GENERATORS:
        path = pattern.format(scope, scope)
        if os.path.exists(path):
            return os.path.realpath(path)
    return None


def parse_version(text: str) -> tuple[int, int, int] | None:
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match.group(1)), int(match.group(2)), int(match.group(3) or 0)) if match else None


def version(session: Session, program: str | None) -> tuple[int, int, int] | None:
    """Podman's version, asked of its generator (cheap, needs nothing) or of podman itself. None when there is no podman."""
    if program:
        rc, out, dummy = session.run([program, "-version"])
        if rc == 0 and parse_version(out):
            return parse_version(out)
    if not session.module.get_bin_path("podman"):
        return None
    rc, out, dummy = session.podman("--version")
    return parse_version(out) if rc == 0 else None


def networks(session: Session) -> list[dict[str, t.Any]]:
    """All networks of the scope as podman describes them (without the containers on them)."""
    return _listed(session, "network", "ls", "--format", "json")


def volumes(session: Session) -> list[dict[str, t.Any]]:
    return _listed(session, "volume", "ls", "--format", "json")


def containers(session: Session) -> list[dict[str, t.Any]]:
    """All containers in short form: names, labels, image id, state and health (inside Status)."""
    return _listed(session, "ps", "--all", "--format", "json")


def by_service(found: t.Sequence[dict[str, t.Any]], services: t.Sequence[str]) -> dict[str, list[dict[str, t.Any]]]:
    """Containers in short form by the service they belong to. The one podman keeps for a service itself may have no image, and is left out then."""
    named = [(item, (item.get("Labels") or {}).get(SERVICE_LABEL)) for item in found if item.get("Image")]
    return {service: [item for item, owner in named if owner == service] for service in services}


def inspect_containers(session: Session, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
    """Full description of those containers which exist."""
    if not names:
        return {}
    # rc is not 0 as soon as one is missing; those found are printed all the same
    dummy, out, err = session.podman("container", "inspect", *names)
    return {item["Name"]: item for item in _json(out, err)}


def image_ids(session: Session, references: t.Sequence[str]) -> dict[str, str]:
    """The id each reference means right now. A reference without an image is absent."""
    wanted = sorted(set(references))
    if not wanted:
        return {}
    rc, out, err = session.podman("image", "inspect", "--format", "{{.Id}}", *wanted)
    ids = out.split()
    if rc == 0 and len(ids) == len(wanted):
        return dict(zip(wanted, ids))
    if not re.search(r"image not known|no such (image|object)", err):
        raise SessionError(f"podman image inspect failed: {err.strip()}")
    # one is missing, so the order says nothing: ask again without those podman named
    missing = {ref for ref in wanted if re.search(rf"(?<![\w./:@-]){re.escape(ref)}: image not known", err)}
    if missing:
        return image_ids(session, [ref for ref in wanted if ref not in missing])
    return {ref: found[ref] for ref in wanted for found in [image_ids(session, [ref])] if found} if len(wanted) > 1 else {}


def secret_ids(session: Session) -> dict[str, str]:
    """Name -> id of every secret."""
    rc, out, err = session.podman("secret", "ls", "--format", "{{.ID}} {{.Name}}")
    if rc != 0:
        raise SessionError(f"podman secret ls failed: {err.strip()}")
    return {name: identifier for identifier, dummy, name in (line.partition(" ") for line in out.splitlines()) if name}


def secret_values(session: Session, names: t.Sequence[str]) -> dict[str, str]:
    """The values of existing secrets. They are compared and never shown."""
    if not names:
        return {}
    rc, out, err = session.podman("secret", "inspect", "--showsecret", *names)
    if rc != 0:
        raise SessionError(f"podman secret inspect failed: {err.strip()}")
    return {item["Spec"]["Name"]: item.get("SecretData", "") for item in json.loads(out)}


def health(status: str) -> str | None:
    """Health in the Status text of C(podman ps): healthy, unhealthy, starting, or None without a check."""
    match = re.search(r"\((healthy|unhealthy|starting)\)", status)
    return match.group(1) if match else None


def _listed(session: Session, *args: str) -> list[dict[str, t.Any]]:
    rc, out, err = session.podman(*args)
    if rc != 0:
        raise SessionError(f"podman {' '.join(args[:2])} failed: {err.strip()}")
    found = json.loads(out or "[]")
    return list(found or [])


def _json(out: str, err: str) -> list[dict[str, t.Any]]:
    try:
        return list(json.loads(out or "[]") or [])
    except ValueError:
        raise SessionError(f"podman did not answer in JSON: {err.strip()}") from None
