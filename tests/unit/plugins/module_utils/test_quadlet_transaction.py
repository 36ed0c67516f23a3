# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One transaction against a host that is simulated: real files, and a systemd and podman that do what these files say.

It is killed before each of its steps, its disk is full at each of them, and its services fail: what is left is looked at, and the next run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
import shutil

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _manifest as manifests
from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _stack_files, _wait
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import DIGEST_LABEL
from ansible_collections.patriark.homelab.plugins.module_utils._request import CompanionFile, Request
from ansible_collections.patriark.homelab.plugins.module_utils._secrets import SecretRequest
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node
from ansible_collections.patriark.homelab.plugins.module_utils._transaction import PullFailed, TransactionError, TransactionFailed, _checked, deploy, plan


class Killed(BaseException):
    """The power is gone."""


class Module:
    check_mode = False

    def get_bin_path(self, name):
        return f"/usr/bin/{name}" if name == "podman" else None


class Host:
    """A host and an account's session on it.

    loaded: unit -> text as systemd has read it; running: unit -> text it was started from; enabled: plain units.
    A unit whose text holds "broken" fails to start. images: name -> id of each image that is here, None for all there can be; unwilling: name -> why
    its registry does not send it. steps: everything that changed something, in order; trouble: what happens instead
    of the step of that number.
    """

    system = False
    user = "somebody"
    home = "/home/somebody"
    runtime_dir = "/run/user/1000"
    lingering = True
    exists = ready = True

    def __init__(self, root, program):
        self.module = Module()
        self.root = str(root)
        self.unit_dir, self.systemd_dir, self.state_dir = (f"{root}/{name}" for name in ("units", "systemd", "state"))
        self.search_dirs = [self.unit_dir]
        self.program = program
        self.loaded, self.running, self.enabled, self.failed = {}, {}, set(), set()
        self.secrets = {}
        self.images, self.unwilling = None, {}
        self.steps, self.trouble = [], {}

    @contextlib.contextmanager
    def files(self):
        yield

    def step(self, what):
        self.steps.append(what)
        trouble = self.trouble.get(len(self.steps))
        if trouble:
            raise trouble

    # what lies there

    def on_disk(self, folder=None):
        folder = folder or f"{self.unit_dir}/demo"
        found = {}
        for base, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                if not name.startswith("."):
                    with open(os.path.join(base, name), encoding="utf-8") as handle:
                        found[os.path.relpath(os.path.join(base, name), folder)] = handle.read()
        return found

    def units(self):
        quadlets = {re.sub(r"\.container$", ".service", name): text for name, text in self.on_disk().items() if name.endswith(".container")}
        return {**quadlets, **self.on_disk(self.systemd_dir)}

    def reboot(self):
        self.loaded, self.running, self.failed = self.units(), {}, set()
        for name, text in self.loaded.items():
            if name.endswith(".service") or name in self.enabled:
                self.start(name, text)

    def start(self, name, text):
        if "broken" in text:
            self.failed.add(name)
            self.running.pop(name, None)
        else:
            self.running[name] = text
            self.failed.discard(name)

    # programs

    def run(self, args):
        if args[-1] == "-version":
            return 0, "5.4.2\n", ""
        folder = args[1].partition("=")[2]
        names = sorted(name for dummy, dummy2, files in os.walk(folder) for name in files if name.endswith(".container"))
        return 0, "".join(f"---{name[:-10]}.service---\n[Service]\nExecStart=/usr/bin/podman run {name}\n\n" for name in names), ""

    def journal(self, unit, *options):
        return 0, "it says DB_PASSWORD=rosebud and that sesame-street is shut\n", ""

    def systemctl(self, *args):
        verb, names = args[0], [name for name in args[1:] if not name.startswith("-")]
        if verb == "show":
            return 0, "\n".join(self.shown(name) for name in names), ""
        self.step(f"systemctl {' '.join(args)}")
        if verb == "daemon-reload":
            self.loaded = self.units()
        for name in names:
            if verb in ("start", "restart"):
                if name not in self.loaded:
                    return 5, "", f"Unit {name} not found."
                if verb == "restart" or name not in self.running:
                    self.start(name, self.loaded[name])
            elif verb == "stop":
                self.running.pop(name, None)
            elif verb == "reset-failed":
                self.failed.discard(name)
            elif verb == "enable":
                self.enabled.add(name)
            elif verb == "disable":
                self.enabled.discard(name)
        return 0, "", ""

    def shown(self, name):
        known = name in self.loaded
        place = self.systemd_dir if not name.endswith(".service") else "/run/user/1000/systemd/generator"
        facts = {
            "LoadState": "loaded" if known else "not-found",
            "ActiveState": "active" if name in self.running else "failed" if name in self.failed else "inactive",
            "Result": "exit-code" if name in self.failed else "success",
            "ExecMainStatus": "1",
            "NeedDaemonReload": "yes" if known and self.units().get(name) != self.loaded[name] else "no",
            "FragmentPath": f"{place}/{name}" if known else "",
            "UnitFileState": "enabled" if name in self.enabled else "disabled",
            "Type": "notify",
        }
        return "".join(f"{key}={value}\n" for key, value in facts.items())

    def podman(self, *args, data=None):
        containers = {f"systemd-{name[:-8]}": text for name, text in self.running.items() if name.endswith(".service")}
        if args[:2] == ("container", "inspect"):
            return 0, json.dumps([self.inspected(name, containers[name]) for name in args[2:] if name in containers]), ""
        if args[:2] == ("image", "inspect"):
            missing = [name for name in args[4:] if self.images is not None and name not in self.images]
            if missing:
                return 125, "", f"Error: {missing[0]}: image not known"
            return 0, "".join(f"{(self.images or {}).get(name, 'i1')}\n" for name in args[4:]), ""
        if args[0] == "info":
            return 0, "{}", ""
        if args[:2] == ("secret", "ls"):
            return 0, "".join(f"id-{value} {name}\n" for name, value in self.secrets.items()), ""
        if args[:2] == ("secret", "inspect"):
            return 0, json.dumps([{"Spec": {"Name": name}, "SecretData": self.secrets[name]} for name in args[3:]]), ""
        if args[:2] == ("secret", "create"):
            self.step(f"podman {' '.join(args)}")
            self.secrets[args[-2]] = data
            return 0, "", ""
        if args[0] == "ps":
            checked = {name: "(healthy)" if "HealthCmd=" in text else "" for name, text in self.running.items()}
            return 0, json.dumps([{"Labels": {podman.SERVICE_LABEL: name}, "Status": f"Up 1 second {health}"} for name, health in checked.items()]), ""
        assert args[:1] == ("stop",), args
        return 0, "", ""

    def follow(self, args, hear):
        self.step(f"podman {' '.join(args[1:])}")
        hear("Copying blob 4ff24f60f4df [>----] 656.0KiB / 28.3MiB | 3.1 MiB/s\n")
        if args[-1] in self.unwilling:
            return 125, f"Error: {self.unwilling[args[-1]]}\n"
        self.images[args[-1]] = "i2" if args[-1] in self.images else "i1"
        return 0, ""

    def inspected(self, name, text):
        digest = re.search(rf"{re.escape(DIGEST_LABEL)}=(\S+)", text)
        log = [{"ExitCode": 1, "Output": "no: token=abcdefgh"}]
        return {
            "Name": name,
            "Image": "i1",
            "Config": {"Labels": {DIGEST_LABEL: digest.group(1)} if digest else {}, "Secrets": [{"Name": "key", "ID": f"id-{self.secrets.get('key')}"}]},
            "State": {"Health": {"Status": "healthy", "Log": log}},
        }


