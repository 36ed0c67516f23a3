# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning without a host: a session of files and canned answers. Reads only, and few processes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _manifest as manifests
from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils._planner import Planner
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import DIGEST_LABEL
from ansible_collections.patriark.homelab.plugins.module_utils._request import CompanionFile, Request
from ansible_collections.patriark.homelab.plugins.module_utils._secrets import SecretRequest
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node, replace_tree, write_node
from ansible_collections.patriark.homelab.plugins.module_utils._transaction import TransactionError, plan

WEB = "[Container]\nImage=localhost/a:1\n[Install]\nWantedBy=default.target\n"
GENERATED = "---{}.service---\n[Unit]\n[Service]\nExecStart=/bin/true\n\n"


class Module:
    check_mode = False

    def __init__(self, installed=True):
        self.installed = installed

    def get_bin_path(self, name):
        return f"/usr/bin/{name}" if self.installed and name == "podman" else None


class FakeSession:
    """A session whose directories are below a folder and whose programs answer from a table."""

    system = False
    user = "somebody"
    home = "/home/somebody"
    runtime_dir = "/run/user/1000"
    lingering = True

    def __init__(self, root, exists=True, installed=True, check=False):
        self.module = Module(installed)
        self.module.check_mode = check
        self.root, self.exists, self.ready = str(root), exists, exists
        self.unit_dir, self.systemd_dir, self.state_dir = (f"{root}/{name}" for name in ("units", "systemd", "state"))
        self.search_dirs = [self.unit_dir, f"{root}/vendor"]
        self.ran = []
        self.live = {}
        self.containers = []
        self.errors = {"future": "", "now": ""}
        self.judged = []

    @contextlib.contextmanager
    def files(self):
        yield

    def run(self, args):
        self.ran.append(args[0] if args[0] != "env" else args[2])
        if args[-1] == "-version":
            return 0, "5.4.2\n", ""
        if args[-1] == "network-online.target":
            return 0, "inactive\n", ""
        # the generator: a block for each container it finds
        folders = args[1].partition("=")[2].split(":")
        names = sorted(name for folder in folders for dummy, dummy2, files in os.walk(folder) for name in files)
        self.judged.append(names)
        error = self.errors["future" if len(self.judged) == 1 else "now"]
        out = "".join(GENERATED.format(name[:-10]) for name in names if name.endswith(".container") and name not in error)
        return int(bool(error)), out, error

    def systemctl(self, *args):
        self.ran.append("systemctl")
        units = args[args.index("--") + 1 :]
        return 0, "\n".join("".join(f"{key}={value}\n" for key, value in self.live.get(unit, {}).items()) or "LoadState=not-found\n" for unit in units), ""

    def podman(self, *args, data=None):
        self.ran.append(f"podman {args[0]}")
        assert args[:2] in (("secret", "ls"), ("container", "inspect"), ("image", "inspect"), ("network", "ls")), args
        answers = {"container": json.dumps(self.containers), "network": "[]", "image": "".join("i1\n" for dummy in args[4:]), "secret": ""}
        return 0, answers[args[0]], ""


@pytest.fixture
def session(tmp_path, monkeypatch):
    program = tmp_path / "generator"
    program.write_text("")
    monkeypatch.setattr(podman, "generator", lambda session: str(program))
    return FakeSession(tmp_path)


def request(*units, **options):
    return Request("demo", dict(units) or {"web.container": WEB}, **options)


def refused(session, wanted):
    with pytest.raises(TransactionError) as caught:
        plan(session, wanted)
    return [(finding.unit, finding.reason) for finding in caught.value.findings]


def deployed(session, made):
    """What execute() would have left."""
    replace_tree(f"{session.unit_dir}/demo", made.tree, set())
    for name, node in made.plain.items():
        write_node(f"{session.systemd_dir}/{name}", node)
    manifests.save(session, made.manifest)


def test_a_new_stack(session):
    made = plan(session, request())
    assert [(action.service, action.verb) for action in made.actions] == [("web.service", "start")]
    assert [os.path.basename(change.path) for change in made.files] == ["web.container"]
    assert made.reload
    assert not os.path.exists(session.unit_dir), "planning writes nothing"


def test_the_judges_look_once_at_the_same_set(session):
    deployed(session, plan(session, request()))
    session.live["web.service"] = {"LoadState": "loaded", "ActiveState": "inactive", "NeedDaemonReload": "no"}
    session.ran.clear()
    made = plan(session, request())
    assert [change.path for change in made.files] == []
    assert session.ran == [f"{session.root}/generator", "systemctl", "podman image"], "version, one look at all services, and at the image of what starts"
    write_node(f"{session.unit_dir}/other.container", made.tree["web.container"])
    session.ran.clear()
    session.judged.clear()
    plan(session, request())
    assert session.judged == [["other.container", "web.container"]]


