# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Version ranges and the choice of the vector extension."""

from __future__ import annotations

import pytest
from immich_server import names, schema, versions

PGVECTOR, VECTORS, CHORD = versions.EXTENSIONS["pgvector"], versions.EXTENSIONS["pgvecto.rs"], versions.EXTENSIONS["vectorchord"]


@pytest.mark.parametrize(
    ("version", "accepted", "fits"),
    [
        ("0.8.0", ">=0.5 <1", True),
        ("0.4.4", ">=0.5 <1", False),
        ("1.0.0", ">=0.5 <1", False),
        ("0.3", ">=0.3 <2", True),
        ("1.1.1", ">=0.3 <2", True),
        ("2.0.0", ">=0.3 <2", False),
        ("0.3.9", ">=0.2 <0.4", True),
        ("0.4.0", ">=0.2 <0.4", False),
        ("17.12 (Debian 17.12-0+deb13u1)", ">=14.0.0", True),
        ("13.22", ">=14.0.0", False),
    ],
)
def test_ranges(version: str, accepted: str, fits: bool) -> None:
    assert versions.satisfies(version, accepted) is fits


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        (["vector"], PGVECTOR),
        (["vector", "vectors"], VECTORS),
        (["vector", "vectors", "vchord"], CHORD),
        (["vector", "vchord"], CHORD),
    ],
)
def test_the_first_available_is_chosen_in_the_original_order(available: list[str], chosen: versions.Extension) -> None:
    assert versions.choose_extension("", dict.fromkeys(available, "1")) == chosen


def test_a_wish_wins_over_what_is_available() -> None:
    assert versions.choose_extension("vectorchord", {"vector": "0.8.0"}) == CHORD


def test_nothing_available_is_refused() -> None:
    with pytest.raises(versions.Unsupported, match="No vector extension found"):
        versions.choose_extension("", {})


def test_the_card_s_database_is_refused_with_the_range() -> None:
    with pytest.raises(versions.Unsupported, match=r"The pgvecto\.rs extension version is 0\.4\.0, but Immich only supports >=0\.2 <0\.4\."):
        versions.plan_extension(VECTORS, "0.4.0", None)


def test_a_missing_extension_is_refused() -> None:
    with pytest.raises(versions.Unsupported, match="The VectorChord extension is not available in this Postgres instance"):
        versions.plan_extension(CHORD, None, None)


def test_a_downgrade_is_refused() -> None:
    with pytest.raises(versions.Unsupported, match=r"has pgvector 0\.8\.0 activated, but the Postgres instance only has 0\.7\.4"):
        versions.plan_extension(PGVECTOR, "0.7.4", "0.8.0")


def test_a_nightly_is_refused() -> None:
    with pytest.raises(versions.Unsupported, match="nightly"):
        versions.plan_extension(VECTORS, "0.0.0", None)


@pytest.mark.parametrize(("installed", "todo"), [(None, "create"), ("0.7.4", "update"), ("0.8.0", "keep")])
def test_what_has_to_be_done(installed: str | None, todo: str) -> None:
    assert versions.plan_extension(PGVECTOR, "0.8.0", installed) == todo


def test_an_old_server_is_refused() -> None:
    versions.check_postgres("14.0")
    with pytest.raises(versions.Unsupported, match=r"Found 13\.22, but needed >=14\.0\.0"):
        versions.check_postgres("13.22")


def test_migrations_run_in_order_once_and_never_backwards() -> None:
    known = names.MIGRATIONS
    assert list(known) == sorted(set(known))
    assert schema.pending([], known) == list(known)
    assert schema.pending(known[:1], known) == list(known[1:])
    assert schema.pending(known, known) == []
    with pytest.raises(schema.SchemaError, match="previously executed migration 9-Newer is missing"):
        schema.pending([*known, "9-Newer"], known)


def test_the_newer_release_knows_the_migrations_of_the_older_one_and_not_the_other_way_round() -> None:
    newer = [*names.OLD_MIGRATIONS, *names.NEW_MIGRATIONS]
    assert newer == sorted(set(newer))
    assert schema.pending(names.OLD_MIGRATIONS, newer) == names.NEW_MIGRATIONS
    with pytest.raises(schema.SchemaError, match=names.NEW_MIGRATIONS[0]):
        schema.pending(newer, names.OLD_MIGRATIONS)


def test_only_the_first_migration_makes_tables() -> None:
    assert all(f"CREATE TABLE {name} " in schema.sql_of(names.MIGRATIONS[0]) for name in ("asset", "smart_search", "version_history"))
    assert {schema.sql_of(name) for name in names.MIGRATIONS[1:]} == {""}
