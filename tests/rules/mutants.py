# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged copies of the rules, to see that the suites notice.

The rules of the objectives come from one macro, so a damage is done once for each text that differs by more than the name of the objective
and the window; windows themselves are damaged everywhere. Of other options than the default ones only the rules are damaged that do not exist otherwise.
"""

from __future__ import annotations

import copy
import re
import typing as t

import promql

# Damages that change no result, and why. By a pattern over "rule: damage".
EQUIVALENT = {
    r"^slo:(current|period)_burn_rate.*: max made min": "one series",
    r"^slo:period_error_budget_remaining:requests: max made min": "one series",
    r"(Fast|Slow)Burn: max made min": "one series",
    r"^Immich(Database|Cache)Down: max made min": "one series",
    r"^(slo:sli_events|immich:thumbnail_failures|ImmichRouterMetricsMissing).*: (max made min|\* made /) \(": "targets that are up have 1, others nothing",
    r"^slo:(sli_error|current_burn_rate|period_\w+):\w+: label sloth_\w+ removed": "the series it reads have that label",
    r"^slo:sli_error:\w+: 0 made 1 \(": "this side counts only where no events are, and nothing it is",
    r"^ImmichRetentionTooShort: 0 made 1 ": "no retention lies between nothing and a second",
    r"^ImmichWatchdog: 1 made": "an alert fires whatever its value is",
    r"^Immich(Probe|Certificate)\w+: label app removed": 'the matcher app="immich" leaves that label on what it finds, and absent() takes it from there',
    r"^slo:sli_bad_events.*: sum made max": "one series",
}


class Mutant(t.NamedTuple):
    group: str
    rule: str
    damage: str
    rules: dict[str, t.Any]  # the whole group, damaged
    variant: str


def name_of(rule: t.Mapping[str, t.Any]) -> str:
    return str(rule.get("record") or rule["alert"])


def equivalent(mutant: Mutant) -> str | None:
    told = f"{mutant.rule}: {mutant.damage}"
    return next((why for pattern, why in EQUIVALENT.items() if re.search(pattern, told)), None)


def make(variants: t.Mapping[str, t.Sequence[dict[str, t.Any]]]) -> list[Mutant]:
    found: list[Mutant] = []
    known: set[str] = set()
    for variant, groups in variants.items():
        found += _make(variant, groups, known)
        known |= {family_name(name_of(rule)) for group in groups for rule in group["rules"]}
    return found


def family_name(rule: str) -> str:
    return re.sub(r"(increase|ratio_rate)\d\w+$", r"\1", rule)


def _make(variant: str, groups: t.Sequence[dict[str, t.Any]], known: set[str]) -> list[Mutant]:
    seen: set[tuple[str, str]] = set()
    found = []
    for group in groups:
        for place, rule in enumerate(group["rules"]):
            for what, changed in _damaged(rule) if family_name(name_of(rule)) not in known else ():
                key = (_family(rule, "window" in what), what)
                if key in seen:
                    continue
                seen.add(key)
                whole = copy.copy(group)
                whole["rules"] = [*group["rules"][:place], changed, *group["rules"][place + 1 :]]
                found.append(Mutant(group["name"], name_of(rule), what, whole, variant))
    return found


def _family(rule: t.Mapping[str, t.Any], exact: bool) -> str:
    text = name_of(rule) + rule["expr"]
    if exact:
        return text
    text = re.sub(r"immich-(availability|upload)(?!@)", "immich-SLO", re.sub(r"Immich(Availability|Upload)", "ImmichSLO", text))
    return re.sub(r"(?<=\[)\w+(?=\])|(?<=increase)\d\w+|(?<=ratio_rate)\d\w+", "W", text) if "record" in rule else text


def _damaged(rule: dict[str, t.Any]) -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    for what, expr in promql.mutants(rule["expr"]):
        yield what, {**rule, "expr": expr}
    if "for" in rule:
        yield "for removed", {key: value for key, value in rule.items() if key != "for"}
        number, unit = re.fullmatch(r"(\d+)(\w+)", rule["for"]).groups()
        yield "for doubled", {**rule, "for": f"{int(number) * 2}{unit}"}
    for label in rule.get("labels", {}):
        yield f"label {label} removed", {**rule, "labels": {key: value for key, value in rule["labels"].items() if key != label}}
        yield f"label {label} changed", {**rule, "labels": {**rule["labels"], label: "damaged"}}