def container(image, more=""):
    return f"[Container]\nImage=localhost/{image}:1\n{more}[Install]\nWantedBy=default.target\n"


TICK = "[Timer]\nOnCalendar={}\n[Install]\nWantedBy=timers.target\n"
OLD = Request(
    "demo",
    {
        "web.container": container("web", "EnvironmentFile=web.env\nSecret=key\n"),
        "db.container": container("db"),
        "gone.container": container("gone"),
        "tick.timer": TICK.format("daily"),
        "past.timer": TICK.format("yearly"),
    },
    {"web.env": CompanionFile("A=1\n")},
    secrets=[SecretRequest("key", "sesame-street")],
)
NEW = Request(
    "demo",
    {
        "web.container": container("web", "EnvironmentFile=web.env\nSecret=key\nReadOnly=true\n"),
        "web.container.d/more.conf": "[Container]\nTmpfs=/tmp\n",
        "db.container": container("db"),
        "added.container": container("added", "Volume=./conf:/etc/conf:ro\n"),
        "tick.timer": TICK.format("weekly"),
        "soon.timer": TICK.format("hourly"),
    },
    {"web.env": CompanionFile("A=2\n"), "conf/x.yml": CompanionFile("x: 1\n", 0o644)},
    secrets=[SecretRequest("key", "open-sesame")],
)
BAD = Request(
    "demo",
    {**NEW.units, "web.container": container("broken", "EnvironmentFile=web.env\nSecret=key\nEnvironment=DB_PASSWORD=rosebud\n")},
    NEW.files,
    secrets=NEW.secrets,
)


