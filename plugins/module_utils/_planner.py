# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a request to a plan: look at the host, lint, judge, compare. Reads and never writes. Private to the collection."""

from __future__ import annotations

import hashlib
import os
import re
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _generator as generator
from ansible_collections.patriark.homelab.plugins.module_utils import _manifest as manifests
from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _quadlet_lint as lint
from ansible_collections.patriark.homelab.plugins.module_utils import _secrets as secrets
from ansible_collections.patriark.homelab.plugins.module_utils import _staleness as staleness
from ansible_collections.patriark.homelab.plugins.module_utils import _systemd as systemd
from ansible_collections.patriark.homelab.plugins.module_utils._commands import moment, same_meaning, start_command
from ansible_collections.patriark.homelab.plugins.module_utils._decide import LASTING, Decision, Disk, Live, propagate
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._pull_plan import wanted
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_paths import lint_paths
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import (
    QUADLET_TYPES,
    Unit,
    container_name,
    has_install,
    image_reference,
    is_plain,
    parse_name,
)
from ansible_collections.patriark.homelab.plugins.module_utils._request import FileChange, Plan, Request, TransactionError
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session
from ansible_collections.patriark.homelab.plugins.module_utils._stack import Stack
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node, Tree, changed, read_quietly, read_tree

# Stands for a podman that is not there yet: nothing is too new for it
NEWEST = (99, 0, 0)
# What every quadlet of an account waits for from podman 5.3 on, as long as 90 seconds
_NETWORK_WAIT = "podman-user-wait-network-online.service"
_QUADLETS = tuple(f".{kind}" for kind in QUADLET_TYPES)
_STAND_INS = {"network": "[Network]\n", "volume": "[Volume]\n", "pod": "[Pod]\n", "container": "[Container]\nImage=localhost/unknown:1\n"}


