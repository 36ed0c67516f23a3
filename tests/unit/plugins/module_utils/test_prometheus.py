# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Prometheus that exists in this file only: a promtool that looks for one word, and an API that tells what was read last."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import time

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _prometheus as prometheus
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import LiveFailed, LiveRefused, apply, plan
from ansible_collections.patriark.homelab.plugins.module_utils._prometheus import STAGED, Prometheus
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node

RULES = "groups:\n  - name: app\n    rules: [{alert: A, expr: up == 0}]\n"
TARGETS = '[{"targets": ["app:8080"], "labels": {"job": "app"}}]'
INSIDE = "/etc/prometheus"


def text_of(path):
    return pathlib.Path(path).read_text()


class Module:
    def get_bin_path(self, name):
        return f"/usr/bin/{name}"


class Session:
    """Podman with one container, which reads its configuration when it gets a signal. stubborn: it does not. blind: no rule_files and no file_sd_configs."""

    user = "homelab"
    system = False
    exists = True

    def __init__(self, folder):
        self.root = str(folder / "prometheus")
        self.state_dir = str(folder / "state")
        self.module = Module()
        self.running, self.stubborn, self.blind, self.mute = True, False, False, False
        self.signals = self.judged = 0
        self.read = 0.0
        self.retention = "40d"
        self.rules, self.targets, self.stuck = {}, {}, set()
        for name in ("rules", "targets"):
            os.makedirs(os.path.join(self.root, name))

    @contextlib.contextmanager
    def files(self):
        yield

    def load(self):
        # the real one too: targets that have not been dropped before a reload stay
        self.stuck = {path for path in self.targets if not self.exists_outside(path)}
        self.rules, self.targets = {}, {path: self.targets[path] for path in self.stuck}
        texts = {path: text_of(path) for name in ("rules", "targets") for path in self._paths(name)}
        if self.blind or any("BROKEN" in text for text in texts.values()):
            return
        self.read = time.time()
        for path, text in texts.items():
            seen = path.replace(self.root, INSIDE)
            if "/targets/" in path:
                self.targets[seen] = [address for group in json.loads(text) for address in group["targets"]]
            else:
                self.rules[seen] = text.count("alert:")

    def exists_outside(self, path):
        return os.path.exists(path.replace(INSIDE, self.root))

    def _paths(self, name):
        return [os.path.join(self.root, name, file) for file in sorted(os.listdir(os.path.join(self.root, name))) if file.endswith((".yml", ".yaml"))]

    def podman(self, *args, data=None):
        if args[:2] == ("container", "inspect"):
            return 0, json.dumps([self.inspected()]), ""
        if args[0] == "kill":
            assert args == ("kill", "--signal", "HUP", "prometheus")
            self.signals += 1
            if not self.stubborn:
                self.load()
            return 0, "", ""
        if args[0] == "run":
            return self.promtool(args)
        assert args[0] == "unshare"
        return self.answer(json.loads(data))

    def inspected(self):
        return {
            "Name": "prometheus",
            "Image": "sha256:feed",
            "State": {"Running": self.running, "Pid": 7},
            "Mounts": [{"Source": self.root, "Destination": INSIDE}],
        }

    def promtool(self, args):
        self.judged += 1
        staged = args[args.index("--volume") + 1].split(":")[0]
        assert "--pull" in args and args[args.index("--network") + 1] == "none"
        out, err = "", ""
        for path in (arg for arg in args if arg.startswith(STAGED + "/")):
            text = text_of(path.replace(STAGED, staged))
            out += f"Checking {path}\n"
            if "BROKEN" in text:
                err += f"  FAILED:\n{path}: it is broken\n{path}: it is broken\n"
            else:
                out += f"  SUCCESS: {text.count('alert:')} rules found\n"
        return (1 if err else 0), out, err

    def answer(self, job):
        if self.mute:
            return 1, "", "http://127.0.0.1:9090/metrics does not answer: refused\n"
        assert job["pid"] == 7 and job["url"] == "http://127.0.0.1:9090"
        self.targets = {path: found for path, found in self.targets.items() if path in self.stuck or self.exists_outside(path)}
        groups = [{"name": path, "file": path, "rules": [{}] * count} for path, count in self.rules.items()]
        active = [
            {"discoveredLabels": {"__meta_filepath": path, "__address__": address}, "labels": {}} for path, found in self.targets.items() for address in found
        ]
        said = {
            prometheus.METRICS: f"prometheus_config_last_reload_successful 1\nprometheus_config_last_reload_success_timestamp_seconds {self.read!r}\n",
            prometheus.GROUPS: json.dumps({"data": {"groups": groups}}),
            prometheus.TARGETS: json.dumps({"data": {"activeTargets": active}}),
            prometheus.RUNTIME: json.dumps({"data": {"storageRetention": self.retention}}),
        }
        return 0, json.dumps({path: said[path] for path in job["paths"]}), ""


@pytest.fixture
def session(tmp_path):
    return Session(tmp_path)