@pytest.fixture
def host(tmp_path, monkeypatch):
    program = tmp_path / "generator"
    program.write_text("")
    monkeypatch.setattr(podman, "generator", lambda session: str(program))
    monkeypatch.setattr(_wait, "SETTLE", 0.0)
    made = Host(tmp_path, str(program))
    for name in ("rename", "link", "unlink", "mkdir", "rmdir"):
        monkeypatch.setattr(os, name, stepped(made, name, getattr(os, name)))
    monkeypatch.setattr(_stack_files, "_exchange", stepped(made, "exchange", _stack_files._exchange))
    return made


def stepped(host, name, real):
    def call(*args, **kwargs):
        if host.root in str(args) and not (name == "mkdir" and os.path.isdir(args[0])):
            host.step(f"{name} {' '.join(str(arg) for arg in args)}".replace(host.root, ""))
        return real(*args, **kwargs)

    return call


def run(host, request):
    return deploy(host, request)


def failure_of(host, request):
    try:
        run(host, request)
    except (OSError, TransactionError, TransactionFailed) as error:
        return error
    return None


def texts(request, host):
    """What lies there when a request is deployed: quadlets and files, and plain units."""
    made = plan(host, request)
    return {name: node.content for name, node in made.tree.items()}, {name: node.content for name, node in made.plain.items()}


def state_of(host):
    """Everything somebody could see."""
    left = sorted(name for folder in (host.unit_dir, host.systemd_dir, f"{host.state_dir}/stacks") for name in os.listdir(folder) if name.startswith("."))
    return {
        "units": host.on_disk(),
        "plain": host.on_disk(host.systemd_dir),
        "running": dict(host.running),
        "loaded": dict(host.loaded),
        "enabled": set(host.enabled),
        "secrets": dict(host.secrets),
        "owned": sorted(manifests.load(host, "demo").units),
        "unfinished": manifests.load_previous(host, "demo") is not None,
        "left": left,
    }


def deployed(host, request):
    run(host, request)
    host.steps.clear()
    return state_of(host)


def test_a_change_in_one_reload_and_one_restart(host):
    deployed(host, OLD)
    before = dict(host.running)
    outcome = run(host, NEW)[1]
    after = state_of(host)
    assert (after["units"], after["plain"]) == texts(NEW, host)
    assert sorted(host.running) == ["added.service", "db.service", "soon.timer", "tick.timer", "web.service"]
    assert [step for step in host.steps if step.startswith("systemctl")] == [
        "systemctl stop gone.service past.timer",
        "systemctl reset-failed gone.service past.timer",
        "systemctl disable past.timer",
        "systemctl daemon-reload",
        "systemctl enable soon.timer tick.timer",
        "systemctl restart --no-block web.service tick.timer",
        "systemctl start --no-block added.service soon.timer",
    ]
    assert outcome.changed and host.running["db.service"] == before["db.service"]
    assert (after["unfinished"], after["left"]) == (False, [])
    again, outcome = run(host, NEW)
    assert not again.changed and not outcome.changed


def whole(found, one, other):
    """Whether each file is that of one of two sets, or missing where one of them has none."""
    return all(found.get(name) in (one.get(name), other.get(name)) for name in {*found, *one, *other})


