# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the live machine, as root, with nothing of this collection: does monitoring see, and does it tell?

    watch.py PHOTO_SCRIPT

Prints one line for each claim and exits 1 when one of them is false.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.parse

ACCOUNT, UID = "homelab", 1000
DATA = "/mnt/btrfs-pool/subvol7-containers"
CONFIG = pathlib.Path(f"/home/{ACCOUNT}/containers/config")
SITE = "photos.patriark.org"
TOKEN = "not-for-everybody"
LOG = pathlib.Path("/var/tmp/receiver.jsonl")
ADDRESSES = {
    "prometheus": "10.89.4.70",
    "node-exporter": "10.89.4.74",
}
PROMETHEUS = "10.89.249.2"  # where it listens
APART = ("alertmanager", "blackbox-exporter")
MEMORY = {"prometheus": 1 << 30, "alertmanager": 256 << 20, "blackbox-exporter": 128 << 20, "node-exporter": 128 << 20}
PATIENCE = 240  # a machine may be busy
PERSON = {"email": "admin@example.org", "password": "correct-horse"}

wrong: list[str] = []


def claim(text: str, true: t.Any, found: t.Any = "") -> None:
    print(f"{'ok    ' if true else 'WRONG '} {text}" + (f": {found}" if found != "" and not true else ""), flush=True)
    if not true:
        wrong.append(text)


