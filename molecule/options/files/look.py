# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the live machine, as root, with nothing of this collection: is every option of the inventory acted on?

    look.py PHOTO_SCRIPT

What is expected stands here once more on purpose. Prints one line for each claim and exits 1 when one of them is false.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.request

ACCOUNT, UID = "homelab", 1000
POOL = pathlib.Path("/mnt/btrfs-pool")
UNITS = pathlib.Path(f"/home/{ACCOUNT}/.config/containers/systemd")
URL = "http://127.0.0.1:2283"
RUNNING = {"elsewhere", "immich-microservices", "immich-server", "redis-immich"}
OURS = sorted(RUNNING - {"elsewhere"})
CAPABILITIES = {"immich-server": set(), "immich-microservices": set(), "redis-immich": {"CHOWN", "DAC_READ_SEARCH", "SETGID", "SETUID"}}

wrong: list[str] = []


def claim(text: str, true: t.Any, found: t.Any = "") -> None:
    print(f"{'ok    ' if true else 'WRONG '} {text}" + (f": {found}" if found != "" and not true else ""))
    if not true:
        wrong.append(text)


def equal(text: str, found: t.Any, expected: t.Any) -> None:
    claim(text, found == expected, f"found {found!r}, expected {expected!r}")


def account(*command: str) -> str:
    runtime = f"/run/user/{UID}"
    env = [f"XDG_RUNTIME_DIR={runtime}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus", f"HOME=/home/{ACCOUNT}"]
    done = subprocess.run(["runuser", "-u", ACCOUNT, "--", "env", "--chdir=/", *env, *command], capture_output=True, text=True, check=False)
    return (done.stdout if done.returncode == 0 else f"failed: {done.returncode} {done.stdout}{done.stderr}").strip()


def ask(method: str, path: str, body: t.Any = None, **headers: str) -> tuple[int, t.Any]:
    data = None if body is None else json.dumps(body).encode()
    sent = {**({"Content-Type": "application/json"} if data else {}), **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + path, data=data, method=method, headers=sent), timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def sql(query: str) -> str:
    return account("podman", "exec", "elsewhere", "psql", "-U", "owner", "-d", "pictures", "-Atc", query)


def containers(inspected: dict[str, t.Any]) -> None:
    equal("what runs", set(account("podman", "ps", "--format", "{{.Names}}").split()), RUNNING)
    for name in OURS:
        data = inspected[name]
        equal(f"{name}: podman says healthy", data["State"]["Health"]["Status"], "healthy")
        equal(f"{name}: read-only root", data["HostConfig"]["ReadonlyRootfs"], True)
        bounding = {word.removeprefix("CAP_") for word in data["BoundingCaps"] or []}
        equal(f"{name}: capabilities", bounding, CAPABILITIES[name])
        status = pathlib.Path(f"/proc/{data['State']['Pid']}/status").read_text(encoding="ascii")
        claim(f"{name}: no new privileges", re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE))
        # What podman was asked: where SELinux is off it forgets the option.
        volumes = [word.rpartition(":")[2].lower().split(",") for word in data["Config"]["CreateCommand"] if word.count(":") == 2 and word.startswith("/")]
        claim(f"{name}: no label for SELinux", not any("z" in options for options in volumes), volumes)
    for gone in ("postgresql-immich", "immich-ml-cache"):
        claim(f"no directory {gone}", not (POOL / "containers" / gone).exists())


def workers() -> None:
    def port(container: str, number: int) -> bool:
        return not account("podman", "exec", container, "curl", "-s", "-o", "/dev/null", f"http://localhost:{number}/").startswith("failed")

    equal("immich-server has the api worker only", [port("immich-server", number) for number in (2283, 8081, 8082)], [True, True, False])
    equal("immich-microservices has the other", [port("immich-microservices", number) for number in (2283, 8081, 8082)], [False, False, True])
    lines = account("journalctl", "--user", "-u", "immich-server.service", "--no-pager", "-o", "cat", "-n", "200").splitlines()
    claim("the log is JSON", any(line.startswith("{") and json.loads(line).get("message") for line in lines), lines[-3:])
    metrics = account("podman", "exec", "immich-server", "curl", "-s", "http://localhost:8081/metrics")
    claim("telemetry has the group api and not repo", "http_server_request_count" in metrics and "_repository_" not in metrics, metrics[:300])
    environment = account("podman", "exec", "immich-server", "env")
    for line in ("IMMICH_TRUSTED_PROXIES=10.89.5.0/24", "IMMICH_LOG_LEVEL=debug", "DB_SSL_MODE=disable", "IMMICH_ALLOW_SETUP=false"):
        claim(f"environment has {line}", line in environment.splitlines())


