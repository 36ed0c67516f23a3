# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lines podman's generator makes of units, compared with what containers and volumes were really made with. Pure.

Private to the collection.
"""

from __future__ import annotations

import collections
import datetime
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._unit_file import UnitFile, split_words

_VARIABLE = re.compile(r"%[A-Za-z]|\$\{[^}]*\}|\$\w+")
# Podman derives these from o=uid=..,gid=..
_DERIVED = ("UID", "GID")


def start_command(text: str) -> list[str]:
    """The words of ExecStart of a generated unit, as systemd takes them before it expands anything."""
    return split_words(UnitFile(text).value("Service", "ExecStart"))[0]


def same_meaning(one: str, other: str) -> bool:
    """Whether two generated units say the same.

    From 5.3 on the order of podman's options is left to chance; comments at the head are in the files and not in a dry run.
    """
    first, second = ([sorted(line.split()) for line in text.splitlines() if line.strip() and line[0] not in "#;"] for text in (one, other))
    return first == second


def came_of(words: t.Sequence[str], used: t.Sequence[str]) -> bool:
    """Whether a process with the arguments used can have been started from a unit's words.

    Compared without order. What systemd expands may have become anything. The program itself is not compared.
    """
    if ";" in words:
        return True  # several commands in one line
    left = collections.Counter(used[1:])
    patterns, vague = [], False
    for word in words[1:]:
        bare = word.replace("%%", "").replace("$$", "")
        if not _VARIABLE.search(bare):
            literal = word.replace("%%", "%").replace("$$", "$")
            if not left[literal]:
                return False
            left[literal] -= 1
        elif re.fullmatch(r"\$\w+", bare):
            vague = True  # becomes any number of words
        else:
            patterns.append(word)
    rest = list(left.elements())
    for word in sorted(patterns, key=lambda word: -len(_VARIABLE.sub("", word))):
        match = next((used_word for used_word in rest if re.fullmatch(_pattern(word), used_word, re.DOTALL)), None)
        if match is None:
            return False
        rest.remove(match)
    return vague or not rest


def _pattern(word: str) -> str:
    found, position = "", 0
    for match in re.finditer(rf"%%|\$\$|{_VARIABLE.pattern}", word):
        found += re.escape(word[position : match.start()]) + (re.escape(match.group()[0]) if match.group() in ("%%", "$$") else ".*")
        position = match.end()
    return found + re.escape(word[position:])


def volume_differences(words: t.Sequence[str], volume: t.Mapping[str, t.Any]) -> tuple[list[str], list[str]]:
    """How a volume (from podman volume ls) differs from what its unit's command would make: (in what it is, in its labels)."""
    wanted: dict[str, t.Any] = {"driver": "local", "opt": {}, "label": {}}
    short = {"-o": "opt", "-d": "driver", "-l": "label"}
    queue = list(words)
    while queue:
        flag, equals, value = queue.pop(0).partition("=")
        name = short.get(flag) or (flag[2:] if flag.startswith("--") else "")
        if name not in wanted:
            continue
        value = (value if equals else queue.pop(0) if queue else "").replace("%%", "%").replace("$$", "$")
        if name == "driver":
            wanted["driver"] = value
        else:
            key, dummy, item = value.partition("=")
            wanted[name][key] = item
    options = {key: value for key, value in (volume.get("Options") or {}).items() if key not in _DERIVED}
    labels = volume.get("Labels") or {}
    kind = [] if wanted["driver"] == (volume.get("Driver") or "local") else [f"driver {volume.get('Driver')} instead of {wanted['driver']}"]
    kind += [_said(f"option {key}", options.get(key), wanted["opt"].get(key)) for key in sorted({*options, *wanted["opt"]})]
    # labels of others do no harm
    marks = [_said(f"label {key}", labels.get(key), value) for key, value in sorted(wanted["label"].items())]
    return [text for text in kind if text], [text for text in marks if text]


def _said(what: str, found: str | None, wanted: str | None) -> str:
    if found == wanted or (wanted and _VARIABLE.search(wanted)):
        return ""
    if found is None:
        return f"no {what}" + (f"={wanted}" if wanted else "")
    return f"{what}={found}" + (" too many" if wanted is None else f" instead of {wanted}")


def moment(text: str) -> float | None:
    """Seconds since 1970 of a time as podman writes it (2026-11-22T13:28:14.760849042Z)."""
    match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)\Z", text)
    if not match:
        return None
    seconds = datetime.datetime.strptime(match.group(1) + match.group(3).replace("Z", "+00:00"), "%Y-%m-%dT%H:%M:%S%z").timestamp()
    return seconds + float(f"0.{match.group(2) or 0}")