@pytest.mark.parametrize(("then", "reboot"), [("the same", False), ("back", True), ("bad", False)])
def test_killed_before_any_step(host, then, reboot):
    """The next run wants the same, or what was before, or something that fails. Or the power is gone, and the machine starts again first."""
    good = {}
    for name, request in (("new", NEW), ("old", OLD)):
        good[name] = deployed(host, request)
    backup = shutil.copytree(host.root, f"{host.root}-backup")
    facts = [dict(host.loaded), dict(host.running), set(host.enabled), dict(host.secrets)]
    number = 0
    while True:
        number += 1
        shutil.rmtree(host.root)
        shutil.copytree(backup, host.root)
        host.loaded, host.running, host.enabled, host.secrets = (type(fact)(fact) for fact in facts)
        host.failed = set()
        host.steps, host.trouble = [], {number: Killed()}
        with contextlib.suppress(Killed):
            run(host, NEW)
            break
        where = host.steps[-1]
        left = {"units": host.on_disk(), "plain": host.on_disk(host.systemd_dir)}
        assert left["units"] in (good["old"]["units"], good["new"]["units"]), f"neither the old nor the new set, killed before {where}"
        # plain units lie one by one among those of others
        assert whole(left["plain"], good["old"]["plain"], good["new"]["plain"]), where
        if "exchange" not in str(host.steps[:-1]):
            assert left["plain"] == good["old"]["plain"], where
        finished = left["units"] == good["new"]["units"] and manifests.load_previous(host, "demo") is None
        if reboot:
            host.reboot()
        if then == "bad":
            with pytest.raises(TransactionFailed) as caught:
                run(host, BAD)
            assert caught.value.details["rollback"]["healthy"], where
            expected = good["new" if finished else "old"]
        else:
            expected = good["new" if then == "the same" else "old"]
            run(host, NEW if then == "the same" else OLD)
        found = state_of(host)
        if then == "bad":
            # what the record of the last good set cannot tell: the value that a secret had
            found["secrets"] = expected["secrets"]
        for key in expected:
            assert found[key] == expected[key], f"killed before {where}"
        if then != "bad":
            assert not plan(host, NEW if then == "the same" else OLD).changed, where
    assert number > 30, "there are that many steps"


def test_a_full_disk_at_any_step(host):
    old = deployed(host, OLD)
    backup = shutil.copytree(host.root, f"{host.root}-backup")
    facts = [dict(host.loaded), dict(host.running), set(host.enabled), dict(host.secrets)]
    number, told = 0, set()
    while True:
        number += 1
        shutil.rmtree(host.root)
        shutil.copytree(backup, host.root)
        host.loaded, host.running, host.enabled, host.secrets = (type(fact)(fact) for fact in facts)
        host.steps, host.trouble = [], {number: OSError(errno.ENOSPC, "No space left on device")}
        error = failure_of(host, NEW)
        if error is None and len(host.steps) < number:
            break
        outcome, found, where = "", state_of(host), f"full before {host.steps[number - 1]}"
        if isinstance(error, OSError):
            outcome = "nothing was done"
        elif error and error.details["rollback"]:
            outcome = "rolled back"
            assert error.details["rollback"]["done"], where
        elif error:
            outcome = "could not be recorded"
            assert outcome in str(error) and found["unfinished"], where
        told.add(outcome)
        if outcome in ("nothing was done", "rolled back"):
            assert found == old, where
            again = {name for step in host.steps[number:] for name in step.split() if step.startswith("systemctl restart") and "." in name}
            if "daemon-reload" not in str(host.steps[:number]):
                assert again <= {"gone.service", "past.timer"}, f"only what was stopped is started again, {where}"
        else:
            assert (found["units"], found["plain"]) == texts(NEW, host), where
        host.trouble = {}
        run(host, NEW)
        assert (state_of(host)["unfinished"], state_of(host)["left"], plan(host, NEW).changed) == (False, [], False), where
    assert told == {"nothing was done", "rolled back", "could not be recorded"}


def test_a_rollback_brings_everything_back_and_tells_both_stories(host):
    old = deployed(host, OLD)
    with pytest.raises(TransactionFailed) as caught:
        run(host, BAD)
    details = caught.value.details
    assert "web.service: failed (exit-code" in details["failure"]
    assert details["rollback"]["done"] and details["rollback"]["healthy"]
    assert sorted(details["rollback"]["services"]) == ["gone.service", "past.timer", "tick.timer", "web.service"]
    assert state_of(host) == old
    assert not plan(host, OLD).changed, "the next run starts clean"
    story = details["services"]["web.service"]
    assert story["journal"] == ["it says DB_PASSWORD=(hidden) and that (hidden) is shut"]


