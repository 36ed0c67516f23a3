# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Immich itself and the way to it: the site, Traefik's chain, TLS, who asks for passwords."""

from __future__ import annotations

import http.client
import ssl
import typing as t

import pytest
from live.absent import Absent
from live.api import Podman
from live.card import Claim
from live.expected import Facts
from live.host import Host
from live.web import Place, Web

# Links of the chain by the kind that Traefik gives them.
KINDS = {"rate-limit": "ratelimit", "circuit-breaker": "circuitbreaker", "retry": "retry", "compression": "compress", "security-headers": "headers"}
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


@pytest.fixture
def site(web: Web, facts: Facts, absent: Absent) -> Place:
    """Immich behind Traefik."""
    place = web.visitor()
    if not facts["site"] or place is None:
        absent("domain", "the inventory names no homelab_domain")
    return place


@pytest.fixture
def visitor(web: Web, absent: Absent) -> Place:
    """Immich, the way a browser comes."""
    place = web.visitor()
    if place is None:
        absent("way in", "the inventory has neither a domain nor a published port")
    return place


class Traefik:
    """What its API says, asked on its own loopback."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._place = web.within("traefik", 8080)
        self._said: dict[str, dict[str, t.Any]] = {}

    def get(self, path: str) -> dict[str, t.Any]:
        if path not in self._said:
            answer = self._web.ask(self._place, f"/api/http/{path}")
            assert answer.status == 200, (path, answer)
            self._said[path] = answer.json
        return self._said[path]

    def chain(self, router: str) -> list[tuple[str, str]]:
        """Name and kind of each middleware, in the order in which a request passes them."""
        names = self.get(f"routers/{router}").get("middlewares", [])
        return [(name.partition("@")[0], self.get(f"middlewares/{name}")["type"]) for name in names]


@pytest.fixture(scope="module")
def traefik(web: Web, podman: Podman, absent: Absent) -> Traefik:
    if "traefik" not in podman.containers:
        absent("traefik", "no such container runs")
    asked = Traefik(web)
    try:
        asked.get("routers")
    except (OSError, http.client.HTTPException):
        absent("Traefik's API", "nothing answers on its loopback")
    return asked


def test_version(claim: Claim, web: Web, facts: Facts) -> None:
    version = web.ask(web.on_network("immich-server", 2283), "/api/server/version").json
    assert "v{major}.{minor}.{patch}".format(**version) == facts["version"]


def test_site(claim: Claim, web: Web, site: Place) -> None:
    answer = web.ask(site, "/api/server/ping")
    assert (answer.status, answer.json) == (200, {"res": "pong"})


def test_web_interface(claim: Claim, web: Web, site: Place) -> None:
    page = web.ask(site, "/")
    assert (page.status, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert b"immich" in page.body.lower()


def test_the_page_answers_a_visitor(web: Web, visitor: Place) -> None:
    assert web.ask(visitor, "/").status == 200
    assert web.ask(visitor, "/api/server/ping").json == {"res": "pong"}


def test_app_finds_the_server(claim: Claim, web: Web, site: Place) -> None:
    assert web.ask(site, "/.well-known/immich").json == {"api": {"endpoint": "/api"}}


def test_own_accounts(claim: Claim, web: Web, visitor: Place, request: pytest.FixtureRequest, facts: Facts) -> None:
    refused = web.ask(visitor, "/api/users/me", headers={"Accept": "application/json", "User-Agent": "Immich_Android"})
    assert refused.status == 401
    assert {"location", "www-authenticate"} & set(refused.headers) == set()
    assert refused.json["message"] == "Authentication required"  # in Immich's own words
    if facts["site"]:
        traefik = request.getfixturevalue("traefik")
        kinds = {kind for router in ("immich@file", "immich-upload@file", "immich-probe@file") for dummy, kind in traefik.chain(router)}
        assert kinds & {"forwardauth", "basicauth", "digestauth"} == set()


def test_https(claim: Claim, web: Web, site: Place, facts: Facts) -> None:
    plain = web.ask(Place((), "127.0.0.1", int(facts["variables"].get("traefik_http_port", 80)), site=site.site), "/albums")
    assert plain.status in (301, 308)
    assert plain.headers["location"].startswith(f"https://{site.site}") and plain.headers["location"].endswith("/albums")
    assert web.ask(site, "/api/server/ping").status == 200
    assert web.ask(site._replace(site="nobody.invalid"), "/api/server/ping").status == 404


def test_server_port(claim: Claim, web: Web) -> None:
    server = web.on_network("immich-server", 2283)
    assert web.ask(server, "/api/server/ping").json == {"res": "pong"}
    assert web.ask(server, "/").headers["content-type"].startswith("text/html")
    assert web.ask(server, "/api/socket.io/?EIO=4&transport=websocket", headers=UPGRADE).status == 101


def test_websockets_pass_the_proxy(web: Web, visitor: Place) -> None:
    assert web.ask(visitor, "/api/socket.io/?EIO=4&transport=websocket", headers=UPGRADE).status == 101


def test_chain(claim: Claim, traefik: Traefik, facts: Facts) -> None:
    """In the card's order, but for the security headers: they come first, so that refusals of the others carry them, too."""
    order = sorted((link for link in facts["chain"] if link != "crowdsec"), key=lambda link: link != "security-headers")
    assert [kind for name, kind in traefik.chain("immich@file") if "crowdsec" not in name] == [KINDS[link] for link in order]


