# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role immich_monitoring: rendered by Ansible, judged and tested by promtool, then damaged to see that the tests notice.

    tests/rules/check.py                 all suites
    tests/rules/check.py SUITE...        only these
    tests/rules/check.py --damage        all suites, and then the damaged rules
    tests/rules/check.py --group NAME    the same, but only the rules of this group are damaged

promtool is taken from PROMTOOL, from .cache/prometheus (tests/setup puts it there) or from PATH.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t

import dashboard
import mutants
import rendering
import yaml

HERE = pathlib.Path(__file__).resolve().parent
SUITES = HERE / "suites"
BATCH = 24  # situations in one process of promtool
LOADER: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# One for which 0x60, sixty times nothing, is no number of base 16.
SUITE_LOADER: t.Any = type("SuiteLoader", (LOADER,), {})
INT = "tag:yaml.org,2002:int"
SUITE_LOADER.yaml_implicit_resolvers = {
    first: [(tag, re.compile(r"[-+]?(0|[1-9][0-9]*)$") if tag == INT else pattern) for tag, pattern in pairs]
    for first, pairs in LOADER.yaml_implicit_resolvers.items()
}


def promtool() -> str:
    cached = rendering.ROOT / ".cache/prometheus/promtool"
    found = os.environ.get("PROMTOOL") or (str(cached) if cached.is_file() else shutil.which("promtool"))
    if not found:
        sys.exit("tests/rules: no promtool; run tests/setup")
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    # Each process has a core of its own; the heap is small enough to be collected seldom.
    return subprocess.run([promtool(), *words], text=True, capture_output=True, check=False, env={**os.environ, "GOMAXPROCS": "1", "GOGC": "400"})


def test(paths: t.Sequence[pathlib.Path]) -> dict[pathlib.Path, str]:
    """What promtool says against each of the suites that fail."""
    if not paths:
        return {}
    done = run("test", "rules", *map(str, paths))
    parts = re.split(r"(?m)^Unit Testing:  (.*)\n", done.stdout)
    verdicts = dict(zip(parts[1::2], parts[2::2]))
    if set(verdicts) != set(map(str, paths)):
        raise RuntimeError(f"promtool did not test all of the suites:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    # its complaints go to the other stream, without a name
    return {pathlib.Path(path): done.stderr for path, said in verdicts.items() if "SUCCESS" not in said}


class Situation(t.NamedTuple):
    """One test of a suite, in a file of its own: of a damaged rule each is asked by itself."""

    name: str
    text: str
    weight: float


class Suite(t.NamedTuple):
    name: str
    text: str
    situations: t.Sequence[Situation]
    reads: frozenset[str]  # VARIANT/GROUP.yml


def suites() -> list[Suite]:
    found = []
    for path in sorted(SUITES.glob("*.yml")):
        text = path.read_text(encoding="utf-8")
        if "SLO" in text:
            found += [_suite(f"{path.stem}@{slo}", text.replace("SLO", slo).replace("TITLE", slo.title())) for slo in ("availability", "upload")]
        else:
            found.append(_suite(path.stem, text))
    return found


def _suite(name: str, text: str) -> Suite:
    content = yaml.load(text, SUITE_LOADER)
    rest = {key: value for key, value in content.items() if key != "tests"}
    situations = [
        # evaluations are what takes the time
        Situation(
            f"{name}.{number}",
            json.dumps({**rest, "tests": [one]}),
            max(_minutes(row["eval_time"]) for row in one["promql_expr_test"]) / _minutes(content["evaluation_interval"]),
        )
        for number, one in enumerate(content["tests"])
    ]
    return Suite(name, text, situations, frozenset(content["rule_files"]))


def _minutes(text: str | float) -> float:
    if not isinstance(text, str):
        return text
    return int(text[:-1]) * {"m": 1, "h": 60, "d": 1440}[text[-1]]


def write(path: pathlib.Path, content: t.Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")  # which is YAML, and quickly written


def render(folder: pathlib.Path) -> dict[str, list[dict[str, t.Any]]]:
    """Each variant as a whole and by group; promtool accepts all of them."""
    found = {}
    for variant in rendering.VARIANTS:
        whole = folder / f"{variant}.yml"
        whole.write_text(rendering.rules(variant), encoding="utf-8")
        found[variant] = yaml.load(whole.read_text(encoding="utf-8"), LOADER)["groups"]
        for group in found[variant]:
            write(folder / variant / f"{group['name']}.yml", {"groups": [group]})
    done = run("check", "rules", "--lint=all", "--lint-fatal", *(str(folder / f"{variant}.yml") for variant in rendering.VARIANTS))
    if done.returncode != 0:
        sys.exit(f"promtool does not accept the rules:\n{done.stdout}{done.stderr}")
    return found


def check_dashboard(folder: pathlib.Path) -> None:
    """Every query of the dashboard is PromQL."""
    queries = [query["expr"] for panel in dashboard.panels() for query in panel.get("targets", [])]
    exprs = [re.sub(r"\$\w+", "immich", expr.replace("$__rate_interval", "5m").replace("${1}", "1")) for expr in queries]
    rules = [{"record": f"panel{number}", "expr": expr} for number, expr in enumerate(exprs)]
    write(folder / "dashboard.yml", {"groups": [{"name": "dashboard", "rules": rules}]})
    done = run("check", "rules", "--lint=none", str(folder / "dashboard.yml"))
    if done.returncode != 0 or not rules:
        sys.exit(f"promtool does not accept the queries of the dashboard:\n{done.stdout}{done.stderr}")


def parallel(work: t.Callable[[t.Any], t.Any], items: t.Iterable[t.Any]) -> t.Iterator[t.Any]:
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("RULES_JOBS") or os.cpu_count() or 1)) as pool:
        yield from pool.map(work, items)


