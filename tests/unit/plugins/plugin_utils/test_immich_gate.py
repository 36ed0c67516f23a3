# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate of the images, with the table that the role immich has."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.patriark.homelab.plugins.filter.immich_gate import immich_gate
from ansible_collections.patriark.homelab.plugins.plugin_utils._immich_gate import RULES, TableError, contents, judge, release, within

ROOT = pathlib.Path(__file__).resolve().parents[4]
ROLE = ROOT / "roles/immich"
TABLE = yaml.safe_load((ROLE / "vars/main/releases.yml").read_text(encoding="utf-8"))["__immich_releases"]
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
CHECKS = yaml.safe_load((ROLE / "vars/main/images.yml").read_text(encoding="utf-8"))["__immich_image_checks"]
SERVER, ML = "ghcr.io/immich-app/immich-server:", "ghcr.io/immich-app/immich-machine-learning:"
DATABASE = DEFAULTS["immich_database_image"]


def found(**changes):
    """Rules with findings, for a deployment of the defaults with changes."""
    version = changes.pop("version", "v2.5.5")
    request = {"server": SERVER + version, "ml": ML + version, "database": DATABASE, "redis": DEFAULTS["immich_redis_image"], "cpu": 3, **changes}
    return {rule: texts for rule, texts in judge(request, TABLE)["findings"].items() if texts}


def test_the_defaults_pass():
    assert found() == {}
    assert found(recorded=SERVER + "v2.5.5", data="14", installed={"vchord": "0.4.3", "vector": "0.8.0"}) == {}


def test_every_rule_has_a_row_and_can_fail():
    queried = " ".join(row["query"] for row in CHECKS)
    assert all(f"images.findings.{rule}" in queried for rule in RULES)


@pytest.mark.parametrize("tag", ["release", "latest", "v2", "2", "main", "release-cuda"])
def test_floating_tags(tag):
    assert SERVER + tag in found(server=SERVER + tag)["floating"]
    assert "floating" not in found(server=SERVER + tag, allow_floating=True)
    assert "floating" not in found(server=SERVER + tag + "@sha256:" + "0" * 64)


def test_an_image_without_a_tag_floats_and_a_port_is_no_tag():
    assert "floating" in found(redis="registry.local:5000/valkey")
    assert "floating" not in found(redis="registry.local:5000/valkey:8.1.1")


def test_server_and_machine_learning_are_equal():
    assert "equal" in found(ml=ML + "v2.5.4")
    assert "equal" not in found(ml=ML + "v2.5.5-openvino")
    assert "equal" not in found(ml="")
    assert "version" in found(server=SERVER + "release", allow_floating=True)


@pytest.mark.parametrize("name", ["tensorchord/cloudnative-pgvecto.rs:14-v0.4.0", "docker.io/tensorchord/cloudnative-pgvecto.rs:14-v0.2.0"])
def test_the_cards_database_image_is_refused_with_the_reason(name):
    assert "no VectorChord" in found(database=name)["refused"][0]


@pytest.mark.parametrize(
    ("version", "image", "rule"),
    [
        ("v2.4.1", "ghcr.io/immich-app/postgres:14-vectorchord0.5.3", None),
        ("v2.4.1", "ghcr.io/immich-app/postgres:14-vectorchord1.0.0", "extension"),
        ("v2.5.0", "ghcr.io/immich-app/postgres:14-vectorchord1.0.0", None),
        ("v2.5.5", "ghcr.io/immich-app/postgres:18-vectorchord1.1.1", None),
        ("v2.5.5", "ghcr.io/immich-app/postgres:14-vectorchord2.0.0", "extension"),
        ("v2.5.5", "ghcr.io/immich-app/postgres:14-vectorchord0.2.2", "extension"),
        ("v2.5.5", "ghcr.io/immich-app/postgres:13-vectorchord0.4.3", "postgresql"),
        ("v2.5.5", "ghcr.io/immich-app/postgres:19-vectorchord1.1.1", "postgresql"),
        ("v2.5.5", "docker.io/tensorchord/pgvecto-rs:pg14-v0.2.0", None),
        ("v2.5.5", "docker.io/tensorchord/pgvecto-rs:pg14-v0.4.0", "extension"),
        ("v3.0.0", "docker.io/tensorchord/pgvecto-rs:pg14-v0.2.0", "extension"),
        ("v3.0.0", "ghcr.io/immich-app/postgres:14-vectorchord0.4.3-pgvectors0.2.0", None),
        ("v2.5.5", "docker.io/pgvector/pgvector:0.8.0-pg17", None),
        ("v2.5.5", "docker.io/pgvector/pgvector:0.4.4-pg17", "extension"),
        ("v2.5.5", "localhost/homelab-test/postgres:17-pgvector0.8.0", None),
        ("v2.5.5", "docker.io/library/postgres:17", "unknown"),
    ],
)
def test_database_images(version, image, rule):
    rules = set(found(version=version, database=image, allow_floating=True))
    assert rules == ({rule} if rule else set())


