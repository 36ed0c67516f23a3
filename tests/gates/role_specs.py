# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold each role's argument specification, defaults and README together; with --write, write the README files anew.

The specification is the truth, and defaults/main.yml equals it. The variables which several roles read (homelab_*) are in the
specification of each, but not in its defaults: ansible-lint wants the role's own prefix there. A role reads such a variable as
homelab_x | default(VALUE) with the specification's VALUE, best once, in vars/main.yml, into a __ROLE_x.

A sentence of a description that begins with "Restarts" tells what a change of the option restarts. Roles that deploy quadlets
tell it for each option of their own, be it "Restarts nothing."
"""

from __future__ import annotations

import ast
import json
import pathlib
import re
import sys
import typing as t

import yaml
from antsibull_docs_parser import dom
from antsibull_docs_parser.parser import Context, parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = "patriark.homelab"
SHARED = "homelab_"
RESTARTS = re.compile(r"(?:^|(?<=[.] ))Restarts ([^.]+)\.( |$)")
TYPES = {"str", "list", "dict", "bool", "int", "float", "path", "raw"}
LONG = 60  # a default longer than this is shown below its table

Option = dict[str, t.Any]


class Role:
    """A role's folder, read."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.name = path.name
        self.spec_file = path / "meta/argument_specs.yml"
        self.entries: dict[str, dict[str, t.Any]] = (_load(self.spec_file) or {}).get("argument_specs") or {}
        self.defaults = self._variables("defaults")
        self.internals = self._variables("vars")

    def _variables(self, kind: str) -> dict[str, t.Any]:
        """What Ansible loads for a role: main.yml, or all the files of a folder main."""
        found: dict[str, t.Any] = {}
        for file in (self.path / kind / "main.yml", *sorted((self.path / kind / "main").glob("*.yml"))):
            found.update(_load(file) or {})
        return found

    def options(self) -> t.Iterator[tuple[str, str, Option]]:
        """(entry point, name, option) of all entry points."""
        for entry, spec in self.entries.items():
            for name, option in (spec.get("options") or {}).items():
                yield entry, name, option or {}

    def merged(self) -> dict[str, Option]:
        return {name: option for _entry, name, option in self.options()}

    def reads_shared(self) -> set[str]:
        """Names of the shared variables which this role evaluates."""
        return {name for text in self.texts().values() for name in re.findall(rf"(?<![\w.]){SHARED}\w+", expressions(text))}

    def texts(self) -> dict[pathlib.Path, str]:
        """What the role's work is made of: all its files but the specification and the README, without comments in YAML."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            if path.is_file() and path != self.spec_file and path.name != "README.md" and "__pycache__" not in path.parts:
                text = path.read_text(encoding="utf-8", errors="replace")
                found[path] = re.sub(r"(?m)^\s*#.*$", "", text) if path.suffix in (".yml", ".yaml") else text
        return found


def _load(path: pathlib.Path) -> t.Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None


def _canonical(value: t.Any) -> str:
    """Equal for equal values of equal types: True is not 1."""
    return json.dumps(value, sort_keys=True, default=str)


def expressions(text: str) -> str:
    """What Jinja evaluates in a file: what is in braces, and conditions. Prose may name a variable without reading it."""
    return "\n".join(re.findall(r"(?s:\{\{.*?\}\}|\{%.*?%\})|^\s*(?:- )?when: [^\n]*", text, re.MULTILINE))


def description(option: Option) -> list[str]:
    text = option.get("description") or []
    return [text] if isinstance(text, str) else list(text)


def restarts(option: Option) -> str | None:
    told = [match.group(1) for item in description(option) for match in RESTARTS.finditer(item)]
    return "; ".join(told) if told else None


def meaning(option: Option) -> list[str]:
    """The description without what it says of restarts."""
    return [rest for item in description(option) if (rest := RESTARTS.sub("", item).strip())]


# What is wrong


def findings(role: Role, roles: t.Iterable[Role] = ()) -> list[str]:
    if "main" not in role.entries:
        return ["meta/argument_specs.yml has no entry point main"]
    return [*_entry_findings(role), *_option_findings(role), *_default_findings(role), *_use_findings(role), *_shared_findings(role, roles)]


def _entry_findings(role: Role) -> t.Iterator[str]:
    for entry, spec in role.entries.items():
        if not (role.path / "tasks" / f"{entry}.yml").is_file():
            yield f"entry point {entry}: there is no tasks/{entry}.yml"
        if not spec.get("short_description") or not spec.get("description"):
            yield f"entry point {entry}: needs a short_description and a description"


def _option_findings(role: Role) -> t.Iterator[str]:
    seen: dict[str, str] = {}
    deploys = any(f"{COLLECTION}.quadlet:" in text for text in role.texts().values())
    for entry, name, option in role.options():
        where = f"{entry}: {name}"
        if not name.startswith((f"{role.name}_", SHARED)):
            yield f"{where}: the name begins neither with {role.name}_ nor with {SHARED}"
        if seen.setdefault(name, _canonical(option)) != _canonical(option):
            yield f"{where}: differs from the same option of another entry point"
        if option.get("required") and "default" in option:
            yield f"{where}: is required and has a default"
        if deploys and entry == "main" and not name.startswith(SHARED) and not restarts(option):
            yield f'{where}: no sentence of the description begins with "Restarts"'
        yield from _shape_findings(where, option)


def _shape_findings(where: str, option: Option) -> t.Iterator[str]:
    if option.get("type") not in TYPES:
        yield f"{where}: has no type" if "type" not in option else f"{where}: unknown type {option['type']}"
    if option.get("type") == "list" and option.get("elements") not in TYPES:
        yield f"{where}: a list needs elements"
    items = description(option)
    if not all(isinstance(item, str) and item.strip() for item in items) or not meaning(option):
        yield f"{where}: has no description"
    for item in items:
        if errors := [part.message for part in _parse(item) if isinstance(part, dom.ErrorPart)]:
            yield f"{where}: {errors[0]}"
    if (default := option.get("default")) is not None and (choices := option.get("choices")):
        wrong = [value for value in (default if isinstance(default, list) else [default]) if value not in choices]
        if wrong:
            yield f"{where}: the default {wrong[0]!r} is none of the choices"
    for name, inner in (option.get("options") or {}).items():
        yield from _shape_findings(f"{where}.{name}", inner or {})


def _default_findings(role: Role) -> t.Iterator[str]:
    options = role.merged()
    for name, option in options.items():
        if name.startswith(SHARED):
            continue
        if "default" in option and name not in role.defaults:
            yield f"{name}: has a default in the specification and none in defaults/main.yml"
        elif "default" not in option and name in role.defaults:
            yield f"{name}: has a default in defaults/main.yml and none in the specification"
        elif "default" in option and _canonical(option["default"]) != _canonical(role.defaults[name]):
            yield f"{name}: is {role.defaults[name]!r} in defaults/main.yml, and {option['default']!r} in the specification"
    for name in role.defaults:
        if name.startswith(SHARED):
            yield f"{name}: in defaults/main.yml, is shared between roles; write {name} | default(VALUE) where it is read"
        elif not name.startswith((f"{role.name}_", f"__{role.name}_")):
            yield f"{name}: in defaults/main.yml, begins neither with {role.name}_ nor with __{role.name}_"
        elif name.startswith(f"{role.name}_") and name not in options:
            yield f"{name}: in defaults/main.yml, is in no entry point of the specification"
    for name in role.internals:
        if not name.startswith(f"__{role.name}_"):
            yield f"{name}: in vars, does not begin with __{role.name}_"


def _use_findings(role: Role) -> t.Iterator[str]:
    """An option that nothing reads is accepted and ignored."""
    for name in role.merged():
        # A line of defaults/main.yml gives the variable its value and reads nothing.
        word = re.compile(rf"(?<![\w.]){name}\b(?!:)")
        if not any(word.search(text) for text in role.texts().values()):
            yield f"{name}: nothing in the role reads it"


def _shared_findings(role: Role, roles: t.Iterable[Role]) -> t.Iterator[str]:
    own = role.merged()
    for name in sorted(role.reads_shared()):
        if name not in own:
            yield f"{name}: is read and not in the specification"
        elif "default" in own[name]:
            for path, text in role.texts().items():
                if not all(_reads_default(own[name]["default"], value) for value in _default_filters(name, text)):
                    yield f"{name}: {path.relative_to(role.path)} reads it without | default({own[name]['default']!r})"
    # The same name is the same thing everywhere, though one role may require what another can do without.
    for other in roles:
        for name in sorted(own.keys() & other.merged().keys()):
            here, there = own[name], other.merged()[name]
            if any(_canonical(here.get(key)) != _canonical(there.get(key)) for key in ("type", "elements", "choices")) or (
                "default" in here and "default" in there and _canonical(here["default"]) != _canonical(there["default"])
            ):
                yield f"{name}: differs from the same variable of the role {other.name}"


def _default_filters(name: str, text: str) -> list[str]:
    """For each time a text reads the variable, the argument of the default filter behind it, or nothing."""
    return re.findall(rf"(?<![\w.]){name}\b(?:\s*\|\s*default\(([^()]*)\))?", expressions(text))


def _reads_default(default: t.Any, text: str) -> bool:
    try:
        return _canonical(ast.literal_eval(text)) == _canonical(default)
    except (ValueError, SyntaxError):
        return False


# The README


def _parse(text: str) -> list[dom.AnyPart]:
    return [part for paragraph in parse(text, Context()) for part in paragraph]


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def markdown(text: str) -> str:
    """Ansible's markup as plain Markdown."""
    out = []
    for part in _parse(text):
        if isinstance(part, dom.TextPart):
            out.append(re.sub(r"([\\`*<>\[\]])", r"\\\1", part.text))
        elif isinstance(part, (dom.CodePart,)):
            out.append(_code(part.text))
        elif isinstance(part, dom.BoldPart):
            out.append(f"**{part.text}**")
        elif isinstance(part, dom.ItalicPart):
            out.append(f"*{part.text}*")
        elif isinstance(part, dom.LinkPart):
            out.append(f"[{part.text}]({part.url})")
        elif isinstance(part, dom.URLPart):
            out.append(f"<{part.url}>")
        elif isinstance(part, dom.ModulePart):
            out.append(_code(part.fqcn))
        elif isinstance(part, dom.PluginPart):
            out.append(_code(part.plugin.fqcn))
        elif isinstance(part, (dom.OptionNamePart, dom.ReturnValuePart)):
            out.append(_code(part.name if part.value is None else f"{part.name}={part.value}"))
        elif isinstance(part, dom.OptionValuePart):
            out.append(_code(part.value))
        elif isinstance(part, dom.EnvVariablePart):
            out.append(_code(part.name))
        elif isinstance(part, dom.RSTRefPart):
            out.append(part.text)
    return "".join(out)


