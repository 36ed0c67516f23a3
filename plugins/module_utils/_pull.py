# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings images here, and says how far it is and why not. Private to the collection."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._pull_plan import Pull
from ansible_collections.patriark.homelab.plugins.module_utils._pull_told import (
    GENERAL,
    WORDS,
    Blame,
    Progress,
    blames,
    bytes_of,
    digest_for,
    host_of,
    manifest_of,
    megabytes,
    mirrors_of,
    telling,
    told,
)
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session

Tell = t.Callable[[str], None]
# Seconds for which a question about the size of an image is worth a wait
ASK = "20"
# Seconds without a byte after which nothing is expected any more
SILENCE = 120.0


class Silence(Exception):
    """The registry has said nothing for too long."""


class Puller:
    """Pulls of one run, one after the other. timeout: seconds a registry may say nothing.

    findings: what could not be brought; notes: what somebody should know; sizes: reference -> bytes that came.
    """

    def __init__(self, session: Session, tell: Tell | None = None, timeout: float = SILENCE) -> None:
        self.session, self.timeout = session, timeout
        self.tell = tell or (lambda dummy: None)
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.sizes: dict[str, int] = {}

    def run(self, pulls: t.Sequence[Pull]) -> bool:
        """Bring all of them. Whether a name means another image now."""
        before = podman.image_ids(self.session, [pull.reference for pull in pulls if pull.present])
        left: dict[str, list[str]] = {}
        for number, pull in enumerate(pulls, 1):
            host = host_of(pull.reference)
            if host in left:
                left[host].append(pull.reference)
            elif not self._one(pull, f"pulling {pull.reference} ({number} of {len(pulls)})"):
                left[host] = []
        for host, others in left.items():
            if others:
                self._also(host, others)
        return bool(before) and podman.image_ids(self.session, list(before)) != before

    def _also(self, host: str, others: t.Sequence[str]) -> None:
        """A registry fails for all of its images at once: say which."""
        index = max(index for index, finding in enumerate(self.findings) if host_of(finding.reason) == host)
        finding = self.findings[index]
        self.findings[index] = dataclasses.replace(finding, reason=f"{finding.reason}; not tried for the same reason: {', '.join(others)}")

    def _one(self, pull: Pull, title: str) -> bool:
        """Whether the next image of this registry is worth a try."""
        found = self.attempt(pull.reference, (*pull.scope, "pull"), pull.options, title)
        if found is None:
            return True
        worst = telling(found)
        reason, remedy = told(pull.reference, found, [] if worst.host else self._mirrors(pull.reference))
        if pull.policy == "newer" and pull.present:
            self.notes.append(f"{reason}; the one that is here is kept (Pull=newer)")
            return True
        self.findings.append(Finding(pull.unit, reason, remedy))
        return worst.kind not in GENERAL

    def attempt(self, reference: str, verb: t.Sequence[str], options: t.Sequence[str], title: str) -> list[Blame] | None:
        """None when it worked."""
        progress, begun = Progress(), time.monotonic()
        heard = [begun, progress.sums, ""]

        def hear(text: str) -> None:
            progress.hear(text)
            now = time.monotonic()
            if [progress.sums, progress.retry] != heard[1:] or not progress.downloading:
                heard[:] = [now, progress.sums, progress.retry]
            elif now - t.cast("float", heard[0]) > self.timeout:
                raise Silence
            self.tell(f"{title}: {progress.shown()}, after {now - begun:.0f} s")

        try:
            rc, said = self.session.follow(["podman", *verb, *options, reference], hear)
        except Silence:
            return [Blame("", False, "silent", f"nothing came for {self.timeout:.0f} s")]
        self.sizes[reference] = round(progress.sums[1])
        return None if rc == 0 else blames(said, reference)

    def _mirrors(self, reference: str) -> list[str]:
        rc, out, dummy = self.session.podman("info", "--format", "{{json .Registries}}")
        return mirrors_of(reference, json.loads(out)) if rc == 0 and out.startswith("{") else []


def size_of(session: Session, pull: Pull) -> tuple[int | None, str]:
    """The bytes a registry would send, or why they are not known. Layers that are here already are counted too."""
    scope, manifest = pull.scope, None
    options = [option for option in pull.options if option.startswith(("--authfile=", "--tls-verify="))]
    reference = pull.reference
    for dummy in range(2):
        rc, out, err = session.run(["timeout", ASK, "podman", *scope, "manifest", "inspect", *options, reference])
        manifest = manifest_of(out, err)
        if manifest is None:
            break
        number = bytes_of(manifest)
        digest = digest_for(manifest, os.uname().machine)
        if number is not None or digest is None:
            return number, "" if number is not None else WORDS["platform"][0]
        reference = f"{_bare(pull.reference)}@{digest}"
    if rc == 124:
        return None, f"no answer within {ASK} s"
    worst = telling(blames(err, pull.reference))
    who = worst.host or host_of(pull.reference)
    return None, f"{'the mirror ' if worst.mirror else ''}{who}: {WORDS[worst.kind][0]}"


def _bare(reference: str) -> str:
    """Without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def described(pull: Pull, size: int | None, reason: str = "") -> dict[str, t.Any]:
    """What a result says of an image."""
    much = megabytes(size) if size is not None else f"size not known: {reason}"
    asked = f", where it differs from the one that is here (Pull={pull.policy})" if pull.present else ""
    return {"image": pull.reference, "unit": pull.unit, "bytes": size, "told": f"{pull.reference}{asked} ({much})"}


def predicted(session: Session, pulls: t.Sequence[Pull], usable: bool) -> list[dict[str, t.Any]]:
    """What would be brought. The registry is asked for the sizes, and that it does not answer is no reason to fail."""
    found, bad = [], dict[str, str]()
    for pull in pulls:
        host = host_of(pull.reference)
        if not usable:
            size, reason = None, "the account cannot ask before it is there"
        elif host in bad:
            size, reason = None, bad[host]
        else:
            size, reason = size_of(session, pull)
            if size is None and reason != WORDS["missing"][0]:
                bad[host] = reason
        found.append(described(pull, size, reason))
    return found
