# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading podman and systemd: pure parsers on real output, labelled with the version that made it."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._account import subordinate_ids
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._generator import parse, parse_analysis
from ansible_collections.patriark.homelab.plugins.module_utils._podman import by_service, health, parse_version
from ansible_collections.patriark.homelab.plugins.module_utils._redact import masked, named, redacted, told
from ansible_collections.patriark.homelab.plugins.module_utils._systemd import parse_show
from ansible_collections.patriark.homelab.plugins.module_utils._wait import judge

DATA = pathlib.Path(__file__).parent / "data"
RECORDED = sorted(DATA.glob("quadlet-generator-*.json"))


def verdict(recorded, case):
    facts = json.loads(recorded.read_text(encoding="utf-8"))["cases"][case]
    return parse(facts["stdout"], facts["stderr"], {"/tmp/staging/0": "/real"})


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_a_good_set(recorded):
    found = verdict(recorded, "good")
    assert sorted(found.services) == [
        "b-build.service",
        "net-network.service",
        "p-pod.service",
        "t@.service",
        "t@one.service",
        "v-volume.service",
        "web.service",
    ]
    assert "SourcePath=/real/s/web.container" in found.services["web.service"]
    assert "/real/s/conf:/etc/conf:ro" in found.services["web.service"]
    assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("case", "words", "left"),
    [
        ("unknown_key", ['converting "web.container"', "Memmory", "/real/s/web.container"], ["ok.service"]),
        ("no_image", ['converting "web.container"', "no Image"], []),
        ("missing_network", ['converting "web.container"', "nope.network was not found"], []),
        ("missing_volume", ['converting "web.container"', "nope.volume was not found"], []),
        ("syntax_error", ['error loading "/real/s/web.container"', "line 3"], ["far.service"]),
        ("gateway_without_subnet", ['converting "n.network"'], []),
        ("bad_type", ['converting "web.container"', "simple"], []),
        ("drop_in_broken", ['error loading "/real/s/web.container.d/x.conf"'], ["web.service"]),
    ],
)
def test_errors_keep_the_name_of_the_unit(recorded, case, words, left):
    found = verdict(recorded, case)
    assert len(found.errors) == 1
    assert all(word in found.errors[0] for word in words), found.errors
    assert sorted(found.services) == left


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_a_short_image_is_a_warning_and_an_empty_set_is_none(recorded):
    assert "fully qualified" in verdict(recorded, "short_image").warnings[0]
    assert verdict(recorded, "nothing") == ({}, [], [])


def test_systemd_257_analysis():
    services = {"x.service": "[Service]\nFoo=bar\nMemoryMax=lots\n[Bogus]\nx=y\n"}
    text = (
        "/s/x.service:2: Unknown key 'Foo' in section [Service], ignoring.\n"
        "/s/x.service:3: Invalid memory limit 'lots', ignoring: Invalid argument\n"
        "/s/x.service:4: Unknown section 'Bogus'. Ignoring.\n"
        "/s/x.service:4: Unknown section 'Bogus'. Ignoring.\n"
        "/usr/lib/systemd/user/other.service:3: Unknown key 'Y' in section [Service], ignoring.\n"
        "x.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.\n"
    )
    assert [(finding.unit, finding.key, finding.value) for finding in parse_analysis(text, "/s", services)] == [
        ("x.service", "Foo", "bar"),
        ("x.service", "MemoryMax", "lots"),
        ("x.service", None, "[Bogus]"),
        ("x.service", None, None),
    ]


def test_systemd_show_gives_the_blocks_in_the_order_asked():
    text = 'Id=a.service\nActiveState=active\n\nId=b.service\nLoadError=x "y=z"\n\n'
    assert parse_show(text, ["a.service", "alias.service"]) == {
        "a.service": {"Id": "a.service", "ActiveState": "active"},
        "alias.service": {"Id": "b.service", "LoadError": 'x "y=z"'},
    }


@pytest.mark.parametrize(
    ("text", "version"), [("5.4.2\n", (5, 4, 2)), ("podman version 5.8.0-dev", (5, 8, 0)), ("podman version 4.9", (4, 9, 0)), ("none", None)]
)
def test_versions(text, version):
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("text", "state"),
    [("Up 1 second (starting)", "starting"), ("Up 2 minutes (unhealthy)", "unhealthy"), ("Up 3 days", None), ("Exited (0) 2 minutes ago", None)],
)
def test_health_in_podman_5_4_ps(text, state):
    assert health(text) == state


UP = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success", "Job": "", "NRestarts": "0"}


