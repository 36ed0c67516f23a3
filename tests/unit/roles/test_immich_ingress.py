# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chain as the role renders it, evaluated by Ansible itself, and its guards."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.patriark.homelab.plugins.plugin_utils import _checks

ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles/immich"
FULL = ["crowdsec", "rate-limit", "circuit-breaker", "retry", "compression", "security-headers"]
SITE = {"homelab_domain": "example.org", "__immich_ingress_address": "10.89.2.12"}


def templar(**given):
    loader = DataLoader()
    variables = {}
    for file in ("defaults/main.yml", "vars/main/ingress.yml"):
        variables.update(loader.load_from_file(str(ROLE / file), trusted_as_template=True))
    return Templar(loader, variables={**variables, **SITE, **given})


def rendered(**given):
    text = templar(**given).template(trust_as_template((ROLE / "templates/ingress.yml.j2").read_text(encoding="utf-8")))
    assert "{{" not in text
    return yaml.safe_load(text)["http"]


def refused(**given):
    made = templar(**given)
    rows = made.template(trust_as_template("{{ __immich_ingress_checks }}"))
    facts = {"ingress": made.template(trust_as_template("{{ __immich_ingress_plan }}"))}
    return {result.name for result in _checks.failed(_checks.evaluate(rows, facts))}


def test_the_full_chain_in_its_order_with_headers_outermost():
    http = rendered(immich_ingress_chain=FULL, immich_ingress_crowdsec="crowdsec@file")
    assert http["routers"]["immich"]["middlewares"] == [
        "immich-security-headers",
        "crowdsec@file",
        "rate-limit-immich",
        "immich-circuit-breaker",
        "immich-retry",
        "immich-compression",
    ]
    for short in ("immich-upload", "immich-probe"):
        assert http["routers"][short]["middlewares"] == ["immich-security-headers", "crowdsec@file"]
        assert http["routers"][short]["priority"] >= 1000
    assert all(router["tls"] == {} and router["entryPoints"] == ["websecure"] for router in http["routers"].values())


def test_everything_it_names_is_there_and_of_this_app():
    http = rendered()
    for router in http["routers"].values():
        assert router["service"] in http["services"] and set(router["middlewares"]) <= set(http["middlewares"])
    names = [name for kind in http.values() for name in kind]
    assert all("immich" in name for name in names), names


def test_the_guards_are_in_the_file():
    http = rendered(immich_ingress_chain=FULL)
    middlewares = http["middlewares"]
    assert middlewares["rate-limit-immich"]["rateLimit"]["burst"] == 400
    assert middlewares["immich-retry"]["retry"] == {"attempts": 2, "initialInterval": "100ms"}
    assert "Latency" not in middlewares["immich-circuit-breaker"]["circuitBreaker"]["expression"]
    assert "application/json" in middlewares["immich-compression"]["compress"]["includedContentTypes"]
    assert middlewares["immich-security-headers"]["headers"]["stsPreload"] is False
    assert not [kind for each in middlewares.values() for kind in each if kind == "buffering"]
    assert http["serversTransports"]["immich"]["forwardingTimeouts"]["responseHeaderTimeout"] == "0s"
    assert http["services"]["immich"]["loadBalancer"]["servers"] == [{"url": "http://10.89.2.12:2283"}]


def test_nobody_signs_up_from_outside_unless_that_is_meant():
    http = rendered(immich_ingress_chain=[], immich_ingress_sign_in_average=0)
    router = http["routers"]["immich-sign-up"]
    assert router["rule"] == "Host(`photos.example.org`) && PathRegexp(`(?i)(admin-sign-up|start-restore)`)"
    assert router["middlewares"] == ["immich-nobody"] and router["priority"] > max(
        http["routers"][name]["priority"] for name in ("immich-upload", "immich-probe")
    )
    assert http["middlewares"] == {"immich-nobody": {"ipAllowList": {"sourceRange": ["255.255.255.255/32"]}}}
    assert rendered()["routers"]["immich-sign-up"]["middlewares"] == ["immich-security-headers", "immich-nobody"]
    opened = rendered(immich_ingress_sign_up="open")
    assert "immich-sign-up" not in opened["routers"] and "immich-nobody" not in opened["middlewares"]


def test_nothing_is_shut_for_everybody_because_of_one_client():
    http = rendered()
    assert not [kind for each in http["middlewares"].values() for kind in each if kind == "circuitBreaker"]


