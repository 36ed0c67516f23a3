# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running Traefik and its throw-away twins, for one dynamic file.

Two twins of the live container are started without a network: one with our file alone, which tells what our file defines, and one with
all files and ours, which tells whether that works together. Then the live one has to show what the second twin showed.

Private to the collection.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _traefik_static as static
from ansible_collections.patriark.homelab.plugins.module_utils import _traefik_verdict as verdict
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import LiveRefused, Service
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

# A twin ends itself after that many seconds, also when nobody is left to stop it.
LIFETIME = 120
STARTUP = 30.0
LABEL = "patriark.homelab.twin"
# In every twin's directory, so that it is seen when all files have been read. The last name, so that it takes nothing from others.
MARKER_FILE = "zzzz-patriark-homelab-marker.yml"
MARKER = "patriark-homelab-marker"

# Runs in the network namespace of a container with the host's Python: the image needs no tools for it.
_FETCH = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.stdout.write(opener.open(sys.argv[1], timeout=5).read().decode())
"""
_PROBE = """
import http.client, ssl, sys
host, connect, port, path, scheme = sys.argv[1:]
context = ssl._create_unverified_context()
if scheme == "https":
    connection = http.client.HTTPSConnection(connect, int(port), timeout=10, context=context)
    plain = __import__("socket").create_connection((connect, int(port)), 10)
    connection.sock = context.wrap_socket(plain, server_hostname=host)
else:
    connection = http.client.HTTPConnection(connect, int(port), timeout=10)
