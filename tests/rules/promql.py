# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PromQL as tokens: enough to name the metrics of an expression and to damage it in small ways. Whether it parses is promtool's affair."""

from __future__ import annotations

import re
import typing as t

TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<string>"(?:\\.|[^"\\])*")|(?P<duration>\d+(?:ms|[smhdwy]))|(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-zA-Z_:][\w:]*)"""
    r"""|(?P<variable>\$\w+)|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){}\[\],])"""
)
SET = ("and", "or", "unless")
MODIFIERS = ("on", "ignoring", "group_left", "group_right", "by", "without")
WORDS = (*SET, *MODIFIERS, "bool", "offset", "inf", "nan")
COMPARISONS = {">": "<", "<": ">", "==": "!=", "!=": "=="}
MATCHERS = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*"}
FUNCTIONS = {"sum": "max", "max": "min", "increase": "delta", "absent": "count", "count_over_time": "sum_over_time", "sum_over_time": "count_over_time"}
WINDOWS = ("2m", "5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d", "60d")


class Token(t.NamedTuple):
    kind: str
    text: str
    depth: int
    inside: str  # the innermost open bracket


def tokens(expr: str) -> list[Token]:
    """Without white space. Raises ValueError for what is no PromQL."""
    found: list[Token] = []
    open_: list[str] = []
    position = 0
    while position < len(expr):
        match = TOKEN.match(expr, position)
        if match is None:
            raise ValueError(f"not PromQL from here on: {expr[position : position + 30]}")
        position = match.end()
        kind, text = str(match.lastgroup), match.group()
        if text in (")", "}", "]"):
            open_.pop()
        if kind != "space":
            found.append(Token(kind, text, len(open_), open_[-1] if open_ else ""))
        if text in ("(", "{", "["):
            open_.append(text)
    return found


def join(parts: t.Iterable[Token]) -> str:
    return " ".join(part.text for part in parts)


def metrics(expr: str) -> set[str]:
    """Names of the series that an expression reads."""
    parts = tokens(expr)
    found = set()
    listed = False  # in the labels behind by (...) and the like
    for number, part in enumerate(parts):
        following = parts[number + 1].text if number + 1 < len(parts) else ""
        if part.kind == "name" and part.text in MODIFIERS:
            listed = following == "("
        elif part.text == ")":
            listed = False
        elif (
            part.kind == "name"
            and not listed
            and part.inside != "{"
            and following != "("
            and part.text.lower() not in WORDS
            and following not in ("by", "without")
        ):
            found.add(part.text)
    return found


def mutants(expr: str) -> t.Iterator[tuple[str, str]]:
    """What was done, and the damaged expression."""
    parts = tokens(expr)
    for number, part in enumerate(parts):
        for what, damaged in _damages(parts, number, part):
            text = join(damaged)
            if text and text != join(parts):
                yield f"{what} (token {number})", text


def _damages(parts: list[Token], number: int, part: Token) -> t.Iterator[tuple[str, list[Token]]]:
    def put(*texts: str, upto: int = number + 1) -> list[Token]:
        return [*parts[:number], *(Token("", text, 0, "") for text in texts), *parts[upto:]]

    following = parts[number + 1].text if number + 1 < len(parts) else ""
    if part.inside == "{" and part.text in MATCHERS:
        label = parts[number - 1].text
        yield f"matcher of {label} negated", put(MATCHERS[part.text])
        start, end = number - 1, number + 2
        if parts[end].text == ",":
            end += 1
        elif parts[start - 1].text == ",":
            start -= 1
        yield f"matcher of {label} removed", [*parts[:start], *parts[end:]]
    elif part.inside == "[" and part.kind == "duration":
        place = WINDOWS.index(part.text)
        yield f"window {part.text} shortened", put(WINDOWS[place - 1])
        yield f"window {part.text} lengthened", put(WINDOWS[place + 1])
    elif part.inside in ("", "("):
        yield from _operators(parts, number, part, put, following)


def _operators(parts: list[Token], number: int, part: Token, put: t.Callable[..., list[Token]], following: str) -> t.Iterator[tuple[str, list[Token]]]:
    if part.text in COMPARISONS:
        yield f"{part.text} turned", put(COMPARISONS[part.text])
        if parts[number + 1].kind == "number":
            yield f"{part.text} removed", put(upto=number + 2)
        if part.text == ">" and following == "0":
            yield "> 0 made >= 0", put(">=")
    elif part.text in ARITHMETIC:
        yield f"{part.text} made {ARITHMETIC[part.text]}", put(ARITHMETIC[part.text])
    elif part.kind == "number":
        value = float(part.text)
        for changed in (value * 0.8, value * 1.2) if value else (1.0,):
            yield f"{part.text} made {changed:g}", put(f"{changed:.9g}")
    elif part.text == "offset":
        yield "offset removed", put(upto=number + 2)
    elif part.text in FUNCTIONS and following in ("(", "without", "by"):
        yield f"{part.text} made {FUNCTIONS[part.text]}", put(FUNCTIONS[part.text])
    elif part.text in SET:
        for other in SET:
            if other != part.text:
                yield f"{part.text} made {other}", put(other)
        left, right, end = _operands(parts, number)
        yield f"right side of {part.text} dropped", [*parts[:number], *parts[end:]]
        if part.text != "unless":
            yield f"left side of {part.text} dropped", [*parts[:left], *parts[right:]]


def _operands(parts: list[Token], number: int) -> tuple[int, int, int]:
    """Where the left operand begins, the right one begins, and the right one ends."""
    depth = parts[number].depth
    right = number + 1
    while parts[right].text in MODIFIERS:
        right += 1
        while parts[right].depth > depth or parts[right].text in ("(", ")"):
            right += 1
    ends = ("or",) if parts[number].text == "or" else SET
    end = right
    while end < len(parts) and parts[end].depth >= depth and not (parts[end].depth == depth and parts[end].text in (*ends, ")") and _closes(parts, end, depth)):
        end += 1
    left = number
    begins = () if parts[number].text == "or" else ("or",)
    while (
        left > 0
        and parts[left - 1].depth >= depth
        and not (parts[left - 1].depth == depth and parts[left - 1].text in begins)
        and not _opens(parts, left - 1, depth)
    ):
        left -= 1
    return left, right, end


def _closes(parts: list[Token], place: int, depth: int) -> bool:
    """A bracket at our depth that is closed here belongs to the operand, unless it was opened before us."""
    return parts[place].text != ")" or parts[place].depth < depth


def _opens(parts: list[Token], place: int, depth: int) -> bool:
    return parts[place].depth < depth
