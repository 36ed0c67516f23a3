# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read out of Traefik's log and API (lines and answers recorded from Traefik 3.7.15), and how a twin is made."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible_collections.patriark.homelab.plugins.module_utils import _traefik_static as static
from ansible_collections.patriark.homelab.plugins.module_utils import _traefik_verdict as verdict
from ansible_collections.patriark.homelab.plugins.module_utils._traefik import Probe, Traefik

ROOT = "/srv/dynamic"
CLASH = '{"level":"warn","providerName":"file","origin":"b.yml","routerName":"a","message":"HTTP router already configured, skipping"}'
CLASH_MIDDLEWARE = '{"level":"warn","providerName":"file","origin":"b.yml","middlewareName":"hh","message":"HTTP middleware already configured, skipping"}'
CLASH_OPTIONS = '{"level":"warn","providerName":"file","origin":"b.yml","optionsName":"default","message":"options already configured, skipping"}'
BROKEN = (
    '{"level":"error","providerName":"file","error":"collecting file configs: /etc/traefik/dynamic/zz.yml: field not found, node: rulz",'
    '"time":"2026-11-22T13:25:36Z","message":"Error while building configuration (for the first time)"}'
)
NO_PLUGINS = (
    '{"level":"error","plugins":["bouncer"],"error":"unable to set up plugins environment: unable to install plugin bouncer: unable to download plugin",'
    '"time":"2026-11-22T13:33:04Z","message":"Plugins are disabled because an error has occurred."}'
)
MISSING = 'middleware "crowdsek@file" does not exist'
UNKNOWN_PLUGIN = 'invalid middleware "pl@file" configuration: invalid middleware type or middleware does not exist'


def rawdata(**errors):
    """Two routers and a middleware; errors: name of a router -> why it is not valid."""
    routers = {
        f"{name}@file": {
            "rule": f"Host(`{name}`)",
            "status": "disabled" if name in errors else "enabled",
            **({"error": [errors[name]]} if name in errors else {}),
        }
        for name in ("immich", "other")
    }
    return {
        "routers": {**routers, "api@internal": {"status": "enabled"}},
        "middlewares": {"crowdsec@file": {"headers": {}, "status": "enabled", "usedBy": ["immich@file"]}},
        "services": {"immich@file": {"loadBalancer": {}, "status": "enabled", "serverStatus": {"http://10.89.2.12:2283": "UP"}}},
    }


OWN = {("routers", "immich"), ("services", "immich")}


# The verdict


def test_objects_of_files_only():
    assert set(verdict.objects(rawdata())) == {("routers", "immich"), ("routers", "other"), ("middlewares", "crowdsec"), ("services", "immich")}


def test_what_passes_is_no_difference():
    other = rawdata()
    other["services"]["immich@file"]["serverStatus"] = {"http://10.89.2.12:2283": "DOWN"}
    assert verdict.difference(verdict.objects(rawdata()), verdict.objects(other), OWN) is None


@pytest.mark.parametrize(("options", "says"), [("default", None), ("modern", "its router immich differs in tls")])
def test_the_default_of_tls_may_be_filled_in_or_not(options, says):
    twin, live = rawdata(), rawdata()
    twin["routers"]["immich@file"]["tls"] = {"certResolver": "acme"}
    live["routers"]["immich@file"]["tls"] = {"certResolver": "acme", "options": options}
    assert verdict.difference(verdict.objects(twin), verdict.objects(live), OWN) == says
    assert verdict.difference(verdict.objects(live), verdict.objects(twin), OWN) == says


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data["routers"]["immich@file"].update(rule="Host(`x`)"), "its router immich differs in rule"),
        (lambda data: data["routers"]["immich@file"].update(status="disabled"), "its router immich differs in status"),
        (lambda data: data["routers"].pop("immich@file"), "it does not show the router immich"),
    ],
)
def test_differences(change, says):
    live = rawdata()
    change(live)
    assert verdict.difference(verdict.objects(rawdata()), verdict.objects(live), OWN) == says


def test_what_is_gone_has_to_go():
    assert verdict.difference({}, verdict.objects(rawdata()), {("routers", "immich")}) == "it still shows the router immich"


def test_lines_behind_a_time_stamp_of_podman():
    log = f"2026-11-22T13:25:30.1+00:00 stderr F {CLASH}\n2026-11-22T13:25:30.1+00:00 stdout F not json\n"
    assert [entry["routerName"] for entry in verdict.log_lines(log)] == ["a"]


def test_a_broken_file_is_named_and_whose_it_is():
    assert verdict.broken(verdict.log_lines(BROKEN), "/etc/traefik/dynamic") == ("zz.yml", "field not found, node: rulz")
    (theirs,) = verdict.broken_findings(("zz.yml", "field not found"), ROOT, "immich.yml")
    assert theirs.unit == "/srv/dynamic/zz.yml" and "which is not ours" in theirs.reason and theirs.severity == "error"
    (ours,) = verdict.broken_findings(("immich.yml", "field not found"), ROOT, "immich.yml")
    assert "Traefik cannot read it" in ours.reason and "not ours" not in ours.reason
    assert verdict.broken(verdict.log_lines(CLASH), "/etc/traefik/dynamic") is None


