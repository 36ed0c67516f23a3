# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack shall be (Request), and what has to be done for it (Plan). Private to the collection."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._manifest import Manifest
from ansible_collections.patriark.homelab.plugins.module_utils._pull_plan import Pull
from ansible_collections.patriark.homelab.plugins.module_utils._redact import redacted
from ansible_collections.patriark.homelab.plugins.module_utils._secrets import SecretChange, SecretRequest
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Tree


class TransactionError(Exception):
    """The request cannot be planned. C(findings) has all reasons, not only the first."""

    def __init__(self, findings: t.Sequence[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = list(findings)


@dataclasses.dataclass(frozen=True)
class CompanionFile:
    """A file that lies beside the units of a stack and belongs to those which mention it."""

    content: str
    mode: int = 0o600


@dataclasses.dataclass
class Request:
    """What a stack shall be.

    units: file name -> text; None makes an instance of a template (t@one.container).
    watch: unit -> paths outside the stack whose content belongs to it.
    state: started, stopped, present or absent.
    restart: services to restart although nothing of theirs changed (they may belong to other stacks).
    prepare: called once after the services of restart were stopped and before files are written (quadlet_network removes a
        network there); undo: called in a rollback, after the old files are back and before the old services are started.
    progress: told while waiting what is not up yet (service -> why), the seconds waited and the limit.
    tell: told in words what is being done meanwhile.
    networks: names of the networks that exist, when the caller has asked podman already.
    pull_timeout: seconds for which a registry may say nothing.
    """

    stack: str
    units: dict[str, str | None]
    files: dict[str, CompanionFile] = dataclasses.field(default_factory=dict)
    watch: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    secrets: list[SecretRequest] = dataclasses.field(default_factory=list)
    state: str = "started"
    prune: bool = True
    wait: bool = True
    wait_timeout: int = 300
    on_failure: str = "rollback"
    restart: t.AbstractSet[str] = frozenset()
    prepare: t.Callable[[], None] | None = None
    undo: t.Callable[[], None] | None = None
    progress: t.Callable[[t.Mapping[str, str], float, float], None] | None = None
    networks: t.AbstractSet[str] | None = None
    tell: t.Callable[[str], None] | None = None
    pull_timeout: int = 120


@dataclasses.dataclass(frozen=True)
class FileChange:
    """A file to write (after is text) or to remove (after is None). before is None for a new file."""

    path: str
    before: str | None
    after: str | None
    mode_before: int = 0o644
    mode: int = 0o644

    def _strictest(self) -> int:
        """The rights which both contents have: what was private stays hidden."""
        modes = [mode for text, mode in ((self.before, self.mode_before), (self.after, self.mode)) if text is not None]
        return modes[0] & modes[-1]

    def shown(self) -> dict[str, str]:
        """The change as a diff shows it."""
        before, after = redacted(self.before, self.after, self._strictest())
        if self.before is not None and self.after is not None and self.mode != self.mode_before:
            before, after = f"# mode {self.mode_before:04o}\n{before}", f"# mode {self.mode:04o}\n{after}"
        return {
            "before": before,
            "after": after,
            "before_header": "/dev/null" if self.before is None else self.path,
            "after_header": "/dev/null" if self.after is None else self.path,
        }


@dataclasses.dataclass(frozen=True)
class Action:
    """verb is start, restart or stop."""

    service: str
    verb: str
    reason: str


@dataclasses.dataclass
class Plan:
    """What execute() will do, and what it needs to know for it.

    tree and plain: the complete future content of the stack's directory, and of the stack's units beside it.
    before and manifest: what the stack owned, and will own (None: nothing).
    loadable: services systemd must know afterwards; expected: those that shall run; checked: those with a health check.
    running: services that run now; starting: those of them which are not up yet; unsettled: those, and those which systemd has just restarted;
    unhealthy: those whose check does not succeed.
    failed: services in state failed.
    containers: container name -> service.
    pulls: images to bring here before anything else is done; usable: whether podman can be asked about them.
    """

    files: list[FileChange] = dataclasses.field(default_factory=list)
    actions: list[Action] = dataclasses.field(default_factory=list)
    secrets: list[SecretChange] = dataclasses.field(default_factory=list)
    enable: list[str] = dataclasses.field(default_factory=list)
    disable: list[str] = dataclasses.field(default_factory=list)
    reload: bool = False
    linger: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)
    warnings: list[Finding] = dataclasses.field(default_factory=list)
    tree: Tree = dataclasses.field(default_factory=dict)
    plain: Tree = dataclasses.field(default_factory=dict)
    before: Manifest | None = None
    manifest: Manifest | None = None
    loadable: list[str] = dataclasses.field(default_factory=list)
    expected: list[str] = dataclasses.field(default_factory=list)
    checked: list[str] = dataclasses.field(default_factory=list)
    running: list[str] = dataclasses.field(default_factory=list)
    starting: list[str] = dataclasses.field(default_factory=list)
    unsettled: list[str] = dataclasses.field(default_factory=list)
    unhealthy: list[str] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)
    containers: dict[str, str] = dataclasses.field(default_factory=dict)
    pulls: list[Pull] = dataclasses.field(default_factory=list)
    usable: bool = True

    @property
    def changed(self) -> bool:
        return bool(self.files or self.actions or self.secrets or self.enable or self.disable or self.reload or self.linger)

    def services(self, *verbs: str) -> list[str]:
        return [action.service for action in self.actions if action.verb in verbs]

    def diff(self) -> list[dict[str, str]]:
        """What C(--diff) shows: files, then what is done to services and secrets. Never a secret."""
        lines = [f"pull {pull.reference}" for pull in self.pulls]
        lines += [f"{action.verb} {action.service}: {action.reason}" for action in self.actions]
        lines += [f"{change.verb} secret {change.name}" for change in self.secrets]
        lines += [f"enable {name}" for name in self.enable] + [f"disable {name}" for name in self.disable]
        lines += ["daemon-reload"] if self.reload else []
        lines += ["enable lingering"] if self.linger else []
        return [change.shown() for change in self.files] + ([{"prepared": "\n".join(lines) + "\n"}] if lines else [])
