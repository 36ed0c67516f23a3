# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Traefik's log and API say about one of its dynamic files. Pure functions. Private to the collection."""

from __future__ import annotations

import contextlib
import json
import os
import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding, nearest

KINDS = ("routers", "middlewares", "services", "tcpRouters", "tcpMiddlewares", "tcpServices", "udpRouters", "udpServices")
# What depends on other files, on the moment, or on where it runs.
_PASSING = ("usedBy", "using", "serverStatus", "observability")
_BROKEN = re.compile(r"(?:collecting file configs: |loading configuration from file: )?(/\S+?): (.*)", re.DOTALL)
# what a Traefik without its plugins says about routers and middlewares that use one
_PLUGIN = re.compile(r"plugin|invalid middleware type or middleware does not exist")
_ABSENT = re.compile(r"(?:middleware|service|servers transport) (?:not found )?\\?\"?([\w.-]+)@(\w+)\\?\"?(?: does not exist)?")

Objects = dict[tuple[str, str], dict[str, t.Any]]


def objects(rawdata: t.Mapping[str, t.Any]) -> Objects:
    """(kind, name) -> definition of everything the file provider gave, without the provider's name."""
    found: Objects = {}
    for kind in KINDS:
        for name, definition in (rawdata.get(kind) or {}).items():
            if name.endswith("@file"):
                found[kind, name[: -len("@file")]] = definition
    return found


def lasting(definition: t.Mapping[str, t.Any] | None) -> dict[str, t.Any] | None:
    """A definition as two Traefiks with the same files agree on."""
    if definition is None:
        return None
    kept = {key: value for key, value in definition.items() if key not in _PASSING}
    if (kept.get("tls") or {}).get("options") == "default":  # Traefik fills it in by and by
        kept["tls"] = {key: value for key, value in kept["tls"].items() if key != "options"}
    return kept


def difference(wanted: Objects, seen: Objects, names: t.Iterable[tuple[str, str]]) -> str | None:
    """The first of names that is not as wanted, in words. None when all are."""
    for kind, name in sorted(names):
        expected, found = lasting(wanted.get((kind, name))), lasting(seen.get((kind, name)))
        if expected == found:
            continue
        what = f"{_one(kind)} {name}"
        if found is None:
            return f"it does not show the {what}"
        if expected is None:
            return f"it still shows the {what}"
        keys = [key for key in sorted({*expected, *found}) if expected.get(key) != found.get(key)]
        return f"its {what} differs in {', '.join(keys)}"
    return None


def seconds(duration: str) -> float:
    """A duration as Go writes it, such as 1m30s. Raises ValueError."""
    parts = re.findall(r"([0-9.]+)(h|ms|m|s|us|µs|ns)", duration)
    if "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"not a duration: {duration}")
    return sum(float(number) * {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}[unit] for number, unit in parts)


def read_timeouts(entry_points: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, float]:
    """Entry point -> seconds in which a request has to be read, 0 for no limit (which the API leaves out)."""
    found = {}
    for entry in entry_points:
        limits = (entry.get("transport") or {}).get("respondingTimeouts") or {}
        found[str(entry.get("name"))] = seconds(str(limits.get("readTimeout") or "0s"))
    return found


def plugins(shown: Objects) -> dict[str, list[str]]:
    """Plugin -> routers which need it."""
    found: dict[str, list[str]] = {}
    for (kind, dummy), definition in sorted(shown.items()):
        if kind == "middlewares":
            for name in definition.get("plugin") or {}:
                found.setdefault(name, []).extend(user.partition("@")[0] for user in definition.get("usedBy") or [])
    return {name: sorted(set(users)) for name, users in found.items()}


