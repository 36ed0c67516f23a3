# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be done, given what runs and what is written: each kind of difference, and nothing for none."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _staleness as staleness
from ansible_collections.patriark.homelab.plugins.module_utils._decide import Decision, Disk, Live, propagate
from ansible_collections.patriark.homelab.plugins.module_utils._manifest import Manifest
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import DIGEST_LABEL
from ansible_collections.patriark.homelab.plugins.module_utils._request import Action, CompanionFile, FileChange, Plan, Request
from ansible_collections.patriark.homelab.plugins.module_utils._secrets import SecretChange
from ansible_collections.patriark.homelab.plugins.module_utils._stack import Stack

UNITS = {
    "app.container": "[Unit]\nAfter=db.container\n[Container]\nImage=localhost/a:1\nHealthCmd=x\nVolume=data.volume:/d\n",
    "db.container": "[Container]\nImage=localhost/db:1\nEnvironmentFile=db.env\nSecret=token,type=mount\n",
    "data.volume": "[Volume]\n",
    "tick.timer": "[Timer]\nOnCalendar=daily\n",
    "tick.service": "[Service]\nType=simple\nExecStart=/bin/true\n",
    "job.container": "[Container]\nImage=localhost/a:1\n[Service]\nType=oneshot\n",
}
SERVICES = ["app.service", "db.service", "data-volume.service", "tick.timer"]
VOLUME = {"Name": "systemd-data", "Driver": "local", "Labels": {}, "Options": {"o": "uid=5", "UID": "5"}, "UID": 5}
ACTIVE = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "NeedDaemonReload": "no"}


class World:
    """A stack that is deployed and runs; change a part of it and ask what has to be done."""

    def __init__(self, **request):
        self.request = Request("demo", dict(UNITS), {"db.env": CompanionFile("A=1\n")}, **request)
        self.stack = self.written(self.request)
        self.disk = Disk("/units/demo", "/systemd", dict(self.stack.tree), dict(self.stack.plain), frozenset())
        self.live = Live({service: dict(ACTIVE) for service in SERVICES}, looked=True, lasting={"volume": {"systemd-data": dict(VOLUME)}, "network": {}})
        self.live.images = {"localhost/a:1": "ia", "localhost/db:1": "idb"}
        self.live.secrets = {"token": "s1"}
        self.live.containers = {
            "systemd-app": self.container("app.container", "ia"),
            "systemd-db": self.container("db.container", "idb", [{"Name": "token", "ID": "s1"}]),
        }
        applied = {name: member.digest for name, member in self.stack.members.items() if member.unit.name.kind != "container"}
        self.plan = Plan(before=Manifest("demo", units=list(UNITS), files=["db.env"], applied=applied))

    def written(self, request):
        stack = Stack(request)
        assert not stack.findings
        stack.write_texts((5, 4, 2), {}, {})
        return stack

    def container(self, name, image, secrets=()):
        labels = {DIGEST_LABEL: self.stack.members[name].digest}
        return {"Image": image, "Config": {"Labels": labels, "Secrets": list(secrets)}, "State": {"Health": {"Status": "healthy"}}}

    def rewritten(self, **changes):
        """The request changes; what is on disk stays."""
        self.stack = self.written(dataclasses.replace(self.request, **changes))
        future = {
            **{f"/units/demo/{name}": node for name, node in self.stack.tree.items()},
            **{f"/systemd/{name}": node for name, node in self.stack.plain.items()},
        }
        now = {**{f"/units/demo/{name}": node for name, node in self.disk.tree.items()}, **{f"/systemd/{name}": node for name, node in self.disk.plain.items()}}
        self.disk = dataclasses.replace(self.disk, written=frozenset(path for path in {*future, *now} if future.get(path) != now.get(path)))

    def decide(self, gone=(), targets=None):
        self.findings = Decision(self.plan, self.stack, self.live, self.disk, {}, targets or {}, list(gone), []).make()
        return [dataclasses.astuple(action) for action in self.plan.actions]