def test_passwords_have_a_limit_of_their_own():
    http = rendered(immich_ingress_crowdsec="crowdsec@file")
    router = http["routers"]["immich-sign-in"]
    assert router["middlewares"] == ["immich-security-headers", "crowdsec@file", "immich-sign-in", "rate-limit-immich", "immich-retry", "immich-compression"]
    assert http["routers"]["immich-probe"]["priority"] < router["priority"] < http["routers"]["immich-sign-up"]["priority"]
    limit = http["middlewares"]["immich-sign-in"]["rateLimit"]
    assert (limit["average"], limit["period"], limit["burst"]) == (10, "1m", 20)
    assert limit["sourceCriterion"] == http["middlewares"]["rate-limit-immich"]["rateLimit"]["sourceCriterion"]
    assert rendered(immich_ingress_chain=[])["routers"]["immich-sign-in"]["middlewares"] == ["immich-sign-in"]
    without = rendered(immich_ingress_sign_in_average=0)
    assert "immich-sign-in" not in without["routers"] and "immich-sign-in" not in without["middlewares"]


@pytest.mark.parametrize(
    ("path", "tried"),
    [
        ("/api/auth/login", True),
        ("/API/Auth/Login/", True),
        ("/api/auth/change-password", True),
        ("/api/auth/session/unlock", True),
        ("/api/shared-links/login", True),
        ("/auth/login", False),
        ("/api/auth/logout", False),
        ("/api/shared-links/me", False),
        ("/api/assets", False),
    ],
)
def test_where_a_password_can_be_tried(path, tried):
    rule = rendered()["routers"]["immich-sign-in"]["rule"]
    pattern = re.findall(r"PathRegexp\(`(.*?)`\)", rule)[0]
    assert bool(re.search(pattern, path)) is tried


def test_uploads_are_whole_files_only():
    rule = rendered()["routers"]["immich-upload"]["rule"]
    assert rule.startswith("Host(`photos.example.org`) && (Method(`POST`) && Path(`/api/assets`) || ") and "PathPrefix" not in rule


def test_the_probe_is_apart_from_visitors():
    rule = rendered()["routers"]["immich-probe"]["rule"]
    assert rule == "Host(`photos.example.org`) && (Method(`GET`) || Method(`HEAD`)) && Path(`/api/server/ping`)"


def test_more_host_names():
    rules = [router["rule"] for router in rendered(immich_ingress_hosts=["a.example.org", "b.example.org"])["routers"].values()]
    assert all(rule.startswith("(Host(`a.example.org`) || Host(`b.example.org`))") for rule in rules)


@pytest.mark.parametrize("left_out", ["crowdsec", "rate-limit", "circuit-breaker", "retry", "compression", "security-headers"])
def test_each_link_can_be_left_out(left_out):
    http = rendered(immich_ingress_chain=[link for link in FULL if link != left_out], immich_ingress_crowdsec="crowdsec@file")
    chain = http["routers"]["immich"]["middlewares"]
    assert len(chain) == 5 and not [name for name in [*chain, *http["middlewares"]] if left_out in name]


def test_no_chain_at_all():
    http = rendered(immich_ingress_chain=[], immich_ingress_sign_up="open", immich_ingress_sign_in_average=0)
    assert "middlewares" not in http and not any("middlewares" in router for router in http["routers"].values())


def test_certificates():
    assert rendered(traefik_acme={})["routers"]["immich"]["tls"] == {"certResolver": "acme"}
    tls = rendered(immich_ingress_cert_resolver="le", immich_ingress_tls_options="modern@file")["routers"]["immich-upload"]["tls"]
    assert tls == {"certResolver": "le", "options": "modern@file"}


def test_crowdsec_is_referenced_where_the_proxy_wires_it_and_defined_when_asked():
    assert "crowdsec@file" in rendered(traefik_crowdsec={"lapi": "x"})["routers"]["immich-upload"]["middlewares"]
    bouncer = {"plugin": "bouncer", "lapi": "crowdsec:8080", "key_file": "/run/secrets/key", "failure": "open"}
    http = rendered(immich_ingress_bouncer=bouncer)
    assert http["routers"]["immich"]["middlewares"][1] == "immich-crowdsec"
    made = http["middlewares"]["immich-crowdsec"]["plugin"]["bouncer"]
    assert (made["enabled"], made["updateMaxFailure"], made["streamStartupBlock"]) == (True, -1, False)
    closed = rendered(immich_ingress_bouncer={**bouncer, "failure": "closed"})["middlewares"]["immich-crowdsec"]["plugin"]["bouncer"]
    assert (closed["updateMaxFailure"], closed["streamStartupBlock"]) == (0, True)


