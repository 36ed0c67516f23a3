# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit text: what is read is what was meant, and what is written is read back the same for every class of key."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_keys import TYPES
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import parse_name
from ansible_collections.patriark.homelab.plugins.module_utils._render import render
from ansible_collections.patriark.homelab.plugins.module_utils._unit_file import UnitFile, quote_verbatim, quote_word, split_words
from hypothesis import given
from hypothesis import strategies as st

ROOT = pathlib.Path(__file__).resolve().parents[4]


def test_the_key_table_is_the_one_made_from_the_facts():
    spec = importlib.util.spec_from_file_location("make_quadlet_keys", ROOT / "tests" / "tools" / "make_quadlet_keys.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.render()
    assert {name: len(unit_type.keys) for name, unit_type in TYPES.items()} == {
        "container": 94, "volume": 16, "network": 18, "kube": 19, "image": 18, "pod": 29, "build": 28, "artifact": 13, "quadlet": 1,
    }  # fmt: skip
    assert TYPES["container"].keys["Memory"].since == (5, 5)
    assert TYPES["container"].keys["Memory"].flag == "--memory"


TEXT = """\
# a comment
[Unit]
Description=One \\
  ; not part of it
  two

[Container]
Image=localhost/a:1
Image=localhost/b:1
Network=a.network
Network=
Network=b.network:ip=10.1.1.5

[Container]
Label=x=y
"""


def test_reading():
    unit = UnitFile(TEXT)
    assert unit.value("Unit", "Description") == "One two"
    assert [problem.line for problem in unit.problems] == [4]
    assert unit.value("Container", "Image") == "localhost/b:1"
    assert [(entry.value, entry.line) for entry in unit.all("Container", "Network")] == [("b.network:ip=10.1.1.5", 12)]
    assert unit.sections == {"Unit": 2, "Container": 7}


def test_a_line_is_added_at_the_end_of_its_section():
    assert UnitFile(TEXT).with_line("Container", "Label=z=1").endswith("Label=x=y\nLabel=z=1\n")
    assert UnitFile("[Container]\nImage=a\n\n[Install]\n").with_line("Container", "K=v") == "[Container]\nImage=a\nK=v\n\n[Install]\n"
    assert UnitFile("[Unit]\n").with_line("Container", "K=v") == "[Unit]\n\n[Container]\nK=v\n"


def test_a_continued_value_is_replaced_whole():
    unit = UnitFile(TEXT)
    changed = unit.replaced({unit.last("Unit", "Description"): ["Description=new"]})
    assert changed.split("\n")[:4] == ["# a comment", "[Unit]", "Description=new", ""]


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("\ufeff[Unit]\n", "byte order mark", 1),
        ("[Unit]\nrubbish\n", "neither key=value", 2),
        ("Key=value\n[Unit]\n", "before the first section", 1),
        ("[Unit\n", "not a section header", 1),
        ("[Unit]\nA=b\\", "ends with a backslash", 2),
    ],
)
def test_lines_that_podman_chokes_on(text, reason, line):
    assert [(reason in problem.reason, problem.line) for problem in UnitFile(text).problems] == [(True, line)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a b  c", ["a", "b", "c"]),
        ('"A=b c" d', ["A=b c", "d"]),
        ('A="b c"', ["A=b c"]),
        (r"'it'\''s'", ["it's"]),
        (r"a\tb \x41 \101 ä", ["a\tb", "A", "A", "\u00e4"]),
        (r"\u00e4", ["\u00e4"]),
        ('""', [""]),
    ],
)
def test_words_as_podman_splits_them(value, words):
    assert split_words(value) == (words, [])


@pytest.mark.parametrize("value", [r'sh -c "a \q"', r"\z", "a\\", r"\x4", r"\400000"])
def test_an_unsupported_escape_is_found(value):
    assert "unsupported escape" in split_words(value)[1][0].reason


@pytest.mark.parametrize("value", ['"A=unterminated', "it's"])
def test_an_unterminated_quote_is_found(value):
    assert "unterminated" in split_words(value)[1][0].reason


# No NUL, which no file can hold, and no lone surrogate
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=40)
ONE_LINE = TEXTS.filter(lambda text: not set(text) & set("\n\r") and text == text.strip() and text and text[0] not in "#;" and not text.endswith("\\"))
WORD = st.lists(TEXTS, min_size=1, max_size=4)


@given(WORD)
def test_quoted_words_are_read_back(words):
    assert split_words(" ".join(quote_word(word) for word in words)) == (words, [])