def test_what_systemd_has_loaded_is_believed_while_nobody_has_written_since(session):
    deployed(session, plan(session, request()))
    fragment = f"{session.root}/systemd/generator/web.service"
    facts = {"LoadState": "loaded", "ActiveState": "active", "NeedDaemonReload": "no", "FragmentPath": fragment}
    session.live["web.service"] = facts
    write_node(fragment, Node("[Service]\nExecStart=/bin/other\n"))
    planner = Planner(session, request())
    session.judged.clear()
    assert not planner.plan().reload
    assert (session.judged, planner.live.commands) == ([], {"web.service": ["/bin/other"]})
    # a file is put back after systemd has read another one
    os.utime(fragment, (1, 1))
    planner = Planner(session, request())
    assert planner.plan().reload
    assert (len(session.judged), planner.live.commands) == (1, {"web.service": ["/bin/true"]})
    # the generator makes the same of both
    write_node(fragment, Node(GENERATED.partition("\n")[2]))
    os.utime(fragment, (1, 1))
    assert not plan(session, request()).reload


@pytest.mark.parametrize(
    ("name", "folder", "state", "taken"),
    [
        ("web.container", "/usr/lib/systemd/user", "loaded", True),
        ("web.container", "{root}/systemd", "loaded", True),
        ("web.container", "/run/user/1000/systemd/generator", "loaded", False),
        ("web.service", "/usr/lib/systemd/user", "loaded", True),
        ("web.service", "{root}/systemd", "loaded", False),
    ],
)
def test_a_service_systemd_has_from_elsewhere(session, name, folder, state, taken):
    path = f"{folder.format(root=session.root)}/web.service"
    session.live["web.service"] = {"LoadState": state, "ActiveState": "inactive", "FragmentPath": path}
    wanted = request((name, WEB if name.endswith("container") else "[Service]\nExecStart=/bin/true\n"))
    if taken:
        assert refused(session, wanted) == [(name, f"systemd has another web.service already: {path}")]
    else:
        assert plan(session, wanted).changed


def test_a_service_that_is_masked(session):
    session.live["web.service"] = {"LoadState": "masked", "ActiveState": "inactive", "FragmentPath": f"{session.root}/systemd/web.service"}
    assert refused(session, request()) == [("web.container", "web.service is masked: somebody wants it not to start")]
    assert plan(session, request(state="present")).changed


@pytest.mark.parametrize(
    ("load", "active", "count"),
    [("loaded", "inactive", 1), ("loaded", "failed", 1), ("loaded", "active", 0), ("masked", "inactive", 0), ("not-found", "inactive", 0)],
)
def test_a_host_that_never_tells_that_the_network_is_up(session, load, active, count):
    session.live["podman-user-wait-network-online.service"] = {"LoadState": load, "ActiveState": active}
    assert [finding.reason[:40] for finding in plan(session, request()).warnings] == ["nothing on this host tells when the netw"] * count
    assert plan(session, request(state="present")).warnings == []


def test_an_account_without_a_session_is_told_of(session):
    deployed(session, plan(session, request()))
    session.ready, session.module.check_mode = False, True
    made = plan(session, request())
    assert [(action.verb, action.reason) for action in made.actions] == [("start", "nothing of the account runs")]
    assert made.notes == ["the account has no session yet: once it lingers, systemd starts by itself what is enabled"]


def test_containers_of_an_older_podman_are_not_compared(session):
    deployed(session, plan(session, request()))
    write_node(f"{session.root}/systemd/generator/web.service", Node("[Service]\nExecStart=/usr/bin/podman run a\n"))
    session.live["web.service"] = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "NeedDaemonReload": "no",
        "FragmentPath": f"{session.root}/systemd/generator/web.service",
    }
    digest = plan(session, request()).tree["web.container"].content.partition(f"{DIGEST_LABEL}=")[2].split()[0]
    config = {"Labels": {DIGEST_LABEL: digest}, "CreateCommand": ["podman", "run", "--old", "a"]}
    for created, verbs in (("2001-01-01T00:00:00Z", []), ("2101-01-01T00:00:00.5+01:00", ["restart"])):
        session.containers = [{"Name": "systemd-web", "Image": "i1", "Created": created, "Config": config}]
        assert [action.verb for action in plan(session, request()).actions] == verbs


