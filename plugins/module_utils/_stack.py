# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A requested stack as units with meaning: names, drop-ins, instances, and the texts that will be written. Pure.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _quadlet_lint as lint
from ansible_collections.patriark.homelab.plugins.module_utils import _staleness as staleness
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_lower import lower
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, UnitName, parse_name
from ansible_collections.patriark.homelab.plugins.module_utils._request import Request
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node, Tree

Version = tuple[int, int, int]
# A file name has 255 bytes, and those made of a unit's are longer than it.
LONGEST = 220


@dataclasses.dataclass
class Member:
    """A unit of the stack that makes a service: as requested (unit), and as it is written (text, digest)."""

    unit: Unit
    text: str
    digest: str = ""

    @property
    def service(self) -> str:
        return self.unit.service


class Stack:
    """The request, understood.

    members: file name -> unit that makes a service; drop_ins: unit -> name -> text (the unit may belong to somebody else).
    tree and plain: what will lie in the stack's directory and among systemd's own units, after write_texts().
    findings: what is wrong with the request itself.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.members: dict[str, Member] = {}
        self.drop_ins: dict[str, dict[str, str]] = {}
        self.tree: Tree = {}
        self.plain: Tree = {}
        self.notes: list[str] = []
        self.findings: list[Finding] = []
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", request.stack) or request.stack == "users" or request.stack.isdigit():
            self.findings.append(Finding(request.stack, "not a name for a stack", "use letters, digits, - and _; not users, not a number"))
        if request.state != "absent":
            self._read_units()
            self._read_files()

    # Reading the request

    def _read_units(self) -> None:
        main: dict[str, UnitName] = {}
        for text, content in self.request.units.items():
            name = parse_name(text)
            if name is None:
                remedy = "write name.container, name.network, name.timer, name.container.d/extra.conf, ..."
                self.findings.append(Finding(text, "not a unit a stack can have", remedy))
            elif max(map(len, text.split("/"))) > LONGEST:
                self.findings.append(Finding(text, f"a name has {LONGEST} characters at most", "use a shorter one"))
            elif name.target is None:
                main[text] = name
            elif content is None:
                self.findings.append(Finding(text, "a drop-in needs content", "give its text"))
            else:
                self.drop_ins.setdefault(name.target, {})[text] = content
        for text, name in main.items():
            content = self._content(text, name)
            if content is not None:
                extra = {**self.drop_ins.get(name.template_name or "", {}), **self.drop_ins.get(text, {})}
                self.members[text] = Member(Unit(name, content, extra), content)

    def _content(self, text: str, name: UnitName) -> str | None:
        """The text of a unit; an instance without one gets that of its template."""
        content = self.request.units[text]
        if content is not None:
            return content
        template = name.template_name
        if template is None:
            self.findings.append(Finding(text, "there is neither content nor sections", "give the text of the unit"))
            return None
        if self.request.units.get(template) is None:
            self.findings.append(Finding(text, f"an instance needs its template {template} in the same stack", "add it"))
        return self.request.units.get(template)

    def _read_files(self) -> None:
        for text in self.request.files:
            parts = text.split("/")
            if text.startswith("/") or any(part in ("", ".", "..") or part.startswith(".") for part in parts):
                self.findings.append(Finding(text, "a companion file is named by a path below the stack's directory", "no leading /, no .., no hidden names"))
            elif parse_name(text) is not None or any(part.endswith(".d") for part in parts[:-1]):
                self.findings.append(Finding(text, "that is a unit, not a companion file", "put it under units"))
        for unit, paths in self.request.watch.items():
            if unit not in self.request.units:
                self.findings.append(Finding(unit, "watch names a unit which is not in units", f"name one of {', '.join(sorted(self.request.units))}"))
            self.findings += [
                Finding(unit, f"watch wants absolute paths, not {path!r}", "files beside the units need no watch: use files")
                for path in paths
                if not path.startswith("/")
            ]

    @property
    def units(self) -> dict[str, Unit]:
        return {name: member.unit for name, member in self.members.items()}

    @property
    def services(self) -> dict[str, str]:
        """Service -> file name."""
        return {member.service: name for name, member in self.members.items()}

    def text_of(self, name: str) -> str | None:
        return self.request.units.get(name)

    # Judging it

    def lint(self, version: Version, user_scope: bool) -> list[Finding]:
        """Everything that can be told from the stack alone."""
        found = []
        for name, member in self.members.items():
            if self.text_of(name) is not None:
                found += lint.lint_unit(member.unit, version)
        for target, texts in self.drop_ins.items():
            if target not in self.members:
                for name, text in texts.items():
                    found += lint.lint_drop_in(name, text, version)
        pulled = {target for unit in self.units.values() for target in unit.pulls_in()}
        for name, unit in self.units.items():
            found += lint.lint_install(unit, user_scope, bool({unit.service, name} & pulled) or bool(unit.get("Pod")))
        return found

    # Writing it

    def write_texts(self, version: Version | None, foreign: t.Mapping[str, Unit], watched: t.Mapping[str, str | None]) -> None:
        """Fill tree and plain: lowered for this podman, with digests. watched: path -> what stands for its content."""
        services = {name: unit.service for name, unit in {**foreign, **self.units}.items()}

        def lowered(text: str, unit: Unit) -> str:
            if version is None:
                return text
            text, notes = lower(text, unit, version, services)
            self.notes += [note for note in notes if note not in self.notes]
            return text

        extra: dict[str, dict[str, str]] = {}
        for target, texts in self.drop_ins.items():
            name = t.cast("UnitName", parse_name(target))
            for drop_in, text in texts.items():
                extra.setdefault(target, {})[drop_in] = lowered(text, Unit(name, text))
                (self.plain if name.plain else self.tree)[drop_in] = Node(extra[target][drop_in])
        for text, member in self.members.items():
            unit = member.unit
            member.text = lowered(member.text, unit)
            drop_ins = {**extra.get(unit.name.template_name or "", {}), **extra.get(text, {})}
            member.digest = staleness.digest(member.text, drop_ins, self._contents(text, unit, watched))
            (self.plain if unit.name.plain else self.tree)[text] = Node(staleness.with_label(unit, member.text, member.digest))
        if self.request.state != "absent":
            self.tree.update({name: Node(file.content, file.mode) for name, file in self.request.files.items()})

    def _contents(self, name: str, unit: Unit, watched: t.Mapping[str, str | None]) -> dict[str, str | None]:
        """The files whose content belongs to a unit."""
        found: dict[str, str | None] = {file: companion.content for file, companion in self.request.files.items() if unit.mentions(file)}
        for path in self.request.watch.get(name, []):
            found[path] = watched.get(path)
            if found[path] is None:
                self.notes.append(f"{name} watches {path}, which does not exist")
        return found

    def in_order(self) -> list[Member]:
        """What others need comes first, so that one call to systemctl queues it first."""
        rank = {"volume": 0, "network": 0, "image": 0, "artifact": 0, "build": 1, "socket": 2, "pod": 2, "container": 3, "kube": 3}
        waiting = sorted(self.members, key=lambda name: rank.get(self.members[name].unit.name.kind, 4))
        services, done = self.services, dict[str, Member]()

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in done or name in above:
                return
            for needed in self.members[name].unit.needs():
                other = services.get(needed, needed)
                if other in self.members:
                    visit(other, (*above, name))
            done[name] = self.members[name]

        for name in waiting:
            visit(name, ())
        return list(done.values())
