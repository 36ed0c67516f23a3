# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the plan to what is asked of the transaction, on a host that exists in this file only."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _network_stack as stack
from ansible_collections.patriark.homelab.plugins.module_utils import _systemd, _transaction
from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import make_plan
from ansible_collections.patriark.homelab.plugins.module_utils._manifest import Manifest
from ansible_collections.patriark.homelab.plugins.module_utils._network_drift import unit_text
from ansible_collections.patriark.homelab.plugins.module_utils._session import SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node

ENTRIES = [
    {"unit": "photos", "subnet": "10.89.5.0/24", "static": {"app": "10.89.5.5"}},
    {"unit": "monitoring", "subnet": "10.89.4.0/24"},
]
LIVE = [
    {
        "name": f"systemd-{unit}",
        "driver": "bridge",
        "network_interface": f"podman{third}",
        "subnets": [
            {
                "subnet": f"10.89.{third}.0/24",
                "gateway": f"10.89.{third}.1",
                "lease_range": {"start_ip": f"10.89.{third}.129", "end_ip": f"10.89.{third}.254"},
            }
        ],
        "dns_enabled": True,
        "ipam_options": {"driver": "host-local"},
    }
    for unit, third in (("photos", 5), ("monitoring", 4))
]
UNIT_DIR = "/home/homelab/.config/containers/systemd"
APP = "[Container]\nImage=x\nHealthCmd=/bin/true\nNetwork=photos.network:ip=10.89.5.5\n"


class Module:
    check_mode = False

    def get_bin_path(self, name):
        return f"/usr/bin/{name}"


class Session:
    """An account whose networks are in order, with one service on the network photos."""

    def __init__(self, folder):
        self.module = Module()
        self.exists = self.ready = True
        self.system = False
        self.unit_dir, self.state_dir = UNIT_DIR, str(folder)
        self.commands = []

    def ensure(self):
        self.ready = True
        return True

    def podman(self, *args):
        self.commands.append(("podman", *args))
        return 0, "", ""

    def systemctl(self, *args):
        self.commands.append(("systemctl", *args))
        return 0, "", ""

    @contextlib.contextmanager
    def files(self):
        yield


class Host:
    def __init__(self, folder, monkeypatch):
        self.session = Session(folder)
        self.live = copy.deepcopy(LIVE)
        self.quadlets = {f"networks/{network.file_name}": unit_text(network) for network in make_plan(ENTRIES).networks}
        self.quadlets["app/app.container"] = APP
        self.owned = ["photos.network", "monitoring.network"]
        self.containers = [{"Names": ["app"], "Labels": {"PODMAN_SYSTEMD_UNIT": "app.service"}, "State": "running", "Networks": ["systemd-photos"]}]
        self.services = {
            "photos-network.service": {"LoadState": "loaded", "ActiveState": "active", "RequiredBy": "app.service"},
            "app.service": {"LoadState": "loaded", "ActiveState": "active"},
        }
        self.asked = []
        self.failures = []
        monkeypatch.setattr(stack._podman, "networks", lambda session: copy.deepcopy(self.live))
        monkeypatch.setattr(stack._podman, "containers", lambda session: self.containers)
        monkeypatch.setattr(stack._generator, "scan", lambda session: {UNIT_DIR: {path: Node(text) for path, text in self.quadlets.items()}})
        monkeypatch.setattr(stack._manifest, "load", lambda session, name: Manifest(name, units=list(self.owned)))
        monkeypatch.setattr(stack._manifest, "load_previous", lambda session, name: None)
        monkeypatch.setattr(stack._host_routes, "read", lambda but: [])
        monkeypatch.setattr(_systemd, "show", self.show)
        monkeypatch.setattr(_transaction, "plan", self.plan)
        monkeypatch.setattr(_transaction, "execute", self.execute)

    def show(self, session, units, *args):
        return {unit: self.services.get(unit, {"LoadState": "not-found"}) for unit in units}

    def plan(self, session, request):
        self.asked.append(request)
        # With a service go those that require it, as with the real one.
        along = {name for service in request.restart for name in self.services.get(service, {}).get("RequiredBy", "").split()}
        return _transaction.Plan(actions=[_transaction.Action(service, "restart", "asked for") for service in sorted(request.restart | along)])

    def execute(self, session, request, plan):
        if request.prepare:
            request.prepare()
        for failure in self.failures:
            raise failure
        self.live = copy.deepcopy(LIVE)

    def run(self, entries=None, recreate="never", state="present", check=False):
        self.session.module.check_mode = check
        networks = stack.NetworkStack(self.session, "networks", ENTRIES if entries is None else entries, state, recreate, 60, check)
        networks.plan()
        return networks


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