def test_nothing_to_do():
    world = World()
    assert world.decide() == []
    assert sorted(world.plan.expected) == sorted(SERVICES)
    assert world.plan.checked == ["app.service"]
    assert world.plan.unhealthy == []


def test_a_new_stack_is_started_in_order():
    world = World()
    world.live = Live()
    world.disk = dataclasses.replace(world.disk, tree={}, plain={})
    assert world.decide() == [(service, "start", "it is new") for service in ("data-volume.service", "db.service", "app.service", "tick.timer")]


@pytest.mark.parametrize(
    ("state", "reason"),
    [({"ActiveState": "inactive"}, "it is stopped"), ({"ActiveState": "failed", "Result": "oom-kill"}, "it failed (oom-kill)")],
)
def test_what_is_down_is_started(state, reason):
    world = World()
    world.live.properties["db.service"].update(state)
    assert world.decide() == [("db.service", "start", reason)]
    assert world.plan.failed == (["db.service"] if state["ActiveState"] == "failed" else [])


def test_a_container_that_is_missing():
    world = World()
    del world.live.containers["systemd-app"]
    assert world.decide() == [("app.service", "restart", "its container is missing")]


def test_an_image_that_moved():
    world = World()
    world.live.images["localhost/db:1"] = "other"
    assert world.decide() == [("db.service", "restart", "localhost/db:1 is another image now")]


def other(units, **live):
    """Another stack that is deployed and runs."""
    world = World()
    world.request = Request("demo", units)
    world.stack = world.written(world.request)
    world.disk = Disk("/units/demo", "/systemd", dict(world.stack.tree), dict(world.stack.plain), frozenset())
    world.live = Live({service: dict(ACTIVE) for service in world.stack.services}, looked=True, **live)
    world.live.containers = {"systemd-app": world.container("app.container", "i1")} if "app.container" in units else {}
    world.plan.before.applied = {name: member.digest for name, member in world.stack.members.items() if member.unit.name.kind != "container"}
    return world


def test_an_image_of_kubernetes_yaml_that_moved():
    piece = {"Image": "localhost/a:1", "ImageID": "i1"}
    infra = {"Image": "localhost/podman-pause:5", "ImageID": "p1", "IsInfra": True}
    service = {**infra, "IsInfra": False}
    for images, actions in (
        ({"localhost/a:1": "i1"}, []),
        ({}, []),
        ({"localhost/a:1": "i2"}, [("p.service", "restart", "localhost/a:1 is another image now")]),
        ({"localhost/podman-pause:5": "p2"}, []),
    ):
        world = other({"p.kube": "[Kube]\nYaml=p.yml\n"}, images=images, plays={"p.service": [service, infra, piece, piece]})
        assert world.decide() == actions


def test_an_image_that_is_missing_is_brought_when_it_is_needed():
    units = {"i.image": "[Image]\nImage=localhost/a:1\n", "app.container": "[Container]\nImage=i.image\n"}
    assert other(units).decide() == [], "all of its users run"
    world = other(units)
    world.live.properties["app.service"]["ActiveState"] = "inactive"
    assert world.decide() == [("i-image.service", "restart", "the image localhost/a:1 is missing"), ("app.service", "start", "it is stopped")]
    world = other(units, images={"localhost/a:1": "i1"})
    world.live.properties["app.service"]["ActiveState"] = "inactive"
    assert world.decide() == [("app.service", "start", "it is stopped")]


@pytest.mark.parametrize(
    ("policy", "both", "restarted"),
    [
        ("", False, ["app.service"]),
        ("", True, ["app.service", "left.service", "p-pod.service"]),
        ("ExitPolicy=continue\n", True, ["app.service", "left.service"]),
        ("PodmanArgs=--exit-policy=continue\n", True, ["app.service", "left.service"]),
    ],
)
def test_a_pod_that_would_lose_its_last_container_is_restarted_with_it(policy, both, restarted):
    member = "[Container]\nImage=localhost/a:1\nPod=p.pod\n"
    world = other({"p.pod": f"[Pod]\n{policy}", "app.container": member, "left.container": member})
    world.live.images = {"localhost/a:1": "i2"}
    world.live.containers["systemd-left"] = world.container("left.container", "i1" if both else "i2")
    assert sorted(action[0] for action in world.decide()) == restarted


