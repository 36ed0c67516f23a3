# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podman says of pulls, as it was recorded, in words for people: who failed, how, and what to do."""

from __future__ import annotations

import json
import pathlib

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _pull_told as told

RECORDED = json.loads((pathlib.Path(__file__).parent / "data" / "podman-pull-5.4.2.json").read_text(encoding="utf-8"))
IMAGE = "docker.io/valkey/valkey:9"

# case -> (kind of the mirror's failure, kind of the registry's); one kind where podman tells of one party only
KINDS = {
    "401": ("unauthorized", "name"),
    "404": ("missing", "name"),
    "429": ("rate", "name"),
    "500": ("broken", "name"),
    "cut": ("cut",),
    "digest": ("digest",),
    "away": ("refused", "name"),
    "no password": ("unauthorized", "name"),
    "wrong password": ("unauthorized", "name"),
    "authority": ("authority", "name"),
    "dns": ("name", "name"),
    "404 blobs": ("missing",),
    "401, no mirror": ("unauthorized",),
    "404, no mirror": ("missing",),
    "500, no mirror": ("broken",),
    "cut, no mirror": ("cut",),
    "away, no mirror": ("refused",),
    "wrong password, no mirror": ("unauthorized",),
    "authority, no mirror": ("authority",),
    "dns, no mirror": ("name",),
    "unknown tag": ("missing", "name"),
    "unknown repository, no mirror": ("missing",),
    "digest of a layer": ("digest",),
    "layer missing": ("missing",),
    "no route, no mirror": ("silent",),
    "plain HTTP, no mirror": ("authority",),
    "disk full, download": ("space",),
    "disk full, unpacking": ("space",),
}


def test_every_recording_is_judged():
    assert set(KINDS) == set(RECORDED["pull"])


@pytest.mark.parametrize("case", KINDS)
def test_each_way_to_fail_is_told_apart(case):
    found = told.blames(RECORDED["pull"][case], IMAGE)
    assert tuple(blame.kind for blame in found) == KINDS[case]
    assert [blame.mirror for blame in found] == [True, False][: len(found)] if len(found) > 1 else not found[0].mirror


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        # as the large registries word it
        ("toomanyrequests: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit", "rate"),
        ("reading manifest 1 in ghcr.io/a/b: denied", "unauthorized"),
        ("requested access to the resource is denied", "unauthorized"),
        ("reading manifest 1 in quay.io/a/b: unauthorized: access to the requested resource is not authorized", "unauthorized"),
        ("name unknown: repository name not known to registry", "missing"),
        ("received unexpected HTTP status: 503 Service Unavailable", "broken"),
        ("dial tcp: lookup ghcr.io: no such host", "name"),
        ("dial tcp 192.0.2.1:443: i/o timeout", "silent"),
        ("net/http: TLS handshake timeout", "silent"),
        ("read tcp 192.0.2.1:2->192.0.2.2:443: read: connection reset by peer", "cut"),
        ('Get "https://registry.test/v2/": EOF', "cut"),
        ("no image found in image index for architecture arm64, variant v8, OS linux", "platform"),
        ("something new", "other"),
    ],
)
def test_words_of_others(said, kind):
    assert told.kind_of(said) == kind


def sentence(case, mirrors=()):
    return told.told(IMAGE, told.blames(RECORDED["pull"][case], IMAGE), mirrors)


def test_image_registry_mirror_and_remedy_are_in_the_sentence():
    reason, remedy = sentence("429")
    assert reason == f"{IMAGE} could not be pulled: the mirror registry.test: too many requests; docker.io: its name cannot be resolved"
    assert remedy.startswith("wait")
    assert sentence("wrong password")[1].endswith("podman login registry.test")
    assert "certs.d/registry.test/ca.crt" in sentence("authority")[1]
    # podman does not say who sent it
    assert sentence("digest", ["registry.test"])[0].startswith(f"{IMAGE} could not be pulled from docker.io or its mirror registry.test: what it sends")
    assert "run again" in sentence("cut")[1]


