# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman's own generator, and systemd-analyze, as judges of a set of units that is not in place yet.

Private to the collection.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import QUADLET_TYPES
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node, read_quietly

_SUFFIXES = tuple(f".{name}" for name in QUADLET_TYPES)
_PREFIX = re.compile(r"^quadlet-generator\[\d+\]: ")
_BAD = re.compile(r"converting|error loading|unsupported|Error occurred", re.IGNORECASE)
_NOISE = re.compile(r"Loading source (unit|drop-in) file|No files parsed from")

Roots = dict[str, dict[str, Node]]


class Verdict(t.NamedTuple):
    """services: generated text by service name; errors and warnings: the generator's lines, with real paths."""

    services: dict[str, str]
    errors: list[str]
    warnings: list[str]


def scan(session: Session) -> Roots:
    """Every quadlet and drop-in of the scope: search root -> path below it -> file. Roots in search order, the first wins."""
    roots: Roots = {}
    with session.files():
        for root in session.search_dirs:
            found: dict[str, Node] = {}
            seen: set[tuple[int, int]] = set()
            for folder, folders, files in os.walk(root, followlinks=True):
                try:
                    state = os.stat(folder)
                except OSError:
                    continue
                if (state.st_dev, state.st_ino) in seen:  # a link to a folder above
                    folders[:] = []
                    continue
                seen.add((state.st_dev, state.st_ino))
                # the generator for the system does not read what is meant for accounts
                if session.system and os.path.relpath(folder, root).split(os.sep)[0] == "users":
                    folders[:] = []
                    continue
                if not session.system and root == "/etc/containers/systemd/users":
                    folders[:] = [name for name in folders if not name.isdigit()]
                folders[:] = [name for name in folders if not name.startswith(".")]
                drop_in = folder.endswith(".d")
                for name in files:
                    if name.endswith(".conf") if drop_in else name.endswith(_SUFFIXES):
                        node = read_quietly(os.path.join(folder, name))
                        if node is not None:
                            found[os.path.relpath(os.path.join(folder, name), root)] = node
            if found:
                roots[root] = found
    return roots


def loaded(paths: t.Iterable[str]) -> tuple[dict[str, str], float]:
    """What the generator made when systemd last read its units, by service, and when (infinity when nothing is loaded)."""
    texts: dict[str, str] = {}
    since = float("inf")
    for path in paths:
        node = read_quietly(path) if "/systemd/generator" in path else None
        if node is not None:
            texts[os.path.basename(path)] = node.content
            since = min(since, os.lstat(path).st_mtime)
    return texts, since


def parse(out: str, err: str, places: t.Mapping[str, str]) -> Verdict:
    """Read the dry run. places: staging directory -> the real one it stands for."""
    for staged, real in places.items():
        out, err = out.replace(staged, real), err.replace(staged, real)
    services: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in out.splitlines():
        match = re.fullmatch(r"---(\S+)---", line)
        if match:
            current = services.setdefault(match.group(1), [])
        elif current is not None:
            current.append(line)
    errors: list[str] = []
    warnings: list[str] = []
    for line in (_PREFIX.sub("", line.strip()) for line in err.splitlines()):
        if line and not _NOISE.search(line):
            (errors if _BAD.search(line) else warnings).append(line)
    return Verdict({name: "\n".join(lines).strip() + "\n" for name, lines in services.items()}, errors, warnings)


class Staging:
    """A scratch directory of the account in which sets are judged. Use it as a context manager."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.path = ""

    def __enter__(self) -> Staging:
        with self.session.files():
            self.path = tempfile.mkdtemp(prefix="quadlet-")
        return self

    def __exit__(self, *dummy: object) -> None:
        with self.session.files():
            shutil.rmtree(self.path, ignore_errors=True)

    def judge(self, program: str, roots: Roots) -> Verdict:
        """What the generator makes of a complete set."""
        with self.session.files():
            base = tempfile.mkdtemp(dir=self.path)
            places = {}
            for number, (root, files) in enumerate(roots.items()):
                staged = os.path.join(base, str(number))
                places[staged] = root
                os.mkdir(staged)
                for name, node in files.items():
                    # a link to a file beside it is an instance; any other is judged by what it shows
                    inside = node.target is not None and "/" not in node.target
                    shown = node if inside else _followed(os.path.join(root, name), node)
                    if shown is not None:
                        _place(os.path.join(staged, name), shown)
        if not places:
            return Verdict({}, [], [])
        scope = [] if self.session.system else ["-user"]
        rc, out, err = self.session.run(["env", f"QUADLET_UNIT_DIRS={':'.join(places)}", program, "-dryrun", *scope])
        verdict = parse(out, err, places)
        if rc not in (0, 1) or (rc == 1 and not verdict.errors):
            raise SessionError(f"{program} failed with status {rc}: {err.strip()[-2000:]}")
        return verdict

    def analyze(self, services: t.Mapping[str, str], judged: t.Iterable[str]) -> list[Finding]:
        """What systemd itself says about some of the services."""
        wanted = [name for name in judged if name in services]
        program = self.session.module.get_bin_path("systemd-analyze")
        if not wanted or not program:
            return []
        with self.session.files():
            folder = tempfile.mkdtemp(dir=self.path)
            for name, text in services.items():
                _place(os.path.join(folder, name), Node(text))
        scope = [] if self.session.system else ["--user"]
        command = ["env", f"SYSTEMD_UNIT_PATH={folder}:", program, "verify", *scope, "--man=no", "--recursive-errors=no"]
        dummy, out, err = self.session.run([*command, *(os.path.join(folder, name) for name in wanted)])
        return parse_analysis(out + err, folder, services)


def parse_analysis(text: str, folder: str, services: t.Mapping[str, str]) -> list[Finding]:
    """Findings in the output of systemd-analyze verify, with the line of the generated unit they speak of."""
    found = []
    for line in dict.fromkeys(text.splitlines()):
        match = re.match(rf"{re.escape(folder)}/([^:/]+):(\d+): (.*)", line)
        if match and match.group(1) in services:
            lines = services[match.group(1)].splitlines()
            source = lines[int(match.group(2)) - 1] if int(match.group(2)) <= len(lines) else ""
            key, equals, value = source.partition("=")
            where = (key, value) if equals else (None, source or None)
            found.append(Finding(match.group(1), match.group(3), "see systemd.directives(7)", None, *where))
            continue
        match = re.match(r"([^\s:/]+\.(?:service|socket|timer|path|target)): (.*)", line)
        if match and match.group(1) in services:
            found.append(Finding(match.group(1), match.group(2)))
    return found


def _followed(path: str, node: Node) -> Node | None:
    return read_quietly(os.path.realpath(path)) if node.target is not None else node


def _place(path: str, node: Node) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if node.target is not None:
        os.symlink(node.target, path)
        return
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        handle.write(node.content)