def test_an_image_that_is_gone_says_nothing():
    world = World()
    del world.live.images["localhost/db:1"]
    assert world.decide() == []


def test_a_secret_that_was_replaced_by_somebody():
    world = World()
    world.live.secrets["token"] = "s2"
    assert world.decide() == [("db.service", "restart", "the secret token was replaced")]


def test_a_secret_that_is_replaced_by_us():
    world = World()
    world.plan.secrets = [SecretChange("token", "replace", "new", "old"), SecretChange("unused", "create", "x")]
    assert world.decide() == [("db.service", "restart", "the secret token is replaced")]


def test_a_container_of_an_older_unit():
    world = World()
    world.live.containers["systemd-app"]["Config"]["Labels"][DIGEST_LABEL] = "0-" + world.stack.members["app.container"].digest.partition("-")[2]
    assert world.decide() == [("app.service", "restart", "its unit changed")]


def test_a_container_of_somebody_else():
    world = World()
    world.live.containers["systemd-app"]["Config"]["Labels"] = None
    assert world.decide() == [("app.service", "restart", "it was not started by this collection")]


def test_a_changed_unit():
    world = World()
    world.rewritten(units={**UNITS, "app.container": UNITS["app.container"] + "ReadOnly=true\n"})
    assert world.decide() == [("app.service", "restart", "its unit changed")]


def test_a_changed_file():
    world = World()
    world.rewritten(files={"db.env": CompanionFile("A=2\n")})
    assert world.decide() == [("db.service", "restart", "db.env changed")]


def test_a_file_edited_by_hand():
    world = World()
    world.disk.tree["db.env"] = world.disk.tree["db.env"]._replace(content="A=9\n")
    world.rewritten()
    assert world.decide() == [("db.service", "restart", "db.env changed")]


def test_a_drop_in_that_comes():
    world = World()
    world.rewritten(units={**UNITS, "app.container.d/a.conf": "[Container]\nReadOnly=true\n"})
    assert world.decide() == [("app.service", "restart", "app.container.d/a.conf changed")]


@pytest.mark.parametrize(
    ("command", "severity", "reason"),
    [
        ("podman volume create --ignore --opt o=uid=5 systemd-data", [], ""),
        ("podman volume create --ignore --opt o=uid=5 --label a=b systemd-data", ["warning"], "no label a=b"),
        ("podman volume create --ignore systemd-data", ["error"], "option o=uid=5 too many"),
        ("podman volume create --ignore --opt o=uid=6 --opt type=tmpfs systemd-data", ["error"], "option o=uid=5 instead of uid=6, no option type=tmpfs"),
        ("podman volume create --ignore --driver image --opt o=uid=5 systemd-data", ["error"], "driver local instead of image"),
    ],
)
@pytest.mark.parametrize("state", ["active", "inactive"])
def test_a_volume_that_is_not_what_its_unit_says_stays_and_is_told(command, severity, reason, state):
    world = World()
    world.live.properties["data-volume.service"]["ActiveState"] = state
    world.live.commands["data-volume.service"] = command.split()
    assert [action for action in world.decide() if action[1] != "start"] == []
    assert [finding.severity for finding in world.findings] == severity
    assert all(reason in finding.reason and "podman volume rm systemd-data" in finding.remedy for finding in world.findings)


def test_a_changed_network_stays_and_is_told():
    world = World()
    world.request = Request("demo", {"n.network": "[Network]\n"})
    world.stack = world.written(world.request)
    world.live.properties = {"n-network.service": dict(ACTIVE)}
    world.live.lasting = {"network": {"systemd-n": {}}}
    world.plan.before.applied["n.network"] = "old-old"
    assert world.decide() == []
    assert [(finding.unit, finding.severity) for finding in world.findings] == [("n.network", "warning")]