def test_a_registry_that_is_away_is_not_one_without_the_image():
    assert "does not answer" in sentence("away")[0]
    assert "does not have" not in " ".join(sentence("away"))
    assert "does not have this image" in sentence("unknown tag")[0]


def test_what_is_not_known_is_quoted():
    reason, dummy = told.told(IMAGE, told.blames("Error: something new", IMAGE), [])
    assert reason.endswith("from docker.io: podman does not say more (something new)")


def test_several_mirrors():
    said = f"Error: initializing source docker://x: (Mirrors also failed: [a.test/x:1: unauthorized]\n[b.test:5000/x:1: EOF]): {IMAGE}: no such host"
    assert [(blame.host, blame.mirror, blame.kind) for blame in told.blames(said, IMAGE)] == [
        ("a.test", True, "unauthorized"),
        ("b.test:5000", True, "cut"),
        ("docker.io", False, "name"),
    ]


@pytest.mark.parametrize(
    ("reference", "host"),
    [("ghcr.io/a/b:1", "ghcr.io"), ("caddy:2", "docker.io"), ("a/b", "docker.io"), ("localhost/x:1", "localhost"), ("house:5000/x", "house:5000")],
)
def test_the_registry_in_a_name(reference, host):
    assert told.host_of(reference) == host


def test_mirrors_are_those_of_the_longest_prefix():
    registries = {**RECORDED["registries"], "docker.io/valkey": {"Mirrors": [{"Location": "near.test:5000/v"}]}, "search": ["docker.io"]}
    assert told.mirrors_of("docker.io/prom/x:1", registries) == ["registry.test"]
    assert told.mirrors_of(IMAGE, registries) == ["near.test:5000"]
    assert told.mirrors_of("quay.io/a/b:1", registries) == []


def test_progress_is_what_podman_draws():
    progress = told.Progress()
    drawn, seen = RECORDED["drawn"], []
    assert (progress.downloading, progress.shown()) == (True, "the registry is asked")
    for start in range(0, len(drawn), 37):  # in pieces that end anywhere
        progress.hear(drawn[start : start + 37])
        seen.append(progress.sums)
    done, total = progress.sums
    assert done == total and 34e6 < total < 35e6 and not progress.downloading
    assert all(before <= after for before, after in zip(seen, seen[1:])), "it never goes back"
    assert any(0 < done < total for done, total in seen)
    assert progress.shown() == "34.6 MB of 34.6 MB"


def test_a_try_after_a_failure_is_told():
    progress = told.Progress()
    progress.hear(RECORDED["pull"]["away, no mirror"])
    assert progress.shown() == "the registry is asked again: it does not answer (connection refused)"
    progress.hear("Copying blob 4ff24f60f4df [>----] 656.0KiB / 28.3MiB | 3.1 MiB/s\n")
    assert progress.shown() == "0.7 MB of 29.7 MB"


def test_a_layer_that_is_here_weighs_nothing():
    progress = told.Progress()
    progress.hear("Copying blob 4ff24f60f4df skipped: already exists  \nCopying blob 7db4dca0669d [>----] 1.0MiB / 4.0MiB | 3.1 MiB/s\n")
    assert progress.sums == (1024**2, 4 * 1024**2)


def test_the_size_is_in_the_manifest():
    manifest = told.manifest_of("", RECORDED["manifest inspect"])
    assert told.bytes_of(manifest) == 29697047 + 4886098 + 940
    # as other versions print it
    assert told.bytes_of(told.manifest_of(json.dumps(manifest), "")) == 34584085
    assert told.manifest_of("", RECORDED["manifest inspect, away"]) is None


def test_a_list_of_images_has_one_for_this_processor():
    index = {
        "manifests": [
            {"digest": "sha256:a", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "sha256:b", "platform": {"os": "linux", "architecture": "arm64"}},
        ]
    }
    assert told.bytes_of(index) is None
    assert (told.digest_for(index, "x86_64"), told.digest_for(index, "aarch64"), told.digest_for(index, "riscv64")) == ("sha256:a", "sha256:b", None)
