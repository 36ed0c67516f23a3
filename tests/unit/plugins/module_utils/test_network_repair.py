# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a network, and what may be interrupted."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _network_repair as repair
from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import OtherUnit, make_plan
from ansible_collections.patriark.homelab.plugins.module_utils._network_drift import Difference
from ansible_collections.patriark.homelab.plugins.module_utils._session import SessionError

NETWORK = make_plan([{"unit": "photos", "subnet": "10.89.5.0/24"}]).networks[0]
DRIFT = [Difference("subnet", "10.9.0.0/24", "10.89.5.0/24"), Difference("options.metric", "50", "")]


def container(name, service="", state="running", networks=("systemd-photos",)):
    labels = {repair.SERVICE_LABEL: service} if service else None
    return {"Names": [name], "Labels": labels, "State": state, "Networks": list(networks)}


CONTAINERS = [
    container("immich-server", "immich-server.service", networks=("systemd-photos", "systemd-monitoring")),
    container("old", "old.service", state="exited"),
    container("elsewhere", "elsewhere.service", networks=("systemd-monitoring",)),
]
UNITS = {
    "photos-network.service": {"LoadState": "loaded", "ActiveState": "active", "RequiredBy": "immich-server.service idle.service default.target"},
    "immich-server.service": {"LoadState": "loaded", "ActiveState": "active", "BoundBy": "sidecar.service"},
    "sidecar.service": {"LoadState": "loaded", "ActiveState": "activating"},
    "idle.service": {"LoadState": "loaded", "ActiveState": "inactive"},
    "old.service": {"LoadState": "loaded", "ActiveState": "inactive"},
}


class Session:
    """The commands a real session would run are recorded; systemctl answers from UNITS."""

    ready = True
    system = True

    def __init__(self, tmp_path=None, rc=0, err=""):
        self.state_dir = str(tmp_path / "state") if tmp_path else "/nonexistent"
        self.exists = True
        self.ran = []
        self.asked = []
        self.answer = (rc, "", err)

    def systemctl(self, *args):
        units = args[args.index("--") + 1 :]
        self.asked += units
        blocks = ["\n".join(f"{key}={value}" for key, value in UNITS.get(unit, {"LoadState": "not-found"}).items()) for unit in units]
        return 0, "\n\n".join(blocks), ""

    def podman(self, *args):
        self.ran.append(args)
        return self.answer

    @contextlib.contextmanager
    def files(self):
        yield


def test_users_are_all_containers_that_refer_to_the_network():
    assert repair.users(CONTAINERS, "systemd-photos") == [
        repair.User("immich-server", "immich-server.service", True),
        repair.User("old", "old.service", False),
    ]


def impact(containers, units=()):
    return repair.impact(repair.Services(Session()), NETWORK, repair.users(containers, "systemd-photos"), units)


def test_impact_follows_dependencies_and_leaves_idle_services_alone():
    effect = impact(CONTAINERS)
    assert effect == repair.Impact(stop=("immich-server.service", "sidecar.service"), leftovers=("old",))
    assert effect.start == effect.stop


def test_systemd_is_asked_once_for_each_service():
    session = Session()
    services = repair.Services(session)
    for _time in range(2):
        repair.impact(services, NETWORK, repair.users(CONTAINERS, "systemd-photos"), [])
    assert len(session.asked) == len(set(session.asked)) == 5


@pytest.mark.parametrize(
    "address, blocked",
    [
        ("10.89.5.5", ()),
        ("%i.5", ()),
        ("10.9.0.5", ("immich-server.service", "sidecar.service")),
        ("fd00::5", ("immich-server.service", "sidecar.service")),
    ],
)
def test_services_that_cannot_start_on_the_new_network_are_left_stopped(address, blocked):
    units = [
        OtherUnit("/x/immich-server.container", "immich-server.container", "immich-server.service", addresses=(("photos.network", address),)),
        OtherUnit("/x/elsewhere.container", "elsewhere.container", "elsewhere.service", addresses=(("monitoring.network", "10.1.0.5"),)),
    ]
    effect = impact(CONTAINERS, units)
    assert effect.stop == ("immich-server.service", "sidecar.service")
    assert tuple(dict(effect.blocked)) == blocked
    assert effect.start == (() if blocked else effect.stop)
    text = repair.refusal(NETWORK, DRIFT, effect, "never").fix
    assert ("leave immich-server.service stopped (its unit asks for" in text) is bool(blocked)