connection.request("GET", path, headers={"Host": host})
print(connection.getresponse().status)
"""


class Probe(t.NamedTuple):
    """A request through the proxy: only a status tells, so it cannot tell a new file from the one before."""

    url: str
    connect: str | None = None

    def parts(self) -> list[str]:
        scheme, dummy, rest = self.url.partition("://")
        host, dummy, path = rest.partition("/")
        name, dummy, port = host.partition(":")
        connect, dummy, other = (self.connect or "").partition(":")
        return [name, connect or name, other or port or ("443" if scheme == "https" else "80"), f"/{path}", scheme]


class Traefik(Service):
    """One dynamic file of a running container.

    Attributes:
        confirms: api or probe: who tells that the live Traefik has the file.
        routers: name -> rule of our routers, known after judge.
    """

    def __init__(self, session: Session, container: str, path: str, content: str | None, api: str, probe: Probe | None) -> None:
        self.session, self.name, self.path, self.content, self.api, self.probe = session, container, path, content, api, probe
        self.folder, self.file = os.path.split(path)
        self.confirms = "api"
        self.routers: dict[str, str] = {}
        self.container: dict[str, t.Any] = {}
        self._own: set[tuple[str, str]] = set()
        self._gone: set[tuple[str, str]] = set()
        self._wanted: verdict.Objects = {}
        self._before: verdict.Objects = {}

    # Looking

    def find(self) -> bool:
        """Whether the live container runs."""
        if not self.session.exists or not self.session.module.get_bin_path("podman"):
            return False
        found = podman.inspect_containers(self.session, [self.name])
        self.container = found.get(self.name) or {}
        return bool((self.container.get("State") or {}).get("Running"))

    def _fetch(self, container: str, url: str) -> str:
        """Ask inside a container's network. Raises SessionError."""
        rc, out, err = self.session.podman("container", "inspect", "--format", "{{.State.Pid}} {{.NetworkSettings.SandboxKey}}", container)
        pid = out.split()[0] if rc == 0 and out.split() else "0"
        if pid == "0":
            raise SessionError(f"the container {container} does not run")
        enter = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", _FETCH, url]
        rc, out, err = self.session.run(enter) if self.session.system else self.session.podman("unshare", *enter)
        if rc != 0:
            raise SessionError(f"the API of {container} does not answer at {url}: {(err.strip().splitlines() or ['no reason'])[-1]}")
        return out

    def _objects(self, container: str) -> verdict.Objects:
        return verdict.objects(self._rawdata(container))

    def _rawdata(self, container: str) -> dict[str, t.Any]:
        text = self._fetch(container, f"{self.api.rstrip('/')}/api/rawdata")
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError):
            raise SessionError(f"what answers at {self.api} in the container {container} is not Traefik's API") from None

    # Judging

    def judge(self, staged: str) -> list[Finding]:
        found = verdict.templates(self.content or "", self.path)
        seen_at = static.inside(static.mounts_of(self.container), self.folder)
        if any(mount.source == self.path for mount in static.mounts_of(self.container)):
            found.append(Finding(self.path, f"the container {self.name} has this single file mounted and would keep the old one", "mount its directory"))
        elif seen_at is None:
            found.append(Finding(self.folder, f"the container {self.name} does not see this directory", "name the directory that is mounted into it"))
        if found or seen_at is None:
            return found
        try:
            self._before = self._objects(self.name)
        except SessionError as error:
            if self.probe is None:
                remedy = "say where the API listens inside the container, or give a probe"
                raise LiveRefused([Finding(self.path, f"nobody could tell whether it is in effect: {error}", remedy)]) from None
            self.confirms = "probe"
            found.append(Finding(self.path, f"{error}; a request to {self.probe.url} stands in for it", "it sees less", severity="warning"))
        with Twins(self.session, self.container, seen_at) as twins:
            return [*found, *self._compare(twins, staged)]

    def _compare(self, twins: Twins, staged: str) -> list[Finding]:
        mine = twins.directory()
        old = twins.directory()
        with self.session.files():
            if self.content is not None:
                shutil.copyfile(os.path.join(staged, self.file), os.path.join(mine, self.file))
            if os.path.isfile(self.path):
                shutil.copyfile(self.path, os.path.join(old, self.file))
            texts = _texts(staged)
            before = _texts(old).get(self.file)
            for folder in (mine, old, staged):
                _mark(folder)
        starting = {"all": staged}
        if self.content is not None:
            starting["mine"] = mine
        if before is not None and before != self.content:
            starting["old"] = old
        for name, folder in starting.items():
            twins.start(name, folder)
        notes = []
        if not twins.recipe.complete:
            notes.append(Finding(self.path, "the static settings are in a form that is not understood here; less could be tried", severity="warning"))
        seen: dict[str, verdict.Objects] = {}
        logs: dict[str, list[dict[str, t.Any]]] = {}
        for name in sorted(starting, reverse=True):  # our own file first: what is wrong with it is not blamed on anybody else
            seen[name], logs[name] = self._watch(twins, name)
            if name != "old" and MARKER not in {other for dummy, other in seen[name]}:
                wrong = verdict.broken(logs[name], twins.seen_at)
                if wrong is None:
                    tail = " ".join(str(entry.get("error") or entry.get("message")) for entry in logs[name][-2:]) or "no log"
                    return [Finding(self.folder, f"a twin of {self.name} did not come up to try the files: {tail}")]
                return verdict.broken_findings(wrong, self.folder, self.file)
        for objects in seen.values():
            for key in [key for key in objects if key[1] == MARKER]:
                del objects[key]
        self._own = set(seen.get("mine", ()))
        self._gone = set(seen.get("old", ())) - self._own
        # a plugin that the twin did not have is judged by the live one: there everything of ours has to be enabled
        self._wanted = {key: {**{k: v for k, v in value.items() if k != "error"}, "status": "enabled"} for key, value in seen["all"].items()}
        self.routers = {name: str(seen["mine"][kind, name].get("rule", "")) for kind, name in sorted(self._own) if kind == "routers"}
        failure = verdict.plugins_failure(logs["all"])
        names = {name for dummy, name in self._own}
        return [
            *notes,
            *verdict.clashes(logs["all"], self.folder, self.file, names, texts),
            *verdict.refusals(self._own, seen["all"], self.path, failure),
            *verdict.victims(self._own, self._before, seen["all"], self.folder, failure),
        ]

    def _watch(self, twins: Twins, name: str) -> tuple[verdict.Objects, list[dict[str, t.Any]]]:
        """What a twin shows once it has read all files, or until it says that it cannot."""
        deadline = time.monotonic() + STARTUP
        while True:
            try:
                seen = self._objects(twins.names[name])
            except SessionError:
                seen = {}
            entries = twins.log(name)
            told = any(other == MARKER for dummy, other in seen) or verdict.broken(entries, twins.seen_at)
            if told or time.monotonic() > deadline or not twins.runs(name):
                return seen, entries
            time.sleep(0.2)

    # Asking

    def ask(self) -> str | None:
        if self.confirms == "probe":
            return self._ask_probe(absent=self.content is None)
        return self._agrees(self._wanted)

    def ask_back(self) -> str | None:
        return None if self.confirms == "probe" else self._agrees(self._before)

    def _agrees(self, wanted: verdict.Objects) -> str | None:
        missing = verdict.difference(wanted, self._objects(self.name), self._own | self._gone)
        return None if missing is None else f"{self.name} does not have it: {missing}"

    def _ask_probe(self, absent: bool) -> str | None:
        if self.probe is None:
            raise SessionError("there is neither an API nor a probe")
        rc, out, err = self.session.run([sys.executable, "-c", _PROBE, *self.probe.parts()])
        if rc != 0:
            return f"the request to {self.probe.url} failed: {(err.strip().splitlines() or ['no reason'])[-1]}"
        status = int(out.split()[0])
        if absent:
            return None if status == 404 else f"{self.probe.url} answers {status} still"
        return None if 200 <= status < 400 else f"{self.probe.url} answers {status}"