def deploy(session, files, timeout=0.0):
    service = Prometheus(session, "prometheus", session.root, files, "http://127.0.0.1:9090/")
    assert service.find()
    made = plan(session, session.root, {path: None if text is None else Node(text) for path, text in files.items()}, service)
    apply(session, made, service, timeout)
    return service, made.changed


BOTH = {"rules/app.yml": RULES, "targets/app.yml": TARGETS}


def test_files_are_put_in_place_and_in_effect(session):
    service, changed = deploy(session, BOTH)
    assert changed and session.signals == 1
    assert service.loaded == {"rules/app.yml": 1} and service.retention == 40 * 86400


def test_a_second_time_changes_nothing_and_asks(session):
    deploy(session, BOTH)
    judged = session.judged
    assert deploy(session, BOTH)[1] is False
    assert session.signals == 1 and session.judged > judged


def test_files_that_lie_there_unread_are_read(session):
    deploy(session, BOTH)
    session.read -= 3600
    assert deploy(session, BOTH)[1] is True
    assert session.signals == 2


@pytest.mark.parametrize("lost", ["rules", "targets"])
def test_what_prometheus_has_lost_is_noticed(session, lost):
    deploy(session, BOTH)
    setattr(session, lost, {})
    assert deploy(session, BOTH)[1] is True
    assert session.rules and session.targets


def test_broken_rules_are_refused_before_anything_is_touched(session):
    deploy(session, BOTH)
    with pytest.raises(LiveRefused) as caught:
        deploy(session, {"rules/app.yml": RULES + "# BROKEN"})
    assert str(caught.value) == f"{session.root}/rules/app.yml: it is broken"
    assert text_of(f"{session.root}/rules/app.yml") == RULES and session.signals == 1


def test_anothers_broken_rules_are_named(session):
    with open(f"{session.root}/rules/other.yaml", "w") as handle:
        handle.write("BROKEN")
    with pytest.raises(LiveRefused) as caught:
        deploy(session, BOTH)
    assert [finding.unit for finding in caught.value.findings] == [f"{session.root}/rules/other.yaml"]
    assert "another's file" in str(caught.value) and not os.path.exists(f"{session.root}/rules/app.yml")


def test_what_is_no_rule_file_is_not_judged(session):
    with open(f"{session.root}/rules/notes.txt", "w") as handle:
        handle.write("BROKEN")
    assert deploy(session, {"rules/app.yml": RULES})[1] is True


def test_targets_that_nobody_can_read_are_refused(session):
    with pytest.raises(LiveRefused, match="is no file of targets"):
        deploy(session, {"targets/app.yml": '[{"target": "app:8080"}]'})


def test_a_prometheus_that_does_not_read_is_taken_back(session):
    deploy(session, BOTH)
    session.stubborn = True
    with pytest.raises(LiveFailed) as caught:
        deploy(session, {"rules/app.yml": RULES.replace("A,", "B,")})
    assert "has not read rules/app.yml since it was written" in str(caught.value)
    assert caught.value.rollback["done"] and text_of(f"{session.root}/rules/app.yml") == RULES


def test_a_prometheus_without_rule_files_is_told(session):
    session.blind = True
    session.read = time.time() + 60
    with pytest.raises(LiveFailed, match="no rule_files of its configuration matches it"):
        deploy(session, {"rules/app.yml": RULES})
    assert not os.path.exists(f"{session.root}/rules/app.yml")
    with pytest.raises(LiveFailed, match="no scrape job of prometheus reads targets/app"):
        deploy(session, {"targets/app.yml": TARGETS})


def test_other_targets_than_ours_are_noticed(session):
    deploy(session, BOTH)
    session.targets[f"{INSIDE}/targets/app.yml"] = ["old:8080"]
    assert deploy(session, BOTH)[1] is True


def test_removed_files_are_gone_from_prometheus(session):
    deploy(session, BOTH)
    assert deploy(session, dict.fromkeys(BOTH))[1] is True
    assert session.rules == {} and session.targets == {} and deploy(session, dict.fromkeys(BOTH))[1] is False


def test_a_directory_that_the_container_does_not_see(session, tmp_path):
    service = Prometheus(session, "prometheus", str(tmp_path), {"rules/app.yml": RULES}, "http://127.0.0.1:9090")
    assert service.find()
    assert "does not see this directory" in str(service.judge(str(tmp_path))[0])


def test_nobody_to_ask(session):
    session.mute = True
    with pytest.raises(LiveFailed, match="refused"):
        deploy(session, BOTH)


@pytest.mark.parametrize(
    ("told", "found"),
    [("15d", 1296000.0), ("30d or 10GiB", 2592000.0), ("1h30m", 5400.0), ("10GiB", None), ("1w2d", 777600.0), ("10GiB or 4w", 2419200.0)],
)
def test_retention(told, found):
    assert prometheus.retention(json.dumps({"data": {"storageRetention": told}})) == found


def test_a_metric_among_others():
    text = "# HELP x y\nprometheus_config_last_reload_success_timestamp_seconds 1.7e+09\nprometheus_config_last_reload_success_timestamp_seconds_x 3\n"
    assert prometheus.metric(text, "prometheus_config_last_reload_success_timestamp_seconds") == 1.7e9
    assert prometheus.metric(text, "prometheus_config") is None
