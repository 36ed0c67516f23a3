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
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular
from ansible_collections.patriark.homelab.plugins.module_utils import _traefik_static as static
from ansible_collections.patriark.homelab.plugins.module_utils import _traefik_verdict as verdict
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import LiveRefused, Service
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import LARGEST

# A twin ends itself after that many seconds, also when nobody is left to stop it.
LIFETIME = 240
STARTUP = 90.0
# In every twin's directory, so that it is seen when all files have been read. The last name, so that it takes nothing from others.
MARKER_FILE = "zzzz-patriark-homelab-marker.yml"
MARKER = "patriark-homelab-marker"

# Asks several containers, each in its own network, with the host's Python: the images need no tools for it, and one process does for all.
# With a marker it waits until that is shown, the program has gone, or its log says that a file cannot be read.
_ASK = """
import ctypes, json, os, sys, time, urllib.request
job = json.load(sys.stdin)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
libc = ctypes.CDLL(None, use_errno=True)
def ask(pid):
    with open("/proc/%d/ns/net" % pid) as handle:
        if libc.setns(handle.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return {path: json.load(opener.open(job["url"] + path, timeout=5)) for path in job["paths"]}
def over(target, rawdata):
    if job["marker"] is None or job["marker"] in rawdata.get("middlewares", {}) or not os.path.exists("/proc/%d" % target["pid"]):
        return True
    with open(target["log"], errors="replace") as handle:
        return "Error while building configuration" in handle.read()
answers = {}
deadline = time.monotonic() + job["seconds"]
for name, target in job["targets"].items():
    while True:
        try:
            answer = ask(target["pid"])
            if not isinstance(answer["rawdata"], dict):
                raise ValueError("what answers is not Traefik's API")
        except Exception as error:
            answer = {"rawdata": {}, "error": str(getattr(error, "reason", None) or error)}
        if over(target, answer["rawdata"]) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    answers[name] = answer
json.dump(answers, sys.stdout)
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

    def _live(self) -> verdict.Objects:
        """What the live one shows now. Raises SessionError."""
        for again in (False, True):
            if again and not self.find():
                raise SessionError(f"the container {self.name} does not run any more")
            pid = int(self.container["State"].get("Pid") or 0)
            answer = ask_api(self.session, self.api, {self.name: {"pid": pid}})[self.name]
            if "error" not in answer:
                return verdict.objects(answer["rawdata"])
        raise SessionError(f"the API of {self.name} does not answer at {self.api}: {answer['error']}")

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
            self._before = self._live()
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
                with open(os.path.join(old, self.file), "xb") as target:
                    target.writelines(regular.chunks(self.path, LARGEST, follow=True))
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
        answers = ask_api(self.session, self.api, twins.targets(), f"{MARKER}@file")
        seen = {name: verdict.objects(answer["rawdata"]) for name, answer in answers.items()}
        logs = {name: twins.log(name) for name in seen}
        for name in ("mine", "all"):  # our own file first: what is wrong with it is not blamed on anybody else
            if name in seen and ("middlewares", MARKER) not in seen[name]:
                wrong = verdict.broken(logs[name], twins.seen_at)
                if wrong is None:
                    tail = "; ".join(str(entry.get("error") or entry.get("message")) for entry in logs[name][-2:]) or answers[name].get("error", "no reason")
                    return [Finding(self.folder, f"a twin of {self.name} did not come up to try the files: {tail}")]
                return verdict.broken_findings(wrong, self.folder, self.file)
        for objects in seen.values():
            objects.pop(("middlewares", MARKER), None)
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

    # Asking

    def ask(self) -> str | None:
        if self.confirms == "probe":
            return self._ask_probe(absent=self.content is None)
        return self._agrees(self._wanted)

    def ask_back(self) -> str | None:
        return None if self.confirms == "probe" else self._agrees(self._before)

    def _agrees(self, wanted: verdict.Objects) -> str | None:
        missing = verdict.difference(wanted, self._live(), self._own | self._gone)
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
        self.recipe = static.recipe(container, self._read, self._is_directory, seen_at)

    def _read(self, path: str) -> str | None:
        with self.session.files():
            try:
                return _text(path)
            except OSError:
                return None

    def _is_directory(self, path: str) -> bool:
        with self.session.files():
            return os.path.isdir(path)

    def __enter__(self) -> Twins:
        with self.session.files():
            self.path = tempfile.mkdtemp(prefix="homelab-twin-")
            if self.recipe.static is not None:
                place = os.path.join(self.path, "static")
                with open(place, "w", encoding="utf-8", errors="surrogateescape") as handle:
                    handle.write(self.recipe.static[1])
                os.chmod(place, 0o644)
                self._options = ["--volume", f"{place}:{self.recipe.static[0]}:ro"]
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
        made = ["run", "--detach", "--rm", "--timeout", str(LIFETIME), "--name", self.names[name], "--network", "none", "--pull", "never"]
        made += ["--pidfile", self._place(f"{name}.pid"), "--log-driver", "k8s-file", "--log-opt", f"path={self._place(name + '.log')}"]
        made += ["--no-healthcheck", "--sdnotify", "ignore", "--security-opt", "label=disable"]
        made += [*self.recipe.options, *self._options, "--volume", f"{folder}:{self.seen_at}:ro", self.recipe.image, *self.recipe.command]
        rc, out, err = self.session.podman(*made)
        if rc != 0:
            raise SessionError(f"no twin of the container could be started to try the files: {err.strip() or out.strip()}")

    def _place(self, name: str) -> str:
        return os.path.join(self.path, name)

    def targets(self) -> dict[str, dict[str, t.Any]]:
        with self.session.files():
            return {name: {"pid": int(_text(self._place(f"{name}.pid")) or 0), "log": self._place(f"{name}.log")} for name in self.names}

    def log(self, name: str) -> list[dict[str, t.Any]]:
        with self.session.files():
            return verdict.log_lines(_text(self._place(f"{name}.log")))


def ask_api(
    session: Session, api: str, targets: t.Mapping[str, t.Mapping[str, t.Any]], marker: str | None = None, paths: t.Sequence[str] = ("rawdata",)
) -> dict[str, dict[str, t.Any]]:
    """What the API of each target shows: rawdata and other paths, and error when it did not answer. Raises SessionError when nothing could be asked."""
    job = {"url": f"{api.rstrip('/')}/api/", "paths": paths, "targets": targets, "marker": marker, "seconds": STARTUP}
    command = [sys.executable, "-c", _ASK]
    rc, out, err = session.run(command, json.dumps(job)) if session.system else session.podman("unshare", *command, data=json.dumps(job))
    if rc != 0:
        raise SessionError(f"no API could be asked: {err.strip()[-500:]}")
    return dict(json.loads(out))


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
                found[os.path.relpath(path, folder)] = _text(path)
    return found


def _text(path: str) -> str:
    return regular.read_text(path, LARGEST, follow=True, errors="surrogateescape")