def settings() -> None:
    config, features = ask("GET", "/api/server/config")[1], ask("GET", "/api/server/features")[1]
    equal("settings file is used", (config["loginPageMessage"], config["trashDays"], features["configFile"]), ("Hello", 7, True))
    equal("machine learning is off", features["smartSearch"], False)
    readable = (UNITS / "immich/immich-settings.json").read_text(encoding="utf-8")
    claim("what can be read of the settings has no secret", "TestPassword0" not in readable and '"clientId": "photos"' in readable, readable)
    inside = json.loads(account("podman", "exec", "immich-server", "cat", "/run/secrets/immich-settings.json"))
    equal(
        "the server has the secret",
        (inside["oauth"]["clientSecret"], inside["storageTemplate"]["template"]),
        ("TestPassword0oauth", "{{y}}/{{MM}}/{{filename}}"),
    )


def people() -> None:
    equal("nobody can sign up", ask("POST", "/api/auth/admin-sign-up", {"email": "x@example.org", "name": "X", "password": "x"})[0], 400)
    equal("no session was left behind", sql("select count(*) from session"), "0")
    status, login = ask("POST", "/api/auth/login", {"email": "admin@example.org", "password": "TestPassword0admin"})
    equal("the administrator can log in", (status, login.get("isAdmin")), (201, True))
    bearer = {"Authorization": f"Bearer {login.get('accessToken')}"}
    users = {user["email"]: user for user in ask("GET", "/api/admin/users", **bearer)[1]}
    anna = users.get("anna@example.org", {})
    equal("people", sorted(users), ["admin@example.org", "anna@example.org"])
    equal("anna is as declared", [anna.get(name) for name in ("name", "quotaSizeInBytes", "storageLabel", "isAdmin")], ["Anna", 1 << 30, "anna", False])
    keys = {key["name"]: key["permissions"] for key in ask("GET", "/api/api-keys", **bearer)[1]}
    equal("keys", sorted(keys), ["homelab:monitoring", "homelab:setup"])
    equal("the key for monitoring may do what is declared", keys.get("homelab:monitoring"), ["server.about", "server.statistics"])
    claim("the key of the role is not one for everything", "all" not in keys.get("homelab:setup", ["all"]))
    data = json.loads(account("podman", "secret", "inspect", "--showsecret", "immich-api-key-monitoring"))
    secret = data[0]["SecretData"]
    equal(
        "that key works, and for nothing else",
        (ask("GET", "/api/server/statistics", x_api_key=secret)[0], ask("GET", "/api/api-keys", x_api_key=secret)[0]),
        (200, 403),
    )
    (library,) = ask("GET", "/api/libraries", **bearer)[1] or [{}]
    found = [library.get(name) for name in ("name", "importPaths", "exclusionPatterns", "ownerId")]
    equal("the external library", found, ["scans", ["/external/scans"], ["**/.tmp/**"], anna.get("id")])
    equal("its files are seen", account("podman", "exec", "immich-server", "cat", "/external/scans/notes.txt"), "not really a photo")
    claim("and cannot be changed", account("podman", "exec", "immich-server", "chmod", "600", "/external/scans/notes.txt").startswith("failed"))
    ask("POST", "/api/auth/logout", **bearer)


def hidden(inspected: dict[str, t.Any]) -> None:
    texts = {str(path): path.read_text(errors="replace") for path in UNITS.rglob("*") if path.is_file()}
    for name in OURS:
        texts[name] = json.dumps(inspected[name]) + pathlib.Path(f"/proc/{inspected[name]['State']['Pid']}/environ").read_text(errors="replace")
    texts["journal"] = account("journalctl", "--user", "--no-pager", "-o", "cat")
    equal("no password in units, environments and the journal", [name for name, text in texts.items() if "TestPassword0" in text], [])


def photo(script: str) -> None:
    done = subprocess.run([sys.executable, script, URL, "admin@example.org", "TestPassword0admin"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        claim("photo: is taken", False, done.stdout + done.stderr)
        return
    result = json.loads(done.stdout)
    equal("photo: created, and its thumbnail is made", (result["asset"]["status"], result["thumbnail_status"]), ("created", 200))
    equal("photo: is in the database elsewhere", sql(f"select count(*) from asset where id = '{result['asset']['id']}'"), "1")
    sql("delete from session")


def main() -> None:
    for dummy in range(60):  # after a restart of the machine the services come one after the other
        inspected = {item["Name"]: item for item in json.loads(account("podman", "inspect", *sorted(RUNNING)) or "[]")}
        if all(inspected[name]["State"]["Health"]["Status"] == "healthy" for name in OURS):
            break
        time.sleep(0.5)
    os.chdir("/")
    containers(inspected)
    workers()
    settings()
    people()
    hidden(inspected)
    photo(sys.argv[1])
    if wrong:
        raise SystemExit(f"\n{len(wrong)} claims are wrong: {'; '.join(wrong)}")


main()
