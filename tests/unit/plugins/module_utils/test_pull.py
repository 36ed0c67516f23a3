# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pulls against a session that answers as podman did: all images or a reason, how far it is, and what a registry is asked in check mode."""

from __future__ import annotations

import json
import os
import pathlib
import time

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _pull as pull_module
from ansible_collections.patriark.homelab.plugins.module_utils._pull import Puller, predicted
from ansible_collections.patriark.homelab.plugins.module_utils._pull_plan import Pull
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session

RECORDED = json.loads((pathlib.Path(__file__).parent / "data" / "podman-pull-5.4.2.json").read_text(encoding="utf-8"))
ONE, TWO, THREE = (Pull(f"{name}.container", f"docker.io/{name}/{name}:1") for name in ("one", "two", "three"))


class Host:
    """said: reference -> what podman pull says, or None when it works; ids: what image inspect tells, first and then."""

    def __init__(self, said=None, ids=("i1",)):
        self.said, self.ids, self.asked = said or {}, list(ids), []

    def follow(self, args, hear):
        self.asked.append(args)
        said = self.said.get(args[-1])
        for line in (said or RECORDED["drawn"]).splitlines(keepends=True):
            hear(line)
        return (125 if said else 0), said or RECORDED["drawn"]

    def podman(self, *args):
        if args[0] == "info":
            return 0, json.dumps(RECORDED["registries"]), ""
        return 0, f"{self.ids.pop(0) if len(self.ids) > 1 else self.ids[0]}\n" * len(args[4:]), ""

    def run(self, args):
        self.asked.append(args)
        return self.said[args[-1]]


def test_progress_names_the_image_and_how_far_it_is():
    lines = []
    puller = Puller(Host(), lines.append)
    assert not puller.run([ONE, TWO]) and not puller.findings
    assert lines[0] == "pulling docker.io/one/one:1 (1 of 2): the registry is asked, after 0 s"
    assert lines[-1] == "pulling docker.io/two/two:1 (2 of 2): 34.6 MB of 34.6 MB, after 0 s"
    assert any("MB of 34.6 MB" in line and "34.6 MB of" not in line for line in lines)
    assert puller.sizes[TWO.reference] == pytest.approx(34584085, rel=0.01)


def test_the_words_of_the_command():
    host = Host()
    Puller(host).run([Pull("a.image", "b.test/a:1", "always", False, ("--tls-verify=false",), ("--module=x",))])
    assert host.asked == [["podman", "--module=x", "pull", "--tls-verify=false", "b.test/a:1"]]


def test_what_concerns_the_image_does_not_end_the_others():
    puller = Puller(Host({ONE.reference: RECORDED["pull"]["unknown tag"], TWO.reference: RECORDED["pull"]["cut"]}))
    puller.run([ONE, TWO, THREE])
    assert [finding.unit for finding in puller.findings] == ["one.container", "two.container"]
    assert "docker.io or its mirror registry.test: the transfer was cut" in puller.findings[1].reason
    assert puller.notes == []


@pytest.mark.parametrize("case", ["429", "away", "wrong password", "authority", "disk full, download"])
def test_what_concerns_the_registry_is_met_once(case):
    host = Host({ONE.reference: RECORDED["pull"][case]})
    puller = Puller(host)
    puller.run([ONE, TWO, THREE, Pull("other.container", "ghcr.io/o/o:1")])
    assert [args[-1] for args in host.asked] == [ONE.reference, "ghcr.io/o/o:1"]
    assert len(puller.findings) == 1 and ONE.reference in puller.findings[0].reason
    assert f"not tried for the same reason: {TWO.reference}, {THREE.reference}" in str(puller.findings[0])


def test_a_newer_image_is_a_wish():
    wish = Pull("one.container", ONE.reference, "newer", True)
    puller = Puller(Host({ONE.reference: RECORDED["pull"]["away"]}))
    assert not puller.run([wish]) and not puller.findings
    assert "the one that is here is kept" in puller.notes[0]
    puller = Puller(Host({ONE.reference: RECORDED["pull"]["away"]}))
    puller.run([Pull("one.container", ONE.reference, "newer", False), Pull("two.container", TWO.reference, "always", True)])
    assert [finding.unit for finding in puller.findings] == ["one.container"]


