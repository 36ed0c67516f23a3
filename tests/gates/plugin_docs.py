# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-test does not ask of modules: complete documentation with examples that fit it, and an action group equal to its members."""

from __future__ import annotations

import ast
import pathlib
import sys
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = "patriark.homelab"
GROUP_FRAGMENT = f"{COLLECTION}._attributes.action_group"
BLOCKS = ("DOCUMENTATION", "EXAMPLES", "RETURN")


def documentation(source: str) -> dict[str, t.Any]:
    """The documentation blocks of a plugin's source, as data."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id in BLOCKS:
                    found[target.id] = yaml.safe_load(node.value.value)
    return found


def tasks_of(name: str, examples: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """The arguments of each use of the module in examples of tasks, blocks and plays."""
    if isinstance(examples, dict):
        for key, value in examples.items():
            if key == f"{COLLECTION}.{name}":
                yield value or {}
            else:
                yield from tasks_of(name, value)
    elif isinstance(examples, list):
        for item in examples:
            yield from tasks_of(name, item)


def findings(name: str, source: str, fragments: dict[str, dict[str, t.Any]]) -> t.Iterator[str]:
    docs = documentation(source)
    for block in BLOCKS:
        if not docs.get(block):
            yield f"{name}: {block} is missing or empty"
    if any(not docs.get(block) for block in BLOCKS):
        return
    main = docs["DOCUMENTATION"]
    if main.get("module") != name:
        yield f"{name}: DOCUMENTATION is that of {main.get('module')}"
    if not main.get("version_added"):
        yield f"{name}: no version_added, so no changelog lists the module"
    options = set(main.get("options") or {})
    for fragment in main.get("extends_documentation_fragment") or []:
        options |= set(fragments.get(fragment, {}).get("options") or {})
    uses = list(tasks_of(name, docs["EXAMPLES"]))
    if not uses:
        yield f"{name}: no example uses {COLLECTION}.{name}"
    for option in sorted({option for use in uses for option in use} - options):
        yield f"{name}: an example has the unknown option {option}"


def load_fragments(folder: pathlib.Path) -> dict[str, dict[str, t.Any]]:
    """The documentation fragments by the names modules give them: collection.file, and collection.file.attribute for further ones."""
    found = {}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.targets[0], ast.Name):
                attribute = node.targets[0].id.lower()
                name = f"{COLLECTION}.{path.stem}" + ("" if attribute == "documentation" else f".{attribute}")
                found[name] = yaml.safe_load(node.value.value)
    return found


def group_findings(sources: dict[str, str], group: list[str]) -> t.Iterator[str]:
    """The group is for defaults which several modules know; a member that does not document it would refuse them."""
    extended = {name: (documentation(source).get("DOCUMENTATION") or {}).get("extends_documentation_fragment") or [] for name, source in sources.items()}
    documented = {name for name, fragments in extended.items() if GROUP_FRAGMENT in fragments}
    for name in sorted(documented - set(group)):
        yield f"{name}: documents the action group and is not in meta/runtime.yml"
    for name in sorted(set(group) - documented):
        yield f"{name}: is in the action group of meta/runtime.yml and {'does not document it' if name in sources else 'is no module'}"


def main() -> int:
    fragments = load_fragments(ROOT / "plugins/doc_fragments")
    sources = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "plugins/modules").glob("*.py")) if path.stem != "__init__"}
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))
    problems = [problem for name, source in sources.items() for problem in findings(name, source, fragments)]
    problems += group_findings(sources, runtime["action_groups"]["homelab"])
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