def test_the_chosen_extension_has_to_be_in_the_image():
    assert "extension" in found(vector_extension="pgvector")
    assert "extension" in found(version="v3.0.0", vector_extension="pgvecto.rs")
    assert found(vector_extension="pgvecto.rs") == {}


@pytest.mark.parametrize(
    ("recorded", "version", "rule"),
    [
        ("v1.131.3", "v1.137.0", "step"),
        ("v1.131.3", "v2.5.5", "step"),
        ("v1.106.0", "v1.133.0", "step"),
        ("v1.132.0", "v1.137.0", None),
        ("v1.136.0", "v2.5.5", None),
        ("v1.131.3", "v1.136.0", None),
        ("v2.5.5", "v3.2.0", None),
        ("v2.5.5", "v2.5.4", "downgrade"),
        ("v3.0.0", "v2.7.5", "downgrade"),
        ("v2.5.5", "v2.5.5", None),
    ],
)
def test_ways_between_releases(recorded, version, rule):
    rules = set(found(version=version, recorded=SERVER + recorded))
    assert rules == ({rule} if rule else set())


def test_a_step_names_the_release_to_go_through():
    assert "go through v1.132.3 first" in found(version="v2.5.5", recorded=SERVER + "v1.131.3")["step"][0]


def test_pgvecto_rs_has_to_go_before_release_3():
    old = {"vectors": "0.2.0"}
    assert "step" in found(version="v3.0.0", recorded=SERVER + "v2.7.5", installed=old)
    assert found(version="v3.0.0", recorded=SERVER + "v2.7.5", installed={**old, "vchord": "0.4.3"}) == {}
    assert found(version="v2.7.5", recorded=SERVER + "v2.5.5", installed=old) == {}


def test_the_image_has_to_open_the_data():
    assert "data" in found(data="17")
    assert "data" in found(installed={"vchord": "1.0.0"})
    assert "data" in found(installed={"vector": "0.8.0"}, database="docker.io/pgvector/pgvector:0.7.0-pg14", data="14")
    assert "data" not in found(installed={"vchord": "0.3.0"})


@pytest.mark.parametrize(
    ("version", "level", "fits"), [("v2.5.5", 1, True), ("v2.6.0", 1, False), ("v2.6.0", 2, True), ("v3.0.0", 1, False), ("v3.0.0", 0, True)]
)
def test_processor(version, level, fits):
    assert ("cpu" not in found(version=version, cpu=level)) is fits
    assert "cpu" not in found(version=version, cpu=level, ml="")


def test_reading():
    assert release(SERVER + "v2.5.5-cuda@sha256:" + "0" * 64) == (2, 5, 5)
    assert release("registry:5000/immich-server") is None
    assert contents(DATABASE, TABLE["database_images"]) == {"postgresql": "14", "vectorchord": "0.4.3", "pgvecto.rs": "0.2.0"}
    assert within((0, 4, 0), ">=0.3 <2")
    assert not within((2, 0, 0), ">=0.3 <2")
    with pytest.raises(TableError):
        within((1, 0, 0), "~1")


def test_the_table_has_one_row_for_every_release():
    for version in [(1, 133, 0), (2, 4, 1), (2, 5, 0), (2, 7, 5), (3, 0, 0), (3, 3, 0)]:
        assert sum(within(version, row["immich"]) for row in TABLE["ranges"]) == 1


def test_the_filter_says_what_it_cannot_read():
    with pytest.raises(AnsibleFilterError, match="floating_tags"):
        immich_gate({"server": SERVER + "v2.5.5"}, {})
    with pytest.raises(AnsibleFilterError):
        immich_gate([], TABLE)
