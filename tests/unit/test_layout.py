# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cheap truths about the repository as a whole."""

from __future__ import annotations

import pathlib
import re

import galaxy
import pytest
import tree
import yaml

HERE = pathlib.Path(__file__)
FILES = sorted(name for name in tree.wanted() if (tree.ROOT / name).is_file())

# What must not be in any file, and why.
BANNED = {
    # Worlds outside: whoever builds this has mirrors of their own, in the configuration of pip, apt and npm.
    "a package registry's host": r"\b(pypi\.org|pythonhosted\.org|registry\.npmjs\.org|(deb|security|snapshot)\.debian\.org|(archive|security)\.ubuntu\.com)\b",
    "a path of one person's machine": r"(?<![\w.])/(work|root|home/(?!homelab\b)[a-z]\w*)/[\w.]",
    "work left for later": r"\b(TODO|FIXME|XXX)\b",
    # shellcheck alone has findings whose one cure is a comment with the reason.
    "a check switched off": r"\bnoqa\b|type: ignore|(pylint: |yamllint )disable|\b(skip|warn)_list\b",
    "a test switched off": r"mark\.(skip|xfail)|pytest\.(skip|xfail)\(|importorskip",
    "an error ignored": r"^\s*ignore_errors:",
}


# Whoever tests a host of their own may have less than the card: here, and nowhere else, a test without its subject is skipped.
MAY_SKIP = pathlib.PurePath("tests/live/absent.py")


def text_of(name: pathlib.PurePath) -> str:
    try:
        return (tree.ROOT / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize("what", sorted(BANNED))
def test_nothing_banned_is_in_any_file(what: str) -> None:
    pattern = re.compile(BANNED[what], re.MULTILINE)
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in FILES
        if name.name not in ("LICENSE", HERE.name) and (what, name) != ("a test switched off", MAY_SKIP)
        for number, line in enumerate(text_of(name).splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join([what, *found])


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a package registry's host", "deb https://deb.debian.org/debian trixie main"),
        ("a path of one person's machine", "cd /root/project"),
        ("a path of one person's machine", "path: /home/somebody/photos"),
        ("work left for later", "# TODO: later"),
        ("a check switched off", "import os  # noqa: F401"),
        ("a check switched off", "x = 1  # type: ignore[misc]"),
        ("a test switched off", "@pytest.mark.skip"),
        ("an error ignored", "  ignore_errors: true"),
    ],
)
def test_the_patterns_find_what_they_are_for(what: str, line: str) -> None:
    assert re.search(BANNED[what], line, re.MULTILINE)


def test_the_witness_of_live_hosts_asks_nothing_of_what_it_looks_at() -> None:
    """tests/live shares no module, parser or default with the collection, so that one mistake cannot be made by both."""
    files = [name for name in FILES if name.parts[:2] == ("tests", "live")]
    pattern = re.compile(r"ansible_collections|\b(import|from)\s+plugins|\b(plugins|roles)/|importlib", re.MULTILINE)
    assert files
    assert [str(name) for name in files if pattern.search(text_of(name))] == []


def test_no_ignore_files() -> None:
    assert [str(name) for name in FILES if name.match("tests/sanity/ignore*") or name.name == ".ansible-lint-ignore"] == []


def test_every_ignored_build_product_is_kept_out_of_the_tarball() -> None:
    """Git and galaxy know the same build products; the tarball itself is compared by tests/gates/galaxy.py."""
    ignored = {line.strip("/") for line in text_of(pathlib.PurePath(".gitignore")).splitlines() if line and not line.startswith("#")}
    build_ignore = set(yaml.safe_load(text_of(pathlib.PurePath("galaxy.yml")))["build_ignore"])
    # ansible-galaxy leaves compiled files out by itself.
    assert {name for name in ignored if name not in build_ignore} <= {"__pycache__", "*.pyc"}
    assert build_ignore >= galaxy.FOR_DEVELOPERS | {".git", "*__pycache__"}


def test_source_files_carry_the_licence() -> None:
    sources = [name for name in FILES if name.suffix == ".py" and text_of(name).strip()]
    assert [str(name) for name in sources if "SPDX-License-Identifier: GPL-3.0-or-later" not in text_of(name)[:600]] == []


def test_scripts_can_be_run() -> None:
    # What goes into an image gets its mode there.
    scripts = [name for name in FILES if name.parts[0] in ("tests", ".ci") and name.parts[:2] != ("tests", "images") and text_of(name).startswith("#!")]
    assert [str(name) for name in scripts if not (tree.ROOT / name).stat().st_mode & 0o100] == []


def test_the_readme_names_every_role_and_playbook() -> None:
    readme = text_of(pathlib.PurePath("README.md"))
    names = {name.parts[1] for name in FILES if name.parts[0] == "roles"} | {name.stem for name in FILES if name.match("playbooks/*.yml")}
    assert {name for name in names if f"`{name}`" not in readme and f"patriark.homelab.{name}" not in readme} == set()


def test_links_in_markdown_lead_somewhere() -> None:
    pages = [name for name in FILES if name.suffix == ".md" and name.name != "CHANGELOG.md"]
    links = [(name, target) for name in pages for target in re.findall(r"\]\(([^)#\s]+)", text_of(name)) if "://" not in target]
    assert [f"{name}: {target}" for name, target in links if not (tree.ROOT / name.parent / target).exists()] == []
