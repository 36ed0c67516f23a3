# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a running container is still what its unit says. Private to the collection.

Two digests stand in a label of the container: one of its unit (with drop-ins), one of the files whose content belongs to it.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular
from ansible_collections.patriark.homelab.plugins.module_utils._commands import came_of
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import DEFAULT_RETRIES, DIGEST_LABEL, Unit

_LINE = f"Label={DIGEST_LABEL}="
_LENGTH = 16


def without_label(text: str) -> str:
    """Unit text as its author gave it."""
    return "\n".join(line for line in text.split("\n") if not line.startswith(_LINE))


def with_label(unit: Unit, text: str, digest: str) -> str:
    """Unit text as it is written: container units carry their digest."""
    from_text = Unit(unit.name, text)
    return from_text.file.with_line("Container", _LINE + digest) if unit.name.kind == "container" else text


def digest(text: str, drop_ins: t.Mapping[str, str], files: t.Mapping[str, str | None]) -> str:
    """text and drop_ins as written (without the label); files: name or path -> content, None while it does not exist."""
    return f"{_hash({'': text, **drop_ins})}-{_hash(files)}"


def _hash(parts: t.Mapping[str, str | None]) -> str:
    total = hashlib.sha256()
    for name in sorted(parts):
        content = parts[name]
        data = b"" if content is None else content.encode("utf-8", "surrogateescape")
        total.update(f"{name}\0{-1 if content is None else len(data)}\0".encode("utf-8", "surrogateescape") + data)
    return total.hexdigest()[:_LENGTH]


def file_hash(data: t.Iterable[bytes]) -> str:
    """For watched files, which may be large or no text."""
    total = hashlib.sha256()
    for part in data:
        total.update(part)
    return total.hexdigest()


def watched(path: str) -> str | None:
    """What stands for the content of a watched file; None while it cannot be read."""
    try:
        return file_hash(regular.chunks(path, None, follow=True))
    except OSError:
        return None


def differences(wanted: str, found: str | None) -> list[str]:
    """What two digests say has changed since the service was started."""
    if not found:
        return ["it was not started by this collection"]
    if wanted == found:
        return []
    unit, dummy, files = wanted.partition("-")
    old_unit, dummy, old_files = found.partition("-")
    return (["its unit changed"] if unit != old_unit else []) + (["a file it uses changed"] if files != old_files else [])


def container_reasons(
    unit: Unit,
    wanted: str,
    container: t.Mapping[str, t.Any] | None,
    image: tuple[str, str] | None,
    secrets: t.Mapping[str, str],
) -> list[str]:
    """Why a running service's container is stale.

    container: from podman inspect; image: (reference, id it means now) or None when that image is not here; secrets: name -> id.
    """
    if container is None:
        return ["its container is missing"]
    labels = (container.get("Config") or {}).get("Labels") or {}
    reasons = differences(wanted, labels.get(DIGEST_LABEL))
    if image and container.get("Image") and container["Image"] != image[1]:
        reasons.append(f"{image[0]} is another image now")
    held = {item.get("Name"): item.get("ID") for item in (container.get("Config") or {}).get("Secrets") or []}
    for name in sorted(set(unit.secrets)):
        if name in secrets and held.get(name) != secrets[name]:
            reasons.append(f"the secret {name} was replaced")
    return reasons


def other_command(container: t.Mapping[str, t.Any] | None, words: t.Sequence[str] | None) -> bool:
    """Whether a container was started with another command than the words its unit has. False where that cannot be told."""
    used = ((container or {}).get("Config") or {}).get("CreateCommand")
    return bool(words and used and not came_of(words, used))


def play_reasons(pieces: t.Sequence[t.Mapping[str, t.Any]], images: t.Mapping[str, str]) -> list[str]:
    """Why the containers of a .kube unit (from podman ps) are stale: an image reference means another image now.

    The image that podman holds pod and service open with is podman's own affair: it builds that itself, twice when two pods start at once.
    """
    own = {piece["Image"] for piece in pieces if piece.get("IsInfra")}
    moved = {piece["Image"] for piece in pieces if piece["Image"] not in own and images.get(piece["Image"], piece["ImageID"]) != piece["ImageID"]}
    return [f"{reference} is another image now" for reference in sorted(moved)]


def health_of(container: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """Status, failing streak and log of the health check of a container; None without a check.

    Until the start period is over podman counts no failure, and goes on calling healthy what has hung since: its log counts here.
    """
    state = ((container or {}).get("State") or {}).get("Health") or {}
    status = state.get("Status")
    if not status:
        return None
    log = [{"end": entry.get("End"), "exit_code": entry.get("ExitCode"), "output": (entry.get("Output") or "").strip()} for entry in state.get("Log") or []]
    streak = max(state.get("FailingStreak") or 0, len(list(itertools.takewhile(lambda entry: entry["exit_code"] != 0, reversed(log)))))
    retries = (((container or {}).get("Config") or {}).get("Healthcheck") or {}).get("Retries") or DEFAULT_RETRIES
    return {"status": "unhealthy" if status == "healthy" and streak >= retries else status, "failing_streak": streak, "log": log}


def starting_for(container: t.Mapping[str, t.Any], now: float) -> int | None:
    """Seconds since the start of a container that is not healthy yet and has time for it: its start period is not over. Else None."""
    state, check = container.get("State") or {}, (container.get("Config") or {}).get("Healthcheck") or {}
    # Ten digits of a second and the letter Z are more than Python 3.9 reads.
    started = re.sub(r"\.\d+", "", state.get("StartedAt") or "").replace("Z", "+00:00")
    if (state.get("Health") or {}).get("Status") != "starting" or not started:
        return None
    passed = int(now - datetime.datetime.fromisoformat(started).timestamp())
    return max(passed, 0) if passed < (check.get("StartPeriod") or 0) / 1e9 else None
