# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call, one transaction over the units of a stack: plan (reads only), then execute.

Call both below one Session.lock(), so that nothing changes in between; in check mode there is no lock and no execute.
Private to the collection.
"""

from __future__ import annotations

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
from ansible_collections.patriark.homelab.plugins.module_utils._request import Action, CompanionFile, FileChange, Plan, Request, TransactionError
from ansible_collections.patriark.homelab.plugins.module_utils._secrets import SecretRequest
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Tree, read_node, read_tree, remove_file, replace_tree, write_node
from ansible_collections.patriark.homelab.plugins.module_utils._wait import Waiting

__all__ = (
    "Action",
    "CompanionFile",
    "FileChange",
    "Finding",
    "Outcome",
    "Plan",
    "Request",
    "SecretRequest",
    "TransactionError",
    "TransactionFailed",
    "execute",
    "plan",
)

JOURNAL_LINES = 25


class TransactionFailed(Exception):
    """The plan was carried out and the stack did not come up. C(details) tells both stories: failure and rollback."""

    def __init__(self, message: str, details: dict[str, t.Any]) -> None:
        super().__init__(message)
        self.details = details


class _Failure(Exception):
    """Something in execute() went wrong; services: service -> what is known about it."""

    def __init__(self, message: str, services: dict[str, t.Any] | None = None) -> None:
        super().__init__(message)
        self.services = services or {}


@dataclasses.dataclass
class Outcome:
    """services: service -> state; waited: seconds."""

    changed: bool
    services: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    waited: float = 0.0


def plan(session: Session, request: Request) -> Plan:
    """Look at the live system and say what execute() will do. Reads only. Raises TransactionError with every finding."""
    return Planner(session, request).plan()


def execute(session: Session, request: Request, plan: Plan) -> Outcome:
    """Carry the plan out. Raises TransactionFailed after the rollback (or at once for on_failure=leave)."""
    return _Run(session, request, plan).execute()


class _Run:
    def __init__(self, session: Session, request: Request, plan: Plan) -> None:
        self.session, self.request, self.plan = session, request, plan
        self.folder = os.path.join(session.unit_dir, request.stack)
        self.previous = manifests.load_previous(session, request.stack)
        self.replaced: list[secrets.SecretChange] = []
        self.waited = 0.0
        self.hanging: list[str] = []
        self.begun = time.time()

    def execute(self) -> Outcome:
        plan, request, session = self.plan, self.request, self.session
        touched = bool(plan.files or plan.actions or plan.secrets)
        try:
            self._remember()
            self._change()
            outcome = self._wait()
        except (_Failure, SessionError, OSError) as error:
            raise self._failed(error, touched) from error
        if plan.manifest is None:
            manifests.forget(session, request.stack)
        elif plan.before is None or plan.manifest.text() != plan.before.text():
            manifests.save(session, plan.manifest)
        if self.previous is not None or plan.files:
            manifests.drop_previous(session, request.stack)
        return outcome

    # -- forward -----------------------------------------------------------------------------------------------------------

    def _remember(self) -> None:
        """Before anything is touched: what to go back to. An unfinished run's record is kept, it is the last good set."""
        plan, session = self.plan, self.session
        if not plan.files or self.previous is not None:
            return
        before = plan.before or manifests.Manifest(self.request.stack)
        names = {*before.units, *before.files, *plan.tree, *plan.plain}
        with session.files():
            tree = read_tree(self.folder, [name for name in names if name not in plan.plain])
            plain = read_tree(session.systemd_dir, [name for name in names if name not in plan.tree])
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
            self._systemctl("stop", *stop)
            # a program that has to be killed leaves its service failed, which would outlive the unit
            session.systemctl("reset-failed", *stop)
        if plan.disable:
            self._systemctl("disable", *plan.disable)
        if request.prepare:
            request.prepare()
        if plan.files:
            self._write(plan.tree, plan.plain, [os.path.basename(change.path) for change in plan.files if change.after is None])
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

    def _write(self, tree: Tree, plain: Tree, gone: t.Sequence[str]) -> None:
        """Swap the stack's directory, then the plain units beside it."""
        session, plan = self.session, self.plan
        before = plan.before or manifests.Manifest(self.request.stack)
        owned = {*before.units, *before.files, *plan.tree, *(self.previous.names if self.previous else [])}
        with session.files():
            current = read_tree(self.folder, {*owned, *tree})
            if current != tree:
                replace_tree(self.folder, tree, owned)
            names = {*plan.plain, *plain, *(name for name in owned if name not in tree and name not in current)}
            for name in sorted(names):
                path = os.path.join(session.systemd_dir, name)
                if name in plain:
                    if read_node(path) != plain[name]:
                        write_node(path, plain[name])
                else:
                    remove_file(path)

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
        pending = acted or plan.unhealthy or any(name not in plan.running for name in plan.expected)
        if not request.wait or not pending:
            return outcome
        started = time.monotonic()
        waiting = Waiting(self.session, plan.expected, acted, plan.checked)
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
        stories: dict[str, t.Any] = {}
        for service, reason in missing.items():
            facts = waiting.properties.get(service, {})
            stories[service] = {
                "state": reason,
                "result": facts.get("Result", ""),
                "exit_status": facts.get("ExecMainStatus", ""),
                "restarts": int(facts.get("NRestarts") or 0),
                "health": staleness.health_of(found.get(by_service.get(service, ""))),
                "journal": systemd.journal(self.session, service, JOURNAL_LINES, self.begun),
            }
        return stories

    # -- back --------------------------------------------------------------------------------------------------------------

    def _failed(self, error: Exception, touched: bool) -> TransactionFailed:
        details: dict[str, t.Any] = {"failure": str(error), "services": getattr(error, "services", {}), "rollback": None}
        if self.request.on_failure == "leave" or not touched:
            if self.previous is not None and self.plan.manifest is not None:
                manifests.save(self.session, dataclasses.replace(self.plan.manifest, judged=""))
                manifests.drop_previous(self.session, self.request.stack)
            return TransactionFailed(str(error), details)
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
        for change in self.replaced:
            if change.before is not None:
                secrets.write(session, change.name, change.before, replace=True)
        if previous is not None:
            self._write(previous.tree, previous.plain, [])
            if previous.manifest is not None:
                manifests.save(session, dataclasses.replace(manifests.parse(previous.manifest, request.stack), judged=""))
            else:
                manifests.forget(session, request.stack)
            self._systemctl("daemon-reload")
        if request.undo:
            request.undo()
        again = [name for name in active if name in plan.services("start", "restart", "stop")]
        again += [name for name in plan.services("restart", "stop") if name not in again and name not in extra]
        message = "the previous units are back" if previous is not None else "there were no files to bring back"
        result: dict[str, t.Any] = {"done": True, "healthy": True, "message": message, "services": {}}
        if again:
            session.systemctl("reset-failed", *again)
            self._systemctl("restart", "--no-block", *again)
            waiting = Waiting(session, again, set(again), [name for name in plan.checked if name in again])
            result["healthy"] = waiting.run(request.wait_timeout, request.progress)
            result["services"] = {name: state.reason for name, state in waiting.states.items()}
            result["message"] += "; " + ", ".join(f"{name} {state.reason}" for name, state in waiting.states.items())
        manifests.drop_previous(session, request.stack)
        return result