def test_units_in_place_say_nothing_about_what_runs(session):
    deployed(session, plan(session, request()))
    session.live["web.service"] = {"LoadState": "loaded", "ActiveState": "active", "NeedDaemonReload": "no"}
    made = plan(session, request(state="present"))
    assert (made.changed, made.notes) == (False, [])


def test_a_path_that_is_not_there_is_an_error_or_a_note(session):
    wanted = request(("web.container", WEB + "[Container]\nVolume=/no/such/path:/x\n"))
    assert refused(session, wanted) == [("web.container", "/no/such/path does not exist")]
    assert plan(session, dataclasses.replace(wanted, state="present")).changed, "nothing is started"
    session.module.check_mode = True
    assert "web.container: /no/such/path does not exist yet" in plan(session, wanted).notes
    assert refused(session, request(("web.container", WEB + "[Container]\nVolume=./gone:/x\n"))) == [("web.container", "there is no ./gone beside the unit")]


def test_a_file_that_leaves_the_stack_is_no_longer_there(session):
    text = WEB + "[Container]\nEnvironmentFile=web.env\n"
    deployed(session, plan(session, request(("web.container", text), files={"web.env": CompanionFile("A=1\n")})))
    assert refused(session, request(("web.container", text))) == [("web.container", "there is no web.env beside the unit")]


def test_an_account_that_is_not_there_yet(tmp_path):
    made = plan(FakeSession(tmp_path, exists=False, installed=False, check=True), request(secrets=[SecretRequest("s")]))
    assert made.changed
    assert [change.verb for change in made.secrets] == ["generate"]
    assert any("does not exist yet" in note for note in made.notes)


def test_podman_that_is_not_there_yet(tmp_path):
    made = plan(FakeSession(tmp_path, installed=False, check=True), request(("web.container", WEB + "[Container]\nReloadCmd=x\n")))
    assert any("podman is not installed" in note for note in made.notes)
    assert "podman is not installed" in refused(FakeSession(tmp_path, installed=False), request())[0][1]


def test_a_reference_that_was_only_predicted(session):
    wanted = request(("web.container", WEB + "[Container]\nNetwork=other.network\n"))
    assert refused(session, wanted) == [("web.container", "there is no unit other.network")]
    session.module.check_mode = True
    made = plan(session, wanted)
    assert any("other.network" in note for note in made.notes)
    assert "other.network" in session.judged[0], "the generator gets a stand-in"


def test_a_drop_in_for_a_unit_that_is_not_there(session):
    wanted = request(("traefik.container.d/a.conf", "[Container]\nAddHost=a:10.1.1.1\n"))
    assert refused(session, wanted) == [("traefik.container", "there is no unit traefik.container")]
    session.module.check_mode = True
    assert plan(session, wanted).changed


@pytest.mark.parametrize("place", ["units", "vendor", "units/other"])
def test_a_name_that_is_taken(session, place):
    path = f"{session.root}/{place}/web.container"
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(WEB)
    assert [(unit, path in reason) for unit, reason in refused(session, request())] == [("web.container", True)]


def test_a_plain_unit_of_somebody_else(session):
    os.makedirs(session.systemd_dir)
    with open(f"{session.systemd_dir}/tick.timer", "w", encoding="utf-8") as handle:
        handle.write("[Timer]\nOnCalendar=daily\n")
    assert "was not made by this stack" in refused(session, request(("tick.timer", "[Timer]\nOnCalendar=weekly\n")))[0][1]
    assert plan(session, request(("tick.timer", "[Timer]\nOnCalendar=daily\n"))).files == [], "the same text is adopted"


def foreign(session, text):
    os.makedirs(session.unit_dir, exist_ok=True)
    with open(f"{session.unit_dir}/theirs.container", "w", encoding="utf-8") as handle:
        handle.write(text)


def test_what_was_broken_before_is_not_blamed_on_us(session):
    foreign(session, "[Container]\nImagge=x\n")
    session.errors = dict.fromkeys(session.errors, 'quadlet-generator[1]: converting "theirs.container": unsupported key\n')
    made = plan(session, request())
    assert [(finding.unit, finding.severity) for finding in made.warnings] == [("another unit", "warning")]


def test_what_we_would_break_is_refused(session):
    foreign(session, WEB)
    session.errors["future"] = 'quadlet-generator[1]: converting "theirs.container": requested Quadlet unit x.network was not found\n'
    assert [unit for unit, dummy in refused(session, request())] == ["another unit"]


def test_what_the_generator_does_not_make_is_an_error(session):
    session.errors["future"] = 'quadlet-generator[1]: converting "web.container": because\n'
    assert refused(session, request()) == [("web.container", 'converting "web.container": because')]


