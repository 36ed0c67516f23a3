# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import http.server
import os
import pathlib
import subprocess
import threading
import types
import typing as t

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _inside as inside
from ansible_collections.patriark.homelab.plugins.module_utils import _reloading as reloading
from ansible_collections.patriark.homelab.plugins.module_utils._session import SessionError

METRICS = """# HELP prometheus_config_last_reload_success_timestamp_seconds Timestamp of the last successful configuration reload.
# TYPE prometheus_config_last_reload_success_timestamp_seconds gauge
prometheus_config_last_reload_success_timestamp_seconds {moment}
# TYPE prometheus_config_last_reload_successful gauge
prometheus_config_last_reload_successful {success}
"""
RUNNING = {"NetworkSettings": {"Networks": {"systemd-monitoring": {"IPAddress": "10.89.4.70"}}}}


class FakeSession:
    """Answers podman from a table: first words of the command to (rc, stdout, stderr)."""

    def __init__(self, answers: dict[str, tuple[int, str, str]] | None = None) -> None:
        self.answers, self.asked = answers or {}, []  # type: t.Any, list[tuple[str, ...]]
        self.exists, self.system, self.user = True, False, "homelab"
        self.module = types.SimpleNamespace(check_mode=False)

    def podman(self, *args: str) -> tuple[int, str, str]:
        self.asked.append(args)
        return next((answer for words, answer in self.answers.items() if " ".join(args).startswith(words)), (0, "", ""))

    def systemctl(self, *args: str) -> tuple[int, str, str]:
        return self.podman("systemctl", *args)

    @contextlib.contextmanager
    def files(self) -> t.Iterator[None]:
        yield


def service(session: FakeSession, directory: str = "/srv/p", names: t.Sequence[str] = ("prometheus.yml",)) -> reloading.Reloading:
    recipe = reloading.Recipe("prom:1", "/etc/prometheus", ["promtool", "check", "config", "/etc/prometheus/prometheus.yml"], "prometheus", 9090)
    return reloading.Reloading(t.cast(t.Any, session), directory, names, recipe)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """A service that runs and shows these metrics."""
    told: dict[str, t.Any] = {"running": RUNNING, "answer": inside.Answer(200, METRICS.format(moment="1.79e+09", success=1), None)}
    monkeypatch.setattr(inside, "describe", lambda session, name: told["running"])
    monkeypatch.setattr(inside, "get", lambda session, urls, timeout=10: [told["answer"]])
    return told


def test_last_reload_is_read_from_the_metrics() -> None:
    assert reloading.last_reload(METRICS.format(moment="1.7957e+09", success=1)) == (True, 1795700000.0)
    assert reloading.last_reload(METRICS.format(moment="1.5", success=0)) == (False, 1.5)
    assert reloading.last_reload("up 1\n") is None


def test_complaints_are_about_the_real_files_and_without_praise() -> None:
    # promtool 2.53
    text = (
        "Checking /etc/prometheus/prometheus.yml\n SUCCESS: /etc/prometheus/prometheus.yml is valid prometheus config file syntax\n\n"
        'Checking /etc/prometheus/rules/theirs.yml\n  FAILED:\n/etc/prometheus/rules/theirs.yml: 4:15: group "theirs", rule 1, could not parse expression\n'
    )
    told = reloading.complaints(text, "/etc/prometheus", "/srv/p")
    assert told == 'FAILED: /srv/p/rules/theirs.yml: 4:15: group "theirs", rule 1, could not parse expression'


def test_judge_runs_the_check_on_the_copy_and_nowhere_else() -> None:
    session = FakeSession()
    assert service(session).judge("/tmp/copy") == []
    there, argv = session.asked
    assert there == ("image", "exists", "prom:1")
    assert argv[:2] == ("run", "--rm")
    assert "/tmp/copy:/etc/prometheus:ro" in argv
    assert argv[argv.index("--network") + 1] == "none"
    assert argv[argv.index("--entrypoint") + 1] == "promtool"
    assert argv[-4:] == ("prom:1", "check", "config", "/etc/prometheus/prometheus.yml")


def test_judge_tells_what_the_check_says() -> None:
    (finding,) = service(FakeSession({"run": (1, "  FAILED: bad thing in /etc/prometheus/prometheus.yml\n", "")})).judge("/tmp/copy")
    assert finding.severity == "error"
    assert "bad thing in /srv/p/prometheus.yml" in str(finding)


