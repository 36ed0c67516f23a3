# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unit files: text to entries and back, and the quoting rules of their values.

The text is kept: edits insert or replace single lines, so that comments and order stay as their author wrote them.
Private to the collection.
"""

from __future__ import annotations

import typing as t


class Entry(t.NamedTuple):
    """One C(key=value). line is the first physical line, last the last one when the value was continued."""

    section: str
    key: str
    value: str
    line: int
    last: int


class Problem(t.NamedTuple):
    """A defect of a text or value. line is 0 where the value stands alone; quadlet tells that systemd itself would not mind."""

    line: int
    reason: str
    remedy: str
    quadlet: bool = False


class UnitFile:
    """A parsed unit file.

    Attributes:
        entries: every assignment in file order.
        sections: section name -> line of its first header.
        problems: lines the generator would choke on.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.entries: list[Entry] = []
        self.sections: dict[str, int] = {}
        self.problems: list[Problem] = []
        self._section_end: dict[str, int] = {}
        self._by_key: dict[tuple[str, str], list[Entry]] = {}
        self._parse()
        for entry in self.entries:
            self._by_key.setdefault((entry.section, entry.key), []).append(entry)

    def _parse(self) -> None:
        if self.text.startswith("\ufeff"):
            self.problems.append(Problem(1, "the file starts with a byte order mark", "remove it"))
        section: str | None = None
        lines = self.text.lstrip("\ufeff").split("\n")
        number = 0
        while number < len(lines):
            number += 1
            first = number
            line = lines[number - 1].strip()
            if not line or line[0] in "#;":
                continue
            if line.startswith("["):
                if not line.endswith("]") or len(line) < 3:
                    self.problems.append(Problem(number, "not a section header", "write [Name]"))
                    continue
                section = line[1:-1]
                self.sections.setdefault(section, number)
                self._section_end[section] = number
                continue
            while line.endswith("\\") and number < len(lines):
                number += 1
                more = lines[number - 1].strip()
                if not more or more[0] in "#;":
                    remedy = "older generators take it as part of the value; move it"
                    self.problems.append(Problem(number, "a comment or blank line inside a continued value", remedy, True))
                    if not more:
                        break
                    continue
                line = line[:-1]
                if not line[-1:].isspace():
                    self.problems.append(
                        Problem(number - 1, "podman joins this line to the next one without a blank", "write a blank before the backslash, or one line", True)
                    )
                    line += " "
                line += more
            if line.endswith("\\"):
                self.problems.append(Problem(first, "the last line of the value ends with a backslash", "remove it, or continue the value"))
                line = line[:-1].rstrip()
            key, equals, value = line.partition("=")
            if not equals:
                self.problems.append(
                    Problem(first, "neither key=value, nor a section, nor a comment", "one such line makes podman drop every unit of the directory")
                )
                continue
            if section is None:
                self.problems.append(Problem(first, "stands before the first section", "put it below a [Section] line"))
                continue
            self.entries.append(Entry(section, key.strip(), value.strip(), first, number))
            self._section_end[section] = number

    def all(self, section: str, key: str) -> list[Entry]:
        """The assignments of a repeatable key that count: an empty one resets those before it."""
        found: list[Entry] = []
        for entry in self._by_key.get((section, key), []):
            found = [*found, entry] if entry.value else []
        return found

    def last(self, section: str, key: str) -> Entry | None:
        """The assignment of a single key that counts: the last one, unless it is empty."""
        found = self._by_key.get((section, key))
        return found[-1] if found and found[-1].value else None

    def value(self, section: str, key: str, default: str = "") -> str:
        entry = self.last(section, key)
        return entry.value if entry else default

    def words(self, section: str, key: str) -> list[str]:
        """All words of a repeatable list key, in order."""
        return [word for entry in self.all(section, key) for word in split_words(entry.value)[0]]

    def with_line(self, section: str, line: str) -> str:
        """The text with a line added at the end of a section (which is added when missing)."""
        lines = self.text.split("\n")
        if section in self._section_end:
            lines.insert(self._section_end[section], line)
            return "\n".join(lines)
        before = self.text.rstrip("\n") + "\n\n" if self.text.strip() else ""
        return f"{before}[{section}]\n{line}\n"

    def replaced(self, changes: dict[Entry, list[str]]) -> str:
        """The text with the lines of some entries replaced (by none: removed)."""
        lines = self.text.split("\n")
        for entry in sorted(changes, key=lambda entry: -entry.line):
            lines[entry.line - 1 : entry.last] = changes[entry]
        return "\n".join(lines)


ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'", "s": " "}
_HEX = {"x": 2, "u": 4, "U": 8}