@pytest.mark.parametrize(("ids", "moved"), [(("i1", "i2"), True), (("i1", "i1"), False)])
def test_whether_a_name_means_another_image_now(ids, moved):
    assert Puller(Host(ids=ids)).run([Pull("one.container", ONE.reference, "always", True)]) is moved


class Silent(Host):
    """Draws how far it is, or nothing, and never ends."""

    def __init__(self, drawn):
        super().__init__()
        self.drawn, self.ended = drawn, False

    def follow(self, args, hear):
        end = time.monotonic() + 5
        try:
            while time.monotonic() < end:
                hear(self.drawn)
                time.sleep(0.01)
        finally:
            self.ended = True
        return 0, ""


@pytest.mark.parametrize("drawn", ["", "Copying blob 4ff24f60f4df [>----] 656.0KiB / 28.3MiB | 3.1 MiB/s\n"])
def test_a_registry_that_says_nothing_more_is_given_up(drawn):
    host = Silent(drawn)
    puller = Puller(host, timeout=0.1)
    puller.run([ONE])
    assert host.ended and "does not answer" in puller.findings[0].reason and "pull_timeout" in puller.findings[0].remedy


def test_a_slow_disk_is_no_silent_registry(monkeypatch):
    host = Silent("Copying blob 4ff24f60f4df done   | \n")
    clock = iter(range(100000))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(pull_module.time, "monotonic", lambda: next(clock) * 0.01)
    puller = Puller(host, timeout=0.1)
    puller.run([ONE])
    assert puller.findings == []


MANIFEST = (125, "", RECORDED["manifest inspect"])


def test_check_mode_tells_the_size_where_it_is_known():
    index = {"manifests": [{"digest": "sha256:a", "platform": {"os": "linux", "architecture": {"x86_64": "amd64"}.get(os.uname().machine, "arm64")}}]}
    host = Host({ONE.reference: MANIFEST, TWO.reference: (0, json.dumps(index), ""), "docker.io/two/two@sha256:a": MANIFEST})
    first, second = predicted(host, [ONE, TWO], True)
    assert first == {"image": ONE.reference, "unit": "one.container", "bytes": 34584085, "told": f"{ONE.reference} (34.6 MB)"}
    assert second["bytes"] == 34584085


def test_check_mode_does_not_fail_with_the_registry():
    host = Host({ONE.reference: (125, "", RECORDED["manifest inspect, away"]), "ghcr.io/o/o:1": (124, "", "")})
    found = predicted(host, [ONE, TWO, Pull("o.container", "ghcr.io/o/o:1")], True)
    assert [item["bytes"] for item in found] == [None] * 3
    assert found[0]["told"] == f"{ONE.reference} (size not known: the mirror registry.test: it does not answer (connection refused))"
    assert "size not known: the mirror registry.test" in found[1]["told"] and len(host.asked) == 2, "a registry that is away is asked once"
    assert "no answer within" in found[2]["told"]


def test_check_mode_without_an_account_asks_nobody():
    host = Host()
    assert "before it is there" in predicted(host, [ONE], False)[0]["told"] and host.asked == []


def test_a_present_image_is_only_asked_for():
    told = predicted(Host({ONE.reference: MANIFEST}), [Pull("one.container", ONE.reference, "always", True)], True)[0]["told"]
    assert told == f"{ONE.reference}, where it differs from the one that is here (Pull=always) (34.6 MB)"


# -- a real program on a terminal --------------------------------------------------------------------------------------------


class Here(Session):
    """As whoever runs the tests."""

    def __init__(self, tmp_path):
        self.user, self.uid, self.gid, self.home, self.exists = None, 0, 0, str(tmp_path), True


def test_a_program_is_heard_on_a_terminal(tmp_path):
    heard = []
    rc, said = Here(tmp_path).follow(["sh", "-c", "stty size <&1; echo one; echo two >&2; exit 3"], heard.append)
    assert (rc, said) == (3, "50 200\r\none\r\ntwo\r\n")
    assert "".join(heard) == said


def test_a_program_ends_with_who_listens(tmp_path):
    def hear(text):
        if "pid" in text:
            raise KeyboardInterrupt(text.split()[1])

    with pytest.raises(KeyboardInterrupt) as caught:
        Here(tmp_path).follow(["sh", "-c", "echo pid $$; exec sleep 60"], hear)
    assert not os.path.exists(f"/proc/{caught.value}")
