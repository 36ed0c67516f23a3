# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings file, cron expressions, metrics and dump names of the server stand-in."""

from __future__ import annotations

import datetime as dt

import pytest
from immich_server import config, dumps, metrics

# Settings


def test_a_partial_file_changes_what_it_names_and_unknown_keys_are_told() -> None:
    merged, unknown = config.merge(config.defaults(), {"server": {"externalDomain": "https://x", "nope": 1}, "extra": {}})
    assert merged["server"]["externalDomain"] == "https://x"
    assert merged["trash"] == config.DEFAULTS["trash"]
    assert unknown == ["server.nope", "extra"]
    assert config.DEFAULTS["server"]["externalDomain"] == ""


@pytest.mark.parametrize(
    "override",
    [{"trash": {"days": "thirty"}}, {"trash": {"enabled": 1}}, {"trash": {"days": True}}, {"trash": 5}, {"machineLearning": {"urls": "x"}}, [], "x"],
)
def test_values_of_the_wrong_kind_are_refused(override: object) -> None:
    with pytest.raises(config.InvalidConfig):
        config.merge(config.defaults(), override)


def test_the_environment_changes_the_default_url_only() -> None:
    base = config.defaults("http://immich-ml:3003")
    assert base["machineLearning"]["urls"] == ["http://immich-ml:3003"]
    assert config.merge(base, {"machineLearning": {"urls": ["http://saved"]}})[0]["machineLearning"]["urls"] == ["http://saved"]


def test_an_update_must_name_everything() -> None:
    whole = config.defaults()
    assert config.missing(whole, whole) == []
    given = config.defaults()
    del given["trash"]["days"]
    del given["user"]
    assert config.missing(whole, given) == ["trash.days", "user"]


def test_only_differences_are_kept() -> None:
    changed = config.defaults()
    changed["trash"]["days"] = 7
    assert config.difference(config.defaults(), changed) == {"trash": {"days": 7}}
    assert config.merge(config.defaults(), {"trash": {"days": 7}})[0] == changed


@pytest.mark.parametrize(
    ("expression", "when", "due"),
    [
        ("0 02 * * *", "2026-11-22 02:00", True),
        ("0 02 * * *", "2026-11-22 02:01", False),
        ("*/15 * * * *", "2026-11-22 07:45", True),
        ("*/15 * * * *", "2026-11-22 07:46", False),
        ("0 0 1,15 * *", "2026-11-15 00:00", True),
        ("0 0 * * 7", "2026-11-22 00:00", True),
        ("0 0 * * 0", "2026-11-22 00:00", True),
        ("0 0 * * 1-5", "2026-11-22 00:00", False),
        ("0 0 13 * 0", "2026-11-22 00:00", True),
        ("5/20 * * * *", "2026-11-22 00:25", True),
    ],
)
def test_cron(expression: str, when: str, due: bool) -> None:
    now = dt.datetime.fromisoformat(when)
    assert config.cron_matches(expression, now.minute, now.hour, now.day, now.month, now.isoweekday() % 7) is due


@pytest.mark.parametrize("expression", ["", "0 0 * *", "60 * * * *", "x * * * *"])
def test_bad_cron_expressions_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron|invalid"):
        config.cron_matches(expression, 0, 0, 1, 1, 0)


# Metrics


@pytest.mark.parametrize(
    ("name", "metric"),
    [("AssetGenerateThumbnails", "asset_generate_thumbnails"), ("thumbnailGeneration", "thumbnail_generation"), ("ocr", "ocr")],
)
def test_names_in_metrics(name: str, metric: str) -> None:
    assert metrics.snake(name) == metric


def test_a_counter_exists_only_after_its_first_event() -> None:
    registry = metrics.Registry(["job"])
    name = "immich_jobs_asset_generate_thumbnails_failed"
    assert name not in registry.render()
    registry.count("job", name)
    registry.count("job", name)
    assert f'# TYPE {name}_total counter\n{name}_total{{otel_scope_name="nestjs-otel"}} 2\n' in registry.render()


def test_groups_that_are_not_wanted_are_not_counted() -> None:
    registry = metrics.Registry(["job"])
    registry.count("api", "x")
    registry.gauge("api", "y", 1)
    registry.observe("repo", "z", 1)
    assert registry.render().splitlines()[2:] == ['target_info{service_name="immich"} 1']


def test_histograms_are_cumulative_and_labels_escaped() -> None:
    registry = metrics.Registry(["api"])
    for milliseconds in (3, 60, 99999):
        registry.observe("api", "http_server_duration", milliseconds, path='a"b\\c')
    text = registry.render()
    label = r'path="a\"b\\c",otel_scope_name="nestjs-otel"'
    assert f'http_server_duration_bucket{{{label},le="5"}} 1\n' in text
    assert f'http_server_duration_bucket{{{label},le="75"}} 2\n' in text
    assert f'http_server_duration_bucket{{{label},le="10000"}} 2\n' in text
    assert f'http_server_duration_bucket{{{label},le="+Inf"}} 3\n' in text
    assert f"http_server_duration_sum{{{label}}} 100062\n" in text


def test_the_host_group_has_values() -> None:
    rows = dict(line.rsplit(" ", 1) for line in metrics.Registry(["host"]).render().splitlines() if not line.startswith("#"))
    scope = 'otel_scope_name="host-metrics",otel_scope_version="0.36.2"'
    assert float(rows[f"process_memory_usage{{{scope}}}"]) > 1e6
    assert float(rows[f'system_memory_usage{{system_memory_state="used",{scope}}}']) > 1e6


# Dumps


def test_dump_names_are_the_documented_ones() -> None:
    name = dumps.dump_name("2.5.5", "17.12", dt.datetime(2026, 11, 22, 2, 0, 7, tzinfo=dt.timezone.utc))
    assert name == "immich-db-backup-20261122T020007-v2.5.5-pg17.12.sql.gz"
    assert dumps.DUMP_NAME.fullmatch(name)


def test_retention_keeps_the_newest_and_does_not_touch_other_files() -> None:
    names = [f"immich-db-backup-2026112{day}T020000-v2.5.5-pg17.12.sql.gz" for day in range(4)]
    others = ["restore-point-1.sql.gz", "uploaded-x.sql.gz", ".immich", names[0] + ".tmp"]
    assert dumps.old_dumps([*names, *others, "immich-db-backup-1700000000000.sql.gz"], 2) == [names[1], names[0], "immich-db-backup-1700000000000.sql.gz"]
    assert dumps.left_over([*names, *others]) == [names[0] + ".tmp"]