def test_a_rollback_waits_for_the_checks_of_before(host):
    before = Request("demo", {**OLD.units, "db.container": container("db", "HealthCmd=x\n")}, OLD.files, secrets=OLD.secrets)
    old = deployed(host, before)
    after = {**BAD.units, "db.container": container("db"), "gone.container": container("gone", "HealthCmd=x\n")}
    with pytest.raises(TransactionFailed) as caught:
        run(host, Request("demo", after, BAD.files, secrets=BAD.secrets, wait_timeout=1))
    rollback = caught.value.details["rollback"]
    assert rollback["healthy"], rollback
    assert [rollback["services"][f"{name}.service"] for name in ("db", "gone", "web")] == ["healthy", "active", "active"]
    assert state_of(host) == old


def test_which_services_have_a_check():
    plain, check = "[Container]\nImage=localhost/a:1\n", "[Container]\nHealthCmd=x\n"
    tree = {
        "a.container": plain + "HealthCmd=x\n",
        "b.container": plain,
        "b.container.d/x.conf": check,
        "c.container": plain,
        "t@.container": plain,
        "t@.container.d/x.conf": check,
        "t@one.container": plain,
        "n.network": "[Network]\n",
        "x.env": "HealthCmd=x\n",
    }
    assert _checked({name: Node(text) for name, text in tree.items()}) == {"a.service", "b.service", "t@one.service"}


def test_left_as_it_is_when_asked_for(host):
    deployed(host, OLD)
    bad = Request(**{**vars(BAD), "on_failure": "leave"})
    with pytest.raises(TransactionFailed) as caught:
        run(host, bad)
    assert caught.value.details["rollback"] is None
    assert host.on_disk() == texts(BAD, host)[0] and "web.service" in host.failed
    assert manifests.load_previous(host, "demo") is None
    run(host, OLD)
    assert sorted(host.running) == ["db.service", "gone.service", "past.timer", "tick.timer", "web.service"]


def test_absent_removes_what_is_ours_and_says_what_stays(host):
    deployed(host, OLD)
    with open(f"{host.unit_dir}/demo/theirs.container", "w", encoding="utf-8") as handle:
        handle.write(container("theirs"))
    made = run(host, Request("demo", {}, state="absent"))[0]
    assert made.notes == [f"{host.unit_dir}/demo/theirs.container stays: it is not in the record of the stack"]
    assert (sorted(host.on_disk()), host.on_disk(host.systemd_dir), host.running, host.enabled) == (["theirs.container"], {}, {}, set())
    assert host.secrets == {"key": "sesame-street"}, "data may need it"
    assert manifests.load(host, "demo") is None
    assert not plan(host, Request("demo", {}, state="absent")).changed


def test_a_removal_killed_before_any_step(host):
    deployed(host, OLD)
    backup = shutil.copytree(host.root, f"{host.root}-backup")
    facts = [dict(host.loaded), dict(host.running), set(host.enabled)]
    number = 0
    gone = Request("demo", {}, state="absent")
    while True:
        number += 1
        shutil.rmtree(host.root)
        shutil.copytree(backup, host.root)
        host.loaded, host.running, host.enabled = (type(fact)(fact) for fact in facts)
        host.steps, host.trouble = [], {number: Killed()}
        with contextlib.suppress(Killed):
            run(host, gone)
            break
        run(host, gone)
        left = [name for folder in (host.unit_dir, host.systemd_dir, f"{host.state_dir}/stacks") for name in os.listdir(folder)]
        assert (left, host.loaded, host.running, host.enabled) == ([], {}, {}, set()), f"killed before {host.steps[number - 1]}"
    assert number > 10


def test_a_service_that_goes_up_and_down_is_waited_for(host, monkeypatch):
    deployed(host, OLD)
    real = host.shown
    monkeypatch.setattr(
        host, "shown", lambda name: real(name) + ("NRestarts=7\nActiveEnterTimestampMonotonic=9999999999999999\n" if name == "web.service" else "")
    )
    made, outcome = run(host, OLD)
    assert (made.changed, sorted(outcome.services)) == (False, sorted(host.running))
    monkeypatch.setattr(host, "shown", lambda name: real(name).replace("ActiveState=active", "ActiveState=activating") if name == "web.service" else real(name))
    with pytest.raises(TransactionFailed) as caught:
        run(host, Request(**{**vars(OLD), "wait_timeout": 0}))
    assert "web.service: activating" in str(caught.value) and not caught.value.touched