def refused(host, **kwargs):
    with pytest.raises(stack.PlanError) as raised:
        host.run(**kwargs)
    return raised.value.findings


def drift(host):
    host.live[0]["options"] = {"mtu": "1400"}


def test_nothing_to_do(host):
    networks = host.run()
    assert not networks.changed and networks.actions() == [] and networks.diff() == []
    assert host.asked[0].restart == set() and host.asked[0].prepare is None
    assert set(host.asked[0].units) == {"photos.network", "monitoring.network"}
    assert networks.facts()["networks"][0]["live"]["subnet"] == "10.89.5.0/24"


def test_drift_is_refused_or_repaired(host):
    drift(host)
    assert [finding.network for finding in refused(host)] == ["systemd-photos"]
    networks = host.run(recreate="stop_users")
    assert networks.changed
    assert host.asked[-1].restart == {"photos-network.service", "app.service"}
    assert networks.transaction.running == ["app.service"] and networks.transaction.checked == ["app.service"]
    assert [action.reason for action in networks.transaction.actions] == [
        "it uses systemd-photos, which is made again",
        "systemd-photos is not as planned",
    ]
    assert networks.actions() == ["stop app.service", "recreate the network systemd-photos", "start app.service"]
    networks.apply()
    assert host.session.commands == [("podman", "network", "rm", "--", "systemd-photos")]
    assert networks.journal.read() == []


def test_a_service_that_asks_for_another_address_stays_down(host):
    drift(host)
    host.quadlets["app/app.container"] = APP.replace("10.89.5.5", "10.1.1.5")
    networks = host.run(recreate="stop_users")
    assert host.asked[-1].restart == {"photos-network.service"}
    assert networks.transaction.services("stop") == ["app.service"] and networks.transaction.services("restart") == ["photos-network.service"]
    assert networks.actions() == ["stop app.service", "recreate the network systemd-photos"]
    assert any("app.service is left stopped" in warning for warning in networks.warnings)


def test_the_journal_outlives_a_crash_and_no_orderly_end(host):
    drift(host)
    networks = host.run(recreate="stop_users")
    host.failures = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        networks.apply()
    host.failures = []
    host.services["app.service"]["ActiveState"] = "inactive"
    host.live = copy.deepcopy(LIVE)
    again = host.run()
    assert host.asked[-1].restart == {"app.service"}
    assert again.actions() == ["start app.service"]
    again.apply()
    assert host.run().unfinished == []


def test_what_a_crashed_run_began_to_start_is_waited_for(host):
    host.run().journal.write(["app.service"])
    networks = host.run()
    assert not networks.changed
    assert networks.transaction.expected == networks.transaction.unhealthy == networks.transaction.checked == ["app.service"]


@pytest.mark.parametrize("done, left", [(True, []), (False, ["app.service"])])
def test_after_a_rollback_nothing_is_left_to_start(host, done, left):
    drift(host)
    networks = host.run(recreate="stop_users")
    host.failures = [_transaction.TransactionFailed("no", {"rollback": {"done": done}})]
    with pytest.raises(_transaction.TransactionFailed):
        networks.apply()
    assert networks.journal.read() == left


