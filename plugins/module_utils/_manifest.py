# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who owns which unit, kept outside the unit directories, and the record by which an unfinished change can be taken back.

Private to the collection.
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._session import Session
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node, read_quietly, remove_file, write_node

VERSION = 1


@dataclasses.dataclass
class Manifest:
    """What a stack owns.

    units: file names of units and drop-ins; files: names of companion files; watch: unit -> paths; secrets: names.
    applied: unit -> digest that its service was last started with (containers carry theirs as a label; here it means that they were
        restarted for a command that is not their unit's).
    judged: hash of the set podman's generator last accepted.
    version: of the format. What a newer one has is not known here, and would be lost if it were written.
    damaged: whether there was a record that could not be read.
    """

    stack: str
    units: list[str] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)
    watch: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    secrets: list[str] = dataclasses.field(default_factory=list)
    applied: dict[str, str] = dataclasses.field(default_factory=dict)
    judged: str = ""
    version: int = VERSION
    damaged: bool = False

    def text(self) -> str:
        return json.dumps({key: value for key, value in dataclasses.asdict(self).items() if key != "damaged"}, indent=1, sort_keys=True) + "\n"


def _folder(session: Session) -> str:
    return os.path.join(session.state_dir, "stacks")


def path(session: Session, stack: str) -> str:
    return os.path.join(_folder(session), f"{stack}.json")


def previous_path(session: Session, stack: str) -> str:
    return os.path.join(_folder(session), f"{stack}.previous")


def parse(text: str, stack: str) -> Manifest:
    """A damaged manifest counts as an empty one: what it listed is adopted where it is wanted, and left alone where it is not."""
    empty = Manifest(stack, damaged=True)
    try:
        data = {**json.loads(text), "stack": stack, "damaged": False}
        found = {key: value for key, value in data.items() if hasattr(empty, key) and isinstance(value, type(getattr(empty, key)))}
        names = [*found.get("units", []), *found.get("files", []), *(path for paths in found.get("watch", {}).values() for path in paths)]
    except (ValueError, TypeError, AttributeError):
        return empty
    return Manifest(**found) if all(isinstance(name, str) for name in names) else empty


def load(session: Session, stack: str) -> Manifest | None:
    with session.files():
        node = read_quietly(path(session, stack))
    return parse(node.content, stack) if node else None


def load_all(session: Session) -> dict[str, Manifest]:
    with session.files():
        try:
            names = sorted(name[:-5] for name in os.listdir(_folder(session)) if name.endswith(".json"))
        except OSError:
            return {}
    found = {name: load(session, name) for name in names}
    return {name: manifest for name, manifest in found.items() if manifest}


def save(session: Session, manifest: Manifest) -> None:
    with session.files():
        write_node(path(session, manifest.stack), Node(manifest.text(), 0o600))


def forget(session: Session, stack: str) -> None:
    with session.files():
        remove_file(path(session, stack))


@dataclasses.dataclass
class Previous:
    """The last set that was finished: enough to bring it back.

    tree and plain: files of the stack's directory and of systemd's, as they were; names: every name the unfinished run touches.
    active: services that ran.
    """

    tree: dict[str, Node]
    plain: dict[str, Node]
    names: list[str]
    active: list[str]
    manifest: str | None

    def text(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def load_previous(session: Session, stack: str) -> Previous | None:
    with session.files():
        node = read_quietly(previous_path(session, stack))
    if node is None:
        return None
    try:
        data: dict[str, t.Any] = json.loads(node.content)
        trees = {key: {name: Node(*value) for name, value in data[key].items()} for key in ("tree", "plain")}
        return Previous(trees["tree"], trees["plain"], data["names"], data["active"], data["manifest"])
    except (ValueError, KeyError, TypeError):
        return None


def save_previous(session: Session, stack: str, previous: Previous) -> None:
    with session.files():
        write_node(previous_path(session, stack), Node(previous.text(), 0o600))


def records(session: Session, stack: str) -> list[str]:
    return [path(session, stack), previous_path(session, stack)]


def drop_previous(session: Session, stack: str) -> None:
    with session.files():
        remove_file(previous_path(session, stack))
