# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which services must be started, restarted or stopped, given what runs and what will be written. Pure.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _staleness as staleness
from ansible_collections.patriark.homelab.plugins.module_utils._commands import volume_differences
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, container_name, image_reference, parse_name
from ansible_collections.patriark.homelab.plugins.module_utils._request import Action, Plan
from ansible_collections.patriark.homelab.plugins.module_utils._stack import Member, Stack
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Tree

RUNNING = ("active", "reloading", "activating", "deactivating", "refreshing")
# Seconds within which a service that systemd has restarted may be about to fail again
CRASHING = 10.0
# Services that make a thing and stay; a restart does not change the thing
LASTING = ("network", "volume")
# Services there is nothing to stop of
MAKERS = ("network", "volume", "image", "build", "artifact")


@dataclasses.dataclass
class Live:
    """What runs.

    properties: service -> systemctl show; containers: name -> podman inspect; images: reference -> id; secrets: name -> id.
    plays: service of a .kube unit -> its containers from podman ps.
    lasting: kind -> name of each network or volume that exists -> what podman says of it, None when podman was not asked.
    commands: service -> the words it would be started with now, where they can be compared with what runs.
    looked: whether podman was asked at all.
    now: the moment of the look, in seconds of the monotonic clock.
    """

    properties: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    containers: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    images: dict[str, str] = dataclasses.field(default_factory=dict)
    secrets: dict[str, str] = dataclasses.field(default_factory=dict)
    plays: dict[str, list[dict[str, t.Any]]] = dataclasses.field(default_factory=dict)
    lasting: dict[str, dict[str, t.Any]] | None = None
    commands: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    looked: bool = False
    now: float = 0.0

    def state(self, service: str) -> str:
        return self.properties.get(service, {}).get("ActiveState", "inactive")

    def runs(self, service: str) -> bool:
        return self.state(service) in RUNNING

    def get(self, service: str, key: str) -> str:
        return self.properties.get(service, {}).get(key, "")

    def settled(self, service: str) -> bool:
        """Whether it is up, and not only for a moment between two restarts by systemd."""
        if self.state(service) not in ("active", "reloading"):
            return False
        since = int(self.get(service, "ActiveEnterTimestampMonotonic") or 0) / 1e6
        return self.get(service, "NRestarts") in ("", "0") or self.now - since > CRASHING


@dataclasses.dataclass
class Disk:
    """What lies in the stack's directory (folder) and among systemd's units (systemd_dir), and which of it will be another."""

    folder: str
    systemd_dir: str
    tree: Tree
    plain: Tree
    written: frozenset[str]

    def changes(self, name: str) -> bool:
        parsed = parse_name(name)
        return os.path.join(self.systemd_dir if parsed and parsed.plain else self.folder, name) in self.written

    def text(self, name: str) -> str | None:
        node = self.tree.get(name) or self.plain.get(name)
        return node.content if node else None