@given(WORD)
def test_verbatim_words_are_read_back_or_refused(words):
    try:
        line = " ".join(quote_verbatim(word) for word in words)
    except ValueError:
        return
    assert split_words(line, unescape=False) == (words, [])


def unescaped(text: str) -> str:
    return text.replace("%%", "%").replace("$$", "$")


KEYS = {
    "all_keyval": ("Environment", st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True), TEXTS, min_size=1, max_size=3)),
    "all_args": ("PodmanArgs", WORD),
    "last_args": ("Exec", WORD),
    "all": ("Volume", st.lists(ONE_LINE, min_size=1, max_size=3)),
    "last": ("HostName", ONE_LINE),
    "last_bool": ("ReadOnly", st.booleans()),
    "all_strv": ("Sysctl", st.lists(ONE_LINE, min_size=1, max_size=3)),
}


@pytest.mark.parametrize("lookup", sorted(KEYS))
@given(st.data())
def test_what_is_rendered_is_read_back(lookup, data):
    key, values = KEYS[lookup]
    assert TYPES["container"].keys[key].lookup == lookup
    value = data.draw(values)
    text, findings = render(parse_name("x.container"), {"Container": {key: value}})
    if findings:
        # only what the key cannot hold is refused
        assert lookup == "all_strv" and any(set(word) & set("'\"") or word.endswith("\\") for word in value)
        return
    unit = UnitFile(text)
    assert not unit.problems
    entries = [unescaped(entry.value) for entry in unit.all("Container", key)]
    read = [word for entry in entries for word in split_words(entry, unescape=lookup != "all_strv")[0]]
    if lookup == "all_keyval":
        assert dict(word.partition("=")[::2] for word in read) == value
    elif lookup in ("all_args", "last_args", "all_strv"):
        assert read == value
    elif lookup == "last_bool":
        assert entries == ["true" if value else "false"]
    else:
        assert entries == (value if isinstance(value, list) else [value])


def rendered(sections, **options):
    text, findings = render(parse_name("x.container"), sections, **options)
    assert not findings
    return text


def test_literal_percent_and_dollar():
    sections = {
        "Unit": {"Description": "100% of $X"},
        "Container": {"Exec": ["echo", "$HOME 5%"], "Volume": ["%h:/h"]},
        "Service": {"ExecStartPre": "/bin/echo $X", "Environment": {"A": "$b"}},
    }
    assert rendered(sections) == (
        '[Unit]\nDescription=100%% of $X\n\n[Container]\nExec=echo "$$HOME 5%%"\nVolume=%%h:/h\n\n[Service]\nExecStartPre=/bin/echo $$X\nEnvironment="A=$b"\n'
    )
    assert "Volume=%h:/h" in rendered(sections, specifiers=True)


def test_a_health_command_is_written_in_the_form_every_podman_understands():
    assert 'HealthCmd=["pg_isready","-U","x y"]' in rendered({"Container": {"HealthCmd": ["CMD", "pg_isready", "-U", "x y"]}})


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("Image", ["a", "b"], "takes one value"),
        ("Image", None, "has no value"),
        ("Volume", {"a": "b"}, "takes no mapping"),
        ("HostName", "a\nb", "one line"),
        ("HostName", "a\\", "backslash"),
        ("Image", [[1]], "takes one value"),
        ("Environment", [[1]], "not a string"),
    ],
)
def test_what_a_key_cannot_hold_is_refused(key, value, reason):
    findings = render(parse_name("x.container"), {"Container": {key: value}})[1]
    assert [(finding.unit, finding.key, reason in finding.reason) for finding in findings] == [("x.container", key, True)]


@pytest.mark.parametrize(
    ("text", "kind", "target", "stem"),
    [
        ("a.container", "container", None, "a"),
        ("a.container.d/x.conf", "container", "a.container", "a"),
        ("t@.container", "container", None, "t@"),
        ("t@one.service", "service", None, "t@one"),
        ("my.app.pod", "pod", None, "my.app"),
    ],
)
def test_names(text, kind, target, stem):
    name = parse_name(text)
    assert (name.kind, name.target, name.stem) == (kind, target, stem)


@pytest.mark.parametrize(
    "text", ["a", "a.mount", "../a.container", "a/b.container", "a.container.d/x.txt", "a.container.d/../x.conf", ".container", "a b.container", ""]
)
def test_names_that_are_none(text):
    assert parse_name(text) is None
