# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role traefik renders, and the real Traefik's word on it: each form of the static file starts, and shows what was asked for.

Only addresses and paths are changed for that: ports of this machine's loopback, and folders of the test.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import http.server
import ipaddress
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.patriark.homelab.plugins.filter import inventory_faults, network_lines
from ansible_collections.patriark.homelab.plugins.plugin_utils import _checks
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/traefik"
TRAEFIK = pathlib.Path(sys.executable).with_name("traefik")
BOUNCER = ROOT / "molecule/proxy/files/bouncer"
# Nobody is there: no test asks an authority on the internet.
NOWHERE = "https://127.0.0.1:1/directory"
CROWDSEC = {"lapi": "127.0.0.1:1", "key": "k", "failure": "open"}


def templar(**given: t.Any) -> Templar:
    loader = DataLoader()
    variables: dict[str, t.Any] = {}
    for file in [ROLE / "defaults/main.yml", *sorted((ROLE / "vars/main").glob("*.yml"))]:
        variables.update(loader.load_from_file(str(file), trusted_as_template=True))
    card = loader.load_from_file(str(ROOT / "examples/card/inventory.yml"), trusted_as_template=True)["all"]["vars"]
    made = Templar(loader, variables={**variables, "homelab_networks": card["homelab_networks"], **given})
    for module in (inventory_faults, network_lines):
        for name, function in module.FilterModule().filters().items():
            made.environment.filters[f"patriark.homelab.{name}"] = function
    return made


def rendered(template: str, **given: t.Any) -> str:
    return t.cast("str", templar(**given).template(trust_as_template((ROLE / "templates" / template).read_text(encoding="utf-8"))))


def static(**given: t.Any) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", yaml.safe_load(rendered("traefik.yml.j2", **given)))


def shared(**given: t.Any) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", yaml.safe_load(rendered("00-traefik.yml.j2", **given)))


def unit(**given: t.Any) -> list[str]:
    return rendered("traefik.container.j2", **given).splitlines()


# With the real program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    def __init__(self, folder: pathlib.Path, made: dict[str, t.Any], files: t.Mapping[str, t.Any], environment: t.Mapping[str, str] | None = None) -> None:
        self.ports = {name: free_port() for name in made["entryPoints"]}
        for name, entry in made["entryPoints"].items():
            entry["address"] = f"127.0.0.1:{self.ports[name]}"
        (folder / "dynamic").mkdir()
        made["providers"]["file"]["directory"] = str(folder / "dynamic")
        for resolver in made.get("certificatesResolvers", {}).values():
            resolver["acme"]["storage"] = str(folder / "acme.json")
        for name, content in files.items():
            (folder / "dynamic" / name).write_text(yaml.safe_dump(content), encoding="utf-8")
        (folder / "traefik.yml").write_text(yaml.safe_dump(made), encoding="utf-8")
        self.out = folder / "log"
        with open(self.out, "w", encoding="utf-8") as out:
            command = [TRAEFIK, f"--configFile={folder / 'traefik.yml'}"]
            self.process = subprocess.Popen(command, cwd=folder, env={**os.environ, **(environment or {})}, stdout=out, stderr=subprocess.STDOUT)

    def ask(self, entry: str, path: str, host: str = "localhost") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[entry], timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Location") or "", answer.read().decode()

    def api(self, path: str) -> t.Any:
        return json.loads(self.ask("traefik", f"/api/{path}")[2])

    def certificate(self, name: str) -> str:
        """The common name on what is shown to a client that asks for this host."""
        plain = socket.create_connection(("127.0.0.1", self.ports["websecure"]), 30)
        with ssl._create_unverified_context().wrap_socket(plain, server_hostname=name) as secure:
            shown = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
        return str(shown.subject.rfc4514_string())

    @property
    def log(self) -> list[str]:
        return self.out.read_text(encoding="utf-8").splitlines()

    def complaints(self) -> list[str]:
        return [line for line in self.log if " ERR " in line or " WRN " in line or " FTL " in line]


@contextlib.contextmanager
def running(
    folder: pathlib.Path, made: dict[str, t.Any], files: t.Mapping[str, t.Any] | None = None, environment: t.Mapping[str, str] | None = None
) -> t.Iterator[Running]:
    traefik = Running(folder, made, files or {}, environment)
    try:
        wanted = {f"{name}@file" for content in (files or {}).values() for name in content.get("http", {}).get("routers", {})}
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if traefik.ask("traefik", "/ping")[0] == 200 and wanted <= set(traefik.api("rawdata")["routers"]):
                    break
            assert traefik.process.poll() is None and time.monotonic() < deadline, traefik.log
            time.sleep(0.05)
        yield traefik
    finally:
        traefik.process.kill()
        traefik.process.wait()