def test_a_container_started_by_hand_from_another_text():
    world = World()
    words = ["/usr/bin/podman", "run", "--cidfile=%t/%N.cid", "localhost/a:1"]
    world.live.commands["app.service"] = words
    world.live.containers["systemd-app"]["Config"]["CreateCommand"] = ["podman", "run", "--cidfile=/run/app.cid", "localhost/a:1"]
    assert world.decide() == []
    world.live.containers["systemd-app"]["Config"]["CreateCommand"].append("other")
    world.plan.manifest = Manifest("demo")
    assert world.decide() == [("app.service", "restart", "it was started with another command than its unit has")]
    # and again although it was restarted for that: a wrapper around podman, which is left alone from then on
    world.plan = Plan(
        before=dataclasses.replace(world.plan.before, applied={**world.plan.before.applied, **world.plan.manifest.applied}), manifest=Manifest("demo")
    )
    assert world.decide() == []
    assert "also by systemd" in world.plan.notes[0]
    assert world.plan.manifest.applied == {"app.container": world.stack.members["app.container"].digest}
    # until it fits
    del world.live.containers["systemd-app"]["Config"]["CreateCommand"][-1]
    world.plan = Plan(before=world.plan.before, manifest=Manifest("demo"))
    assert world.decide() == [] and world.plan.manifest.applied == {}


def test_a_volume_that_is_missing():
    world = World()
    world.live.lasting["volume"] = {}
    assert world.decide() == [("data-volume.service", "restart", "the volume systemd-data is missing")]


def test_a_plain_unit_started_from_an_older_text():
    world = World()
    world.plan.before.applied["tick.timer"] = "old-old"
    assert world.decide() == [("tick.timer", "restart", "its unit changed; a file it uses changed")]


def test_a_start_under_way_is_left_alone_unless_it_is_of_an_older_unit():
    world = World()
    world.live.properties["db.service"].update(ActiveState="activating", SubState="start")
    del world.live.containers["systemd-db"]
    assert world.decide() == []
    assert world.plan.starting == ["db.service"]
    world.live.properties["db.service"].update(NeedDaemonReload="yes")
    assert world.decide() == [("db.service", "restart", "it is being started from an older unit")]


def test_an_unhealthy_container_is_waited_for_and_not_restarted():
    world = World()
    world.live.containers["systemd-app"]["State"]["Health"]["Status"] = "unhealthy"
    assert world.decide() == []
    assert world.plan.unhealthy == ["app.service"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("stopped", [(service, "stop", "the stack is to be stopped") for service in ("db.service", "app.service", "tick.timer")]),
        ("present", []),
    ],
)
def test_other_states(state, expected):
    world = World(state=state)
    world.live.images["localhost/db:1"] = "other"
    assert sorted(world.decide()) == sorted(expected)
    assert bool(world.plan.notes) == (state == "present")


def test_what_is_gone_is_stopped_once():
    world = World()
    world.live.properties["old.service"] = dict(ACTIVE)
    assert world.decide(gone=["old.service", "older.service"]) == [("old.service", "stop", "no longer in the stack")]


def test_asked_for_and_foreign_services():
    world = World(restart={"db.service", "other.service"})
    world.live.properties["traefik.service"] = dict(ACTIVE)
    assert world.decide(targets={"traefik.container.d/x.conf": "traefik.service"}) == [
        ("db.service", "restart", "asked for"),
        ("other.service", "restart", "asked for"),
        ("traefik.service", "restart", "traefik.container.d/x.conf changed"),
    ]
    assert {"other.service", "traefik.service"} <= set(world.plan.expected)


