# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the images fit together, and is there a way from what runs to what is wanted? Rules only: what they know is a table of data.

Private to the collection.
"""

from __future__ import annotations

import re
import typing as t

Version = tuple[int, int, int]

RULES = ("version", "equal", "floating", "refused", "unknown", "postgresql", "extension", "cpu", "downgrade", "step", "data")
_OPERATORS: dict[str, t.Callable[[Version, Version], bool]] = {
    ">=": lambda number, bound: number >= bound,
    "<": lambda number, bound: number < bound,
}


class TableError(Exception):
    """The table of releases cannot be read."""


def parse(text: str) -> Version | None:
    """The first three numbers of a version, missing ones being 0."""
    found = re.match(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?", text)
    return (int(found.group(1)), int(found.group(2) or 0), int(found.group(3) or 0)) if found else None


def shown(version: Version) -> str:
    return "v" + ".".join(str(number) for number in version)


def within(version: Version, accepted: str) -> bool:
    """Whether a version is in a range such as C(>=0.2 <0.4)."""
    for part in accepted.split():
        found = re.fullmatch(r"(>=|<)(\d[\d.]*)", part)
        bound = parse(found.group(2)) if found else None
        if found is None or bound is None:
            raise TableError(f"not a range of versions: {accepted!r}")
        if not _OPERATORS[found.group(1)](version, bound):
            return False
    return True


def tag_of(image: str) -> str:
    """The tag of an image reference, empty without one."""
    name = image.partition("@")[0].rpartition("/")[2]
    return name.partition(":")[2]


def release(image: str) -> Version | None:
    """The Immich release a server or machine learning image names: v2.5.5, also with a suffix such as -cuda."""
    found = re.match(r"v\d+\.\d+\.\d+(?=-|\Z)", tag_of(image))
    return parse(found.group(0)) if found else None


def contents(image: str, patterns: t.Sequence[str]) -> dict[str, str] | None:
    """PostgreSQL's major version and the extensions that a database image names, by the first pattern that fits; None when none does."""
    bare = image.partition("@")[0]
    for pattern in patterns:
        found = re.search(pattern, bare)
        if found:
            return {name.replace("pgvectors", "pgvecto.rs"): value for name, value in found.groupdict().items() if value}
    return None


def judge(request: t.Mapping[str, t.Any], table: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Findings by rule, each a list of sentences, beside what was understood.

    request: server, ml, database, redis (image references; empty: not ours to run), vector_extension, allow_floating, and of the host
    recorded (the server image of the last deployment), data (PostgreSQL's major version of the data directory), installed (extension to
    version, from the running database), cpu (x86-64 level, 0 elsewhere).
    """
    found: dict[str, list[str]] = {rule: [] for rule in RULES}
    server = release(str(request.get("server") or ""))
    recorded = release(str(request.get("recorded") or ""))
    if server is None:
        found["version"].append(f"{request.get('server')} names no release")
    ml = str(request.get("ml") or "")
    if ml and server is not None and release(ml) != server:
        found["equal"].append(f"{ml} beside {request.get('server')}")
    if not request.get("allow_floating"):
        found["floating"] = [str(request[name]) for name in ("server", "ml", "database", "redis") if request.get(name) and _floats(str(request[name]), table)]
    _judge_database(str(request.get("database") or ""), request, server, table, found)
    if server is not None:
        if ml:
            _judge_cpu(int(request.get("cpu") or 0), server, table, found)
        if recorded is not None:
            _judge_way(recorded, server, request.get("installed") or {}, table, found)
    return {"server_version": shown(server) if server else "", "recorded_version": shown(recorded) if recorded else "", "findings": found}


def _floats(image: str, table: t.Mapping[str, t.Any]) -> bool:
    if re.search(r"@sha256:[0-9a-f]{64}\Z", image):
        return False
    return not tag_of(image) or re.fullmatch(str(table["floating_tags"]), tag_of(image)) is not None


def _judge_database(image: str, request: t.Mapping[str, t.Any], server: Version | None, table: t.Mapping[str, t.Any], found: dict[str, list[str]]) -> None:
    if not image:
        return
    for entry in table["refused_images"]:
        if re.search(entry["image"], image):
            found["refused"].append(f"{image}: {entry['reason']}")
            return
    inside = contents(image, table["database_images"])
    if inside is None:
        found["unknown"].append(image)
        return
    major = inside.pop("postgresql")
    data = str(request.get("data") or "")
    if data and data != major:
        found["data"].append(f"{image} is PostgreSQL {major}, the data directory was made by {data}")
    row = next((entry for entry in table["ranges"] if server is not None and within(server, entry["immich"])), None)
    if server is None or row is None:
        return
    if not within(parse(major) or (0, 0, 0), row["postgresql"]):
        found["postgresql"].append(f"PostgreSQL {major}; Immich {shown(server)} takes {row['postgresql']}")
    wanted = str(request.get("vector_extension") or "")
    # The server takes the first that is offered, in this order, whether or not it fits.
    chosen = wanted or next((name for name in row["extensions"] if name in inside), "")
    if chosen not in row["extensions"]:
        what = f"{chosen} is not taken by" if chosen else f"no extension for vectors that is taken by ({', '.join(inside) or 'none'} in the image)"
        found["extension"].append(f"{what} Immich {shown(server)}")
    elif chosen not in inside:
        found["extension"].append(f"{image} has no {chosen}")
    elif not within(parse(inside[chosen]) or (0, 0, 0), row["extensions"][chosen]):
        found["extension"].append(f"{chosen} {inside[chosen]}; Immich {shown(server)} takes {row['extensions'][chosen]}")
    for name, version in dict(request.get("installed") or {}).items():
        known = table["extension_names"].get(name)
        if known in inside and (parse(str(version)) or (0, 0, 0)) > (parse(inside[known]) or (0, 0, 0)):
            found["data"].append(f"the database uses {known} {version}, {image} has {inside[known]}")
        elif known is not None and known not in inside and known == chosen:
            found["data"].append(f"the database uses {known} {version}, {image} has none")


def _judge_cpu(level: int, server: Version, table: t.Mapping[str, t.Any], found: dict[str, list[str]]) -> None:
    needed = max((int(entry["level"]) for entry in table["cpu_levels"] if within(server, entry["immich"])), default=1)
    if 0 < level < needed:
        found["cpu"].append(f"x86-64-v{level}; machine learning {shown(server)} needs x86-64-v{needed}")


def _judge_way(recorded: Version, server: Version, installed: t.Mapping[str, t.Any], table: t.Mapping[str, t.Any], found: dict[str, list[str]]) -> None:
    if server < recorded:
        found["downgrade"].append(f"{shown(recorded)} to {shown(server)}")
    for step in table["steps"]:
        if within(recorded, step["from"]) and within(server, step["to"]):
            found["step"].append(f"{shown(recorded)} to {shown(server)}: {step['reason']}; go through {step['through']} first")
    extensions = {table["extension_names"].get(name) for name in installed}
    for entry in table["conversions"]:
        if within(server, entry["to"]) and entry["extension"] in extensions and not extensions & set(entry["unless"]):
            found["step"].append(f"{shown(recorded)} to {shown(server)}: {entry['reason']}")
