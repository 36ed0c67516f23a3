# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's images: what the card asks for, the cache they are kept in, and the registry that gives them to podman. No network."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import threading
import typing as t

import card_images
import command
import pytest
import serve
import upstream

MACHINE = upstream.archive.ARCHITECTURES.get(upstream.platform.machine(), upstream.platform.machine())


def encoded(document: t.Any) -> bytes:
    return json.dumps(document).encode()


class Registry:
    """Plays skopeo over one image with two layers, in a list of two processors."""

    def __init__(self) -> None:
        self.layers = [b"layer one", b"layer two"]
        self.config = b"{}"
        self.manifest = encoded({"config": {"digest": upstream.sha256(self.config)}, "layers": [{"digest": upstream.sha256(one)} for one in self.layers]})
        entries = [
            {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "pdp11"}},
            {"digest": upstream.sha256(self.manifest), "platform": {"os": "linux", "architecture": MACHINE}},
        ]
        self.index = encoded({"mediaType": upstream.LISTS[0], "manifests": entries})
        self.asked: list[tuple[str, ...]] = []
        self.away = ""
        self.cut = False

    def __call__(self, *words: str) -> bytes:
        self.asked.append(words)
        if self.away:
            raise upstream.Unavailable(self.away)
        if words[0] == "inspect":
            return self.index
        assert words[:3] == ("copy", "--quiet", "--preserve-digests")
        assert words[3].endswith("@" + upstream.sha256(self.manifest))
        folder = pathlib.Path(words[4].partition(":")[2])
        (folder / "version").write_text("1")
        for content in (self.layers[0], self.config):
            (folder / upstream.sha256(content).partition(":")[2]).write_bytes(content)
        if self.cut:
            raise upstream.Unavailable("unexpected EOF")
        (folder / upstream.sha256(self.layers[1]).partition(":")[2]).write_bytes(self.layers[1])
        (folder / "manifest.json").write_bytes(self.manifest)
        return b""


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def store(tmp_path: pathlib.Path, registry: Registry) -> upstream.Store:
    return upstream.Store(str(tmp_path / "upstream"), registry, lambda text: None)


@pytest.mark.parametrize(
    ("text", "parts", "source"),
    [
        ("ghcr.io/a/b:v1@sha256:ff", ("ghcr.io/a/b", "v1", "sha256:ff"), "docker://ghcr.io/a/b@sha256:ff"),
        ("docker.io/prom/prometheus:v3", ("docker.io/prom/prometheus", "v3", ""), "docker://docker.io/prom/prometheus:v3"),
        ("localhost:5000/a", ("localhost:5000/a", "", ""), "docker://localhost:5000/a:latest"),
        ("localhost:5000/a@sha256:ff", ("localhost:5000/a", "", "sha256:ff"), "docker://localhost:5000/a@sha256:ff"),
    ],
)
def test_a_reference_has_a_name_a_tag_and_a_digest(text: str, parts: tuple[str, str, str], source: str) -> None:
    found = upstream.parse(text)
    assert (found[1:], found.source) == (parts, source)


def test_the_card_asks_for_all_of_its_images_and_those_of_immich_by_digest() -> None:
    found = card_images.references()
    assert {one.rpartition("/")[2].partition(":")[0] for one in found} == {
        *("immich-server", "immich-machine-learning", "postgres", "valkey", "traefik"),
        *("prometheus", "alertmanager", "blackbox-exporter", "node-exporter", "grafana"),
    }
    assert all("@sha256:" in one for one in found if "immich" in one)