def test_an_answer_that_fails_during_the_wait_is_no_failure(host, monkeypatch):
    real, asked = host.systemctl, []

    def systemctl(*args):
        asked.append(args)
        if args[0] == "show" and len([one for one in asked if one[0] == "show"]) == 3:
            return 1, "", "busy"
        return real(*args)

    monkeypatch.setattr(host, "systemctl", systemctl)
    monkeypatch.setattr(_wait, "FIRST_PAUSE", 0.0)
    assert sorted(run(host, OLD)[1].services) == sorted(host.running)


def test_a_record_by_a_newer_version_is_not_touched(host):
    deployed(host, OLD)
    path = manifests.path(host, "demo")
    with open(path, encoding="utf-8") as handle:
        text = json.dumps({**json.load(handle), "version": 2, "news": {"a": 1}})
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text)
    with pytest.raises(TransactionError, match="a newer version of this collection"):
        plan(host, NEW)
    assert plan(host, Request("other", {"other.container": container("other")})).changed, "that stack is not in the way of others"
    with pytest.raises(TransactionError, match="stack demo"):
        plan(host, Request("other", {"web.container": container("other")}))


def pulled(image, more=""):
    return container(image, more).replace("localhost/", "registry.test/")


TAKEN = Request("demo", {**OLD.units, "web.container": pulled("web", "EnvironmentFile=web.env\nSecret=key\n")}, OLD.files, secrets=NEW.secrets)
IMAGES = {f"localhost/{name}:1": "i1" for name in ("web", "db", "gone", "added")}


def test_images_are_here_before_anything_is_touched(host):
    deployed(host, OLD)
    host.images, said = dict(IMAGES), []
    run(host, dataclasses.replace(TAKEN, tell=said.append))
    assert host.steps[0] == "podman pull registry.test/web:1"
    assert [step for step in host.steps if step.startswith("podman pull")] == host.steps[:1]
    assert said == ["pulling registry.test/web:1 (1 of 1): 0.7 MB of 29.7 MB, after 0 s"]
    host.steps.clear()
    made, outcome = run(host, TAKEN)
    assert (made.pulls, made.changed, host.steps, outcome.images) == ([], False, [], [])


def test_without_its_image_nothing_is_touched(host):
    before = deployed(host, OLD)
    host.images, host.unwilling = dict(IMAGES), {"registry.test/web:1": "toomanyrequests"}
    error = failure_of(host, TAKEN)
    assert isinstance(error, PullFailed) and "registry.test: too many requests" in str(error)
    assert state_of(host) == before and host.steps == ["podman pull registry.test/web:1"]
    host.unwilling = {}
    assert failure_of(host, TAKEN) is None and host.running["web.service"] != before["running"]["web.service"]


def test_an_image_that_nobody_can_send_is_missed_before_anything_is_touched(host):
    before = deployed(host, OLD)
    host.images = {name: "i1" for name in IMAGES if "added" not in name}
    error = failure_of(host, NEW)
    assert isinstance(error, TransactionError) and "localhost/added:1 is not here" in str(error)
    assert state_of(host) == before and host.steps == []
    host.module.check_mode = True
    assert any("localhost/added:1 is not here" in note and note.endswith("yet") for note in plan(host, NEW).notes)


def test_a_name_that_means_another_image_now_restarts_all_that_use_it(host):
    units = {"web.container": pulled("web", "Pull=newer\n"), "db.container": pulled("web")}
    host.images = {"registry.test/web:1": "i1"}
    run(host, Request("demo", units))
    host.images = {"registry.test/web:1": "i1"}
    host.steps.clear()
    made, outcome = run(host, Request("demo", {**units, "web.container": pulled("web", "Pull=newer\nReadOnly=true\n")}))
    assert sorted(made.services("restart")) == ["db.service", "web.service"]
    assert [image["image"] for image in outcome.images] == ["registry.test/web:1"]


def test_check_mode_and_the_run_name_the_same_images(host):
    host.images = {}
    request = Request(
        "demo", {"web.container": pulled("web"), "tick.container": pulled("tick", "[Service]\nType=oneshot\n"), "tick.timer": TICK.format("daily")}
    )
    host.module.check_mode = True
    predicted = [pull.reference for pull in plan(host, request).pulls]
    host.module.check_mode = False
    assert [image["image"] for image in run(host, request)[1].images] == predicted == ["registry.test/web:1", "registry.test/tick:1"]