def test_an_image_that_cannot_run_is_no_verdict() -> None:
    with pytest.raises(SessionError, match="could not try"):
        service(FakeSession({"run": (125, "", "no such image")})).judge("/tmp/copy")


def test_check_mode_pulls_no_image() -> None:
    session = FakeSession({"image exists": (1, "", "")})
    session.module.check_mode = True
    made = service(session)
    assert made.judge("/tmp/copy") == []
    assert not made.tried
    assert all(argv[0] != "run" for argv in session.asked)


def test_files_newer_than_the_last_reload_are_not_in_effect(live: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text("")
    os.utime(path, (1790000010, 1790000010))
    assert "has not read" in (service(FakeSession(), str(tmp_path)).ask() or "")
    os.utime(path, (1789999990, 1789999990))
    assert service(FakeSession(), str(tmp_path)).ask() is None


def test_a_reload_has_to_come_after_the_signal(live: dict[str, t.Any]) -> None:
    made = service(FakeSession())
    made.since = 1790000005.0
    assert "has not read" in (made.ask() or "")
    live["answer"] = inside.Answer(200, METRICS.format(moment="1.790000006e+09", success=1), None)
    assert made.ask() is None


def test_a_failed_reload_is_told(live: dict[str, t.Any]) -> None:
    live["answer"] = inside.Answer(200, METRICS.format(moment="1.79e+09", success=0), None)
    assert "could not take" in (service(FakeSession()).ask() or "")


@pytest.mark.parametrize(
    ("answer", "told"),
    [(inside.Answer(None, "", "refused"), "refused"), (inside.Answer(503, "", None), "503"), (inside.Answer(200, "up 1\n", None), "does not tell")],
)
def test_no_answer_is_no_agreement(live: dict[str, t.Any], answer: inside.Answer, told: str) -> None:
    live["answer"] = answer
    assert told in (service(FakeSession()).ask() or "")


def test_a_service_that_does_not_run_reads_its_files_later(live: dict[str, t.Any]) -> None:
    live["running"] = None
    session = FakeSession()
    made = service(session)
    made.reload()
    assert made.ask() is None
    assert session.asked == []


def test_reload_sends_the_signal(live: dict[str, t.Any]) -> None:
    session = FakeSession()
    service(session).reload()
    assert session.asked == [("kill", "--signal", "HUP", "prometheus")]


def test_a_service_that_ends_at_the_signal_is_told(live: dict[str, t.Any]) -> None:
    made = service(FakeSession())
    made.reload()
    live["running"] = None
    assert made.ask() == "prometheus does not run any more"


# Services that read their files at the start only


def at_start(session: FakeSession, directory: str) -> reloading.Reloading:
    return reloading.Reloading(t.cast(t.Any, session), directory, ["provider.yml"], reloading.Recipe("", "", [], "grafana", None))


def grafana(started: str, health: str | None = None, unit: str | None = "grafana.service") -> dict[str, t.Any]:
    state: dict[str, t.Any] = {"StartedAt": started, "Running": True}
    if health is not None:
        state["Health"] = {"Status": health}
    return {"State": state, "Config": {"Labels": {"PODMAN_SYSTEMD_UNIT": unit} if unit else {}}}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22T14:22:36.123456789Z", 1795357356.123456789),
        ("2026-11-22T15:22:36.5+01:00", 1795357356.5),
        ("2026-11-22T14:22:36Z", 1795357356.0),
        ("0001-01-01", 0.0),
        (None, 0.0),
    ],
)
def test_when_a_container_was_started(text: str | None, moment: float) -> None:
    assert reloading.started({"State": {"StartedAt": text}}) == pytest.approx(moment, abs=1e-4)