SITE = {
    "http": {
        "routers": {"site": {"rule": "PathPrefix(`/`)", "entryPoints": ["metrics"], "service": "away"}},
        "services": {"away": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:1"}]}}},
    }
}

FORMS: dict[str, dict[str, t.Any]] = {
    "http-01": {"traefik_acme": {"server": NOWHERE}},
    "dns-01": {
        "traefik_acme": {
            "challenge": "dns-01",
            "provider": "cloudflare",
            "email": "a@example.org",
            "server": NOWHERE,
            "secrets": {"CF_DNS_API_TOKEN": "t"},
        }
    },
    "HTTP/3": {"traefik_http3": True, "traefik_trusted_proxies": ["192.0.2.1", "198.51.100.0/24"], "traefik_log_level": "WARN"},
    "no limit": {"traefik_read_timeout": 0, "traefik_idle_timeout": 600, "traefik_grace_timeout": 60},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_real_traefik_takes_every_form(form: str, tmp_path: pathlib.Path) -> None:
    given = FORMS[form]
    with running(tmp_path, static(**given)) as traefik:
        entries = {entry["name"]: entry for entry in traefik.api("entrypoints")}
        assert set(entries) == {"traefik", "metrics", "web", "websecure"}
        assert entries["web"]["http"]["redirections"]["entryPoint"] == {
            "to": "websecure",
            "scheme": "https",
            "permanent": True,
            "priority": 9223372036854775806,
        }
        secure = entries["websecure"]
        timeouts = secure["transport"]["respondingTimeouts"]
        assert timeouts == ({"readTimeout": "2h0m0s", "idleTimeout": "3m0s"} if form != "no limit" else {"idleTimeout": "10m0s"})
        assert secure["http"]["tls"] == ({"certResolver": "acme"} if "traefik_acme" in given else {})
        assert ("http3" in secure) is (form == "HTTP/3")
        trusted = {name: entry["forwardedHeaders"].get("trustedIPs", []) for name, entry in entries.items()}
        asked = given.get("traefik_trusted_proxies", [])
        assert trusted == {"traefik": [], "metrics": [], "web": asked, "websecure": asked}
        for entry in entries.values():
            assert entry["http"]["aliasHeadersStrategy"] == "delete" and not entry["http"]["encodedCharacters"].get("allowEncodedNullCharacter")
        assert traefik.complaints() == []


def test_a_request_too_large_for_the_server_ends_at_the_door(tmp_path: pathlib.Path) -> None:
    """Go adds 4096 to the limit; what passes has room below Node's 16384 for what Traefik adds itself."""
    with running(tmp_path, static()) as traefik:
        assert traefik.ask("web", "/" + "a" * 11900)[0] == 301
        assert traefik.ask("web", "/" + "a" * 12400)[0] == 431
        assert traefik.ask("web", "/" + "a" * 900000)[0] == 431
        for entry in ("web", "websecure"):
            assert static()["entryPoints"][entry]["http"]["maxHeaderBytes"] == 8192


def test_web_redirects_and_there_is_no_dashboard(tmp_path: pathlib.Path) -> None:
    assert static()["entryPoints"]["traefik"]["address"] == "127.0.0.1:8080", "the API is for the inside of the container"
    with running(tmp_path, static()) as traefik:
        assert traefik.ask("web", "/photos?a=b", "photos.example.org")[:2] == (301, f"https://photos.example.org:{traefik.ports['websecure']}/photos?a=b")
        assert "dashboard@internal" not in traefik.api("rawdata")["services"]
        assert traefik.ask("traefik", "/dashboard/")[0] == 404
        assert traefik.ask("web", "/api/rawdata", "localhost")[0] == 301 and traefik.ask("metrics", "/api/rawdata")[0] == 404


def test_router_labels_and_the_client_in_the_access_log(tmp_path: pathlib.Path) -> None:
    with running(tmp_path, static(), {"site.yml": SITE}) as traefik:
        assert traefik.ask("metrics", "/found?key=secret-of-a-link")[0] == 502
        assert 'traefik_router_requests_total{code="502",method="GET",protocol="http",router="site@file"' in traefik.ask("metrics", "/metrics")[2]
        entries = [json.loads(line) for line in traefik.log if line.startswith("{")]
        assert [entry["ClientHost"] for entry in entries if entry["RequestPath"].startswith("/found")] == ["127.0.0.1"]
        assert "secret-of-a-link" not in "\n".join(traefik.log)


def pair(name: str) -> tuple[str, str]:
    """A certificate for that name by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def test_certificates_of_ones_own_are_chosen_by_name_and_the_first_is_for_everybody_else(tmp_path: pathlib.Path) -> None:
    given = {"traefik_certificates": [{"name": name, "certificate": "c", "key": "k"} for name in ("one", "two")]}
    text = rendered("00-traefik.yml.j2", **given)
    for name in ("one", "two"):
        certificate, key = pair(f"{name}.example.org")
        for kind, content in (("certificate", certificate), ("key", key)):
            (tmp_path / f"traefik-{name}-{kind}").write_text(content, encoding="utf-8")
    files = {"00-traefik.yml": yaml.safe_load(text.replace("/run/secrets/", f"{tmp_path}/")), "site.yml": SITE}
    with running(tmp_path, static(**given), files) as traefik:
        shown = {name: traefik.certificate(f"{name}.example.org") for name in ("one", "two", "other")}
        assert shown == {"one": "CN=one.example.org", "two": "CN=two.example.org", "other": "CN=one.example.org"}
        assert traefik.complaints() == []
    secrets = [line for line in unit(**given) if line.startswith("Secret=")]
    assert secrets == [f"Secret=traefik-{name}-{kind},type=mount,mode=0400" for name in ("one", "two") for kind in ("certificate", "key")]


# With an authority: pebble, and challtestsrv as its DNS, both on the loopback


PEBBLE = ROOT / ".cache/acme/pebble"
NAME = "photos.example.org"
GUEST = {"http": {"routers": {"site": {"rule": f"Host(`{NAME}`)", "entryPoints": ["websecure"], "service": "ping@internal"}}}}


class Provider(http.server.BaseHTTPRequestHandler):
    """A DNS provider as lego's httpreq knows it, in front of challtestsrv."""

    management = 0

    def do_POST(self) -> None:
        record = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/present":
            body = json.dumps({"host": record["fqdn"], "value": record["value"]}).encode()
            urllib.request.urlopen(f"http://127.0.0.1:{self.management}/set-txt", body, 30).close()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *dummy: object) -> None:
        pass


@contextlib.contextmanager
def authority(folder: pathlib.Path, port: int, http_port: int, dns: int, management: int) -> t.Iterator[None]:
    (folder / "pebble.json").write_text(
        json.dumps(
            {
                "pebble": {
                    "listenAddress": f"127.0.0.1:{port}",
                    "managementListenAddress": f"127.0.0.1:{free_port()}",
                    "certificate": str(folder / "authority.pem"),
                    "privateKey": str(folder / "authority.key"),
                    "httpPort": http_port,
                    "tlsPort": free_port(),
                }
            }
        ),
        encoding="utf-8",
    )
    names = [PEBBLE.with_name("pebble-challtestsrv"), "-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{management}", "-defaultIPv6", ""]
    names += ["-http01", "", "-https01", "", "-tlsalpn01", ""]
    environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    commands: list[list[t.Any]] = [names, [PEBBLE, "-config", folder / "pebble.json", "-dnsserver", f"127.0.0.1:{dns}"]]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands]
    try:
        for listening in (port, management):
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", listening), 30):
                    break
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("challenge", ["http-01", "dns-01"])
def test_a_certificate_comes_from_an_authority(challenge: str, tmp_path: pathlib.Path) -> None:
    certificate, key = pair("localhost")
    (tmp_path / "authority.pem").write_text(certificate, encoding="utf-8")
    (tmp_path / "authority.key").write_text(key, encoding="utf-8")
    port, dns, management = (free_port() for dummy in range(3))
    made = static(traefik_acme={"challenge": challenge, "provider": "httpreq", "server": f"https://localhost:{port}/dir"})
    environment = {"LEGO_CA_CERTIFICATES": str(tmp_path / "authority.pem")}
    provider = http.server.HTTPServer(("127.0.0.1", 0), type("Here", (Provider,), {"management": management}))
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    if challenge == "dns-01":
        # challtestsrv has no zones of which somebody could ask an authoritative server
        made["certificatesResolvers"]["acme"]["acme"]["dnsChallenge"].update(resolvers=[f"127.0.0.1:{dns}"], propagation={"disableANSChecks": True})
        environment["HTTPREQ_ENDPOINT"] = f"http://127.0.0.1:{provider.server_port}"
    with contextlib.closing(provider.socket), running(tmp_path, made, {}, environment) as traefik:
        with authority(tmp_path, port, traefik.ports["web"], dns, management):
            (tmp_path / "dynamic/site.yml").write_text(yaml.safe_dump(GUEST), encoding="utf-8")
            deadline = time.monotonic() + 120
            while traefik.certificate(NAME) != f"CN={NAME}":
                assert time.monotonic() < deadline, traefik.log
                time.sleep(0.2)
        assert (tmp_path / "acme.json").stat().st_mode & 0o777 == 0o600


