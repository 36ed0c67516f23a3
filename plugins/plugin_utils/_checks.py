# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks as rows of data: what was looked at, what was found, what was expected, what to do about it.

Private to the collection.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import json
import re
import textwrap
import typing as t

try:
    import jmespath
    from jmespath.exceptions import JMESPathError
except ImportError as error:
    JMESPATH_MISSING: ImportError | None = error
else:
    JMESPATH_MISSING = None

SEVERITIES = ("error", "warning")
REQUIRED = ("area", "name", "query", "expect", "fix")
FIELDS = (*REQUIRED, "severity", "applies", "when")
# The first two words of a path: host.ready, immich.probes.
_PATH = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")
ROOTS = 2  # named for each row that could not be looked at


class RowError(Exception):
    """A row is not usable; the text names the row and what is wrong with it."""


def _is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


COMPARISONS: dict[str, tuple[str, t.Callable[[t.Any, t.Any], bool]]] = {
    "at_least": ("at least {0}", lambda found, want: _is_number(found) and found >= want),
    "at_most": ("at most {0}", lambda found, want: _is_number(found) and found <= want),
    "contains": ("contains {0}", lambda found, want: isinstance(found, (list, str, dict)) and want in found),
    "differs_from": ("not {0}", lambda found, want: found != want),
    "matches": ("matches {0}", lambda found, want: isinstance(found, str) and re.search(want, found) is not None),
    "one_of": ("one of {0}", lambda found, want: found in want),
}


@dataclasses.dataclass(frozen=True)
class Result:
    """looked_at is False when what the row needs is not there: reason tells why, and ok is True as long as a failed row stands for it."""

    area: str
    name: str
    ok: bool
    severity: str
    found: t.Any
    expected: str
    fix: str
    looked_at: bool = True
    reason: str = ""