@pytest.mark.parametrize(
    "foreign",
    [
        container("by-hand"),
        container("by-hand", state="exited"),
        container("by-hand", "gone.service"),
        container("by-hand", "idle.service"),  # running, and its service does not know
    ],
)
def test_a_container_nobody_could_start_again_is_foreign(foreign):
    effect = impact([*CONTAINERS, foreign])
    assert effect.foreign == ("by-hand",)
    for recreate in ("never", "unused", "stop_users"):
        finding = repair.refusal(NETWORK, DRIFT, effect, recreate)
        assert finding.container == "by-hand" and "by-hand" in finding.fix


@pytest.mark.parametrize(
    "recreate, effect, refused",
    [
        ("never", repair.Impact(), True),
        ("never", repair.Impact(stop=("a.service",)), True),
        ("unused", repair.Impact(), False),
        ("unused", repair.Impact(stop=("a.service",)), True),
        ("unused", repair.Impact(leftovers=("a",)), True),
        ("stop_users", repair.Impact(), False),
        ("stop_users", repair.Impact(stop=("a.service",), leftovers=("b",)), False),
    ],
)
def test_what_each_choice_allows(recreate, effect, refused):
    assert bool(repair.refusal(NETWORK, DRIFT, effect, recreate)) is refused


def test_a_refusal_names_the_difference_and_the_exact_consequence():
    effect = repair.Impact(stop=("a.service", "b.service"), leftovers=("c",))
    finding = repair.refusal(NETWORK, DRIFT, effect, "never")
    assert finding.network == "systemd-photos"
    assert finding.problem == "is not as planned: subnet is 10.9.0.0/24, planned is 10.89.5.0/24; options.metric is 50, planned is not set"
    assert finding.fix == (
        "allow recreate: stop_users, which will stop a.service, b.service, remove the stopped container c,"
        " remove the network and make it again, start a.service, b.service"
    )
    assert "recreate: unused" in repair.refusal(NETWORK, DRIFT, repair.Impact(), "never").fix


def test_a_network_in_use_is_not_removed_for_good():
    assert repair.still_used("systemd-photos", repair.Impact(), []) is None
    finding = repair.still_used("systemd-photos", repair.Impact(("a.service",), ("b",), ("c",)), ["/etc/x/d.container"])
    for name in ("the service a.service", "the container b", "the container c", "the unit /etc/x/d.container"):
        assert name in finding.problem


def test_removal_is_never_forced_and_may_find_nothing():
    session = Session()
    repair.remove(session, "systemd-photos", ["old"])
    assert session.ran == [("rm", "--", "old"), ("network", "rm", "--", "systemd-photos")]
    repair.remove(Session(rc=1, err="network not found"), "systemd-photos")
    with pytest.raises(SessionError, match="is being used"):
        repair.remove(Session(rc=2, err="network is being used"), "systemd-photos")


def test_journal_survives_and_a_torn_one_is_no_error(tmp_path):
    journal = repair.Journal(Session(tmp_path), "networks")
    assert journal.read() == []
    journal.write(["b.service", "a.service"])
    assert repair.Journal(Session(tmp_path), "networks").read() == ["b.service", "a.service"]
    journal.done()
    journal.done()
    assert journal.read() == []
    journal.write([])
    with open(journal.path, "w", encoding="utf-8") as handle:
        handle.write("{")
    assert journal.read() == []