def split_words(value: str, unescape: bool = True) -> tuple[list[str], list[Problem]]:
    """Split a value on blanks the way systemd and podman do: quotes removed, C escapes decoded (or a backslash is a character like others).

    Problems are an unterminated quote (podman accepts it and changes the meaning, or drops the line) and an unsupported escape (podman drops the line).
    """
    words: list[str] = []
    problems: list[Problem] = []
    word: list[str] | None = None
    quote = ""
    position = 0
    while position < len(value):
        char = value[position]
        position += 1
        if char == "\\" and unescape:
            word = [] if word is None else word
            decoded, length = _decode(value[position:])
            if decoded is None:
                problems.append(
                    Problem(
                        0, f"unsupported escape {value[position - 1 : position + 1]!r}: podman drops the whole line without a word", "write a backslash as \\\\"
                    )
                )
                decoded = "\\"
            word.append(decoded)
            position += length
        elif quote:
            if char == quote:
                quote = ""
            elif word is not None:
                word.append(char)
        elif char in "\"'":
            quote = char
            word = [] if word is None else word
        elif char in " \t\n\r":
            if word is not None:
                words.append("".join(word))
            word = None
        else:
            word = [] if word is None else word
            word.append(char)
    if quote:
        problems.append(Problem(0, f"unterminated quote {quote}: podman accepts it and changes the meaning", "close it, or escape it with a backslash"))
    if word is not None:
        words.append("".join(word))
    return words, problems


def _decode(rest: str) -> tuple[str | None, int]:
    """What follows a backslash: (character, length consumed), or (None, 0) when unsupported."""
    if not rest:
        return None, 0
    if rest[0] in ESCAPES:
        return ESCAPES[rest[0]], 1
    digits, base, skip = (rest[1 : 1 + _HEX[rest[0]]], 16, 1) if rest[0] in _HEX else (rest[:3], 8, 0)
    wanted = _HEX.get(rest[0], 3)
    try:
        code = int(digits, base) if len(digits) == wanted and digits.isalnum() else 0
        return (chr(code), skip + wanted) if code > 0 and (base == 16 or code < 256) else (None, 0)
    except (ValueError, OverflowError):
        return None, 0


def unquoted(value: str) -> str:
    """A value without the pair of double quotes around it, as podman from 5.0 on reads keys with one value."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def quote_word(word: str) -> str:
    """One word for a key whose values are split and unescaped (all_args, all_keyval, last_args)."""
    if word and not any(char.isspace() or char in "\"'\\" or ord(char) < 32 for char in word) and word[0] not in "#;":
        return word
    decoded = {char: name for name, char in ESCAPES.items() if name not in "s'"}
    return '"' + "".join("\\" + decoded[char] if char in decoded else char if ord(char) >= 32 else f"\\x{ord(char):02x}" for char in word) + '"'


def quote_verbatim(word: str) -> str:
    """One word for a key whose values are split, with escapes kept (all_strv). ValueError when there is no way to write it."""
    if "\n" in word or "\r" in word or word.endswith("\\"):
        raise ValueError("a line break, or a backslash at the end, cannot be written in this key")
    if word and not any(char.isspace() or char in "\"'" for char in word):
        return word
    for quote in "\"'":
        if quote not in word:
            return f"{quote}{word}{quote}"
    raise ValueError("both kinds of quotes cannot be written in this key")


def escape_specifiers(value: str, dollar: bool = True) -> str:
    """Literal text for systemd: C(%) doubled, and C($) too where the value reaches a command line."""
    value = value.replace("%", "%%")
    return value.replace("$", "$$") if dollar else value