def equal(text: str, found: t.Any, expected: t.Any) -> None:
    claim(text, found == expected, f"found {found!r}, expected {expected!r}")


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise SystemExit(f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def account(*command: str, check: bool = True) -> str:
    runtime = f"/run/user/{UID}"
    env = [f"XDG_RUNTIME_DIR={runtime}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus", f"HOME=/home/{ACCOUNT}"]
    return run("runuser", "-u", ACCOUNT, "--", "env", "--chdir=/", *env, *command, check=check)


def fetch(url: str, method: str = "GET") -> str:
    """From inside the container networks; empty when nobody answers."""
    program = "import sys,urllib.request as r; print(r.urlopen(r.Request(sys.argv[1],method=sys.argv[2]),timeout=5).read().decode())"
    return account("podman", "unshare", "--rootless-netns", "python3", "-c", program, url, method, check=False)


def query(expression: str) -> list[dict[str, t.Any]]:
    text = fetch(f"http://{PROMETHEUS}:9090/api/v1/query?query={urllib.parse.quote(expression)}")
    return list(json.loads(text)["data"]["result"]) if text else []


def value(expression: str) -> float | None:
    found = query(expression)
    return float(found[0]["value"][1]) if found else None


def until(text: str, look: t.Callable[[], t.Any], patience: float = PATIENCE) -> t.Any:
    """The claim that something becomes true."""
    end = time.monotonic() + patience
    while True:
        found = look()
        if found or time.monotonic() > end:
            claim(text, found, f"not within {patience} s: {found!r}")
            return found
        time.sleep(1)


def told() -> list[dict[str, t.Any]]:
    return [json.loads(line) for line in LOG.read_text(encoding="utf-8").splitlines()] if LOG.exists() else []


def messages(*words: str) -> list[dict[str, t.Any]]:
    """Embeds that reached the channel and have all the words."""
    embeds = [embed for item in told() if item["status"] == 204 for embed in item["message"].get("embeds") or []]
    return [embed for embed in embeds if all(re.search(word, f"{embed.get('title')}\n{embed.get('description')}") for word in words)]


def curl(path: str, *more: str) -> str:
    """As visitors come: through Traefik."""
    return run("curl", "--silent", "--insecure", "--max-time", "20", "--resolve", f"{SITE}:443:127.0.0.1", *more, f"https://{SITE}{path}", check=False)


def visit(path: str, *more: str) -> str:
    return curl(path, *more, "--output", "/dev/null", "--write-out", "%{http_code}")


def upload(photos: t.Any, token: str) -> str:
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(photos.a_photo(False))
        file.flush()
        fields = {"deviceAssetId": file.name, "deviceId": "test", "fileCreatedAt": now, "fileModifiedAt": now, "assetData": f"@{file.name};type=image/jpeg"}
        forms = [word for name, value in fields.items() for word in ("--form", f"{name}={value}")]
        return visit("/api/assets", "--header", f"Authorization: Bearer {token}", *forms)


def stack() -> None:
    for name in (*ADDRESSES, *APART):
        shown = json.loads(account("podman", "inspect", name))[0]
        networks = {key: item["IPAddress"] for key, item in shown["NetworkSettings"]["Networks"].items()}
        equal(f"{name}: its planned address", networks.get("systemd-monitoring"), ADDRESSES.get(name))
        equal(f"{name}: with Prometheus apart from those that show metrics", "systemd-monitoring_inside" in networks, name in (*APART, "prometheus"))
        equal(f"{name}: healthy", shown["State"]["Health"]["Status"], "healthy")
        equal(f"{name}: no port of the host", [port for port in shown["NetworkSettings"]["Ports"].values() if port], [])
        claim(f"{name}: read-only, without capabilities", shown["HostConfig"]["ReadonlyRootfs"] and not shown["EffectiveCaps"])
        claim(f"{name}: no new privileges", "no-new-privileges" in shown["HostConfig"]["SecurityOpt"])
        limit = account("systemctl", "--user", "show", "--value", "-p", "MemoryMax", f"{name}.service")
        equal(f"{name}: memory limit", limit, str(MEMORY[name]))
        everything = json.dumps(shown)
        claim(f"{name}: the webhook is not in its description", TOKEN not in everything)
    listening = run("ss", "-Hltn")
    claim("nothing of it listens on the host", not re.search(r":(9090|9093|9115|9100)\s", listening), listening)
    claim("Prometheus' samples are without copy-on-write", "C" in run("lsattr", "-d", f"{DATA}/prometheus").split()[0])
    written = [file for file in (*CONFIG.rglob("*"), *pathlib.Path(f"/home/{ACCOUNT}/.config").rglob("*")) if file.is_file()]
    equal("files with the webhook in it", [str(file) for file in written if TOKEN in file.read_text(errors="replace")], [])
    claim("the webhook is a podman secret", "monitoring-discord-webhook" in account("podman", "secret", "ls", "--format", "{{.Name}}"))
    claim("Alertmanager reads it from a file", "/run/secrets/monitoring-discord-webhook" in (CONFIG / "alertmanager/alertmanager.yml").read_text())


def dashboard() -> None:
    """Of Grafana there is no program here; the node exporter plays the container that has to be started anew when its files are written."""
    written = max((CONFIG / "grafana" / path).stat().st_mtime for path in ("dashboards/immich/immich.json", "provisioning/dashboards/immich.yml"))
    started = account("podman", "inspect", "--format", "{{.State.StartedAt.UnixMilli}}", "node-exporter")
    claim("who reads its files at the start only was started after they were written", int(started) / 1000 >= written, (started, written))


def routes() -> None:
    """Which receiver each kind of alert has, as amtool says."""
    for labels, receiver in {
        "alertname=A severity=critical": "discord",
        "alertname=A severity=warning": "discord",
        "alertname=A": "discord",
        "alertname=A severity=info": "nobody",
        "alertname=MonitoringWatchdog severity=none": "heartbeat",
        "alertname=ImmichWatchdog severity=none": "heartbeat",
    }.items():
        arguments = ["amtool", "config", "routes", "test", "--config.file=/etc/alertmanager/alertmanager.yml", *labels.split()]
        equal(f"{labels}: receiver", account("podman", "exec", "alertmanager", *arguments, check=False), receiver)


def sees() -> None:
    wanted = {"prometheus", "alertmanager", "blackbox-exporter", "node", "immich", "traefik", "probe"}
    until("every job has a target that is up", lambda: wanted <= {item["metric"]["job"] for item in query("up == 1")})
    until("no target is down", lambda: not query("up == 0"))
    equal("both ports of Immich are scraped", sorted(item["metric"]["endpoint"] for item in query('up{job="immich"}')), ["api", "microservices"])
    until("the probe succeeds", lambda: value('probe_success{job="probe"}') == 1)
    until("each container has a state", lambda: value('count(podman_container_running{name=~"immich.*|.*-immich|traefik|prometheus"} == 1)') == 6)
    until("and a health", lambda: value('podman_container_healthy{name="postgresql-immich"}') == 1)
    equal("restarts are counted", value('podman_container_restarts_total{name="immich-server"}'), 0)
    until("the database answers", lambda: value("immich_database_up") == 1)
    equal("and has found no damage", value("immich_database_checksum_failures_total"), 0)
    until("the cache answers", lambda: value("immich_cache_up") == 1)
    until("unallocated space is what btrfs says", lambda: value('btrfs_unallocated_bytes{path="/mnt/btrfs-pool"}') == unallocated())
    claim("the pool has a size", value('node_filesystem_avail_bytes{mountpoint="/mnt/btrfs-pool"}'))
    equal("rules that fail", query("prometheus_rule_evaluation_failures_total > 0"), [])
    until("a heartbeat goes out", lambda: [item for item in told() if item["path"] == "/beat"])


def unallocated() -> float | None:
    really = re.search(r"Device unallocated:\s+(\d+)", run("btrfs", "filesystem", "usage", "--raw", "/mnt/btrfs-pool"))
    return float(really.group(1)) if really else None


def sli() -> None:
    count = 'sum(traefik_router_requests_total{router="immich@file"})'
    # A counter that appears with a value does not count that value: let it be seen before it grows.
    visit("/api/server/version")
    until("a first visit is seen", lambda: value(count))
    before = value(count)
    for dummy in range(20):
        visit("/api/server/version")
    until("visits are counted", lambda: (value(count) or 0) >= before + 20)
    until("and are the events of the objective", lambda: (value('slo:sli_events:increase5m{sloth_id="immich-availability"}') or 0) > 10)
    equal("none of them bad", value('slo:sli_error:ratio_rate5m{sloth_id="immich-availability"}'), 0)
    claim("the probe has a router of its own", query('traefik_router_requests_total{router="immich-probe@file"}'))


def uploads(photos: t.Any) -> None:
    body = ["--header", "Content-Type: application/json", "--data"]
    if not json.loads(curl("/api/server/config"))["isInitialized"]:
        # From outside nobody becomes the administrator.
        person = json.dumps({**PERSON, "name": "Admin"})
        account("podman", "exec", "immich-server", "curl", "--silent", "--fail", *body, person, "http://localhost:2283/api/auth/admin-sign-up")
    token = json.loads(curl("/api/auth/login", *body, json.dumps(PERSON)))["accessToken"]
    count = 'sum(traefik_router_requests_total{router="immich-upload@file",code="201"})'
    equal("an upload through the proxy", upload(photos, token), "201")
    until("it is seen", lambda: value(count))
    before = value(count) or 0
    equal("more of them", {upload(photos, token) for dummy in range(5)}, {"201"})
    until("uploads are counted", lambda: (value(count) or 0) >= before + 5)
    until("and are the events of their own objective", lambda: (value('slo:sli_events:increase5m{sloth_id="immich-upload"}') or 0) > 3)
    equal("none of them is bad", value('slo:sli_error:ratio_rate5m{sloth_id="immich-upload"}'), 0)


def outage() -> None:
    failed = 'sum(traefik_router_requests_total{router="immich@file",code=~"5.."})'
    account("systemctl", "--user", "stop", "immich-server.service")
    # Before visitors fail: whether their alert is held back is to be seen, and not who is first.
    until("the outage reaches the channel", lambda: messages("ImmichProbeFailed", "^CRITICAL"))
    found = messages("ImmichProbeFailed", "^CRITICAL")
    claim("with the way to the runbook", found and "runbooks.md#immichprobefailed" in found[0]["description"], found)
    claim("and to the dashboard", found and "https://grafana.patriark.org/d/immich-slo" in found[0]["description"], found)
    # A counter that appears with a value does not count that value: let it be seen before it grows.
    visit("/api/server/version")
    until("a failed visit is counted", lambda: value(failed))
    for dummy in range(40):
        visit("/api/server/version")
        time.sleep(0.2)
    until("errors of visitors move the objective", lambda: (value('slo:sli_error:ratio_rate5m{sloth_id="immich-availability"}') or 0) > 0)
    until("Prometheus has the burn alert", lambda: value('count(ALERTS{alertname="ImmichAvailabilityFastBurn",alertstate="firing"})'))
    claim("the probe's alert keeps it quiet", not messages("ImmichAvailabilityFastBurn"))
    account("systemctl", "--user", "start", "immich-server.service")
    until("the end reaches the channel", lambda: messages("ImmichProbeFailed", "^Resolved"))
    until("visitors are served again", lambda: visit("/api/server/ping") == "200")
    until("and the budget of the month is overdrawn", lambda: (value('slo:period_error_budget_remaining:requests{sloth_slo="availability"}') or 0) < 0)


def failed_in_journal() -> int:
    """By the field that the pipelines for log agents select by, and their pattern."""
    journal = run("journalctl", "--quiet", "--output=cat", "--all", "CONTAINER_NAME=immich-server")
    return len(re.findall(r"Unable to run job handler [(](?:AssetGenerateThumbnails|generate-thumbnails|thumbnailGeneration/[a-z-]+)[)]", journal))


def thumbnails(photo: str) -> None:
    """From inside, where the server's own address is."""
    text = pathlib.Path(photo).read_text(encoding="utf-8")
    before = failed_in_journal()
    for dummy in range(6):
        account("podman", "unshare", "--rootless-netns", "python3", "-c", text, "http://10.89.2.12:2283", *PERSON.values(), "--damaged")
    until("six damaged pictures reach the channel", lambda: messages("ImmichThumbnailFailureHigh", "^Warning"))
    equal("and are in the journal where log agents look for them", failed_in_journal() - before, 6)


def main() -> None:
    spec = importlib.util.spec_from_file_location("photo", sys.argv[1])
    assert spec and spec.loader
    photos = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(photos)
    stack()
    dashboard()
    routes()
    sees()
    sli()
    uploads(photos)
    outage()
    thumbnails(sys.argv[1])
    refused = [item for item in told() if item["status"] not in (200, 204)]
    equal("messages that Discord would refuse", refused, [])
    if wrong:
        sys.exit(f"{len(wrong)} wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
