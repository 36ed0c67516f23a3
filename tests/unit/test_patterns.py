# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In a regular expression $ matches before a line break at the end, too: what judges a whole text ends in \\Z, or is a fullmatch."""

from __future__ import annotations

import ast
import re
import typing as t

import pytest
import tree

FILES = sorted(name for name in tree.wanted() if (tree.ROOT / name).is_file())
CALLS = {f"re.{name}" for name in ("compile", "findall", "finditer", "fullmatch", "match", "search", "split", "sub")}
# The end of the pattern or of one of its alternatives; not escaped, and no member of a set of characters.
END = re.compile(r"(?<!\\)[$](?=\Z|[|)])")
# What a test of Ansible is asked with, and a check of ours.
JUDGES = re.compile(r"""(?:'(?:match|search)',|\bis (?:not )?(?:match|search)\(|\bmatches:) *'((?:[^']|'')*)'""")


def loose(pattern: str) -> bool:
    """Whether a value with a line break at its end passes. Of many lines (?m) each ends where it should."""
    return not pattern.startswith("(?m)") and END.search(pattern) is not None


def python(source: str) -> t.Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in CALLS:
            texts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            lines = any("MULTILINE" in ast.unparse(part) for part in [*node.args[1:], *(word.value for word in node.keywords)])
            if not lines and any(map(loose, texts)):
                yield node.lineno


def yaml(source: str) -> t.Iterator[int]:
    for number, line in enumerate(source.splitlines(), 1):
        if any(map(loose, JUDGES.findall(line))):
            yield number


def test_no_value_with_a_line_break_at_its_end_passes() -> None:
    readers = {".py": python, ".yml": yaml}
    found = [
        f"{name}:{number}"
        for name in FILES
        if name.parts[0] in ("plugins", "roles", "playbooks") and name.suffix in readers
        for number in readers[name.suffix]((tree.ROOT / name).read_text(encoding="utf-8"))
    ]
    assert not found, "write \\Z, or use fullmatch: " + ", ".join(found)


@pytest.mark.parametrize(
    ("reader", "source", "found"),
    [
        (python, r're.match(r"[a-z]+$", text)', [1]),
        (python, r're.match(r"^(a$|b)", text)', [1]),
        (python, r're.compile(rf"{name}\s*$", re.IGNORECASE)', [1]),
        (python, r're.search(r"^a$", text, re.MULTILINE)', []),
        (python, r're.search(r"^a$", text, flags=re.MULTILINE)', []),
        (python, r're.fullmatch(r"[a-z]+", text)', []),
        (python, r're.search(r"[%$]", text)', []),
        (python, r're.search(r"\$\w+|\$", text)', []),
        (yaml, "names | reject('match', '^[a-z]+$') | list", [1]),
        (yaml, "a is not search('(/|$)')", [1]),
        (yaml, "expect: {matches: '^[1-9]m$'}", [1]),
        (yaml, r"names | reject('match', '^[a-z]+\\Z')", []),
        (yaml, "names | map('regex_replace', '^(.*)$', 'x')", []),
    ],
)
def test_what_is_found(reader: t.Callable[[str], t.Iterator[int]], source: str, found: list[int]) -> None:
    assert list(reader(source)) == found