class Planner:
    """One plan. The order of the steps in plan() is the contract of the module."""

    def __init__(self, session: Session, request: Request) -> None:
        self.session, self.request = session, request
        self.check = bool(session.module.check_mode)
        self.result = Plan()
        self.stack = Stack(request)
        self.findings = list(self.stack.findings)
        self.folder = os.path.join(session.unit_dir, request.stack)
        self.generated: dict[str, str] = {}
        self.unread = False

    def plan(self) -> Plan:
        self._stop_on_errors()
        self._read_host()
        self._lint()
        self._stop_on_errors()
        self._write_texts()
        self._compare_files()
        self._stop_on_errors()
        self._judge()
        self._stop_on_errors()
        self._read_live()
        self._stop_on_errors()
        self._decide()
        self._stop_on_errors()
        return self.result

    def _stop_on_errors(self) -> None:
        errors = [finding for finding in self.findings if finding.severity == "error"]
        if errors:
            raise TransactionError(errors)
        self.result.warnings = list(self.findings)

    # -- the host ----------------------------------------------------------------------------------------------------------

    def _read_host(self) -> None:
        session, request = self.session, self.request
        self.others = manifests.load_all(session) if session.exists else {}
        self.before = self.result.before = self.others.pop(request.stack, None)
        if self.before and self.before.version > manifests.VERSION:
            reason = f"a newer version of this collection has recorded it (format {self.before.version}; this one knows {manifests.VERSION})"
            self.findings.append(Finding(request.stack, reason, "upgrade the collection"))
        if self.before and self.before.damaged:
            cure = f"what it had listed and is not wanted any more stays: look into {self.folder} and {session.systemd_dir}"
            self.findings.append(Finding(request.stack, "the record of what belongs to the stack was damaged, and is made anew", cure, severity="warning"))
        previous = manifests.load_previous(session, request.stack) if session.exists else None
        listed = self.before or manifests.Manifest(request.stack)
        self.listed = {*listed.units, *listed.files}
        self.owned = {*self.listed, *(previous.names if previous else [])}
        self.program = podman.generator(session) if session.exists else None
        self.installed = session.module.get_bin_path("podman") is not None
        self.version = podman.version(session, self.program) if session.exists and self.installed else None
        # in check mode podman is not asked before the account has a session: it would make its directories
        self.usable = self.result.usable = session.exists and self.installed and (session.ready or not self.check)
        if request.state != "absent":
            self._judge_podman()
        if not session.exists:
            self.result.notes.append(f"the account {session.user} does not exist yet: the units were checked, the host was not")
        self.result.linger = session.exists and not session.lingering
        self.roots = generator.scan(session) if session.exists else {}
        self._read_foreign()
        self._stop_on_errors()

    def _judge_podman(self) -> None:
        stack, cure = self.request.stack, "install podman 4.8 or newer (the role host does)"
        if self.version is None:
            message = "the version of podman could not be read" if self.installed else "podman is not installed"
            if not self.check:
                self.findings.append(Finding(stack, message, cure))
            elif self.session.exists:
                self.result.notes.append(f"{message}: nothing that depends on its version was judged")
        elif self.program is None and any(not unit.name.plain for unit in self.stack.units.values()):
            self.findings.append(Finding(stack, "podman has no quadlet generator here", cure))

    def _read_foreign(self) -> None:
        """Units of everybody else in the search path; the first of a name counts."""
        self.foreign: dict[str, Unit] = {}
        self.foreign_paths: dict[str, str] = {}
        for root, files in self.roots.items():
            for path in sorted(files, key=lambda path: (path.count("/"), path)):
                name = parse_name(os.path.basename(path))
                full = os.path.join(root, path)
                if name is None or name.text in self.foreign or self._is_ours(full):
                    continue
                node = files[path]
                with self.session.files():  # a link of the account's shows what the account may see
                    shown = node if node.target is None else read_quietly(os.path.realpath(full))
                self.foreign_paths[name.text] = full
                self.foreign[name.text] = Unit(name, staleness.without_label(shown.content) if shown else "")

    def _is_ours(self, path: str) -> bool:
        name = os.path.relpath(path, self.folder)
        return not name.startswith("..") and (name in self.owned or name in self.request.units)

    # -- the texts ---------------------------------------------------------------------------------------------------------

    def _lint(self) -> None:
        """Everything that can be judged from texts. All findings are collected before anything stops."""
        units = self.stack.units
        self.findings += self.stack.lint(self.version or NEWEST, not self.session.system)
        everything = {**self.foreign, **units}
        for judge in (lint.lint_duplicates, lint.lint_networks, lint.lint_addresses):
            self.findings += judge(everything, units)
        self.missing = lint.lint_references(units, set(everything))
        targets = [target for target in self.stack.drop_ins if target not in everything and target.endswith(_QUADLETS)]
        self.missing += [Finding(target, f"there is no unit {target}", "these drop-ins are for it: deploy the stack that has it first") for target in targets]
        if self.check:
            self.result.notes += [f"{finding.unit}: {finding.reason} yet" for finding in self.missing]
        else:
            self.findings += self.missing
        for name in [*units, *(name for texts in self.stack.drop_ins.values() for name in texts)]:
            owner = next((stack for stack, manifest in self.others.items() if name in manifest.units), None)
            if name in units and name in self.foreign_paths:
                whose = f"stack {owner}" if owner else "not made by this collection"
                self.findings.append(Finding(name, f"there is a unit of that name already: {self.foreign_paths[name]} ({whose})", "rename one of them"))
            elif owner:
                self.findings.append(Finding(name, f"it belongs to the stack {owner}", "rename it, or take it out of that stack first"))

    def _write_texts(self) -> None:
        paths = {path for paths in self.request.watch.values() for path in paths}
        with self.session.files():
            contents = {path: staleness.watched(path) for path in paths}
        self.stack.write_texts(self.version, self.foreign, contents)
        self.result.notes += self.stack.notes
        self.result.tree, self.result.plain = self.stack.tree, self.stack.plain

    # -- files -------------------------------------------------------------------------------------------------------------

    def _compare_files(self) -> None:
        request, result, session = self.request, self.result, self.session
        wanted = {*result.tree, *result.plain}
        # without prune, what is no longer listed stays as it is, and stays ours
        kept = set() if request.prune or request.state == "absent" else self.owned - wanted
        self.removed = sorted(self.owned - wanted - kept)
        names = {*self.owned, *wanted}
        with session.files():
            tree = read_tree(self.folder, [name for name in names if not is_plain(name)])
            plain = read_tree(session.systemd_dir, [name for name in names if is_plain(name)])
            linked = os.path.islink(self.folder)
        for name in kept:
            place, source = (result.plain, plain) if is_plain(name) else (result.tree, tree)
            if name in source:
                place[name] = source[name]
        self._refuse_strangers(plain)
        if linked:
            self.findings.append(Finding(request.stack, f"{self.folder} is a symbolic link", "the directory of a stack is exchanged as a whole: make it one"))
        if request.state == "absent":
            left = sorted(path for path in self.foreign_paths.values() if path.startswith(self.folder + "/"))
            result.notes += [f"{path} stays: it is not in the record of the stack" for path in left]
        if request.state == "started" and session.exists:
            self._lint_paths()
        for base, future, present in ((self.folder, result.tree, tree), (session.systemd_dir, result.plain, plain)):
            for name in sorted({*future, *present}):
                if present.get(name) != future.get(name):
                    result.files.append(_change(os.path.join(base, name), present.get(name), future.get(name)))
        self.disk = Disk(self.folder, session.systemd_dir, tree, plain, frozenset(change.path for change in result.files))
        if request.state != "absent":
            result.manifest = self._manifest({*wanted, *kept})

    def _lint_paths(self) -> None:
        going = {os.path.join(self.folder, name) for name in self.removed}
        files = [name for name in self.result.tree if parse_name(name) is None]
        with self.session.files():
            beside, elsewhere = lint_paths(self.stack.units, self.folder, self.session.home, files, lambda path: path not in going and os.path.exists(path))
        self.findings += beside
        if self.check:
            # another task may make it before the start
            self.result.notes += [f"{finding.unit}: {finding.reason} yet" for finding in elsewhere]
        else:
            self.findings += elsewhere

    def _refuse_strangers(self, plain: Tree) -> None:
        """A plain unit which is there and which we did not make is somebody's; the same text may be adopted."""
        for name in sorted(set(self.result.plain) - self.owned):
            if name in plain and plain[name] != self.result.plain[name]:
                path = os.path.join(self.session.systemd_dir, name)
                self.findings.append(Finding(name, f"{path} exists and was not made by this stack", "rename this one or remove the other"))

    def _manifest(self, names: set[str]) -> manifests.Manifest:
        applied = {name: member.digest for name, member in self.stack.members.items() if member.unit.name.kind != "container"}
        applied.update({name: _digest(self.result.tree[name]) for texts in self.stack.drop_ins.values() for name in texts if name in self.result.tree})
        return manifests.Manifest(
            self.request.stack,
            sorted(name for name in names if parse_name(name) is not None),
            sorted(name for name in names if parse_name(name) is None),
            dict(self.request.watch),
            [item.name for item in self.request.secrets],
            applied,
        )

    # -- the judges --------------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Let podman's generator and systemd look at the complete future set, unless they have seen exactly this one."""
        future = self._future_set()
        mark = self._mark(future)
        if self.result.manifest:
            self.result.manifest.judged = mark
        if not self.program or (self.before and self.before.judged == mark and not self.result.files):
            return
        with generator.Staging(self.session) as staging:
            verdict = staging.judge(self.program, future)
            self.generated = verdict.services
            self._attribute(verdict, lambda: staging.judge(t.cast("str", self.program), self.roots).errors)
            self._stop_on_errors()
            services = self.stack.services
            for service, name in services.items():
                if not self.stack.members[name].unit.name.plain and service not in verdict.services:
                    self.findings.append(Finding(name, f"podman's generator made no {service} of it", "compare it with podman-systemd.unit(5)"))
            plain = {name: node.content for name, node in self.result.plain.items()}
            for finding in staging.analyze({**verdict.services, **plain}, services):
                self.findings.append(lint.lint_analysis(self.stack.members[services[finding.unit]].unit, finding))

    def _attribute(self, verdict: generator.Verdict, current_errors: t.Callable[[], list[str]]) -> None:
        """Ours, broken by us, or broken before."""
        names = [*(name for texts in self.stack.drop_ins.values() for name in texts), *self.stack.members]
        foreign = []
        for line in verdict.errors:
            named = next((name for name in names if _says(line, name)), None)
            if named:
                self.findings.append(Finding(named, line, "podman's generator refuses it"))
            else:
                foreign.append(line)
        known = current_errors() if foreign else []
        for line in foreign:
            if line in known:
                self.findings.append(Finding("another unit", line, "it was broken before; mend or remove it", severity="warning"))
            else:
                self.findings.append(Finding("another unit", line, "this change would break it"))
        for line in verdict.warnings:
            self.findings += [Finding(name, line, severity="warning") for name in names if _says(line, name)][:1]

    def _future_set(self) -> generator.Roots:
        """All quadlets of the scope as they would be, each in its place."""
        home = self.session.unit_dir
        future = {root: dict(files) for root, files in self.roots.items()}
        future[home] = {path: node for path, node in future.get(home, {}).items() if not self._is_ours(os.path.join(home, path))}
        future[home].update({f"{self.request.stack}/{name}": node for name, node in self.result.tree.items() if parse_name(name) is not None})
        for finding in self.missing if self.check else []:
            # a stand-in for what an earlier task would have made
            target = finding.reason.rpartition(" ")[2]
            kind = target.rpartition(".")[2]
            future[home][f"{self.request.stack}/{target}"] = Node(
                _STAND_INS.get(kind, f"[{kind.capitalize()}]\nImage=localhost/unknown:1\nImageTag=localhost/unknown:1\n")
            )
        return {root: files for root, files in future.items() if files}

    def _mark(self, future: generator.Roots) -> str:
        total = hashlib.sha256()
        if self.program:
            state = os.stat(self.program)
            total.update(f"{self.program} {state.st_size} {state.st_mtime_ns}".encode())
        for root, files in {**future, "plain": self.result.plain}.items():
            for name, node in sorted(files.items()):
                total.update(repr((root, name, *node)).encode("utf-8", "surrogateescape"))
        return total.hexdigest()[:32]

    # -- what runs ---------------------------------------------------------------------------------------------------------

    def _read_live(self) -> None:
        session, request, result, stack = self.session, self.request, self.result, self.stack
        self.gone = self._gone()
        self.targets = self._targets()
        asked = [*stack.services, *self.gone, *sorted(request.restart), *self.targets.values(), _NETWORK_WAIT]
        looked = self.usable and request.state == "started"
        self.live = Live(systemd.show(session, list(dict.fromkeys(asked))), looked=looked, now=time.clock_gettime(time.CLOCK_MONOTONIC))
        self._refuse_shadows()
        containers = [unit for unit in stack.units.values() if unit.name.kind == "container" and not unit.on_demand]
        result.containers = {container_name(unit): unit.service for unit in containers}
        if session.exists and not session.ready:
            result.notes.append("the account has no session yet: once it lingers, systemd starts by itself what is enabled")
        if not self.usable:
            if request.secrets and session.exists and self.installed:
                result.notes.append("the account has no session yet: its secrets were not looked at")
            if request.state != "absent":
                result.secrets = [secrets.SecretChange(item.name, "generate" if item.value is None else "create", "") for item in request.secrets]
            return
        if request.secrets or any(unit.secrets for unit in stack.units.values()):
            self.live.secrets = podman.secret_ids(session)
        result.secrets = secrets.changes(session, request.secrets, self.live.secrets) if request.state != "absent" else []
        self._lint_secrets()
        if request.state != "started":
            return
        everything = {**self.foreign, **stack.units}
        plays = [unit.service for unit in stack.units.values() if unit.name.kind == "kube" and self.live.runs(unit.service)]
        if plays:
            self.live.plays = podman.by_service(podman.containers(session), plays)
        references = {image_reference(unit, everything) for unit in stack.units.values() if unit.name.kind == "image"}
        references |= {piece["Image"] for pieces in self.live.plays.values() for piece in pieces}
        if any(self.live.runs(unit.service) for unit in containers):
            self.live.containers = podman.inspect_containers(session, list(result.containers))
        references |= {image_reference(unit, everything) for unit in [*containers, *self._new_work()]}
        self.live.images = podman.image_ids(session, [reference for reference in references if reference])
        kinds = {unit.name.kind for unit in stack.units.values()} & set(LASTING)
        if kinds:
            networks = request.networks
            if networks is None:
                networks = {item["name"] for item in podman.networks(session)} if "network" in kinds else set()
            self.live.lasting = {
                "network": {name: {} for name in networks},
                "volume": {item["Name"]: item for item in podman.volumes(session)} if "volume" in kinds else {},
            }
        self._read_commands([unit for unit in stack.units.values() if unit.name.kind in ("container", "volume") and not unit.on_demand])

    def _new_work(self) -> list[Unit]:
        """Containers that a timer or somebody starts, where their unit is new or changed."""
        return [unit for name, unit in self.stack.units.items() if unit.name.kind == "container" and unit.on_demand and self.disk.changes(name)]

    def _refuse_shadows(self) -> None:
        """A service which systemd has from elsewhere: one of the two would hide the other."""
        own = os.path.realpath(self.session.systemd_dir)
        for service, name in self.stack.services.items():
            path = self.live.get(service, "FragmentPath")
            folder = os.path.dirname(path)
            ours = os.path.realpath(folder) == own if self.stack.members[name].unit.name.plain else "/systemd/generator" in folder
            if path and not ours and self.live.get(service, "LoadState") != "masked":
                self.findings.append(Finding(name, f"systemd has another {service} already: {path}", "give this unit another name"))

    def _read_commands(self, units: t.Sequence[Unit]) -> None:
        """With which words each service would be started now: from the judges, or from what systemd has loaded."""
        if not units or not self.program:
            return
        texts = self.generated
        if not texts:
            with self.session.files():
                texts, since = generator.loaded([self.live.get(unit.service, "FragmentPath") for unit in units])
                newest = max((changed(os.path.join(self.folder, name)) for name in self.disk.tree if parse_name(name) is not None), default=0.0)
            if newest >= since:
                # somebody wrote since systemd has read the units: it may hold another text than the one that lies there
                with generator.Staging(self.session) as staging:
                    found = staging.judge(self.program, self._future_set()).services
                self.unread = any(not same_meaning(found.get(service, ""), text) for service, text in texts.items())
                texts = found
        upgraded = changed(self.program)
        for unit in units:
            made = moment(self.live.containers.get(container_name(unit), {}).get("Created") or "") if unit.name.kind == "container" else None
            # an older podman had other words for the same
            if unit.service in texts and (made is None or made > upgraded):
                self.live.commands[unit.service] = start_command(texts[unit.service])

    def _gone(self) -> list[str]:
        """Services of units that are removed, unless another file makes the same service now."""
        found = []
        for name in self.removed:
            parsed = parse_name(name)
            if parsed is not None and parsed.target is None and not parsed.template:
                found.append(Unit(parsed, self.disk.text(name) or "").service)
        return [service for service in found if service not in self.stack.services]

    def _targets(self) -> dict[str, str]:
        """Drop-in -> service, for drop-ins that change a unit of somebody else."""
        found = {}
        applied = self.before.applied if self.before else {}
        for text in sorted({*self.request.units, *self.removed}):
            name = parse_name(text)
            if name is None or name.target is None or name.target in self.stack.members:
                continue
            pending = text in self.result.tree and applied.get(text) != _digest(self.result.tree[text])
            if self.disk.changes(text) or pending:
                foreign = self.foreign.get(name.target)
                found[text] = name.target if name.plain else foreign.service if foreign else f"{name.stem}.service"
        return found

    def _lint_secrets(self) -> None:
        known = {*self.live.secrets, *(item.name for item in self.request.secrets)}
        for name, unit in self.stack.units.items():
            for secret in sorted(set(unit.secrets) - known):
                if self.check:
                    self.result.notes.append(f"{name}: there is no podman secret {secret} yet")
                else:
                    lines = [entry for entry in unit.merged.all(unit.section, "Secret") if secret in entry.value]
                    reason = f"there is no podman secret {secret}"
                    self.findings.append(unit.finding(unit.section, "Secret", reason, "list it under secrets, or create it first", entry=lines[0]))

    def _warn_of_network_wait(self) -> None:
        """An account's quadlets wait until the system says that the network is up, and on some hosts it never does."""
        if self.live.get(_NETWORK_WAIT, "LoadState") != "loaded" or self.live.state(_NETWORK_WAIT) == "active":
            return
        rc, out, dummy = self.session.run(["systemctl", "show", "--property=ActiveState", "--value", "network-online.target"])
        if rc == 0 and out.strip() == "inactive":
            reason = f"nothing on this host tells when the network is up: each start waits for 90 s ({_NETWORK_WAIT})"
            cure = (
                "systemctl enable --now systemd-networkd-wait-online.service or NetworkManager-wait-online.service, or DefaultDependencies=false in [Quadlet]"
            )
            self.findings.append(Finding(self.request.stack, reason, cure, severity="warning"))

    # -- decisions ---------------------------------------------------------------------------------------------------------

    def _decide(self) -> None:
        result, stack, live, disk = self.result, self.stack, self.live, self.disk
        self.findings += Decision(result, stack, live, disk, self.foreign, self.targets, self.gone, self.removed).make()
        plain = {name: node.content for name, node in result.plain.items()}
        propagate(result, live, self.generated, plain, lambda names: systemd.show(self.session, names))
        result.loadable = [member.service for member in stack.members.values() if not member.unit.name.template]
        for name in sorted({*disk.plain} & {*self.removed}):
            if has_install(name, disk.plain[name].content):
                result.disable.append(name)
        for name in sorted(result.plain):
            enabled = name in disk.plain and live.get(name, "UnitFileState") not in ("disabled", "linked", "")
            if has_install(name, result.plain[name].content) and (disk.changes(name) or not enabled):
                result.enable.append(name)
        if self.request.state == "started":
            self._plan_pulls()
        if result.services("start", "restart") and not self.session.system:
            self._warn_of_network_wait()
        units_written = any(parse_name(_below(path, self.folder, self.session.systemd_dir)) is not None for path in disk.written)
        unread = any(live.get(service, "NeedDaemonReload") == "yes" for service in [*result.loadable, *self.gone])
        unread = unread or any(live.get(service, "LoadState") == "not-found" for service in result.loadable)
        result.reload = units_written or unread or self.unread

    def _plan_pulls(self) -> None:
        """An image that cannot be had must be known before anything is touched."""
        acting = set(self.result.services("start", "restart"))
        units = [unit for unit in self.stack.units.values() if unit.service in acting] + self._new_work()
        places = {"%h": self.session.home, "%t": self.session.runtime_dir, "%%": "%"}
        self.result.pulls, missing = wanted(units, {**self.foreign, **self.stack.units}, self.live.images, places)
        if not self.check:
            self.findings += missing
        elif self.usable:
            # a task before this one may be about to bring it
            self.result.notes += [f"{finding.unit}: {finding.reason} yet" for finding in missing]


def _below(path: str, *folders: str) -> str:
    """A path relative to the folder it is in."""
    return next((os.path.relpath(path, folder) for folder in folders if path.startswith(folder + "/")), path)


def _change(path: str, before: Node | None, after: Node | None) -> FileChange:
    return FileChange(path, _shown(before), _shown(after), before.mode if before else 0o644, after.mode if after else 0o644)


def _shown(node: Node | None) -> str | None:
    if node is None:
        return None
    return node.content if node.target is None else f"-> {node.target}\n"


def _digest(node: Node) -> str:
    return staleness.file_hash([node.content.encode("utf-8", "surrogateescape")])


def _says(line: str, name: str) -> bool:
    return re.search(rf'["/]{re.escape(name)}\b', line) is not None