TEXTS = {"a.yml": "http:\n  routers:\n    a: {rule: x}\n  middlewares:\n    hh: {}\n", "b.yml": "http: {routers: {a: {rule: x}}}\n"}


@pytest.mark.parametrize("ours", ["a.yml", "b.yml"])
def test_a_name_in_two_files_is_refused_whoever_wins(ours):
    (found,) = verdict.clashes(verdict.log_lines(CLASH), ROOT, ours, {"a"}, TEXTS)
    assert found.severity == "error" and "the router a is in more than one file: /srv/dynamic/a.yml and /srv/dynamic/b.yml" in found.reason


def test_a_clash_of_others_is_told_only():
    lines = verdict.log_lines(f"{CLASH}\n{CLASH_MIDDLEWARE}\n{CLASH_OPTIONS}")
    found = verdict.clashes(lines, ROOT, "immich.yml", {"immich"}, {**TEXTS, "immich.yml": "http: {routers: {immich: {}}}"})
    assert [finding.severity for finding in found] == ["warning"] * 3
    assert [finding.reason.partition(" is in")[0] for finding in found] == ["the router a", "the middleware hh", "the options default"]


def test_what_does_not_exist_is_refused_with_the_nearest_name():
    (found,) = verdict.refusals({("routers", "immich")}, verdict.objects(rawdata(immich=MISSING)), "immich.yml", None)
    assert found.severity == "error" and MISSING in found.reason and found.remedy == "there is crowdsec@file"


def test_an_object_that_traefik_does_not_show_is_refused():
    (found,) = verdict.refusals({("routers", "gone")}, verdict.objects(rawdata()), "immich.yml", None)
    assert found.severity == "error"


def test_a_plugin_that_the_twin_could_not_load_is_told_only():
    failure = verdict.plugins_failure(verdict.log_lines(NO_PLUGINS))
    assert failure and failure.startswith("Plugins are disabled")
    shown = verdict.objects(rawdata(immich=UNKNOWN_PLUGIN, other=UNKNOWN_PLUGIN))
    assert [finding.severity for finding in verdict.refusals(OWN, shown, "immich.yml", failure)] == ["warning"]
    assert [finding.severity for finding in verdict.refusals(OWN, shown, "immich.yml", None)] == ["error"]
    assert verdict.victims(OWN, verdict.objects(rawdata()), shown, ROOT, failure) == []


def test_routers_of_others_that_work_now_must_work_afterwards():
    shown = verdict.objects(rawdata(other='the service "immich@file" does not exist'))
    (found,) = verdict.victims(OWN, verdict.objects(rawdata()), shown, ROOT, None)
    assert found.severity == "error" and "the router other of another file works now" in found.reason
    assert verdict.victims(OWN, shown, shown, ROOT, None) == []


def test_templates_are_named_with_their_line():
    (found,) = verdict.templates("http:\n  # {{ env }}\n", "immich.yml")
    assert found.line == 2 and verdict.templates("a: {b: {c: 1}}\n", "x") == []


# The twin


STATIC = """\
global: {checkNewVersion: false}
log:
  level: ERROR

  filePath: /var/log/traefik.log
# entry points
entryPoints:
  websecure: {address: ":443"}
api: {dashboard: true}
experimental:
  abortOnPluginFailure: true
  plugins:
    bouncer: {moduleName: x, version: v1}
"""


def test_log_and_api_of_a_static_file_are_set_anew_and_nothing_else():
    made = yaml.safe_load(static.static_text(STATIC))
    assert made["log"] == {"level": "WARN", "format": "json"} and made["api"] == {"insecure": True}
    assert made["entryPoints"] == {"websecure": {"address": ":443"}} and made["experimental"]["plugins"]["bouncer"]["version"] == "v1"
    assert made["experimental"]["abortOnPluginFailure"] is False
    assert static.static_text('{"log": {}}') is None


def container(**config):
    return {
        "Image": "sha256:1",
        "Mounts": [
            {"Source": "/srv/traefik", "Destination": "/etc/traefik"},
            {"Source": "/srv/dynamic", "Destination": "/etc/traefik/dynamic"},
            {"Source": "/run/podman.sock", "Destination": "/var/run/docker.sock"},
        ],
        "Config": {"Cmd": ["traefik"], "Env": ["TZ=Etc/UTC", "LISTEN_FDS=2", "LISTEN_PID=1"], **config},
    }


def made(host, **config):
    return static.recipe(container(**config), host.get, lambda path: "." not in path, "/etc/traefik/dynamic")