def test_a_socket_is_restarted_with_what_it_serves():
    world = World()
    world.request = Request("demo", {"web.socket": "[Socket]\nListenStream=1\n", "web.container": "[Container]\nImage=localhost/a:1\n"})
    world.stack = world.written(world.request)
    world.disk = Disk("/units/demo", "/systemd", dict(world.stack.tree), dict(world.stack.plain), frozenset({"/systemd/web.socket"}))
    world.live.properties = {"web.socket": dict(ACTIVE), "web.service": dict(ACTIVE)}
    world.live.containers = {"systemd-web": world.container("web.container", "ia")}
    assert world.decide() == [
        ("web.socket", "restart", "a file it uses changed"),
        ("web.service", "restart", "its socket web.socket is restarted"),
    ]


def test_what_systemd_takes_along_is_predicted():
    live = Live({name: dict(ACTIVE) for name in ("db.service", "app.service", "off.service", "far.service")})
    live.properties["db.service"]["RequiredBy"] = "far.service app.service off.service"
    live.properties["off.service"]["ActiveState"] = "inactive"
    live.properties["far.service"]["BoundBy"] = "further.service"
    plan = Plan(actions=[Action("db.service", "restart", "x"), Action("new.service", "start", "x")])
    # app no longer requires db in its future text, and web does
    generated = {"app.service": "[Unit]\nAfter=db.service\n", "web.service": "[Unit]\nRequires=db.service\n[Service]\nRequires=no.service\n"}
    live.properties["web.service"] = dict(ACTIVE)
    propagate(plan, live, generated, {}, lambda names: {name: dict(ACTIVE) for name in names})
    assert [dataclasses.astuple(action) for action in plan.actions[2:]] == [
        ("far.service", "restart", "it requires db.service"),
        ("web.service", "restart", "it requires db.service"),
        ("further.service", "restart", "it requires far.service"),
    ]


def test_the_digest_tells_units_files_and_drop_ins_apart():
    base = staleness.digest("t", {"d": "x"}, {"f": "1"})
    assert staleness.differences(base, staleness.digest("u", {"d": "x"}, {"f": "1"})) == ["its unit changed"]
    assert staleness.differences(base, staleness.digest("t", {"d": "y"}, {"f": "1"})) == ["its unit changed"]
    assert staleness.differences(base, staleness.digest("t", {"d": "x"}, {"f": "2"})) == ["a file it uses changed"]
    assert staleness.differences(base, staleness.digest("t", {"d": "x"}, {"f": None})) == ["a file it uses changed"]
    assert staleness.digest("t", {}, {"f": ""}) != staleness.digest("t", {}, {"f": None})


def test_the_label_does_not_enter_the_digest():
    stack = World().stack
    text = stack.tree["app.container"].content
    assert text.endswith(f"Label={DIGEST_LABEL}={stack.members['app.container'].digest}\n")
    assert staleness.without_label(text) == stack.members["app.container"].text


def test_instances_templates_and_watched_files():
    request = Request(
        "demo",
        {"t@.container": "[Container]\nImage=localhost/a:1\n", "t@one.container": None, "t@.container.d/a.conf": "[Container]\nReadOnly=true\n"},
        watch={"t@one.container": ["/etc/x"]},
    )
    digests = []
    for content in ("1", "2", None):
        stack = Stack(request)
        stack.write_texts(None, {}, {"/etc/x": content})
        digests.append(stack.members["t@one.container"].digest)
    assert len(set(digests)) == 3
    assert stack.notes == ["t@one.container watches /etc/x, which does not exist"]
    assert stack.members["t@one.container"].unit.get("ReadOnly") == "true"
    assert stack.tree["t@one.container"].content.startswith("[Container]\nImage=localhost/a:1\n")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request("users", {}), "not a name for a stack"),
        (Request("a/b", {}), "not a name for a stack"),
        (Request("a", {"x.mount": ""}), "not a unit"),
        (Request("a", {f"{'x' * 220}.container": ""}), "220 characters at most"),
        (Request("a", {"x.container": None}), "neither content nor sections"),
        (Request("a", {"x@y.container": None}), "needs its template x@.container"),
        (Request("a", {"x.container.d/a.conf": None}), "a drop-in needs content"),
        (Request("a", {}, {"../x": CompanionFile("")}), "below the stack's directory"),
        (Request("a", {}, {"x.container": CompanionFile("")}), "that is a unit"),
        (Request("a", {}, watch={"x.container": []}), "not in units"),
        (Request("a", {"x.container": ""}, watch={"x.container": ["etc/x"]}), "absolute paths"),
    ],
)
def test_requests_that_are_none(request_, reason):
    assert [reason in finding.reason for finding in Stack(request_).findings] == [True]