class Twins:
    """Throw-away containers like the live one. Use it as a context manager."""

    def __init__(self, session: Session, container: t.Mapping[str, t.Any], seen_at: str) -> None:
        self.session, self.container, self.seen_at = session, container, seen_at
        self.names: dict[str, str] = {}
        self.path = ""
        self._options: list[str] = []
        self.recipe = static.recipe(container, self._read, os.path.isdir, seen_at)

    def _read(self, path: str) -> str | None:
        with self.session.files():
            try:
                with open(path, encoding="utf-8", errors="surrogateescape") as handle:
                    return handle.read()
            except OSError:
                return None

    def __enter__(self) -> Twins:
        with self.session.files():
            self.path = tempfile.mkdtemp(prefix="homelab-twin-")
            if self.recipe.static is not None:
                place = os.path.join(self.path, "static")
                with open(place, "w", encoding="utf-8", errors="surrogateescape") as handle:
                    handle.write(self.recipe.static[1])
                os.chmod(place, 0o644)
                self._options = ["--volume", f"{place}:{self.recipe.static[0]}:ro"]
        rc, out, dummy = self.session.podman("ps", "--all", "--quiet", "--filter", f"label={LABEL}", "--filter", "status=exited")
        if rc == 0 and out.split():  # of runs that were killed
            self.session.podman("rm", "--force", "--time", "0", "--volumes", *out.split())
        return self

    def __exit__(self, *dummy: object) -> None:
        if self.names:
            self.session.podman("rm", "--force", "--ignore", "--time", "0", "--volumes", *self.names.values())
        with self.session.files():
            shutil.rmtree(self.path, ignore_errors=True)

    def directory(self) -> str:
        with self.session.files():
            path = tempfile.mkdtemp(dir=self.path)
            os.chmod(path, 0o755)
        return path

    def start(self, name: str, folder: str) -> None:
        self.names[name] = f"traefik-twin-{name}-{secrets.token_hex(4)}"
        made = ["run", "--detach", "--name", self.names[name], "--label", f"{LABEL}={name}", "--network", "none", "--pull", "never"]
        made += ["--timeout", str(LIFETIME), "--log-driver", "k8s-file", "--no-healthcheck", "--security-opt", "label=disable", "--sdnotify", "ignore"]
        made += [*self.recipe.options, *self._options, "--volume", f"{folder}:{self.seen_at}:ro", self.recipe.image, *self.recipe.command]
        rc, out, err = self.session.podman(*made)
        if rc != 0:
            raise SessionError(f"no twin of the container could be started to try the files: {err.strip() or out.strip()}")

    def log(self, name: str) -> list[dict[str, t.Any]]:
        dummy, out, err = self.session.podman("logs", self.names[name])
        return verdict.log_lines(out + err)

    def runs(self, name: str) -> bool:
        rc, out, dummy = self.session.podman("container", "inspect", "--format", "{{.State.Running}}", self.names[name])
        return rc == 0 and out.strip() == "true"


def _mark(folder: str) -> None:
    place = os.path.join(folder, MARKER_FILE)
    with open(place, "w", encoding="utf-8") as handle:
        handle.write(f"http:\n  middlewares:\n    {MARKER}:\n      headers:\n        customRequestHeaders:\n          X-Marker: seen\n")
    os.chmod(place, 0o644)


def _texts(folder: str) -> dict[str, str]:
    found = {}
    for place, dummy, names in os.walk(folder):
        for name in names:
            if name.endswith((".yml", ".yaml", ".toml")) and name != MARKER_FILE:
                path = os.path.join(place, name)
                with open(path, encoding="utf-8", errors="surrogateescape") as handle:
                    found[os.path.relpath(path, folder)] = handle.read()
    return found
