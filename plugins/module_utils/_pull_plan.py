# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images a stack needs before its services are started. Pure. Private to the collection."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_keys import TYPES
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, image_reference, is_true

# What podman run and podman pull both know about where an image comes from
_OPTIONS = ("--arch", "--authfile", "--cert-dir", "--creds", "--decryption-key", "--os", "--platform", "--retry", "--retry-delay", "--variant")
_KEYS = ("Arch", "AuthFile", "CertDir", "Creds", "DecryptionKey", "OS", "Retry", "RetryDelay", "Variant")
_ID = re.compile(r"(sha256:)?[0-9a-f]{12,64}")


@dataclasses.dataclass(frozen=True)
class Pull:
    """An image to be brought here before anything is written.

    unit: who wants it; policy: missing, newer or always; present: whether there is one of that name already.
    options: words of podman pull; scope: words before the verb.
    """

    unit: str
    reference: str
    policy: str = "missing"
    present: bool = False
    options: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()


def wanted(acting: t.Iterable[Unit], units: t.Mapping[str, Unit], images: t.Mapping[str, str], places: t.Mapping[str, str]) -> tuple[list[Pull], list[Finding]]:
    """Each image once, and what is missing and cannot be pulled.

    acting: units whose service is about to start; units: all there are; images: reference -> id of those that are here; places: specifier -> path.
    """
    made = {unit.get("ImageTag") for unit in units.values() if unit.name.kind in ("build", "image")}
    pulls: dict[str, Pull] = {}
    absent: list[tuple[Unit, str, str]] = []
    for unit in acting:
        reference = _reference(unit, units)
        if reference is None:
            continue
        here, policy = reference in images, policy_of(unit)
        if _is_local(reference) or policy == "never":
            if not here and reference not in made:
                absent.append((unit, reference, "its name says that it is made here" if _is_local(reference) else "Pull=never"))
        elif policy in ("always", "newer") or not here:
            options, scope = _options(unit, places)
            if not any(re.search(r"[%$]", word) for word in (*options, *scope)):
                pulls.setdefault(reference, Pull(unit.name.text, reference, policy, here, options, scope))
    cure = "bring it first, as the account: podman load --input FILE; docs/images.md tells how"
    findings = [
        unit.finding(unit.section, "Image", f"the image {reference} is not here, and is not pulled ({why})", cure)
        for unit, reference, why in absent
        if reference not in pulls
    ]
    return list(pulls.values()), findings


def _reference(unit: Unit, units: t.Mapping[str, Unit]) -> str | None:
    """What this unit itself brings: an image of another unit is that one's affair."""
    image = unit.get("Image")
    if unit.name.kind not in ("container", "image") or unit.name.template or image.endswith((".image", ".build")):
        return None
    # an .image unit may give what it pulls another name
    return image if unit.name.kind == "image" and image_reference(unit, {}) else image_reference(unit, units)


def _is_local(reference: str) -> bool:
    return reference.startswith("localhost/") or bool(_ID.fullmatch(reference))


def policy_of(unit: Unit) -> str:
    """When podman asks the registry. podman pull, which an .image unit is, does so each time."""
    key, usual = ("Policy", "always") if unit.name.kind == "image" else ("Pull", "missing")
    words = unit.merged.words(unit.section, "PodmanArgs")
    flags = [word.partition("=")[2] or next_word for word, next_word in zip(words, [*words[1:], ""]) if word.partition("=")[0] in ("--pull", "--policy")]
    return (flags[-1] if flags else unit.get(key)) or usual


def _options(unit: Unit, places: t.Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of its command that count for a pull too, with the specifiers that are known in their place."""
    keys = TYPES[unit.name.kind].keys
    options = [f"{keys[key].flag}={unit.get(key)}" for key in _KEYS if key in keys and unit.get(key)]
    if "TLSVerify" in keys and unit.get("TLSVerify"):
        options.append(f"--tls-verify={str(is_true(unit.get('TLSVerify'))).lower()}")
    queue = unit.merged.words(unit.section, "PodmanArgs")
    while queue:
        flag, equals, value = queue.pop(0).partition("=")
        if flag in _OPTIONS:
            options.append(f"{flag}={value if equals else queue.pop(0) if queue else ''}")
        elif flag == "--tls-verify":
            options.append(f"{flag}={value or 'true'}")
    scope = [f"--module={entry.value}" for entry in unit.merged.all(unit.section, "ContainersConfModule")]
    scope += unit.merged.words(unit.section, "GlobalArgs")
    return tuple(_placed(word, places) for word in options), tuple(_placed(word, places) for word in scope)


def _placed(word: str, places: t.Mapping[str, str]) -> str:
    return re.sub(r"%.", lambda match: places.get(match.group(), match.group()), word)