def _type(option: Option) -> str:
    return f"list of {option['elements']}" if option.get("type") == "list" and "elements" in option else str(option.get("type", ""))


def _inline(value: t.Any) -> str:
    return _code(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str))


def _default(option: Option) -> str:
    if option.get("required"):
        return "**required**"
    if "default" not in option:
        return "unset"
    shown = _inline(option["default"])
    return "see below" if len(shown) > LONG else shown


def _meaning(option: Option) -> str:
    items = [markdown(item) for item in meaning(option)]
    if choices := option.get("choices"):
        items.append(f"One of {', '.join(_inline(choice) for choice in choices)}.")
    return " ".join(items)


def _table(options: dict[str, Option], tells_restarts: bool) -> list[str]:
    header = ["Variable", "Type", "Default", "Meaning", *(["A change restarts"] if tells_restarts else [])]
    rows = [header, ["---"] * len(header)]
    for name, option in options.items():
        last = [markdown(restarts(option) or "")] if tells_restarts else []
        rows.append([_code(name), _type(option), _default(option), _meaning(option), *last])
    return ["| " + " | ".join(cell.replace("|", "\\|").strip() for cell in row) + " |" for row in rows]


def _details(name: str, option: Option) -> list[str]:
    """What does not fit a table's row: a long default, and the parts of a dictionary."""
    lines: list[str] = []
    if option.get("default") is not None and _default(option) == "see below":
        block = yaml.safe_dump({name: option["default"]}, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1000)
        lines += [f"Default of {_code(name)}:", "", "```yaml", block.rstrip(), "```", ""]
    parts: dict[str, Option] = {key: value or {} for key, value in (option.get("options") or {}).items()}
    if parts:
        whole = "each item" if option.get("type") == "list" else "the dictionary"
        lines += [f"In {_code(name)}, {whole} has:", "", *_table(parts, False), ""]
        for key, part in parts.items():
            lines += _details(f"{name}.{key}", part)
    return lines


