# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call, one transaction over the units of a stack: plan (reads only), then execute.

Call both below one Session.lock(), so that nothing changes in between; in check mode there is no lock and no execute.
Private to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _manifest as manifests
from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _secrets as secrets
from ansible_collections.patriark.homelab.plugins.module_utils import _staleness as staleness
from ansible_collections.patriark.homelab.plugins.module_utils import _systemd as systemd
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._planner import Planner
from ansible_collections.patriark.homelab.plugins.module_utils._pull import Puller, described
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, has_install, is_plain, parse_name
from ansible_collections.patriark.homelab.plugins.module_utils._redact import masked, told
from ansible_collections.patriark.homelab.plugins.module_utils._request import Action, CompanionFile, FileChange, Plan, Request, TransactionError
from ansible_collections.patriark.homelab.plugins.module_utils._secrets import SecretRequest
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Tree, read_node, read_tree, remove_file, replace_tree, tidy, write_node
from ansible_collections.patriark.homelab.plugins.module_utils._wait import Waiting

__all__ = (
    "Action",
    "CompanionFile",
    "FileChange",
    "Finding",
    "Outcome",
    "Plan",
    "PullFailed",
    "Request",
    "SecretRequest",
    "TransactionError",
    "TransactionFailed",
    "deploy",
    "execute",
    "plan",
)

JOURNAL_LINES = 25


class TransactionFailed(Exception):
    """The plan was carried out and the stack did not come up. C(details) tells both stories: failure and rollback."""

    def __init__(self, message: str, details: dict[str, t.Any], touched: bool = True) -> None:
        super().__init__(message)
        self.details, self.touched = details, touched


class PullFailed(TransactionError):
    """An image is not here, and nothing was changed."""


