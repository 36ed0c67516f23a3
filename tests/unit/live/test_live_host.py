# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an inventory to what has to be true, and to the way in."""

from __future__ import annotations

import functools
import pathlib
import socket
import subprocess
import sys
import typing as t

import pytest
from live import expected, host, hostvars

ROOT = pathlib.Path(__file__).resolve().parents[3]


@functools.cache
def facts_of(example: str) -> expected.Facts:
    return expected.facts(hostvars.listed("photos", [str(ROOT / f"examples/{example}/inventory.yml")]))


def test_the_smallest_inventory_asks_for_what_it_has_only() -> None:
    facts = facts_of("minimal")
    assert sorted(facts["networks"]) == ["photos"]
    assert {name: container["networks"] for name, container in facts["containers"].items()} == {
        name: ["photos"] for name in ("immich-server", "immich-ml", "postgresql-immich", "redis-immich")
    }
    assert (facts["site"], facts["published"], facts["pool"]) == (None, "127.0.0.1:2283", None)
    assert facts["directories"]["postgresql-immich"] == "/srv/containers/postgresql-immich"


@pytest.mark.parametrize("example", ["no-ml", "remote-ml"])
def test_models_elsewhere_or_nowhere_are_no_container(example: str) -> None:
    assert "immich-ml" not in facts_of(example)["containers"]


def test_what_runs_elsewhere_is_no_container() -> None:
    known = {"immich_database_external": {"host": "db"}, "immich_redis_external": {"host": "cache"}, "immich_split_workers": True}
    assert sorted(expected.facts(known)["containers"]) == ["immich-microservices", "immich-ml", "immich-server"]


def test_a_domain_is_a_site() -> None:
    assert facts_of("domain")["site"] == "photos.example.org"
    assert expected.facts({"homelab_domain": "a.org", "immich_ingress_hosts": ["pics.a.org"]})["site"] == "pics.a.org"


@pytest.mark.parametrize(("text", "size"), [("4G", 4 << 30), ("512M", 512 << 20), ("1.5G", 3 << 29), ("100", 100), (2048, 2048), ("10K", 10240)])
def test_sizes_are_read_as_systemd_does(text: t.Any, size: int) -> None:
    assert expected.size(text) == size


def test_an_image_is_its_name_without_the_digest() -> None:
    known = {"immich_server_image": "example.org/server:v9@sha256:00", "immich_version": "v3.1.0"}
    containers = expected.facts(known)["containers"]
    assert containers["immich-server"]["image"] == "example.org/server:v9"
    assert containers["immich-ml"]["image"] == "ghcr.io/immich-app/immich-machine-learning:v3.1.0"


def test_templates_lead_to_one_another() -> None:
    known = hostvars.filled({"a": "{{ b }}/x", "b": "{{ c.d[0] }}", "c": {"d": ["y"]}, "list": ["{{ b }}"], "vault": "{{ nowhere }}", "port": "{{ 40 + 2 }}"})
    assert (known["a"], known["list"], known["vault"], known["port"]) == ("y/x", ["y"], "{{ nowhere }}", 42)


def test_a_template_may_name_what_the_inventory_leaves_to_its_default() -> None:
    assert hostvars.filled({"immich_server_image": "server:{{ immich_version }}"}) == {"immich_server_image": "server:v2.5.5"}


def test_templates_that_never_end_are_left() -> None:
    assert "a" in hostvars.filled({"a": "{{ b }}x", "b": "{{ a }}x"})


INVENTORY = {"_meta": {"hostvars": {"box": {"a": 1}}}, "all": {"children": ["ungrouped"]}, "ungrouped": {"hosts": ["box", "bare"]}}


def test_a_host_may_have_no_variables() -> None:
    assert hostvars.of_host("bare", INVENTORY) == {}
    assert hostvars.of_host("box", INVENTORY) == {"a": 1}


def test_a_wrong_name_is_told_with_the_right_ones() -> None:
    with pytest.raises(hostvars.Unfit, match=r"^The inventory has no host bix; it has bare, box[.]$"):
        hostvars.of_host("bix", INVENTORY)


def test_an_inventory_that_is_not_there_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(hostvars.Unfit, match=r"^There is no inventory \S+none[.]yml[.]$"):
        hostvars.listed("box", [str(tmp_path / "none.yml")])
    broken = tmp_path / "broken.yml"
    broken.write_text("all: [")
    with pytest.raises(hostvars.Unfit, match="broken"):
        hostvars.listed("box", [str(broken)])


def test_the_way_in_is_that_of_the_inventory() -> None:
    argv = host.ssh_command(
        "box",
        {
            "ansible_host": "10.0.0.7",
            "ansible_port": 2222,
            "ansible_user": "anna",
            "ansible_ssh_common_args": "-F '/a b/config' -o Compression=no",
            "ansible_ssh_private_key_file": "/keys/box",
        },
        "/tmp/control",
    )
    assert argv[0] == "ssh" and argv[-1] == "10.0.0.7" and "ControlPath=/tmp/control" in argv
    for option, value in (("-p", "2222"), ("-l", "anna"), ("-i", "/keys/box"), ("-F", "/a b/config")):
        assert argv[argv.index(option) + 1] == value
    assert host.ssh_command("box", {}, "/tmp/control")[-1] == "box"


def test_passwords_are_refused() -> None:
    with pytest.raises(hostvars.Unfit, match="ansible_password"):
        host.ssh_command("box", {"ansible_password": "x"}, "/tmp/control")


@pytest.mark.parametrize(
    ("login", "argv"),
    [("homelab", []), ("root", ["runuser", "-u", "homelab", "--"]), ("anna", ["sudo", "-n", "-u", "homelab"])],
    ids=["itself", "root", "another"],
)
def test_everything_is_done_as_the_account(login: str, argv: list[str]) -> None:
    assert host.becoming("homelab", login) == argv


class Here:
    """A host that is this machine."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def stream(self, argv: t.Sequence[str], end: socket.socket) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, stdin=end, stdout=end)


@pytest.mark.parametrize("kind", ["path", "port"])
def test_a_tunnel_carries_both_ways_and_each_end_may_close_first(kind: str, tmp_path: pathlib.Path) -> None:
    far = socket.socket(socket.AF_UNIX if kind == "path" else socket.AF_INET)
    far.bind(str(tmp_path / "far") if kind == "path" else ("127.0.0.1", 0))
    far.listen(1)
    where = [str(tmp_path / "far")] if kind == "path" else ["127.0.0.1", str(far.getsockname()[1])]
    tunnel = host.Tunnel(t.cast(host.Host, Here(tmp_path)), "near", [sys.executable, "-c", host.RELAY, *where])
    with socket.socket(socket.AF_UNIX) as near:
        near.settimeout(30)
        near.connect(tunnel.path)
        near.sendall(b"x" * 300000)
        near.shutdown(socket.SHUT_WR)
        end, dummy = far.accept()
        with end:
            end.settimeout(30)
            got = b"".join(iter(lambda: end.recv(65536), b""))
            end.sendall(b"y" * 200000)
        answer = b"".join(iter(lambda: near.recv(65536), b""))
    far.close()
    tunnel.close()
    assert (len(got), len(answer)) == (300000, 200000)