def _example(role: Role, entry: str) -> list[str]:
    needed = [name for name, option in (role.entries[entry].get("options") or {}).items() if (option or {}).get("required")]
    lines = [f"- name: {role.entries[entry]['short_description'].rstrip('.')}", "  ansible.builtin.import_role:", f"    name: {COLLECTION}.{role.name}"]
    if entry != "main":
        lines.append(f"    tasks_from: {entry}")
    if needed:
        lines += ["  vars:", *(f"    {name}: ..." for name in needed)]
    return ["```yaml", *lines, "```", ""]


def render(role: Role) -> str:
    lines = ["<!-- Generated from meta/argument_specs.yml by `make docs`; edit that file. -->", "", f"# Role {COLLECTION}.{role.name}", ""]
    shown: dict[str, str] = {}
    for entry in sorted(role.entries, key=lambda name: name != "main"):
        spec = role.entries[entry]
        options: dict[str, Option] = {name: option or {} for name, option in (spec.get("options") or {}).items()}
        if entry != "main":
            lines += [f"## Entry point {_code(entry)}", ""]
        lines += [f"{markdown(str(spec.get('short_description', '')).rstrip('.'))}.", ""]
        for item in description(spec):
            lines += [markdown(item), ""]
        lines += _example(role, entry)
        if not options:
            lines += ["It has no variables.", ""]
            continue
        same = shown.setdefault(_canonical(options), entry)
        if same != entry:
            lines += [f"Its variables are those of {_code(same)}.", ""]
            continue
        tells_restarts = any(restarts(option) for option in options.values())
        lines += ["## Variables" if entry == "main" else "### Variables", "", *_table(options, tells_restarts), ""]
        for name, option in options.items():
            lines += _details(name, option)
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str], root: pathlib.Path = ROOT) -> int:
    write = arguments == ["--write"]
    if arguments and not write:
        print("usage: role_specs.py [--write]", file=sys.stderr)
        return 2
    roles = [Role(path) for path in sorted((root / "roles").glob("*")) if path.is_dir()]
    problems = []
    for role in roles:
        found = findings(role, roles)
        readme = role.path / "README.md"
        if "main" in role.entries:
            text = render(role)
            if write:
                readme.write_text(text, encoding="utf-8")
            elif not readme.is_file() or readme.read_text(encoding="utf-8") != text:
                found.append("README.md is not what the specification gives; run make docs")
        problems += [f"roles/{role.name}: {problem}" for problem in found]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