GUARDED = {
    "http": {
        "routers": {"site": {"rule": "PathPrefix(`/`)", "entryPoints": ["metrics"], "service": "ping@internal", "middlewares": ["crowdsec@file"]}},
    }
}


def guarded(folder: pathlib.Path, **crowdsec: t.Any) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Static file, and dynamic ones with a router behind the bouncer."""
    given = {"traefik_crowdsec": {**CROWDSEC, "plugin_directory": "/srv/bouncer", **crowdsec}}
    (folder / "key").write_text("k\n", encoding="utf-8")
    text = rendered("00-traefik.yml.j2", **given).replace("/run/secrets/traefik-crowdsec-key", str(folder / "key"))
    return static(**given), {"00-traefik.yml": yaml.safe_load(text), "site.yml": GUARDED}


@pytest.mark.parametrize(("failure", "status"), [("open", 200), ("closed", 403)])
def test_while_the_local_api_is_away_visitors_get_what_was_chosen(failure: str, status: int, tmp_path: pathlib.Path) -> None:
    place = tmp_path / "plugins-local/src/github.com/maxlerebourg/crowdsec-bouncer-traefik-plugin"
    place.parent.mkdir(parents=True)
    place.symlink_to(BOUNCER)
    with running(tmp_path, *guarded(tmp_path, failure=failure)) as traefik:
        assert traefik.ask("metrics", "/")[0] == status
        assert traefik.api("http/routers/site@file")["status"] == "enabled"


def test_without_its_plugin_traefik_does_not_start_instead_of_answering_404(tmp_path: pathlib.Path) -> None:
    traefik = Running(tmp_path, *guarded(tmp_path))
    try:
        assert traefik.process.wait(60) != 0
    finally:
        traefik.process.kill()
        traefik.process.wait()
    assert "plugin" in "\n".join(traefik.log)


def test_a_plugin_that_traefik_fetches_has_a_place_for_it() -> None:
    given = {"traefik_crowdsec": {**CROWDSEC, "plugin_version": "v1.4.5"}}
    experimental = static(**given)["experimental"]
    assert experimental["abortOnPluginFailure"] is True and "localPlugins" not in experimental
    assert experimental["plugins"]["crowdsec"] == {"moduleName": "github.com/maxlerebourg/crowdsec-bouncer-traefik-plugin", "version": "v1.4.5"}
    assert "Tmpfs=/plugins-storage" in unit(**given)
    assert "experimental" not in static()


def test_the_key_of_the_bouncer_is_a_file() -> None:
    given = {"traefik_crowdsec": {**CROWDSEC, "key": "very-secret", "plugin_directory": "/srv/bouncer"}}
    made = shared(**given)["http"]["middlewares"]["crowdsec"]["plugin"]["crowdsec"]
    assert made["crowdsecLapiKeyFile"] == "/run/secrets/traefik-crowdsec-key"
    lines = unit(**given)
    assert "Secret=traefik-crowdsec-key,type=mount,mode=0400" in lines
    assert "Volume=/srv/bouncer:/plugins-local/src/github.com/maxlerebourg/crowdsec-bouncer-traefik-plugin:ro" in lines
    assert "very-secret" not in json.dumps(made) + "\n".join(lines) + json.dumps(static(**given))


# The unit


def test_sockets_are_handed_over_and_no_port_is_published() -> None:
    lines = unit()
    assert "Sockets=traefik-web.socket traefik-websecure.socket" in lines
    assert {"Requires=traefik-web.socket traefik-websecure.socket", "After=traefik-web.socket traefik-websecure.socket"} <= set(lines)
    assert not [line for line in lines if line.startswith(("PublishPort", "AddCapability"))]
    (first,) = [line for line in lines if line.startswith("ExecStartPre=")]
    assert " --network systemd-reverse_proxy --network systemd-monitoring " in first and first.endswith(" docker.io/library/traefik:v3.7.15 300")
    networks = [line for line in lines if line.startswith("Network=")]
    assert len(networks) == 2 and "ip=10.89.2.69" in networks[0] and "ip=10.89.4.69" in networks[1]


def test_published_ports_on_request() -> None:
    lines = unit(traefik_listen="published", traefik_http3=True)
    assert [line for line in lines if line.startswith("PublishPort")] == ["PublishPort=80:80/tcp", "PublishPort=443:443/tcp", "PublishPort=443:443/udp"]
    assert "AddCapability=NET_BIND_SERVICE" in lines and not [line for line in lines if "socket" in line or line.startswith("ExecStart")]


@pytest.mark.parametrize("datagram", [False, True])
def test_a_socket_carries_the_name_of_its_entry_point(datagram: bool) -> None:
    given = {"__traefik_entry_point": "websecure", "__traefik_port": 8443, "__traefik_datagram": datagram}
    lines = rendered("traefik.socket.j2", **given).splitlines()
    assert {"ListenStream=8443", "FileDescriptorName=websecure", "Service=traefik.service"} <= set(lines)
    assert ("ListenDatagram=8443" in lines) is datagram


def test_credentials_of_the_dns_provider_are_secrets_in_the_environment() -> None:
    given = FORMS["dns-01"]
    assert "Secret=traefik-CF_DNS_API_TOKEN,type=env,target=CF_DNS_API_TOKEN" in unit(**given)
    assert templar(**given).template(trust_as_template("{{ __traefik_secrets }}")) == [{"name": "traefik-CF_DNS_API_TOKEN", "value": "t"}]


# What is asked for has to fit together


def unmet(**given: t.Any) -> dict[str, str]:
    """Name -> severity of each row that is not met."""
    read: dict[str, t.Any] = {"__traefik_port_start": {"content": "ODA="}, "ansible_check_mode": False}  # 80, as the kernel has it
    made = templar(**{name: value for name, value in {**read, "traefik_acme": {}, **given}.items() if value is not None})
    rows = made.template(trust_as_template("{{ __traefik_inventory_checks + __traefik_plan_checks }}"))
    asked = {"traefik": "{{ __traefik_plan }}", "proxy_inventory": "{{ __traefik_inventory }}"}
    facts = {name: made.template(trust_as_template(text)) for name, text in asked.items()}
    return {result.name: result.severity for result in _checks.evaluate(rows, facts) if not result.ok}


def test_the_card_fits_together() -> None:
    assert unmet() == {}
    assert unmet(traefik_read_timeout=0) == {}
    wired = {"traefik_crowdsec": {**CROWDSEC, "plugin_version": "v1.4.5"}, "__traefik_live": {"plugins": {"crowdsec": ["immich"]}}}
    assert unmet(**wired) == {}


@pytest.mark.parametrize(
    ("given", "name", "severity"),
    [
        ({"__traefik_port_start": {"content": "MTAyNA=="}}, "ports that the account may not listen on", "error"),
        ({"traefik_http_port": 79}, "ports that the account may not listen on", "error"),
        ({"traefik_listen": "published"}, "clients keep their addresses", "warning"),
        ({"traefik_image": "docker.io/library/traefik:v3"}, "image names a version", "warning"),
        ({"traefik_read_timeout": 60}, "read timeout that cuts uploads, in seconds", "warning"),
        ({"traefik_max_header_bytes": 16384}, "bytes of headers that are too few for a site, or more than Immich reads", "error"),
        ({"traefik_max_header_bytes": 512}, "bytes of headers that are too few for a site, or more than Immich reads", "error"),
        ({"traefik_acme": None}, "certificates", "warning"),
        ({"traefik_acme": {"challenge": "dns-01"}}, "provider for the challenge dns-01", "error"),
        ({"traefik_trusted_proxies": ["0.0.0.0/1", "128.0.0.0/1"]}, "proxies that Traefik would believe, and that are too many or none", "error"),
        ({"traefik_directory": "~/traefik"}, "directories of the proxy that cannot be used as they are written", "error"),
        ({"traefik_crowdsec": {**CROWDSEC}}, "plugin of CrowdSec", "error"),
        ({"traefik_crowdsec": {**CROWDSEC, "plugin_version": "v1", "plugin_directory": "/srv/bouncer"}}, "plugin of CrowdSec", "error"),
        ({"traefik_crowdsec": {**CROWDSEC, "plugin_directory": "/srv/bouncer"}, "__traefik_live": {"plugin_source": False}}, "plugin of CrowdSec", "error"),
        ({"__traefik_live": {"plugins": {"crowdsec": ["immich"]}}}, "routers that need the bouncer, which is not wired any more", "error"),
    ],
)
def test_what_does_not_fit_is_told(given: dict[str, t.Any], name: str, severity: str) -> None:
    assert unmet(**given) == {name: severity}
