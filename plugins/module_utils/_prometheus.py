# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running Prometheus and a few files of its configuration directory: rules and targets.

Its own promtool judges all rules of the directory on a copy, since one broken file keeps Prometheus from loading any. The live one is
told by a signal, which needs no setting, and then asked through its API.

Private to the collection.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import sys
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import Service
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import LARGEST
from ansible_collections.patriark.homelab.plugins.module_utils._traefik_static import inside, mounts_of

STAGED = "/patriark-homelab-staged"
RULES = (".yml", ".yaml")
SETTLE, PAUSE = 40.0, 0.5

# Asks in the network of the container with the host's Python: the image needs no tools for it, and no port need be published.
_ASK = """
import ctypes, json, os, sys, urllib.request
job = json.load(sys.stdin)
libc = ctypes.CDLL(None, use_errno=True)
with open("/proc/%d/ns/net" % job["pid"]) as handle:
    if libc.setns(handle.fileno(), 0x40000000):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
answers = {}
for path in job["paths"]:
    try:
        answers[path] = opener.open(job["url"] + path, timeout=10).read().decode()
    except Exception as error:
        sys.exit("%s does not answer: %s" % (job["url"] + path, getattr(error, "reason", None) or error))
json.dump(answers, sys.stdout)
"""
METRICS, GROUPS, TARGETS, RUNTIME = "/metrics", "/api/v1/rules", "/api/v1/targets?state=active", "/api/v1/status/runtimeinfo"
_UNITS = {"y": 365 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}


def metric(text: str, name: str) -> float | None:
    """The value of a metric without labels in an exposition."""
    match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(match.group(1)) if match else None


