# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks of a stack, from the plan to what runs: read once, judge everything, then one transaction.

Private to the collection.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _generator, _host_routes, _manifest, _podman, _transaction
from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import (
    Finding,
    Neighbour,
    Network,
    OtherUnit,
    Plan,
    containers,
    make_plan,
)
from ansible_collections.patriark.homelab.plugins.module_utils._network_drift import (
    Difference,
    differences,
    live_form,
    neighbours,
    planned_form,
    unit_text,
)
from ansible_collections.patriark.homelab.plugins.module_utils._network_repair import (
    Impact,
    Journal,
    Services,
    impact,
    refusal,
    remove,
    still_used,
    users,
)
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, UnitName, parse_name
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError


class PlanError(Exception):
    """The plan cannot be carried out; nothing was changed."""

    def __init__(self, findings: t.Sequence[Finding]) -> None:
        super().__init__(f"{len(findings)} findings")
        self.findings = list(findings)


class NetworkStack:
    """One call of the module.

    Attributes:
        networks: as planned, after plan().
        changed: whether something was or would be changed, after plan().
        warnings: for the person who runs it.
    """

    def __init__(self, session: Session, stack: str, entries: list[dict[str, t.Any]], state: str, recreate: str, wait_timeout: int, check: bool) -> None:
        self.session = session
        self.stack = stack
        self.entries = entries
        self.absent = state == "absent"
        self.recreate = recreate
        self.wait_timeout = wait_timeout
        self.check = check
        self.warnings: list[str] = []
        self.networks: tuple[Network, ...] = ()
        self.live: dict[str, dict[str, t.Any]] = {}
        self.drift: dict[str, list[Difference]] = {}
        self.impacts: dict[str, Impact] = {}
        self.removed: dict[str, str] = {}  # podman name -> file name of networks that leave the stack
        self.journal = Journal(session, stack)
        self.checked: set[str] = set()  # services of other stacks whose health can be waited for
        self.unfinished: list[str] = []
        self.starting: list[str] = []
        self.seen = False
        self.lingering_enabled = False

    # Reading and judging

    def plan(self) -> None:
        """Look at everything, and change nothing but the account's lingering session. Raises PlanError with all findings."""
        entries = [] if self.absent else self.entries
        self._open_session(entries)
        self.seen = self._can_look()
        if self.seen:
            self.live = {network["name"]: network for network in _podman.networks(self.session)}
        mine, others = self._units()
        plan = self._judge(entries, mine, others)
        findings = list(plan.findings)
        self.networks = plan.networks
        self.warnings += plan.warnings
        services = Services(self.session)
        self._look_for_drift(services, others, findings)
        if findings:
            raise PlanError(findings)
        self._look_for_unfinished(services)
        self.request = self._request(mine)
        try:
            self.transaction = _transaction.plan(self.session, self.request)
        except _transaction.TransactionError as error:
            raise PlanError([Finding(found.unit, found.reason, found.remedy or "correct it") for found in error.findings]) from error
        self._explain_actions()
        # That podman leaves an existing network as it is, is what this module is for.
        self.warnings += [str(found) for found in self.transaction.warnings if found.unit not in self.request.units]
        self.warnings += [f"{service} is left stopped: {reason}; the task that writes the unit starts it" for service, reason in self.blocked.items()]

    def _open_session(self, entries: list[dict[str, t.Any]]) -> None:
        if self.session.ready or self.check:
            return
        findings = make_plan(entries).findings
        if findings:  # do not even enable lingering for a plan that cannot be
            raise PlanError(findings)
        self.lingering_enabled = self.session.ensure()

    def _can_look(self) -> bool:
        if self.session.exists and self.session.ready and self.session.module.get_bin_path("podman"):
            return True
        if not self.check:
            raise SessionError("podman is not installed: install it first (the role host does)")
        return False

    def _units(self) -> tuple[dict[str, str], list[OtherUnit]]:
        """The network units of this stack as they are on disk (file name -> text), and the quadlets of everybody else."""
        if not self.session.exists:
            return {}, []
        manifest = _manifest.load(self.session, self.stack)
        previous = _manifest.load_previous(self.session, self.stack)  # of a run that was interrupted
        owned = {*(manifest.units if manifest else []), *(previous.names if previous else [])}
        mine: dict[str, str] = {}
        others: list[OtherUnit] = []
        for root, files in _generator.scan(self.session).items():
            for path, node in files.items():
                folder, file_name = os.path.split(path)
                name = parse_name(file_name)
                if name is None:
                    continue
                if root == self.session.unit_dir and folder == self.stack and file_name in owned:
                    mine.update({file_name: node.content} if name.kind == "network" else {})
                    continue
                unit = Unit(name, node.content if node.target is None else "")
                network = unit.resource if name.kind == "network" else None
                references = tuple(target for dummy, target in unit.references())
                others.append(OtherUnit(os.path.join(root, path), file_name, unit.service, network or "", references, _addresses(unit)))
                if name.kind == "container" and unit.has_health_check:
                    self.checked.add(unit.service)
        return mine, others

    def _judge(self, entries: list[dict[str, t.Any]], mine: dict[str, str], others: list[OtherUnit]) -> Plan:
        listed = make_plan(self.entries).networks
        staying = {network.file_name for network in listed}
        if self.absent:
            staying = set(mine) - staying if self.entries else set()
        self.removed = {_resource(file_name, text): file_name for file_name, text in mine.items() if file_name not in staying}
        own = {network.name for network in listed} | set(self.removed)
        interfaces = {str(network.get("network_interface")) for network in self.live.values()} if self.session.system else set()
        taken: list[Neighbour] = [] if self.absent else neighbours(self.live.values(), own) + _host_routes.read(interfaces)
        return make_plan(entries, taken, others)

    def _look_for_drift(self, services: Services, others: list[OtherUnit], findings: list[Finding]) -> None:
        for network in self.networks:
            inspected = self.live.get(network.name)
            drift = differences(network, inspected) if inspected is not None else []
            if drift:
                self.drift[network.name] = drift
        if not (self.drift or self.removed) or not self.seen:
            return
        running = _podman.containers(self.session)
        for network in self.networks:
            if network.name in self.drift:
                effect = self.impacts[network.name] = impact(services, network, users(running, network.name), others)
                finding = refusal(network, self.drift[network.name], effect, self.recreate)
                findings += [finding] if finding else []
        for name, file_name in self.removed.items():
            leaving = Network(unit=file_name[: -len(".network")], name=name)
            effect = impact(services, leaving, users(running, name), [])
            finding = still_used(name, effect, [other.path for other in others if file_name in other.references])
            findings += [finding] if finding else []

    def _look_for_unfinished(self, services: Services) -> None:
        """A run that was killed may have left services stopped that ran before."""
        names = self.journal.read()
        services.read(names)
        self.unfinished = [name for name in names if services.loaded(name) and not services.active(name)]
        self.starting = [name for name in names if services.active(name)]

    def _explain_actions(self) -> None:
        """The transaction knows what is to be restarted; why, and what must stay down, is known here."""
        why = {network.service: f"{network.name} is not as planned" for network in self.recreated}
        why.update((network.service, f"{network.name} is missing") for network in self.created)
        why.update((service, "a run that was interrupted had stopped it") for service in self.unfinished)
        why.update((service, f"it uses {name}, which is made again") for name, effect in self.impacts.items() for service in effect.stop)
        for number, action in enumerate(self.transaction.actions):
            if action.service in self.blocked:
                self.transaction.actions[number] = _transaction.Action(action.service, "stop", self.blocked[action.service])
            elif action.verb == "restart":
                self.transaction.actions[number] = _transaction.Action(action.service, "restart", why.get(action.service, action.reason))
        # They run now and belong to other stacks: a rollback starts them again.
        self.transaction.running += [service for service in self.started if service not in self.transaction.running]
        # What an interrupted run had begun to start is waited for as well.
        self.transaction.expected += [service for service in self.starting if service not in self.transaction.expected]
        self.transaction.unhealthy += self.starting
        again = {*self.started, *self.unfinished, *self.starting} & self.checked
        self.transaction.checked += sorted(again - set(self.transaction.checked))

    # Carrying it out

    @property
    def recreated(self) -> list[Network]:
        return [network for network in self.networks if network.name in self.drift]

    @property
    def created(self) -> list[Network]:
        return [network for network in self.networks if network.name not in self.live]

    @property
    def stopped(self) -> list[str]:
        """Services that are stopped for the repair."""
        return sorted({service for effect in self.impacts.values() for service in effect.stop})

    @property
    def blocked(self) -> dict[str, str]:
        """Those of them that cannot be started again before their units are changed, with the reason."""
        return dict(pair for effect in self.impacts.values() for pair in effect.blocked)

    @property
    def started(self) -> list[str]:
        return [service for service in self.stopped if service not in self.blocked]

    @property
    def changed(self) -> bool:
        return bool(self.transaction.changed or self.drift or self.lingering_enabled or any(name in self.live for name in self.removed))

    def _request(self, mine: dict[str, str]) -> _transaction.Request:
        units: dict[str, str | None] = {network.file_name: unit_text(network) for network in self.networks}
        if self.absent:
            units = {name: text for name, text in mine.items() if name not in self.removed.values()}
        restart = {network.service for network in self.recreated} | set(self.started) | set(self.unfinished)
        # The service of a network that somebody removed is still active, so a start would do nothing.
        restart |= {network.service for network in self.created if network.file_name in mine}
        return _transaction.Request(
            stack=self.stack,
            units=units,
            state="absent" if self.absent and not units else "started",
            prune=True,
            wait_timeout=self.wait_timeout,
            restart=restart,
            prepare=self._prepare if self.drift or self.removed else None,
            undo=self._undo if self.drift else None,
            networks=set(self.live) if self.seen else None,
        )

    def _prepare(self) -> None:
        """Dependants are stopped: take the old networks away."""
        for network in self.recreated:
            remove(self.session, network.name, self.impacts[network.name].leftovers)
        for name in self.removed:
            if name in self.live:
                remove(self.session, name)

    def _undo(self) -> None:
        """A rollback: the old units make the old networks again, once the new ones are out of the way."""
        self.session.systemctl("stop", *self.stopped, *(network.service for network in self.recreated))
        for network in self.recreated:
            remove(self.session, network.name)

    def apply(self) -> None:
        """Make it so, and look again. Raises TransactionFailed, SessionError."""
        if self.started:
            self.journal.write(sorted({*self.started, *self.unfinished}))
        try:
            _transaction.execute(self.session, self.request, self.transaction)
        except _transaction.TransactionFailed as error:
            if (error.details.get("rollback") or {}).get("done"):
                self.journal.done()
            raise
        self.journal.done()
        if not self.changed:
            return
        self.live = {network["name"]: network for network in _podman.networks(self.session)}
        wrong = []
        for network in self.networks:
            inspected = self.live.get(network.name)
            found = differences(network, inspected) if inspected is not None else [Difference("network", "", network.name)]
            wrong += [f"{network.name}: {difference}" for difference in found]
        wrong += [f"{name}: is still there" for name in self.removed if name in self.live]
        if wrong:
            raise SessionError(f"the networks are not as planned after the change: {'; '.join(wrong)}")

    # Telling about it

    def facts(self) -> dict[str, t.Any]:
        return {
            "networks": [self._facts_of(network) for network in self.networks],
            "containers": containers(self.networks),
            "actions": self.actions(),
        }

    def _facts_of(self, network: Network) -> dict[str, t.Any]:
        inspected = self.live.get(network.name)
        return {
            "name": network.name,
            "unit": network.unit,
            "service": network.service,
            "subnets": [
                {"subnet": str(subnet.net), "gateway": str(subnet.gateway) if subnet.gateway is not None else None, "dynamic_range": subnet.lease_range}
                for subnet in network.subnets
            ],
            "metric": network.metric,
            "internal": network.internal,
            "dns_enabled": network.dns_enabled,
            "live": live_form(inspected) if inspected is not None else None,
            "drift": [{"key": found.key, "live": found.live, "planned": found.planned} for found in self.drift.get(network.name, [])],
        }

    def actions(self) -> list[str]:
        """What is done, in words and in order."""
        done = [f"stop {service}" for service in self.stopped]
        done += [f"remove the stopped container {name}" for effect in self.impacts.values() for name in effect.leftovers]
        done += [f"recreate the network {network.name}" for network in self.recreated]
        done += [f"create the network {network.name}" for network in self.created]
        done += [f"remove the network {name}" for name in self.removed]
        done += [f"start {service}" for service in sorted({*self.started, *self.unfinished})]
        return done

    def diff(self) -> list[dict[str, str]]:
        found = list(self.transaction.diff())
        for network in [*self.created, *self.recreated]:
            inspected = self.live.get(network.name)
            found.append(_network_diff(network.name, live_form(inspected) if inspected is not None else {}, planned_form(network)))
        found += [_network_diff(name, live_form(self.live[name]), {}) for name in self.removed if name in self.live]
        return found


def _unit(file_name: str, text: str) -> Unit:
    return Unit(t.cast(UnitName, parse_name(file_name)), text)


def _resource(file_name: str, text: str) -> str:
    """Name of the podman network that a network unit makes."""
    return str(_unit(file_name, text).resource)


def _addresses(unit: Unit) -> tuple[tuple[str, str], ...]:
    """(network unit, address) of every address a container or pod asks for."""
    found = [(name, address) for name, options in unit.networks for key in ("ip", "ip6") for address in options.get(key, [])]
    if len(unit.networks) == 1:
        found += [(unit.networks[0][0], unit.get(key)) for key in ("IP", "IP6") if unit.get(key)]
    return tuple(found)


def _network_diff(name: str, before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    def text(form: dict[str, str]) -> str:
        return "".join(f"{key}: {value}\n" for key, value in form.items() if value)

    header = f"podman network {name}"
    return {"before_header": header, "after_header": header, "before": text(before), "after": text(after)}