class Decision:
    """Fills the actions of a plan. targets: drop-in -> service of somebody else which it changes; gone: services to be removed."""

    def __init__(
        self,
        plan: Plan,
        stack: Stack,
        live: Live,
        disk: Disk,
        foreign: t.Mapping[str, Unit],
        targets: t.Mapping[str, str],
        gone: t.Sequence[str],
        removed: t.Sequence[str],
    ) -> None:
        self.plan, self.stack, self.live, self.disk = plan, stack, live, disk
        self.units = {**foreign, **stack.units}
        self.targets, self.gone, self.removed = targets, gone, removed
        self.request = stack.request
        self.listed = set(plan.before.units) if plan.before else set()
        self.findings: list[Finding] = []
        self.acted: set[str] = set()
        self.drop_ins: dict[str, list[str]] = {}
        for text in [*stack.request.units, *removed]:
            target = text.partition("/")[0]
            if "/" in text:
                self.drop_ins.setdefault(target[:-2], []).append(text)

    def make(self) -> list[Finding]:
        plan, live, state = self.plan, self.live, self.request.state
        services = [*self.stack.services, *self.gone]
        plan.running = [service for service in services if live.runs(service)]
        plan.starting = [service for service in plan.running if live.state(service) not in ("active", "reloading")]
        plan.unsettled = [service for service in plan.running if not live.settled(service)]
        plan.failed = [service for service in services if live.state(service) == "failed"]
        why = "the stack is removed" if state == "absent" else "no longer in the stack"
        self._act("stop", [(service, why) for service in self.gone if live.runs(service)])
        if state == "started":
            self._start()
        elif state == "stopped":
            stoppable = [member.service for member in self.stack.in_order() if member.unit.name.kind not in MAKERS]
            self._act("stop", [(service, "the stack is to be stopped") for service in stoppable if live.runs(service)])
        elif state == "present":
            for name, member in self.stack.members.items():
                reasons = self.reasons(name, member)
                if reasons:
                    plan.notes.append(f"{member.service} keeps running as it is ({'; '.join(reasons)}): state present restarts nothing")
        return self.findings

    def _act(self, verb: str, items: t.Iterable[tuple[str, str]]) -> None:
        for service, reason in items:
            if service not in self.acted:
                self.acted.add(service)
                self.plan.actions.append(Action(service, verb, reason))

    def _start(self) -> None:
        plan, live = self.plan, self.live
        for member in self.stack.in_order():
            unit, service, name = member.unit, member.service, member.unit.name.text
            if unit.name.kind == "build":
                self._build(name, member)
            elif unit.name.kind == "volume":
                self._volume(unit)
            if unit.on_demand or (unit.name.kind == "service" and f"{unit.name.stem}.timer" in self.stack.members):
                continue
            plan.expected.append(service)
            if unit.name.kind == "container" and unit.has_health_check:
                plan.checked.append(service)
            if not live.runs(service):
                self._act("start", [(service, self._why_down(name, service))])
                continue
            reasons = self.reasons(name, member)
            if unit.name.kind in LASTING:
                reasons = self._lasting(unit, reasons)
            if unit.name.kind == "image":
                reasons += self._image(name, unit)
            if service in self.request.restart:
                reasons.append("asked for")
            if reasons:
                self._act("restart", [(service, "; ".join(dict.fromkeys(reasons)))])
            health = staleness.health_of(live.containers.get(container_name(unit))) if unit.name.kind == "container" else None
            if health and health["status"] != "healthy":
                plan.unhealthy.append(service)
        self._pods()
        self._start_others()
        for service in plan.services("start", "restart"):
            if live.get(service, "LoadState") == "masked":
                cure = "unmask it (systemctl unmask, with --user for an account), or leave it out of the stack"
                self.findings.append(Finding(self.stack.services.get(service, service), f"{service} is masked: somebody wants it not to start", cure))

    def _pods(self) -> None:
        """A pod ends with the last of its containers: when all that run are restarted, it has to be restarted with them."""
        for name, member in self.stack.members.items():
            pod = member.unit
            if (
                pod.name.kind != "pod"
                or pod.get("ExitPolicy") == "continue"
                or any("exit-policy=continue" in word for word in pod.merged.words("Pod", "PodmanArgs"))
            ):
                continue
            running = {unit.service for unit in self.units.values() if unit.get("Pod") == name and self.live.runs(unit.service)}
            if running and running <= set(self.plan.services("restart")) and self.live.runs(pod.service):
                self._act("restart", [(pod.service, "all its containers are restarted")])

    def _build(self, name: str, member: Member) -> None:
        """A build runs when what uses it starts; without a user it is run once for each change."""
        used = any(unit.get("Image") == name for unit in self.stack.units.values())
        if not used and self._made_anew(name):
            self._act("start", [(member.service, "its unit is new or changed")])

    def _made_anew(self, name: str) -> bool:
        """Whether a .build or .image unit of this stack differs from what its image was made with."""
        member = self.stack.members.get(name)
        applied = (self.plan.before.applied if self.plan.before else {}).get(name)
        return member is not None and (self.disk.changes(name) or (applied is not None and applied != member.digest))

    def _why_down(self, name: str, service: str) -> str:
        if self.disk.text(name) is None:
            return "it is new"
        if self.live.state(service) == "failed":
            return f"it failed ({self.live.get(service, 'Result')})"
        if service not in self.live.properties:
            return "nothing of the account runs"
        return "it is stopped" if self.live.get(service, "LoadState") == "loaded" else "it is new"

    def _start_others(self) -> None:
        """Services which are not in the stack, and those a socket serves."""
        plan = self.plan
        self._act("restart", [(service, "asked for") for service in sorted(self.request.restart)])
        self._act("restart", [(service, f"{drop_in} changed") for drop_in, service in self.targets.items() if self.live.runs(service)])
        plan.expected += [service for service in plan.services("restart") if service not in plan.expected]
        for member in self.stack.members.values():
            if member.unit.name.kind == "socket" and member.service in plan.services("restart"):
                # systemd refuses to restart a socket below its running service
                served = member.unit.merged.value("Socket", "Service") or f"{member.unit.name.stem}.service"
                if served in plan.running:
                    self._act("restart", [(served, f"its socket {member.service} is restarted")])

    def _lasting(self, unit: Unit, reasons: list[str]) -> list[str]:
        """A network or volume stays as it is unless it is missing."""
        kind, live = unit.name.kind, self.live
        if live.lasting is not None and unit.resource not in live.lasting[kind]:
            return [f"the {kind} {unit.resource} is missing"]
        if kind == "network" and reasons and unit.service not in self.request.restart:
            cure = "use quadlet_network, which compares and recreates networks"
            self.findings.append(Finding(unit.name.text, f"podman leaves the existing {kind} {unit.resource} as it is", cure, severity="warning"))
        return []

    def _image(self, name: str, unit: Unit) -> list[str]:
        """An image which is missing is brought again when something is to be started from it."""
        reference = image_reference(unit, self.units)
        users = [user.service for user in self.stack.units.values() if user.get("Image") == name]
        missing = reference and reference not in self.live.images and not all(self.live.runs(service) for service in users)
        return [f"the image {reference} is missing"] if missing else []

    def _volume(self, unit: Unit) -> None:
        """podman volume create --ignore changes nothing on a volume that exists, and it holds data: only its owner can decide."""
        volume = (self.live.lasting or {}).get("volume", {}).get(str(unit.resource))
        if volume is None or unit.service not in self.live.commands:
            return
        differences, labels = volume_differences(self.live.commands[unit.service], volume)
        cure = f"write the unit as the volume is; or save its data, stop what uses it, podman volume rm {unit.resource}, and run again"
        if differences:
            reason = f"the volume {unit.resource} exists with {', '.join(differences)}, and podman never changes a volume"
            self.findings.append(Finding(unit.name.text, reason, cure))
        elif labels:
            reason = f"the volume {unit.resource} has {', '.join(labels)}, and podman never changes a volume"
            self.findings.append(Finding(unit.name.text, reason, cure, severity="warning"))

    def reasons(self, name: str, member: Member) -> list[str]:
        """Why what runs of this unit is not what is written. Empty for what does not run."""
        unit, live = member.unit, self.live
        if not live.runs(unit.service):
            return []
        parts = self._parts(name, unit)
        if any(self.disk.changes(part) for part in parts):
            reasons = [self._what_changed(name, member, parts)]
        elif unit.name.kind == "container":
            reasons = self._container(name, unit, member.digest)
        else:
            applied = (self.plan.before.applied if self.plan.before else {}).get(name)
            reasons = staleness.differences(member.digest, applied) if applied is not None else []
            reasons += staleness.play_reasons(live.plays.get(unit.service, []), live.images)
        image = unit.get("Image") if unit.name.kind == "container" else ""
        reasons += [f"{image} changed"] if self._made_anew(image) else []
        return reasons + [f"the secret {change.name} is replaced" for change in self.plan.secrets if change.name in unit.secrets]

    def _container(self, name: str, unit: Unit, digest: str) -> list[str]:
        live = self.live
        if live.state(unit.service) != "active":
            # on its way: its container may not be there yet. What it is started from is what systemd has loaded.
            return ["it is being started from an older unit"] if live.get(unit.service, "NeedDaemonReload") == "yes" else []
        if not live.looked or unit.on_demand:
            return []
        reference = image_reference(unit, self.units)
        image = (reference, live.images[reference]) if reference and reference in live.images else None
        container, before, now = live.containers.get(container_name(unit)), self.plan.before, self.plan.manifest
        reasons = staleness.container_reasons(unit, digest, container, image, live.secrets)
        if not reasons and staleness.other_command(container, live.commands.get(unit.service)):
            # restarted for that once and still so: something between systemd and podman changes the command each time
            if before and before.applied.get(name) == digest:
                self.plan.notes.append(f"{unit.service} is started with another command than its unit has, also by systemd: that is not compared")
            else:
                reasons = ["it was started with another command than its unit has"]
            if now:
                now.applied[name] = digest
        return reasons

    def _parts(self, name: str, unit: Unit) -> list[str]:
        """The files of the stack that make this unit what it is. Whoever changed one may have restarted it since."""
        drop_ins = [*self.drop_ins.get(name, []), *self.drop_ins.get(unit.name.template_name or "", [])]
        return [name, *drop_ins, *(file for file in self.request.files if unit.mentions(file))]

    def _what_changed(self, name: str, member: Member, parts: t.Sequence[str]) -> str:
        old = self.disk.text(name)
        if old is None:
            return "its unit file was missing" if name in self.listed else "it is new in this stack"
        if staleness.without_label(old) != member.text:
            return "its unit changed"
        changed = [part for part in parts if part != name and self.disk.changes(part)]
        return f"{', '.join(changed)} changed" if changed else "a file it uses changed"