def test_an_inventory_of_ones_own_wins_and_what_is_switched_off_is_not_asked_for(tmp_path: pathlib.Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text("all: {vars: {monitoring_grafana_enabled: false, immich_version: v2.4.1, traefik_image: here/traefik:v1}}")
    found = card_images.references(own)
    assert "here/traefik:v1" in found
    assert "ghcr.io/immich-app/immich-server:v2.4.1" in found
    assert not any("grafana" in one for one in found)


def test_an_image_is_fetched_for_this_machine_and_once(store: upstream.Store, registry: Registry) -> None:
    digest = store.fetch("ghcr.io/a/b:v1")
    assert digest == upstream.sha256(registry.index)
    assert len(registry.asked) == 2
    registry.away = "no route to host"
    assert store.fetch("ghcr.io/a/b:v1") == digest
    for content in (registry.index, registry.manifest, registry.config, *registry.layers):
        assert pathlib.Path(store.blob(upstream.sha256(content))).read_bytes() == content
    assert sorted(os.listdir(store.directory)) == ["blobs", "references"]


def test_an_image_of_which_a_part_is_lost_is_fetched_again(store: upstream.Store, registry: Registry) -> None:
    store.fetch("ghcr.io/a/b:v1")
    os.remove(store.blob(upstream.sha256(registry.layers[1])))
    store.fetch("ghcr.io/a/b:v1")
    assert len(registry.asked) == 4


def test_a_transfer_that_is_cut_leaves_nothing(store: upstream.Store, registry: Registry) -> None:
    registry.cut = True
    with pytest.raises(upstream.Unavailable, match="unexpected EOF"):
        store.fetch("ghcr.io/a/b:v1")
    assert os.listdir(store.directory + "/blobs") == os.listdir(store.directory + "/references") == []
    assert sorted(os.listdir(store.directory)) == ["blobs", "references"]


def test_another_digest_than_asked_for_is_refused(store: upstream.Store, registry: Registry) -> None:
    with pytest.raises(upstream.Unavailable, match=f"the registry answered with {upstream.sha256(registry.index)}"):
        store.fetch("ghcr.io/a/b@sha256:" + "1" * 64)
    assert os.listdir(store.directory + "/blobs") == []


def test_a_registry_that_is_away_is_told_with_image_reason_and_remedy(store: upstream.Store, registry: Registry) -> None:
    registry.away = "dial tcp: i/o timeout"
    with pytest.raises(upstream.Unavailable) as caught:
        store.fetch("ghcr.io/a/b:v1")
    told = str(caught.value)
    assert told.startswith("ghcr.io/a/b:v1 cannot be had from ghcr.io: dial tcp: i/o timeout. ")
    assert "HOMELAB_TEST_REGISTRIES_CONF" in told and "skopeo login ghcr.io" in told


def test_an_image_that_is_not_made_for_this_machine_is_told(store: upstream.Store, registry: Registry) -> None:
    registry.index = registry.index.replace(f'"{MACHINE}"'.encode(), b'"vax"')
    with pytest.raises(upstream.Unavailable, match=f"there is none for linux on {MACHINE}"):
        store.fetch("ghcr.io/a/b:v1")


def test_skopeo_is_told_of_the_file_with_the_mirrors(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "skopeo").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv(upstream.CONFIGURATION, raising=False)
    assert upstream.skopeo("inspect") == b"--insecure-policy inspect\n"
    monkeypatch.setenv(upstream.CONFIGURATION, "/etc/mirrors.conf")
    assert upstream.skopeo("inspect") == b"--insecure-policy --registries-conf /etc/mirrors.conf inspect\n"


def test_what_skopeo_complains_of_is_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "skopeo").write_text("#!/bin/sh\necho unauthorized >&2\nexit 1\n")
    (tmp_path / "skopeo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(upstream.Unavailable, match=r"^unauthorized$"):
        upstream.skopeo("inspect")


def test_without_skopeo_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("HOMELAB_TEST_CACHE", str(tmp_path))
    monkeypatch.setattr(command.shutil, "which", lambda name: None)
    assert command.main(["upstream"]) == 1
    assert "skopeo is not here, which fetches upstream's images: run tests/setup with HOMELAB_TEST_IMMICH=upstream" in capsys.readouterr().err


@pytest.fixture
def address(store: upstream.Store) -> t.Iterator[tuple[str, int]]:
    store.fetch("ghcr.io/a/b:v1")
    serving = serve.server(store.directory, ["ghcr.io/a/b:v1"])
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield serving.server_address[0], serving.server_address[1]
    serving.shutdown()
    serving.server_close()
    thread.join()


def ask(address: tuple[str, int], method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), content


def test_the_cache_is_a_registry(address: tuple[str, int], registry: Registry) -> None:
    index, manifest, layer = map(upstream.sha256, (registry.index, registry.manifest, registry.layers[0]))
    assert ask(address, "GET", "/v2/")[0] == 200
    for what in ("v1", index):
        status, headers, content = ask(address, "GET", f"/v2/ghcr.io/a/b/manifests/{what}")
        assert (status, content) == (200, registry.index)
        assert (headers["Content-Type"], headers["Docker-Content-Digest"]) == (upstream.LISTS[0], index)
    status, headers, content = ask(address, "HEAD", f"/v2/ghcr.io/a/b/manifests/{manifest}")
    assert (status, content, headers["Content-Length"]) == (200, b"", str(len(registry.manifest)))
    assert headers["Content-Type"] == "application/vnd.oci.image.manifest.v1+json"
    assert ask(address, "GET", f"/v2/ghcr.io/a/b/blobs/{layer}")[2] == registry.layers[0]


@pytest.mark.parametrize(
    "path", ["/", "/v2/ghcr.io/a/b/manifests/v2", "/v2/docker.io/a/b/manifests/v1", "/v2/a/blobs/sha256:../x", "/v2/a/blobs/sha256:" + "2" * 64]
)
def test_nothing_else_is_in_it(address: tuple[str, int], path: str) -> None:
    assert ask(address, "GET", path)[0] == 404