def test_undo_takes_the_new_network_away_first(host):
    drift(host)
    host.run(recreate="stop_users")
    host.asked[-1].undo()
    assert host.session.commands == [
        ("systemctl", "stop", "app.service", "photos-network.service"),
        ("podman", "network", "rm", "--", "systemd-photos"),
    ]


def test_a_missing_network_is_made_by_a_restart_of_its_service(host):
    del host.live[1]
    networks = host.run()
    assert networks.actions() == ["create the network systemd-monitoring"]
    assert host.asked[-1].restart == {"monitoring-network.service"}


@pytest.mark.parametrize(
    "kwargs, removed",
    [
        ({"entries": ENTRIES[:1]}, ["systemd-monitoring"]),
        ({"entries": [{"unit": "monitoring"}], "state": "absent"}, ["systemd-monitoring"]),
        ({"entries": [{"unit": "stranger"}], "state": "absent"}, []),
    ],
)
def test_networks_leave_the_stack(host, kwargs, removed):
    networks = host.run(**kwargs)
    assert list(networks.removed) == removed
    assert networks.changed is bool(removed)
    assert set(host.asked[-1].units) == {"photos.network", *(() if removed else ["monitoring.network"])}
    networks.drift.clear()
    if removed:
        host.asked[-1].prepare()
        assert host.session.commands == [("podman", "network", "rm", "--", "systemd-monitoring")]


def test_all_networks_leave_unless_one_is_used(host):
    assert ["app.service" in finding.problem for finding in refused(host, entries=[], state="absent")] == [True]
    host.containers, host.services = [], {}
    assert ["app.container" in finding.problem for finding in refused(host, entries=[], state="absent")] == [True]
    del host.quadlets["app/app.container"]
    assert list(host.run(entries=[], state="absent").removed) == ["systemd-photos", "systemd-monitoring"]
    assert host.asked[-1].state == "absent"


def test_a_foreign_file_in_our_directory_is_not_ours(host):
    host.owned.remove("monitoring.network")
    assert [finding.problem for finding in refused(host)] == [f"the unit monitoring.network exists already: {UNIT_DIR}/networks/monitoring.network"]


def test_check_mode_on_a_host_that_is_not_ready(host):
    host.session.exists = host.session.ready = False
    networks = host.run(check=True)
    assert networks.actions() == ["create the network systemd-photos", "create the network systemd-monitoring"]
    assert host.asked[-1].networks is None


def test_podman_is_needed_for_more_than_a_prediction(host):
    host.session.module.get_bin_path = lambda name: None
    assert host.run(check=True).networks
    with pytest.raises(SessionError, match="podman is not installed"):
        host.run()


def test_a_bad_plan_does_not_even_enable_lingering(host):
    host.session.ready = False
    refused(host, entries=[{"unit": "photos", "subnet": "nonsense"}])
    assert not host.session.ready
    assert host.run().lingering_enabled and host.session.ready


def test_bridges_of_the_system_are_its_own_networks(host, monkeypatch):
    but = []
    monkeypatch.setattr(stack._host_routes, "read", lambda names: but.append(set(names)) or [])
    host.run()
    host.session.system = True
    host.run()
    assert but == [set(), {"podman5", "podman4"}]


def test_findings_of_the_transaction_are_findings(host, monkeypatch):
    def plan(session, request):
        raise _transaction.TransactionError([_transaction.Finding("photos.network", "too new", "use less")])

    monkeypatch.setattr(_transaction, "plan", plan)
    assert [(finding.network, finding.problem, finding.fix) for finding in refused(host)] == [("photos.network", "too new", "use less")]


def test_a_network_that_is_not_as_planned_afterwards_is_an_error(host, monkeypatch):
    drift(host)
    networks = host.run(recreate="stop_users")
    monkeypatch.setattr(_transaction, "execute", lambda *args: None)
    with pytest.raises(SessionError, match=r"systemd-photos: options\.mtu is 1400"):
        networks.apply()


def test_facts_can_be_returned(host):
    json.dumps(host.run().facts())