def test_a_twin_by_a_static_file():
    recipe = made({"/srv/traefik/traefik.yml": STATIC})
    assert recipe.static is not None and recipe.static[0] == "/etc/traefik/traefik.yml" and recipe.complete
    assert recipe.command == ["traefik"] and recipe.image == "sha256:1"
    assert "/srv/traefik:/etc/traefik:O" in recipe.options and "/run/podman.sock:/var/run/docker.sock:ro" in recipe.options
    assert not [option for option in recipe.options if "dynamic" in option or "LISTEN" in option]


def test_a_twin_by_a_static_file_elsewhere_and_one_that_is_not_understood():
    recipe = made({"/srv/traefik/t.toml": "[log]"}, Cmd=["traefik", "--configFile=/etc/traefik/t.toml"])
    assert recipe.static is None and not recipe.complete and recipe.command == ["traefik", "--configFile=/etc/traefik/t.toml"]


def test_a_twin_by_flags():
    recipe = made({}, Cmd=["--log.level=ERROR", "--LOG.filePath=/x", "--entryPoints.web.address=:80", "--api", "--accesslog=true"])
    assert recipe.command == ["--entryPoints.web.address=:80", "--accesslog=true", *static.FLAGS]


def test_a_twin_by_environment():
    recipe = made({}, Cmd=["traefik"], Env=["TRAEFIK_LOG_LEVEL=ERROR", "TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80"])
    assert recipe.command == ["traefik"]
    assert [value for value in recipe.options if value.startswith("TRAEFIK_")] == [
        "TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:80",
        "TRAEFIK_LOG_LEVEL=WARN",
        "TRAEFIK_LOG_FORMAT=json",
        "TRAEFIK_API_INSECURE=true",
    ]


def test_secrets_are_handed_on():
    command = ["podman", "run", "--secret", "a,type=mount", "--secret=b", "image"]
    assert static.secrets_of({"Config": {"CreateCommand": command}}) == ["a,type=mount", "b"]


def test_where_a_directory_is_seen():
    mounts = static.mounts_of(container())
    assert static.inside(mounts, "/srv/dynamic") == "/etc/traefik/dynamic"
    assert static.inside(mounts, "/srv/traefik/dynamic") == "/etc/traefik/dynamic"
    assert static.inside(mounts, "/srv/dynamics") is None and static.inside(mounts, "/home") is None
    assert static.outside(mounts, "/etc/traefik/dynamic/x.yml") == "/srv/dynamic/x.yml"


# The live one


class Session:
    user, system, exists = "homelab", False, True


@pytest.mark.parametrize(
    ("mounts", "says"),
    [
        ([{"Source": "/elsewhere", "Destination": "/etc/traefik"}], "does not see this directory"),
        ([{"Source": "/srv/dynamic/immich.yml", "Destination": "/etc/traefik/dynamic/immich.yml"}], "has this single file mounted"),
    ],
)
def test_a_container_that_would_not_see_the_file(mounts, says):
    traefik = Traefik(Session(), "traefik", "/srv/dynamic/immich.yml", "http: {}\n", "http://127.0.0.1:8080", None)
    traefik.container = {"Mounts": mounts, "Config": {}}
    (found,) = traefik.judge("/tmp/nowhere")
    assert says in found.reason and found.severity == "error"


def test_the_live_one_is_asked_for_what_the_twin_showed(monkeypatch):
    traefik = Traefik(Session(), "traefik", "/srv/dynamic/immich.yml", "x", "http://127.0.0.1:8080", None)
    traefik._own, traefik._wanted, traefik._before = set(OWN), verdict.objects(rawdata()), {}
    live = {"answer": {}}
    monkeypatch.setattr(traefik, "_live", lambda: verdict.objects(live["answer"]))
    assert traefik.ask() == "traefik does not have it: it does not show the router immich" and traefik.ask_back() is None
    live["answer"] = rawdata()
    assert traefik.ask() is None and "it still shows" in traefik.ask_back()


@pytest.mark.parametrize(
    ("state", "status", "agrees"), [("x", "200", True), ("x", "404", False), ("x", "502", False), (None, "404", True), (None, "200", False)]
)
def test_a_probe_stands_in(state, status, agrees):
    class Probing(Session):
        def run(self, command, data=None):
            assert command[-5:] == ["photos.example.org", "127.0.0.1", "8443", "/api/server/ping", "https"]
            return 0, f"{status}\n", ""

    probe = Probe("https://photos.example.org/api/server/ping", "127.0.0.1:8443")
    traefik = Traefik(Probing(), "traefik", "/srv/dynamic/immich.yml", state, "http://127.0.0.1:8080", probe)
    traefik.confirms = "probe"
    assert (traefik.ask() is None) is agrees


def test_an_address_without_a_port():
    assert Probe("http://x.example.org").parts() == ["x.example.org", "x.example.org", "80", "/", "http"]
    assert json.dumps(Probe("https://x/y", "10.0.0.1").parts()) == '["x", "10.0.0.1", "443", "/y", "https"]'