def test_prune_and_absent(session):
    deployed(
        session, plan(session, request(("web.container", WEB), ("old.container", WEB.replace("a:1", "b:1")), ("x.timer", "[Timer]\n[Install]\nWantedBy=a\n")))
    )
    session.live = {name: {"LoadState": "loaded", "ActiveState": "active"} for name in ("web.service", "old.service", "x.timer")}
    kept = plan(session, request(prune=False))
    assert (kept.services("stop"), kept.files, sorted(kept.manifest.units)) == ([], [], ["old.container", "web.container", "x.timer"])
    pruned = plan(session, request())
    assert sorted(pruned.services("stop")) == ["old.service", "x.timer"]
    assert sorted(os.path.basename(change.path) for change in pruned.files) == ["old.container", "x.timer"]
    assert pruned.disable == ["x.timer"]
    gone = plan(session, Request("demo", {}, state="absent"))
    assert sorted(gone.services("stop")) == ["old.service", "web.service", "x.timer"]
    assert gone.tree == {} and gone.manifest is None


def test_a_secret_nobody_has(session):
    wanted = request(("web.container", WEB + "[Container]\nSecret=token\n"))
    assert refused(session, wanted) == [("web.container", "there is no podman secret token")]
    assert plan(session, request(*wanted.units.items(), secrets=[SecretRequest("token")])).secrets[0].verb == "generate"


def test_a_kill_between_the_exchange_and_the_plain_units_is_mended(session):
    old, new = ((("web.container", WEB.replace("a:1", image)), ("web.socket", f"[Socket]\nListenStream={port}\n")) for image, port in (("a:1", 1), ("b:1", 2)))
    deployed(session, plan(session, request(*old)))
    session.live = {name: {"LoadState": "loaded", "ActiveState": "active"} for name in ("web.service", "web.socket")}
    replace_tree(f"{session.unit_dir}/demo", plan(session, request(*new)).tree, set())
    made = plan(session, request(*new))
    assert [os.path.basename(change.path) for change in made.files] == ["web.socket"]
    assert made.reload and sorted(made.services("restart")) == ["web.service", "web.socket"]


@pytest.mark.parametrize(
    "text", ["", "{", '["x"]', "null", '{"units": [1]}', '{"units": {"a": 1}, "files": [["x"]]}', '{"watch": {"a": 5}}', '{"watch": {"a": [5]}}']
)
def test_a_damaged_manifest_is_an_empty_one(session, text):
    assert manifests.parse(text, "demo") in (manifests.Manifest("demo", damaged=True), manifests.Manifest("demo"))
    deployed(session, plan(session, request()))
    write_node(manifests.path(session, "demo"), Node(text))
    made = plan(session, request())
    assert made.files == [] and made.manifest.units == ["web.container"], "what is wanted is adopted"
    if manifests.parse(text, "demo").damaged:
        assert "was damaged" in made.warnings[0].reason


def test_a_manifest_is_read_as_it_was_written():
    made = manifests.Manifest("demo", ["a.container"], ["a.env"], {"a.container": ["/x"]}, ["s"], {"a.container": "d"}, "j")
    assert manifests.parse(made.text(), "demo") == made
    assert "damaged" not in made.text()


def test_the_record_of_the_last_good_set(session):
    manifests.save_previous(session, "demo", manifests.Previous({"a": plan(session, request()).tree["web.container"]}, {}, ["a"], ["a.service"], None))
    found = manifests.load_previous(session, "demo")
    assert found.tree["a"].content.startswith("[Container]") and found.active == ["a.service"]
    manifests.drop_previous(session, "demo")
    assert manifests.load_previous(session, "demo") is None


def steps_of(work):
    """How many instructions of Python something takes."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


def test_four_times_as_many_units_take_four_times_the_work(tmp_path, session):
    work = {}
    for count in (20, 80):
        units = [
            (f"u{number}.container", f"[Unit]\nAfter=u{number - 1}.container\n{WEB}[Container]\nEnvironment=A=b\nVolume=/tmp:/x\n")
            for number in range(1, count)
        ]
        wanted = request(("u0.container", WEB), *units)
        host = FakeSession(tmp_path / str(count))
        work["new", count] = steps_of(lambda host=host, wanted=wanted: plan(host, wanted))
        deployed(host, plan(host, wanted))
        host.live = {f"u{number}.service": {"LoadState": "loaded", "ActiveState": "active", "NeedDaemonReload": "no"} for number in range(count)}
        work["as it was", count] = steps_of(lambda host=host, wanted=wanted: plan(host, wanted))
    for what in ("new", "as it was"):
        assert work[what, 80] < 4.4 * work[what, 20], work