def test_hsts_can_be_left_out():
    assert "stsSeconds" not in rendered(immich_ingress_hsts_seconds=0)["middlewares"]["immich-security-headers"]["headers"]


def test_the_defaults_are_not_refused():
    assert refused() == set()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"immich_ingress_hosts": ["https://photos.example.org"]}, "host names that are none"),
        ({"immich_ingress_hosts": ["example.org/photos"]}, "host names that are none"),
        ({"immich_ingress_hosts": ["photos.example.org\n"]}, "host names that are none"),
        ({"immich_ingress_hosts": []}, "number of host names"),
        ({"immich_ingress_rate_depth": 5, "traefik_trusted_proxies": []}, "proxies that the rate limit counts, and that Traefik does not know"),
        ({"immich_ingress_rate_burst": 0}, "burst of the rate limit"),
        ({"immich_ingress_sign_in_burst": 1}, "attempts at a password that a family cannot do with"),
        ({"immich_ingress_rate_average": 0}, "average of the rate limit"),
        ({"immich_ingress_retry_attempts": 4}, "attempts of the retry"),
        ({"immich_ingress_retry_attempts": 0}, "attempts of the retry"),
        ({"immich_ingress_breaker": "LatencyAtQuantileMS(50.0) > 1000"}, "latency in the circuit breaker"),
        ({"immich_ingress_breaker": "ResponseCodeRatio(500, 600, 0, 600) > 0.30"}, "ratios in the circuit breaker that a few errors reach"),
        ({"immich_ingress_breaker": ""}, "expression of the circuit breaker"),
        ({"immich_ingress_compress_types": []}, "number of media types to compress"),
        ({"immich_ingress_compress_types": ["image/jpeg"]}, "media types to compress that are compressed already"),
        ({"immich_ingress_compress_types": ["video/mp4"]}, "media types to compress that are compressed already"),
        ({"traefik_crowdsec": {}, "immich_ingress_bouncer": {}}, "two bouncers in one Traefik"),
    ],
)
def test_what_would_do_harm_is_refused(given, name):
    assert name in refused(**given)


def seen(rows: str, **given):
    """Names of the rows that are not met by what Traefik told."""
    live = {"running": True, "read_timeouts": {"web": 60.0, "websecure": 7200.0}}
    read = {"__immich_ingress_live": live, "__immich_ingress_file": {"file": "immich.yml", "reason": None}, "directory": [], **given}
    made = templar(**read)
    facts = made.template(trust_as_template("{{ __immich_ingress_seen | combine(__immich_ingress_facts) }}"))
    found = _checks.evaluate(made.template(trust_as_template(f"{{{{ {rows} }}}}")), {"ingress": facts, "traefik": {"files": read["directory"]}})
    return {result.name: result.found for result in found if not result.ok}


def test_an_entry_point_that_cuts_uploads_is_told():
    rows = "__immich_ingress_timeout_checks"
    assert seen(rows) == {}
    cutting = {"running": True, "read_timeouts": {"websecure": 60.0, "free": 0.0}}
    assert seen(rows, __immich_ingress_live=cutting) == {"entry points whose read timeout cuts uploads": ["websecure"]}
    assert seen(rows, __immich_ingress_live=cutting, immich_ingress_entry_points=["free"]) == {}
    assert seen(rows, __immich_ingress_live={"running": False, "read_timeouts": {}}) == {}


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ({"file": "immich.yml", "reason": "there is no such file"}, ["there is no such file"]),
        ({"file": "immich.yml", "reason": "it does not show the router immich"}, ["it does not show the router immich"]),
        ({"msg": "immich.yml is refused, 1 finding:\naaa.yml: has it too"}, ["immich.yml is refused, 1 finding:", "aaa.yml: has it too"]),
        ({"msg": "no API could be asked"}, ["no API could be asked"]),
    ],
)
def test_what_is_wrong_with_the_file_is_told_once(file, found):
    rows, name = "__immich_ingress_file_checks", "what is wrong with Immich's file in the proxy"
    assert seen(rows) == {}
    assert seen(rows, __immich_ingress_file=file) == {name: found}
    assert seen(rows, __immich_ingress_file=file, directory=["another file is broken"]) == {}, "the directory's row tells it"
