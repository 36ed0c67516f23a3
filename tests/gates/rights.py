# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold the table of rights in docs/security.md and the lists beside the roles together; with --write, write the table anew.

The lists (vars/main/rights.yml of roles) are what the scenario `safe` compares with what somebody inside a container really has.
"""

from __future__ import annotations

import pathlib
import sys
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = pathlib.PurePath("docs/security.md")
BEGIN, END = "<!-- rights: made by tests/gates/rights.py --write -->\n", "<!-- end of rights -->\n"
EVERY = "host"
HEAD = {"writes": "Writes", "reads": "Reads", "secrets": "Secrets", "capabilities": "Capabilities"}
REST = ("devices", "sockets", "inherits", "shares")

Rights = t.Mapping[str, t.Mapping[str, str]]


def lists(root: pathlib.Path = ROOT) -> dict[str, dict[str, t.Any]]:
    """Role -> what its file has."""
    files = sorted(root.glob("roles/*/vars/main/rights.yml"))
    return {file.parents[2].name: yaml.safe_load(file.read_text(encoding="utf-8"))[f"__{file.parents[2].name}_rights"] for file in files}


def told(items: t.Mapping[str, str]) -> str:
    """Each with its reason; of neighbours with the same one, once."""
    words: list[str] = []
    pairs = list(items.items())
    for number, (item, reason) in enumerate(pairs):
        alike = number + 1 < len(pairs) and pairs[number + 1][1] == reason
        words.append(f"`{item}`" if alike else f"`{item}` ({reason})")
    return ", ".join(words)


def row(name: str, rights: Rights) -> str:
    rest = "; ".join(f"{kind}: {told(rights[kind])}" for kind in REST if rights.get(kind))
    return "| " + " | ".join([name, *(told(rights.get(kind) or {}) for kind in HEAD), rest]) + " |\n"


def table(found: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    rows = [row("each one", found[EVERY])]
    rows += [row(f"`{name}`", rights) for role, containers in found.items() if role != EVERY for name, rights in containers.items()]
    return "| Container | " + " | ".join([*HEAD.values(), "And"]) + " |\n|" + "---|" * (len(HEAD) + 2) + "\n" + "".join(rows)


def page(text: str, found: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    before, begin, rest = text.partition(BEGIN)
    dummy, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE}: the lines around the table of rights are gone: {BEGIN}{END}")
    return before + BEGIN + "\n" + table(found) + "\n" + END + after


def main(arguments: list[str], root: pathlib.Path = ROOT) -> int:
    file = root / PAGE
    text = file.read_text(encoding="utf-8")
    wanted = page(text, lists(root))
    if "--write" in arguments:
        file.write_text(wanted, encoding="utf-8")
        return 0
    if text != wanted:
        print(f"{PAGE}: its table of rights is not that of the lists; run make docs")
    return int(text != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