def propagate(
    plan: Plan, live: Live, generated: t.Mapping[str, str], own: t.Mapping[str, str], look: t.Callable[[list[str]], dict[str, dict[str, str]]]
) -> None:
    """Add the services which systemd restarts or stops along, because they require one of ours.

    generated: service -> future text, where known; own: the same for plain units; look asks systemd about services not read yet.
    """
    requires = {service: required(text) for service, text in {**generated, **own}.items()}
    verbs = {action.service: action.verb for action in plan.actions}
    queue = [action.service for action in plan.actions if action.verb in ("restart", "stop")]
    while queue:
        service = queue.pop(0)
        loaded = {name for key in ("RequiredBy", "BoundBy", "ConsistsOf") for name in live.get(service, key).split()}
        dependants = {name for name in loaded if name not in requires} | {name for name, needed in requires.items() if service in needed}
        unknown = sorted(name for name in dependants if name not in live.properties and "@." not in name)
        if unknown:
            live.properties.update(look(unknown))
        for name in sorted(dependants):
            if name not in verbs and live.runs(name):
                verbs[name] = verbs[service]
                plan.actions.append(Action(name, verbs[service], f"it requires {service}"))
                queue.append(name)


def required(text: str) -> set[str]:
    """Services which a unit goes down with, from its text for systemd."""
    found: set[str] = set()
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        key, dummy, value = line.partition("=")
        if section == "[Unit]" and key in ("Requires", "Requisite", "BindsTo", "PartOf"):
            found.update(value.split())
    return found