@pytest.mark.parametrize(
    ("changes", "checked", "settled", "verdict_wanted", "reason"),
    [
        ({}, None, True, "up", "active"),
        ({}, None, False, "waiting", "settling"),
        ({}, "healthy", False, "up", "healthy"),
        ({}, "starting", True, "waiting", "health: starting"),
        ({}, "unhealthy", True, "waiting", "health: unhealthy"),
        ({"Job": "17"}, None, True, "waiting", "active"),
        ({"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "125"}, None, True, "failed", "exit-code, status 125"),
        ({"ActiveState": "failed", "Job": "3"}, None, True, "waiting", "failed"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "4"}, None, True, "waiting", "auto-restart, 4 restarts"),
        ({"ActiveState": "inactive", "SubState": "dead"}, None, True, "failed", "stopped"),
        ({"LoadState": "not-found"}, None, True, "failed", "not loaded"),
    ],
)
def test_one_look_at_a_service(changes, checked, settled, verdict_wanted, reason):
    state = judge({**UP, **changes}, checked, settled)
    assert state.verdict == verdict_wanted
    assert reason in state.reason


@pytest.mark.parametrize(
    ("text", "owned", "start"),
    [
        ("", 0, 100000),
        ("homelab:100000:65536\n", 65536, 165536),
        ("other:100000:65536\n# homelab:1:2\n1000:165536:65536\n", 65536, 231072),
        ("other:131072:65536\n", 0, 196608),
        ("other:100000:600000000\n", 0, None),
        ("nonsense\nhomelab:x:y\n", 0, 100000),
    ],
)
def test_subordinate_ids(text, owned, start):
    assert subordinate_ids(text, "homelab", 1000) == (owned, start)


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ('Environment="DB_PASSWORD=hunter2 and more" X=1', "hunter2"),
        ("PodmanArgs=--env=API_TOKEN=hunter2", "hunter2"),
        ("SMTP_PASS=hunter2", "hunter2"),
        ('{"user": "me", "password": "hunter2"}', "hunter2"),
        ("  - api-key: 'hunter2'", "hunter2"),
        ("url: postgres://me:hunter2@db/immich", "hunter2"),
        ("Options=username=me,password=hunter2", "hunter2"),
        ("Creds=me:hunter2", "hunter2"),
        ("ExecStart=/usr/bin/podman image pull --creds me:hunter2 a.io/b", "hunter2"),
        ("DISCORD_WEBHOOK=https://example.org/hunter2", "hunter2"),
        ("# old: DB_PASSWORD=hunter2", "hunter2"),
        ("db_password: |\n  hunter2\n\n  hunter2\nnext: 1", "hunter2"),
        ("tokens:\n  - hunter2\nnext: 1", "hunter2"),
        ("Environment=DB_PASSWORD=x\\\n  hunter2\\\n  hunter2\nnext=1", "hunter2"),
    ],
)
def test_a_value_whose_name_tells_a_secret_is_nowhere(line, secret):
    for shown in (*redacted(line, line + "\nmore=1", 0o644), *redacted(None, line, 0o600)):
        assert secret not in shown
    assert "next" not in line or "next" in redacted(None, line, 0o644)[1], "and what comes after it is shown"
    if "\n" not in line:
        assert secret not in named(line) + masked(line)
        key, value = line.partition("=")[::2] if re.match(r"\w+=", line) else (None, line)
        unit = Finding("x.container", f"the word {secret!r} is lost", "", 3, key, value)
        assert secret not in f"{unit} {unit.as_dict()}"


@pytest.mark.parametrize("line", ["Secret=token,type=env", "DB_PASSWORD_FILE=/run/secrets/x", "COMPASS=north", "Image=a.io/b:1", "http://a:80/b"])
def test_other_values_are_shown(line):
    assert redacted(None, line, 0o644)[1] == named(line) == line
    assert line.partition("=")[2] in str(Finding("x.container", "no", "", 3, *line.partition("=")[::2]))


def test_secrets_that_a_program_says():
    known = told(['Environment="DB_PASSWORD=correct horse"\n', "API_TOKEN=abcdefgh\nSHORT_TOKEN=abc\nSecret=token_name,type=env\n"])
    assert known == {"correct horse", "abcdefgh"}
    assert masked("cannot log in as me with correct horse, abc", known) == "cannot log in as me with (hidden), abc"


def test_a_private_file_shows_names_and_never_values():
    before, after = redacted("A=one\nB=two\n", "A=one\nB=three\nfree text\n# note\n", 0o600)
    assert (before, after) == ("A=(hidden)\nB=(hidden)\n", "A=(hidden)\nB=(hidden, changed)\n(hidden, changed)\n# note\n")


def test_a_public_file_hides_what_is_called_a_secret():
    text = 'Environment="DB_PASSWORD=p1" X=1\nSecret=token,type=env\nDB_PASSWORD_FILE=/run/secrets/x\napi_key: k\nImage=a\n'
    before, after = redacted(None, text, 0o644)
    assert before == ""
    assert "p1" not in after and "api_key: (hidden)" in after
    for line in ("Secret=token,type=env", "DB_PASSWORD_FILE=/run/secrets/x", "Image=a"):
        assert line in after


def test_a_changed_secret_is_told_from_an_unchanged_one():
    before, after = redacted("API_TOKEN=a\nAPI_SECRET=b\n", "API_TOKEN=a\nAPI_SECRET=c\n", 0o644)
    assert before == "API_TOKEN=(hidden)\nAPI_SECRET=(hidden)\n"
    assert after == "API_TOKEN=(hidden)\nAPI_SECRET=(hidden, changed)\n"


def test_containers_of_a_service_in_podman_5_8_ps():
    found = [
        {"Names": ["play-one"], "Image": "localhost/a:1", "ImageID": "i", "Labels": {"PODMAN_SYSTEMD_UNIT": "play.service"}},
        {"Names": ["310318a19d44-service"], "Image": "", "ImageID": "", "Labels": {"PODMAN_SYSTEMD_UNIT": "play.service"}},
        {"Names": ["other"], "Image": "localhost/a:1", "ImageID": "i", "Labels": None},
    ]
    assert by_service(found, ["play.service", "gone.service"]) == {"play.service": found[:1], "gone.service": []}