class _Failure(Exception):
    """Something in execute() went wrong; services: service -> what is known about it."""

    def __init__(self, message: str, services: dict[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.services = services or {}


@dataclasses.dataclass
class Outcome:
    """services: service -> state; waited: seconds; images: what was brought."""

    changed: bool
    services: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    waited: float = 0.0
    images: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)


def plan(session: Session, request: Request) -> Plan:
    """Look at the live system and say what execute() will do. Reads only. Raises TransactionError with every finding."""
    return Planner(session, request).plan()


def deploy(session: Session, request: Request) -> tuple[Plan, Outcome]:
    """Plan, bring the images, and carry it out. An image that cannot be brought raises PullFailed, and nothing was touched."""
    made = plan(session, request)
    puller, pulls = Puller(session, request.tell, request.pull_timeout), made.pulls
    moved = puller.run(pulls) if pulls else False
    if puller.findings:
        raise PullFailed(puller.findings)
    if moved:
        # what runs of the image that had this name before is stale now
        made = plan(session, request)
        made.pulls = pulls
    outcome = execute(session, request, made)
    outcome.notes += puller.notes
    outcome.images = [described(pull, puller.sizes.get(pull.reference)) for pull in pulls]
    return made, outcome


def execute(session: Session, request: Request, plan: Plan) -> Outcome:
    """Carry the plan out. Raises TransactionFailed after the rollback (or at once for on_failure=leave)."""
    return _Run(session, request, plan).execute()


def _story(error: Exception) -> dict[str, t.Any]:
    return {"failure": str(error), "services": getattr(error, "services", {}), "rollback": None}


def _checked(tree: Tree) -> set[str]:
    """Services of a stack's directory whose container has a health check."""
    names = {text: name for text in tree for name in [parse_name(text)] if name}
    found: set[str] = set()
    for text, name in names.items():
        if name.kind == "container" and name.target is None and not name.template:
            drop_ins = {other: tree[other].content for other, parsed in names.items() if parsed.target and parsed.target in (text, name.template_name)}
            unit = Unit(name, tree[text].content, drop_ins)
            found.update({unit.service} if unit.has_health_check else ())
    return found


class _Run:
    def __init__(self, session: Session, request: Request, plan: Plan) -> None:
        self.session, self.request, self.plan = session, request, plan
        self.folder = os.path.join(session.unit_dir, request.stack)
        self.previous = manifests.load_previous(session, request.stack)
        self.unfinished = self.previous is not None
        self.replaced: list[secrets.SecretChange] = []
        self.waited = 0.0
        self.hanging: list[str] = []
        self.touched: set[str] = set()
        self.begun = time.time()

    def execute(self) -> Outcome:
        plan = self.plan
        touched = bool(plan.files or plan.actions or plan.secrets)
        self._remember()
        try:
            self._change()
            outcome = self._wait()
        except (_Failure, SessionError, OSError) as error:
            raise self._failed(error, touched) from error
        try:
            self._record()
        except OSError as error:
            # the services are as they shall be; the next run finds the change unfinished and records it
            raise TransactionFailed(f"the services are up, but what belongs to the stack could not be recorded: {error}", _story(error), touched) from error
        return outcome

    def _record(self) -> None:
        plan, session, stack = self.plan, self.session, self.request.stack
        if plan.manifest is None:
            manifests.forget(session, stack)
        elif plan.before is None or plan.manifest.text() != plan.before.text():
            manifests.save(session, plan.manifest)
        if self.previous is not None or plan.files:
            manifests.drop_previous(session, stack)
        self._tidy()

    def _tidy(self) -> None:
        """Nothing half done stays, of this run or of one that was killed."""
        session, owned = self.session, self._owned()
        with session.files(), contextlib.suppress(OSError):
            tidy(
                self.folder,
                owned,
                [*manifests.records(session, self.request.stack), *(os.path.join(session.systemd_dir, name) for name in owned if is_plain(name))],
            )

    # -- forward -----------------------------------------------------------------------------------------------------------

    def _remember(self) -> None:
        """Before anything is touched: what to go back to. An unfinished run's record is kept, it is the last good set."""
        plan, session = self.plan, self.session
        if not plan.files or self.previous is not None:
            return
        names = self._owned()
        with session.files():
            tree = read_tree(self.folder, [name for name in names if not is_plain(name)])
            plain = read_tree(session.systemd_dir, [name for name in names if is_plain(name)])
        self.previous = manifests.Previous(tree, plain, sorted(names), list(plan.running), plan.before.text() if plan.before else None)
        manifests.save_previous(session, self.request.stack, self.previous)

    def _change(self) -> None:
        plan, request, session = self.plan, self.request, self.session
        for change in plan.secrets:
            secrets.write(session, change.name, change.value, replace=change.verb == "replace")
            if change.verb == "replace":
                self.replaced.append(change)
        stop = plan.services("stop")
        if request.prepare:
            stop = list(dict.fromkeys([*plan.services("restart"), *stop]))
        self._release([name for name in plan.starting if name in plan.services("restart", "stop")])
        if stop:
            self.touched.update(stop)
            self._systemctl("stop", *stop)
            # a program that has to be killed leaves its service failed, which would outlive the unit
            session.systemctl("reset-failed", *stop)
        if plan.disable:
            self._systemctl("disable", *plan.disable)
        if request.prepare:
            request.prepare()
        if plan.files:
            self._write(plan.tree, plan.plain)
            if plan.manifest is not None:
                # what is applied is only known at the end; ownership must not be lost before
                applied = plan.before.applied if plan.before else {}
                manifests.save(session, dataclasses.replace(plan.manifest, applied=applied, judged=""))
        if plan.reload:
            self._systemctl("daemon-reload")
            if request.state != "absent":
                self._assert_loaded()
        if plan.enable:
            self._systemctl("enable", *plan.enable)
        if request.state == "started":
            self._start(plan.services("restart"), plan.services("start"))

    def _write(self, tree: Tree, plain: Tree) -> None:
        """Swap the stack's directory, then the plain units beside it."""
        session, owned = self.session, self._owned()
        with session.files():
            if read_tree(self.folder, [name for name in {*owned, *tree} if not is_plain(name)]) != tree:
                replace_tree(self.folder, tree, owned)
            for name in sorted(name for name in {*owned, *plain} if is_plain(name)):
                path = os.path.join(session.systemd_dir, name)
                if name in plain:
                    if read_node(path) != plain[name]:
                        write_node(path, plain[name])
                else:
                    remove_file(path)

    def _owned(self) -> set[str]:
        """Every name that is the stack's, before, now, or of a run that was killed."""
        plan = self.plan
        before = plan.before or manifests.Manifest(self.request.stack)
        return {*before.units, *before.files, *plan.tree, *plan.plain, *(self.previous.names if self.previous else [])}

    def _release(self, services: t.Sequence[str]) -> None:
        """End containers which are not up yet: podman, waiting for them to get healthy, would not listen to systemd."""
        names = [name for name, service in self.plan.containers.items() if service in services]
        if names:
            self.session.podman("stop", "--ignore", *names)

    def _systemctl(self, *args: str) -> None:
        rc, out, err = self.session.systemctl(*args)
        if rc != 0:
            raise _Failure(f"systemctl {' '.join(args)} failed: {err.strip() or out.strip()}")

    def _assert_loaded(self) -> None:
        found = systemd.show(self.session, self.plan.loadable, "Id,LoadState,LoadError")
        bad = {name: facts.get("LoadError", "") for name, facts in found.items() if facts.get("LoadState") not in ("loaded", "masked")}
        if bad:
            raise _Failure("systemd did not load " + ", ".join(f"{name} ({reason.strip() or 'not found'})" for name, reason in bad.items()))

    def _start(self, restart: t.Sequence[str], start: t.Sequence[str]) -> None:
        """Queue all of it at once; systemd orders it."""
        self.touched.update(restart, start)
        failed = [name for name in start if name in self.plan.failed]
        if failed:
            self._systemctl("reset-failed", *failed)
        if restart:
            self._systemctl("restart", "--no-block", *restart)
        if start:
            self._systemctl("start", "--no-block", *start)

    def _wait(self) -> Outcome:
        plan, request = self.plan, self.request
        outcome = Outcome(plan.changed)
        if request.state != "started" or not plan.expected:
            return outcome
        acted = set(plan.services("start", "restart"))
        unsettled = acted | set(plan.unsettled)
        pending = unsettled & set(plan.expected) or plan.unhealthy or any(name not in plan.running for name in plan.expected)
        if not request.wait or not pending:
            return outcome
        started = time.monotonic()
        waiting = Waiting(self.session, plan.expected, unsettled, plan.checked)
        good = waiting.run(request.wait_timeout, request.progress)
        self.waited = outcome.waited = round(time.monotonic() - started, 1)
        outcome.services = {name: {"verdict": state.verdict, "state": state.reason} for name, state in waiting.states.items()}
        if not good:
            failed = waiting.failed()
            self.hanging = [name for name, facts in waiting.properties.items() if facts.get("ActiveState") not in ("active", "inactive", "failed")]
            message = "; ".join(f"{name}: {reason}" for name, reason in (failed or waiting.missing()).items())
            over = "" if failed else " (wait_timeout)"
            raise _Failure(f"after {self.waited:.0f} s{over}: {message}", self._stories(failed or waiting.missing(), waiting))
        return outcome

    def _stories(self, missing: t.Mapping[str, str], waiting: Waiting) -> dict[str, t.Any]:
        """For each service that is not up: state, exit, health log and the last lines of its journal."""
        by_service = {service: name for name, service in self.plan.containers.items()}
        names = [by_service[service] for service in missing if service in by_service]
        try:
            found = podman.inspect_containers(self.session, names)
        except SessionError:
            found = {}
        known = self._secrets()
        stories: dict[str, t.Any] = {}
        for service, reason in missing.items():
            facts = waiting.properties.get(service, {})
            health = staleness.health_of(found.get(by_service.get(service, "")))
            for entry in health["log"] if health else []:
                entry["output"] = masked(entry["output"], known)
            stories[service] = {
                "state": reason,
                "result": facts.get("Result", ""),
                "exit_status": facts.get("ExecMainStatus", ""),
                "restarts": int(facts.get("NRestarts") or 0),
                "health": health,
                "journal": [masked(line, known) for line in systemd.journal(self.session, service, JOURNAL_LINES, self.begun)],
            }
        return stories

    def _secrets(self) -> set[str]:
        """What programs may say and nobody else should: the secrets of this run, and values whose names tell that they are."""
        plan = self.plan
        values = {value for change in plan.secrets for value in (change.value, change.before) if value}
        return values | told(node.content for node in [*plan.tree.values(), *plan.plain.values()])

    # -- back --------------------------------------------------------------------------------------------------------------

    def _failed(self, error: Exception, touched: bool) -> TransactionFailed:
        details = _story(error)
        if self.request.on_failure == "leave" or not touched:
            if self.previous is not None and self.plan.manifest is not None:
                manifests.save(self.session, dataclasses.replace(self.plan.manifest, judged=""))
                manifests.drop_previous(self.session, self.request.stack)
            return TransactionFailed(str(error), details, touched)
        try:
            details["rollback"] = self._rollback()
        except (_Failure, SessionError, OSError) as second:
            details["rollback"] = {"done": False, "healthy": False, "message": str(second), "services": getattr(second, "services", {})}
        return TransactionFailed(str(error), details)

    def _rollback(self) -> dict[str, t.Any]:
        """Bring back the files, secrets and services of before, and wait for them."""
        plan, session, request = self.plan, self.session, self.request
        previous = self.previous
        active = list(previous.active) if previous else list(plan.running)
        # what ran for this request and did not run before
        extra = [name for name in plan.expected if name not in active]
        self._release(self.hanging)
        if extra:
            session.systemctl("stop", *extra)
            session.systemctl("reset-failed", *extra)
        fresh = [name for name, node in plan.plain.items() if previous and name not in previous.plain and has_install(name, node.content)]
        if fresh:
            session.systemctl("disable", *fresh)
        for change in self.replaced:
            if change.before is not None:
                secrets.write(session, change.name, change.before, replace=True)
        if previous is not None:
            self._write(previous.tree, previous.plain)
            if previous.manifest is not None:
                manifests.save(session, dataclasses.replace(manifests.parse(previous.manifest, request.stack), judged=""))
            else:
                manifests.forget(session, request.stack)
            self._systemctl("daemon-reload")
            enabled = [name for name, node in previous.plain.items() if has_install(name, node.content)]
            if enabled:
                self._systemctl("enable", *enabled)
        if request.undo:
            request.undo()
        # a run that was killed may have stopped and restarted more than this one
        again = active if self.unfinished else [name for name in active if name in self.touched]
        again += [name for name in plan.services("restart", "stop") if name in self.touched and name not in again and name not in extra]
        message = "the previous units are back" if previous is not None else "there were no files to bring back"
        result: dict[str, t.Any] = {"done": True, "healthy": True, "message": message, "services": {}}
        if again:
            session.systemctl("reset-failed", *again)
            self._systemctl("restart", "--no-block", *again)
            waiting = Waiting(session, again, set(again), _checked(previous.tree) if previous is not None else plan.checked)
            result["healthy"] = waiting.run(request.wait_timeout, request.progress)
            result["services"] = {name: state.reason for name, state in waiting.states.items()}
            result["message"] += "; " + ", ".join(f"{name} {state.reason}" for name, state in waiting.states.items())
        manifests.drop_previous(session, request.stack)
        self._tidy()
        return result