def test_who_was_started_before_the_file_was_written_has_not_read_it(live: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    path = tmp_path / "provider.yml"
    path.write_text("")
    os.utime(path, (1795357356.7, 1795357356.7))
    made = at_start(FakeSession(), str(tmp_path))
    live["running"] = grafana("2026-11-22T14:22:36.6Z")
    assert made.ask() == "grafana was started before this was written"
    live["running"] = grafana("2026-11-22T14:22:36.8Z")
    assert made.ask() is None
    path.unlink()
    live["running"] = grafana("2026-11-22T10:00:00Z")
    assert made.ask() is None


@pytest.mark.parametrize(
    ("unit", "command"), [("grafana.service", ("systemctl", "restart", "--", "grafana.service")), (None, ("restart", "grafana"))], ids=["unit", "without"]
)
def test_it_is_restarted_and_has_to_become_healthy(live: dict[str, t.Any], tmp_path: pathlib.Path, unit: str | None, command: tuple[str, ...]) -> None:
    live["running"] = grafana("2026-11-22T14:22:36Z", "starting", unit)
    session = FakeSession()
    made = at_start(session, str(tmp_path))
    assert made.ask() is None  # nothing was asked of it yet
    made.reload()
    assert session.asked == [command]
    assert made.ask() == "grafana is starting"
    live["running"] = grafana("2026-11-22T14:22:36Z", "healthy", unit)
    assert made.ask() is None


def test_one_that_does_not_come_up_is_started_again_with_the_previous_files(live: dict[str, t.Any], tmp_path: pathlib.Path) -> None:
    live["running"] = grafana("2026-11-22T14:22:36Z", "healthy")
    session = FakeSession({"systemctl": (1, "", "Job for grafana.service failed")})
    made = at_start(session, str(tmp_path))
    with pytest.raises(SessionError, match="Job for grafana"):
        made.reload()
    live["running"] = None
    assert made.ask() == "grafana does not run any more"
    session.answers.clear()
    made.reload()
    assert session.asked == [("systemctl", "restart", "--", "grafana.service")] * 2


def test_nothing_is_judged_without_a_program_to_judge(tmp_path: pathlib.Path) -> None:
    session = FakeSession()
    assert at_start(session, str(tmp_path)).judge("/tmp/copy") == []
    assert session.asked == []


def test_addresses_of_a_container() -> None:
    assert inside.places(RUNNING, 9090, "/metrics") == ["http://10.89.4.70:9090/metrics"]
    assert inside.places({"NetworkSettings": {"Networks": {"host": {"IPAddress": ""}}}}, 9090, "/") == []
    both = {"NetworkSettings": {"Networks": {"b": {"IPAddress": "10.0.0.2"}, "a": {"IPAddress": "10.0.0.1"}}}}
    assert inside.places(both, 1, "/x") == ["http://10.0.0.1:1/x", "http://10.0.0.2:1/x"]


def test_of_addresses_the_first_that_answers_counts() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, *dummy: t.Any) -> None:
            pass

    def run(argv: t.Sequence[str], data: str | None = None) -> tuple[int, str, str]:
        done = subprocess.run(argv, input=data, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    session = t.cast(t.Any, types.SimpleNamespace(run=run, system=True, user=None))
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        nobody, somebody = f"http://127.0.0.2:{port}/", f"http://127.0.0.1:{port}/"
        found = inside.get(session, [[nobody, somebody], [somebody, nobody], [nobody]])
        server.shutdown()
    assert [answer.status for answer in found] == [404, 404, None]
    assert "refused" in str(found[2].reason)


def test_questions_go_through_the_networks_of_the_account() -> None:
    asked: list[t.Any] = []

    def run(argv: t.Sequence[str], data: str | None = None) -> tuple[int, str, str]:
        asked.append(list(argv))
        return 0, '[[200, "yes", null]]', ""

    session = t.cast(t.Any, types.SimpleNamespace(run=run, system=False, user="homelab"))
    assert inside.get(session, [["http://10.89.4.70:9090/"]]) == [inside.Answer(200, "yes", None)]
    assert asked[0][:3] == ["podman", "unshare", "--rootless-netns"]
    assert inside.get(session, []) == []
    session.run = lambda argv, data=None: (125, "", "cannot enter")
    with pytest.raises(SessionError, match="cannot enter"):
        inside.get(session, [["http://10.89.4.70:9090/"]])


def test_an_image_that_cannot_be_had_is_told_with_its_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession({"image exists": (1, "", ""), "info": (0, "{}", "")})
    monkeypatch.setattr(session, "follow", lambda dummy, hear: (125, "Error: unauthorized: authentication required\n"), raising=False)
    with pytest.raises(SessionError, match=r"nothing was changed: prometheus: prom:1 could not be pulled from docker.io: it wants a name .*podman login"):
        service(session).judge("/tmp/copy")
    assert not any(args[0] == "run" for args in session.asked)