def seconds(duration: str) -> float | None:
    """Prometheus' notation, such as 15d or 1h30m, in seconds."""
    parts = re.findall(r"(\d+)(ms|[ywdhms])", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def retention(runtime: str) -> float | None:
    """Seconds that samples are kept, from the runtime information ("40d", "40d or 10GiB"). None when only a size limits them."""
    told = str((json.loads(runtime).get("data") or {}).get("storageRetention") or "")
    for part in told.split(" or "):
        found = seconds(part.strip())
        if found is not None:
            return found
    return None


def rules_by_file(answer: str) -> dict[str, int]:
    """How many rules the live Prometheus has of each file, by path in the container."""
    found: dict[str, int] = {}
    for group in (json.loads(answer).get("data") or {}).get("groups") or []:
        found[group["file"]] = found.get(group["file"], 0) + len(group["rules"])
    return found


def targets_by_file(answer: str) -> dict[str, set[str]]:
    """The addresses that the live Prometheus has of each file of targets, by path in the container."""
    found: dict[str, set[str]] = {}
    for target in (json.loads(answer).get("data") or {}).get("activeTargets") or []:
        labels = target.get("discoveredLabels") or {}
        if "__meta_filepath" in labels:
            found.setdefault(labels["__meta_filepath"], set()).add(labels.get("__address__", ""))
    return found


def addresses(content: str) -> set[str]:
    """The addresses in a file of targets. Raises ValueError when it is not what file_sd reads, in JSON."""
    groups = json.loads(content)
    if not isinstance(groups, list) or not all(isinstance(group, dict) and isinstance(group.get("targets"), list) for group in groups):
        raise ValueError("is not a list of groups, each with targets")
    return {str(address) for group in groups for address in group["targets"]}


def complaint(output: str, path: str) -> str:
    """What promtool says of one file, without the repetition and the path."""
    lines = []
    for line in output.splitlines():
        text = line.strip().replace(f"{STAGED}/{path}: ", "")
        if text and text != "FAILED:" and not text.startswith("Checking ") and text not in lines:
            lines.append(text)
    return "; ".join(lines) or "promtool does not accept it"


class Prometheus(Service):
    """Some files of a running container.

    root: the configuration directory on the host. files: path below it -> wanted text, None for no file. The kind of a file follows
    from its content: what is a JSON list holds targets, all else rules; for a file to be removed both are asked for.

    Attributes:
        retention: seconds that samples are kept, known after the first question.
    """

    def __init__(self, session: Session, container: str, root: str, files: t.Mapping[str, str | None], url: str) -> None:
        self.session, self.name, self.root, self.files, self.url = session, container, root, dict(files), url.rstrip("/")
        self.container: dict[str, t.Any] = {}
        self.retention: float | None = None
        self.loaded: dict[str, int] = {}
        self._counted: dict[str, int] = {}

    def find(self) -> bool:
        """Whether the live container runs."""
        if not self.session.exists or not self.session.module.get_bin_path("podman"):
            return False
        self.container = podman.inspect_containers(self.session, [self.name]).get(self.name) or {}
        return bool((self.container.get("State") or {}).get("Running"))

    # Judging

    def judge(self, staged: str) -> list[Finding]:
        found: list[Finding] = []
        if inside(mounts_of(self.container), self.root) is None:
            return [Finding(self.root, f"the container {self.name} does not see this directory", "name the directory that is mounted into it")]
        for path, content in self.files.items():
            if content is not None and content.lstrip().startswith("["):
                try:
                    addresses(content)
                except ValueError as error:
                    found.append(Finding(os.path.join(self.root, path), f"is no file of targets: {error}"))
        folders = sorted({os.path.dirname(path) for path in self._rules()})
        with self.session.files():
            names = sorted(
                os.path.relpath(os.path.join(staged, folder, name), staged)
                for folder in folders
                if os.path.isdir(os.path.join(staged, folder))
                for name in os.listdir(os.path.join(staged, folder))
                if name.endswith(RULES)
            )
        if folders and not found and names:
            found += self._check(staged, names)
        return found

    def _rules(self) -> list[str]:
        return [path for path, content in self.files.items() if content is not None and not content.lstrip().startswith("[")]

    def _check(self, staged: str, names: list[str]) -> list[Finding]:
        rc, out, err = self._promtool(staged, names)
        for path, count in re.findall(rf"Checking {STAGED}/(\S+)\s+SUCCESS: (\d+) rules found", out):
            self._counted[path] = int(count)
        if rc == 0:
            return []
        # A failure says little about which file is meant: each is asked for alone.
        found = []
        for name in names:
            rc, out, err = self._promtool(staged, [name])
            if rc != 0:
                whose = "" if name in self.files else "another's file, and Prometheus loads no rules at all while it is broken: "
                found.append(Finding(os.path.join(self.root, name), whose + complaint(out + err, name), "mend it" if whose else ""))
        return found or [Finding(self.root, f"promtool refuses the rules: {complaint(out + err, '')}")]

    def _promtool(self, staged: str, names: t.Sequence[str]) -> tuple[int, str, str]:
        image = str(self.container.get("Image") or self.container.get("ImageName"))
        run = ["run", "--rm", "--network", "none", "--pull", "never", "--no-healthcheck", "--sdnotify", "ignore", "--security-opt", "label=disable"]
        run += ["--log-driver", "none", "--volume", f"{staged}:{STAGED}:ro", "--entrypoint", "promtool", image]
        return self.session.podman(*run, "check", "rules", "--lint=none", *(f"{STAGED}/{name}" for name in names))

    # Telling and asking

    def reload(self) -> None:
        # Prometheus drops the targets of a file that has gone by itself, within seconds; told to reload before that, it keeps them until it ends.
        deadline = time.monotonic() + SETTLE
        while self._left_behind() and time.monotonic() < deadline:
            time.sleep(PAUSE)
        rc, dummy, err = self.session.podman("kill", "--signal", "HUP", self.name)
        if rc != 0:
            raise SessionError(f"podman kill --signal HUP {self.name} failed: {err.strip()}")

    def _left_behind(self) -> bool:
        """Whether the live one still has targets of a file of ours that does not exist any more."""
        with self.session.files():
            gone = [path for path in self.files if not os.path.exists(os.path.join(self.root, path))]
        if not gone:
            return False
        targets = targets_by_file(self.answers(TARGETS)[TARGETS])
        return any(targets.get(self._seen(path)) for path in gone)

    def _seen(self, path: str) -> str:
        return posixpath.join(inside(mounts_of(self.container), self.root) or "", path)

    def answers(self, *paths: str) -> dict[str, str]:
        """What the live one says at some paths of its address. Raises SessionError."""
        for again in (False, True):
            if again and not self.find():
                raise SessionError(f"the container {self.name} does not run any more")
            job = json.dumps({"pid": int(self.container["State"].get("Pid") or 0), "url": self.url, "paths": paths})
            command = [sys.executable, "-c", _ASK]
            rc, out, err = self.session.run(command, job) if self.session.system else self.session.podman("unshare", *command, data=job)
            if rc == 0:
                return dict(json.loads(out))
        raise SessionError(f"Prometheus could not be asked: {(err.strip().splitlines() or ['no reason'])[-1]}")

    def ask(self) -> str | None:
        return self._agrees(self.files, self._counted)

    def ask_back(self) -> str | None:
        # How many rules the previous file had is not known, only that it has to be read again.
        with self.session.files():
            present = {path: _text(os.path.join(self.root, path)) for path in self.files}
        return self._agrees(present, {})

    def _agrees(self, files: t.Mapping[str, str | None], counted: t.Mapping[str, int]) -> str | None:
        answers = self.answers(METRICS, GROUPS, TARGETS, RUNTIME)
        self.retention = retention(answers[RUNTIME])
        rules, targets = rules_by_file(answers[GROUPS]), targets_by_file(answers[TARGETS])
        self.loaded = {}
        reloaded = metric(answers[METRICS], "prometheus_config_last_reload_success_timestamp_seconds") or 0.0
        for path, content in sorted(files.items()):
            reason = self._lacks(path, content, reloaded, rules, targets, counted.get(path))
            if reason is not None:
                broken = metric(answers[METRICS], "prometheus_config_last_reload_successful") == 0
                return reason + ("; it refuses its configuration as a whole, its log tells why" if broken else "")
        return None

    def _lacks(
        self, path: str, content: str | None, reloaded: float, rules: t.Mapping[str, int], targets: t.Mapping[str, set[str]], count: int | None
    ) -> str | None:
        seen = self._seen(path)
        if content is None:
            return f"{self.name} still has what {path} said" if seen in rules or targets.get(seen) else None
        if content.lstrip().startswith("["):
            wanted = addresses(content)
            if targets.get(seen, set()) == wanted:
                return None
            return f"no scrape job of {self.name} reads {path}" if seen not in targets else f"{self.name} has other targets of {path}"
        self.loaded[path] = rules.get(seen, 0)
        with self.session.files():
            written = os.stat(os.path.join(self.root, path)).st_mtime
        if reloaded < written:
            return f"{self.name} has not read {path} since it was written"
        if not rules.get(seen):
            return f"{self.name} does not read {path}: no rule_files of its configuration matches it"
        return f"{self.name} has {rules[seen]} of the {count} rules of {path}" if count is not None and rules[seen] != count else None


def _text(path: str) -> str | None:
    try:
        return regular.read_text(path, LARGEST, follow=True, errors="surrogateescape")
    except FileNotFoundError:
        return None