def log_lines(text: str) -> list[dict[str, t.Any]]:
    """The entries of a log in JSON, each perhaps behind podman's time stamp. Other lines are left out."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line[line.index("{") :]))
    return found


def broken(entries: t.Iterable[t.Mapping[str, t.Any]], place: str) -> tuple[str, str] | None:
    """(path below place, reason) of a file that Traefik cannot read. It stops at the first one."""
    for entry in entries:
        if entry.get("providerName") != "file" or entry.get("level") not in ("error", "fatal") or entry.get("routerName"):
            continue
        match = _BROKEN.search(str(entry.get("error", "")))
        if match:
            return os.path.relpath(match.group(1), place), match.group(2)
        return "", str(entry.get("error") or entry.get("message"))
    return None


def broken_findings(found: tuple[str, str], root: str, ours: str) -> list[Finding]:
    path, why = found
    if path == ours:
        return [Finding(os.path.join(root, path), f"Traefik cannot read it: {why}")]
    place = os.path.join(root, path) if path else root
    return [
        Finding(
            place,
            f"this file, which is not ours, is broken: {why}. Traefik takes no change of any file until it is mended, and loses all of them at its next start",
            "its owner has to mend it; nothing was changed",
        )
    ]


def clashes(entries: t.Iterable[t.Mapping[str, t.Any]], root: str, ours: str, own: t.Container[str], texts: t.Mapping[str, str]) -> list[Finding]:
    """Names that more than one file has.

    own: names in our file. texts: path below root -> text of all files, to find the other one (Traefik names only the loser).
    """
    found = []
    for entry in entries:
        message = str(entry.get("message", ""))
        if not message.endswith("already configured, skipping"):
            continue
        name = next((str(value) for key, value in entry.items() if key.endswith("Name") and key != "providerName"), "?")
        loser = str(entry.get("origin", "?"))
        what = message[: -len(" already configured, skipping")].replace("HTTP ", "").lower()
        having = re.compile(rf"^[\s\"'{{,\[]*[\"']?{re.escape(name)}[\"']?\s*:|[{{,]\s*[\"']?{re.escape(name)}[\"']?\s*:|\.{re.escape(name)}\b", re.MULTILINE)
        others = sorted(path for path, text in texts.items() if having.search(text) and os.path.basename(path) != os.path.basename(loser))
        where = " and ".join(os.path.join(root, path) for path in [*others[:1], loser])
        if os.path.basename(loser) == os.path.basename(ours) or (name in own and ours in others):
            remedy = "remove or rename it in the file that is not ours; Traefik takes the one of the alphabetically first file and ignores the other"
            found.append(Finding(os.path.join(root, ours), f"the {what} {name} is in more than one file: {where}", remedy))
        else:
            found.append(Finding(os.path.join(root, loser), f"the {what} {name} is in more than one file: {where}", "not ours", severity="warning"))
    return found


def refusals(own: t.Iterable[tuple[str, str]], shown: Objects, path: str, plugins_failed: str | None) -> list[Finding]:
    """What the API says against our objects.

    plugins_failed: why the throw-away has no plugins, so that complaints about them mean nothing.
    """
    found = []
    names = {kind: sorted(name for other, name in shown if other == kind) for kind in KINDS}
    for kind, name in sorted(own):
        definition = shown.get((kind, name))
        if definition is None:
            found.append(Finding(path, f"Traefik does not show the {_one(kind)} {name}"))
            continue
        if definition.get("status", "enabled") == "enabled":
            continue
        for reason in definition.get("error") or ["it is not enabled, without a reason"]:
            if plugins_failed and _PLUGIN.search(reason):
                why = f"the {_one(kind)} {name} needs a plugin that could not be loaded for the trial: {plugins_failed}"
                found.append(Finding(path, why, "the live Traefik has the last word", severity="warning"))
                continue
            match = _ABSENT.search(reason)
            near = nearest(match.group(1), [n for n in [*names["middlewares"], *names["services"]] if n != match.group(1)]) if match else None
            found.append(Finding(path, f"the {_one(kind)} {name} is not valid: {reason}", f"there is {near}@file" if near else ""))
    return found


def victims(own: t.Container[tuple[str, str]], live: Objects, shown: Objects, root: str, plugins_failed: str | None) -> list[Finding]:
    """Objects of others that work now and would not any more."""
    found = []
    for (kind, name), definition in sorted(shown.items()):
        if (kind, name) in own or definition.get("status", "enabled") == "enabled":
            continue
        reasons = "; ".join(definition.get("error") or ["no reason given"])
        works = (live.get((kind, name)) or {}).get("status") == "enabled"
        if works and not (plugins_failed and _PLUGIN.search(reasons)):
            found.append(Finding(root, f"the {_one(kind)} {name} of another file works now and would not with this change: {reasons}"))
    return found


def plugins_failure(entries: t.Iterable[t.Mapping[str, t.Any]]) -> str | None:
    """Why a Traefik runs without plugins."""
    for entry in entries:
        text = f"{entry.get('message', '')} {entry.get('error', '')}".strip()
        if entry.get("level") in ("error", "warn") and re.search(r"plugins? (are|is) disabled|unable to (set ?up|create) plugins?", text, re.IGNORECASE):
            return text
    return None


def templates(content: str, path: str) -> list[Finding]:
    """Traefik runs its files through a template engine before it parses them."""
    return [
        Finding(path, "holds '{{', which Traefik takes for a template", "write what the template would give", line=number)
        for number, line in enumerate(content.splitlines(), 1)
        if "{{" in line
    ]


def _one(kind: str) -> str:
    return re.sub(r"^(tcp|udp)", r"\1 ", kind).lower()[:-1]