def test_crowdsec_stands_in_front_of_all_but_the_headers(traefik: Traefik, facts: Facts, absent: Absent) -> None:
    if not facts["crowdsec"] or "crowdsec" not in facts["chain"]:
        absent("crowdsec", "the inventory has none")
    for router in ("immich@file", "immich-upload@file", "immich-probe@file"):
        assert [name for name, dummy in traefik.chain(router)][:2] == ["immich-security-headers", "crowdsec"]


@pytest.mark.parametrize("router", ["immich-upload@file", "immich-probe@file"])
def test_whole_files_and_probes_pass_headers_and_crowdsec_only(router: str, traefik: Traefik) -> None:
    assert [kind for name, kind in traefik.chain(router) if "crowdsec" not in name] == ["headers"]


def test_traefik_has_no_complaint_about_immich(traefik: Traefik) -> None:
    for router in ("immich@file", "immich-upload@file", "immich-probe@file"):
        found = traefik.get(f"routers/{router}")
        assert (found["status"], found["entryPoints"], found["service"]) == ("enabled", ["websecure"], "immich")


def test_traefik_leads_to_the_static_address(traefik: Traefik, facts: Facts) -> None:
    address = facts["networks"]["reverse_proxy"]["addresses"]["immich-server"]
    service = traefik.get("services/immich@file")
    assert service["loadBalancer"]["servers"] == [{"url": f"http://{address}:2283"}]


def test_rate_limit(claim: Claim, traefik: Traefik, facts: Facts) -> None:
    limit = traefik.get("middlewares/rate-limit-immich@file")["rateLimit"]
    wanted = [facts["variables"].get("immich_ingress_rate_average", 200), facts["variables"].get("immich_ingress_rate_burst", 400)]
    assert [limit["average"], limit["burst"]] == wanted
    assert ("rate-limit-immich", "ratelimit") in traefik.chain("immich@file")


def test_tls(claim: Claim, web: Web, site: Place, traefik: Traefik, facts: Facts) -> None:
    seconds = facts["variables"].get("immich_ingress_hsts_seconds", 31536000)
    assert web.ask(site, "/").headers["strict-transport-security"].split(";")[0] == f"max-age={seconds}"
    for router in ("immich@file", "immich-upload@file", "immich-probe@file"):
        assert bool(traefik.get(f"routers/{router}")["tls"].get("certResolver")) == facts["acme"]


def test_headers_are_on_what_immich_refuses(web: Web, site: Place) -> None:
    headers = web.ask(site, "/api/users/me").headers
    assert (headers["x-content-type-options"], headers["x-frame-options"], headers["referrer-policy"]) == ("nosniff", "SAMEORIGIN", "same-origin")
    assert "strict-transport-security" in headers


def test_its_certificate_is_trusted(web: Web, site: Place, absent: Absent) -> None:
    try:
        assert web.ask(site, "/api/server/ping", trust=ssl.create_default_context()).status == 200
    except ssl.SSLCertVerificationError as untrusted:
        absent("trusted certificate", untrusted.verify_message)


def test_curl_head(claim: Claim, web: Web, site: Place) -> None:
    assert web.ask(site, "/", method="HEAD").status == 200


def test_routers_file(claim: Claim, traefik: Traefik, facts: Facts, host: Host) -> None:
    """One file with all of it, and Traefik has what stands in it."""
    directory = facts["variables"].get("traefik_directory", f"{host.home}/containers/config/traefik")
    text = host.said("cat", f"{directory}/dynamic/immich.yml")
    routers = {name for name in ("immich", "immich-upload", "immich-probe") if f"\n    {name}:\n" in text}
    assert routers == {"immich", "immich-upload", "immich-probe"}
    assert {traefik.get(f"routers/{name}@file")["provider"] for name in routers} == {"file"}