def test_a_diff_shows_files_and_actions_and_no_secret():
    plan = Plan(
        files=[FileChange("/u/a.env", "A=old-secret\n", None, 0o600), FileChange("/u/b", None, "x\n"), FileChange("/u/c", "same\n", "same\n", 0o600, 0o644)],
        actions=[Action("a.service", "restart", "its unit changed")],
        secrets=[SecretChange("s", "replace", "new-secret", "old-secret")],
        enable=["x.timer"],
        reload=True,
    )
    shown = plan.diff()
    assert "secret" not in repr(shown).replace("replace secret s", "")
    assert [item.get("after_header") for item in shown] == ["/dev/null", "/u/b", "/u/c", None]
    assert shown[2]["before"].startswith("# mode 0600")
    assert shown[3]["prepared"] == "restart a.service: its unit changed\nreplace secret s\nenable x.timer\ndaemon-reload\n"


@pytest.mark.parametrize(
    ("status", "codes", "more", "expected"),
    [
        ("healthy", [0, 0, 1, 1, 1], {}, ("unhealthy", 3)),
        ("healthy", [1, 1, 1, 1, 1], {}, ("unhealthy", 5)),
        ("healthy", [0, 1, 1], {}, ("healthy", 2)),
        ("healthy", [1, 1, 1, 0], {}, ("healthy", 0)),
        ("healthy", [0, 1, 1, 1], {"Retries": 5}, ("healthy", 3)),
        ("healthy", [0, 1], {"Retries": 1}, ("unhealthy", 1)),
        ("starting", [1, 1, 1, 1], {}, ("starting", 4)),
        ("unhealthy", [1], {}, ("unhealthy", 7)),
    ],
)
def test_a_container_that_hangs_before_its_start_period_is_over_is_unhealthy(status, codes, more, expected):
    health = {"Status": status, "FailingStreak": 7 if status == "unhealthy" else 0, "Log": [{"ExitCode": code} for code in codes]}
    found = staleness.health_of({"State": {"Health": health}, "Config": {"Healthcheck": more}})
    assert (found["status"], found["failing_streak"]) == expected


@pytest.mark.parametrize(
    ("status", "started", "period", "expected"),
    [
        ("starting", "2026-11-22T14:02:29.804404528Z", 300, 31),
        ("starting", "2026-11-22T15:02:29.804404528+01:00", 300, 31),
        ("starting", "2026-11-22T14:02:29Z", 300, 31),
        ("starting", "2026-11-22T14:03:10.5Z", 300, 0),  # a clock that went back
        ("starting", "2026-11-22T13:58:01Z", 300, 299),
        ("starting", "2026-11-22T13:58:00Z", 300, None),
        ("starting", "2026-11-22T14:02:29Z", 0, None),
        ("healthy", "2026-11-22T14:02:29Z", 300, None),
        ("unhealthy", "2026-11-22T14:02:29Z", 300, None),
        ("starting", "", 300, None),
    ],
)
def test_how_long_a_container_has_been_starting(status, started, period, expected):
    container = {"State": {"Health": {"Status": status}, "StartedAt": started}, "Config": {"Healthcheck": {"StartPeriod": period * 10**9}}}
    assert staleness.starting_for(container, 1795356180.0) == expected


def test_a_container_without_a_check_is_not_starting():
    assert staleness.starting_for({}, 1795356180.0) is None


def test_a_container_without_a_check_has_no_health():
    assert staleness.health_of(None) is None and staleness.health_of({"State": {"Health": {"Status": ""}}}) is None