def check_suites(folder: pathlib.Path, chosen: t.Sequence[Suite]) -> list[str]:
    for suite in chosen:
        (folder / f"{suite.name}.test.yml").write_text(suite.text, encoding="utf-8")
    failed = parallel(lambda suite: (suite, test([folder / f"{suite.name}.test.yml"])), chosen)
    return [f"{suite.name}: {next(iter(said.values())).strip()}" for suite, said in failed if said]


def survivors(folder: pathlib.Path, damaged: list[mutants.Mutant], chosen: t.Sequence[Suite]) -> list[tuple[mutants.Mutant, list[str]]]:
    """Those that no situation noticed, with the suites that were asked. The likely situations are asked first, and more of them in each turn."""
    alive = dict(enumerate(damaged))
    asked = {number: [suite for suite in chosen if f"{mutant.variant}/{mutant.group}.yml" in suite.reads] for number, mutant in alive.items()}
    to_ask = {number: _order(mutant, asked[number]) for number, mutant in alive.items()}
    single = {folder / f"{situation.name}.test.yml": situation for suite in chosen for situation in suite.situations}
    for path, situation in single.items():
        path.write_text(situation.text, encoding="utf-8")
    for wrong in parallel(test, batches(list(single))):
        if wrong:
            raise RuntimeError(f"alone, these fail without any damage: {wrong}")
    for number, mutant in alive.items():
        place = folder / "mutants" / str(number)
        write(place / mutant.variant / f"{mutant.group}.yml", {"groups": [mutant.rules]})
        for path in (folder / mutant.variant).glob("*.yml"):
            if path.stem != mutant.group:
                (place / mutant.variant / path.name).symlink_to(path)
        for situation in to_ask[number]:
            (place / f"{situation.name}.test.yml").symlink_to(folder / f"{situation.name}.test.yml")
    begin, end = 0, 1
    while any(begin < len(to_ask[number]) for number in alive):
        places = [folder / "mutants" / str(number) / f"{situation.name}.test.yml" for number in alive for situation in to_ask[number][begin:end]]
        for killed in parallel(test, batches(places)):
            for path in killed:
                alive.pop(int(path.parent.name), None)
        begin, end = end, end * 2
    return [(mutant, [suite.name for suite in asked[number]]) for number, mutant in alive.items()]


def batches(paths: t.Sequence[pathlib.Path]) -> list[t.Sequence[pathlib.Path]]:
    return [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]


def _order(mutant: mutants.Mutant, reading: t.Iterable[Suite]) -> list[Situation]:
    """Those first that speak of the rule, the quick ones first."""
    name = mutants.family_name(mutant.rule)
    return sorted((situation for suite in reading for situation in suite.situations), key=lambda situation: (name not in situation.text, situation.weight))


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("suites", nargs="*")
    parser.add_argument("--damage", action="store_true")
    parser.add_argument("--group")
    asked_for = parser.parse_args()
    wanted = asked_for.suites
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rules-") as name:
        folder = pathlib.Path(name)
        groups = render(folder)
        check_dashboard(folder)
        chosen = [suite for suite in suites() if not wanted or suite.name.split("@")[0] in wanted]
        failures = check_suites(folder, chosen)
        cases = sum(len(suite.situations) for suite in chosen)
        print(f"{len(groups)} variants, {sum(len(group['rules']) for group in groups['default'])} rules, {cases} situations in {len(chosen)} suites")
        if failures:
            print("\n".join(failures))
            return 1
        if wanted or not (asked_for.damage or asked_for.group):
            return 0
        made = [mutant for mutant in mutants.make(groups) if asked_for.group in (None, mutant.group)]
        harmless = [mutant for mutant in made if mutants.equivalent(mutant)]
        alive = survivors(folder, [mutant for mutant in made if mutant not in harmless], chosen)
        told = collections.Counter(str(mutants.equivalent(mutant)) for mutant in harmless)
        print(f"{len(made)} damages: {len(made) - len(harmless) - len(alive)} noticed, {len(harmless)} without effect, {len(alive)} not noticed")
        print("\n".join(f"  {count} without effect: {why}" for why, count in told.items()))
        for mutant, asked in alive:
            print(f"  not noticed by {', '.join(asked)}: {mutant.rule}: {mutant.damage}")
    print(f"{time.monotonic() - start:.0f} s")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