def plain(value: t.Any) -> t.Any:
    """Plain dictionaries, lists and scalars: JMESPath asks for exact types, and Ansible's values are subclasses with tags."""
    if isinstance(value, collections.abc.Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return value


def evaluate(rows: t.Sequence[t.Mapping[str, t.Any]], facts: t.Any, blind: str = "shown") -> list[Result]:
    """Look at every row that applies; a row that cannot be read is an error of the caller.

    blind: what becomes of rows that cannot be looked at while none has failed that stands for them: "shown" or "failed".
    """
    if JMESPATH_MISSING:
        raise RowError("the Python library jmespath is missing where Ansible runs: pip install jmespath") from JMESPATH_MISSING
    facts = plain(facts)
    judged = [(row, _evaluate_row(row, facts)) for row in map(plain, rows)]
    found = [(row, result) for row, result in judged if result is not None]
    broken = [(row, result) for row, result in found if not result.ok and result.severity == "error"]
    return [result if result.looked_at else _told(row, result, broken, blind) for row, result in found]


def _told(row: t.Mapping[str, t.Any], result: Result, broken: t.Sequence[tuple[t.Mapping[str, t.Any], Result]], blind: str) -> Result:
    """A row that was not looked at, with the failed rows that stand for it: those about the same facts, else those of its area, else the first ones."""
    paths = set(_PATH.findall(row["when"]))
    same = [other for asked, other in broken if paths & set(_PATH.findall(f"{asked['query']} {asked.get('when', '')}"))]
    near = [other for _asked, other in broken if other.area == result.area]
    roots = (same or near or [other for _asked, other in broken])[:ROOTS]
    if roots:
        return dataclasses.replace(result, reason=f"not looked at, because of: {', '.join(root.name for root in roots)}")
    reason = f"not looked at: it needs {row['when']}"
    if blind == "shown":
        return dataclasses.replace(result, reason=reason)
    fix = "Nothing else tells why it could not be looked at. Give what has just been started a minute and ask again; else look at the service itself."
    return dataclasses.replace(result, ok=False, severity="error", reason=reason, fix=fix)


def _evaluate_row(row: t.Mapping[str, t.Any], facts: t.Any) -> Result | None:
    """None when the row does not apply here."""
    title = f"check {row.get('area')}/{row.get('name')}"
    missing = [field for field in REQUIRED if field not in row]
    if missing:
        raise RowError(f"{title}: {', '.join(missing)} missing")
    for field in row:
        if field not in FIELDS:
            near = difflib.get_close_matches(field, FIELDS, 1)
            raise RowError(f"{title}: unknown field {field!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    severity = row.get("severity", "error")
    if severity not in SEVERITIES:
        raise RowError(f"{title}: severity {severity!r} is none of {', '.join(SEVERITIES)}")
    if "applies" in row and not _search(title, row["applies"], facts):
        return None
    if "when" in row and not _search(title, row["when"], facts):
        return Result(str(row["area"]), str(row["name"]), True, severity, None, _compare(title, None, row["expect"])[1], str(row["fix"]), False)
    found = _search(title, row["query"], facts)
    met, expected = _compare(title, found, row["expect"])
    return Result(str(row["area"]), str(row["name"]), met, severity, found, expected, str(row["fix"]))


def _search(title: str, query: str, facts: t.Any) -> t.Any:
    try:
        return jmespath.search(query, facts)
    except JMESPathError as error:
        raise RowError(f"{title}: {error}") from error


def of_areas(results: t.Sequence[Result], areas: t.Sequence[str]) -> list[Result]:
    """The results of some areas; an area that no row has is an error of the caller.

    When one of them could not be looked at, the reason is what is wrong elsewhere: then that belongs to the answer.
    """
    known = sorted({result.area for result in results})
    for area in areas:
        if area not in known:
            near = difflib.get_close_matches(area, known, 1)
            raise RowError(f"no check is of the area {area!r}" + (f", did you mean {near[0]!r}?" if near else "") + f" Areas are: {', '.join(known)}")
    if not areas:
        return list(results)
    blind = any(not result.looked_at for result in results if result.area in areas)
    return [result for result in results if result.area in areas or (blind and not result.ok and result.severity == "error")]


def _compare(title: str, found: t.Any, expect: t.Any) -> tuple[bool, str]:
    if isinstance(expect, dict) and len(expect) == 1 and next(iter(expect)) in COMPARISONS:
        ((verb, want),) = expect.items()
        text, test = COMPARISONS[verb]
        try:
            return test(found, want), text.format(_short(want))
        except (TypeError, re.error) as error:
            raise RowError(f"{title}: expect {verb}: {error}") from error
    return found == expect, _short(expect)


def _short(value: t.Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, sort_keys=True)


def failed(results: t.Sequence[Result], severity: str = "error") -> list[Result]:
    return [result for result in results if not result.ok and result.severity == severity]


def table(results: t.Sequence[Result], width: int = 110) -> str:
    """What a person reads: one line for each check, and under a failed one what was expected and the fix."""
    if not results:
        return "no checks"
    area = max(len(result.area) for result in results)
    name = max(len(result.name) for result in results)
    lines = []
    for result in results:
        verdict = "-" if result.ok and not result.looked_at else "ok" if result.ok else "FAILED" if result.severity == "error" else "warning"
        found = textwrap.shorten(_short(result.found), width) if result.looked_at else result.reason
        lines.append(f"{verdict:<8}{result.area:<{area}}  {result.name:<{name}}  {found}")
        if not result.ok:
            lines.append(f"{'':8}{'':{area}}  expected: {textwrap.shorten(result.expected, width)}")
            lines += textwrap.wrap(
                result.fix,
                width,
                initial_indent=f"{'':8}{'':{area}}  fix: ",
                subsequent_indent=f"{'':8}{'':{area}}       ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def summary(results: t.Sequence[Result]) -> str:
    errors, warnings = len(failed(results)), len(failed(results, "warning"))
    missed = sum(result.ok and not result.looked_at for result in results)
    text = f"{len(results)} checks, {errors} failed, {warnings} {'warning' if warnings == 1 else 'warnings'}"
    return text + (f", {missed} not looked at" if missed else "")
