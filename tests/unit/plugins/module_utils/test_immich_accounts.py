# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared people, keys and libraries beside what is there; and how the API is asked."""

from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._immich_accounts import (
    OWN_PERMISSIONS,
    SETUP_KEY,
    DeclarationError,
    State,
    plan,
    setup_permissions,
    size,
)
from ansible_collections.patriark.homelab.plugins.module_utils._immich_api import Api, ApiError, curl_config, reason

ANNA = {"email": "Anna@example.org", "name": "Anna", "password": "secret-of-anna", "quota": "1G", "storage_label": "anna", "admin": False}
LIVE = {"id": "u1", "email": "anna@example.org", "name": "Anna", "quotaSizeInBytes": 1 << 30, "storageLabel": "anna", "isAdmin": False}
KEY = {"name": "monitoring", "permissions": ["server.statistics", "job.read"]}
LIVE_KEY = {"id": "k1", "name": "homelab:monitoring", "permissions": ["job.read", "server.statistics"]}
SCANS = {"name": "scans", "owner": "anna@example.org", "exclusion_patterns": ["**/x"]}
LIVE_SCANS = {"id": "l1", "name": "scans", "ownerId": "u1", "importPaths": ["/external/scans"], "exclusionPatterns": ["**/x"]}
DONE = State([LIVE], [LIVE_KEY], [LIVE_SCANS], True, frozenset({"immich-api-key-monitoring"}), frozenset({"immich-api-key-monitoring"}))


def steps(users=(), keys=(), libraries=(), state=DONE):
    return plan(users, keys, libraries, state)


def test_nothing_to_do():
    assert steps([ANNA], [KEY], [SCANS]) == []


def test_everything_from_nothing():
    made = steps([ANNA], [KEY], [SCANS], State())
    assert [step.text for step in made] == [
        "end the welcome tour",
        "make the account anna@example.org",
        "make the key homelab:monitoring, kept as immich-api-key-monitoring",
        "declare the library scans of anna@example.org",
    ]
    assert made[1].body["quotaSizeInBytes"] == 1 << 30
    assert made[1].body["shouldChangePassword"] is True
    assert made[3].owner == "anna@example.org"
    assert not any("secret-of-anna" in f"{step!r} {step.text}" for step in made)


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({"name": "Anna Maria"}, {"name": "Anna Maria"}),
        ({"quota": ""}, {"quotaSizeInBytes": None}),
        ({"quota": "2G"}, {"quotaSizeInBytes": 2 << 30}),
        ({"storage_label": ""}, {"storageLabel": None}),
        ({"admin": True}, {"isAdmin": True}),
        ({"password": "another"}, None),
    ],
)
def test_a_change_changes_only_that(change, body):
    made = steps([{**ANNA, **change}], [KEY])
    assert [(step.method, step.path, step.body) for step in made] == ([("PUT", "/api/admin/users/u1", body)] if body else [])


def test_people_who_are_not_declared_are_left_alone():
    assert steps([], [KEY], [SCANS]) == []


def test_keys():
    (changed,) = steps(keys=[{**KEY, "permissions": ["job.read"]}])
    assert (changed.method, changed.body["permissions"]) == ("PUT", ["job.read"])
    (gone,) = steps()
    assert (gone.method, gone.path, gone.secret) == ("DELETE", "/api/api-keys/k1", "immich-api-key-monitoring")
    others = State(keys=[{"id": "k2", "name": "phone", "permissions": []}, {"id": "k3", "name": SETUP_KEY, "permissions": []}], onboarded=True)
    assert steps(state=others) == []


@pytest.mark.parametrize(
    ("live", "valid"), [([LIVE_KEY], frozenset()), ([], frozenset({"immich-api-key-monitoring"})), ([LIVE_KEY, {**LIVE_KEY, "id": "k9"}], DONE.valid)]
)
def test_a_key_without_its_secret_is_made_anew(live, valid):
    made = steps(keys=[KEY], state=State(keys=live, onboarded=True, valid=valid))
    assert [step.method for step in made] == ["DELETE"] * len(live) + ["POST"]
    assert made[-1].secret == "immich-api-key-monitoring"


def test_libraries():
    (changed,) = steps(keys=[KEY], libraries=[{**SCANS, "exclusion_patterns": []}])
    assert (changed.path, changed.body) == ("/api/libraries/l1", {"exclusionPatterns": []})
    with pytest.raises(DeclarationError, match="cannot hand it over"):
        steps(keys=[KEY], libraries=[SCANS], state=State([LIVE], [LIVE_KEY], [{**LIVE_SCANS, "ownerId": "u2"}], True, valid=DONE.valid))


def test_permissions_of_the_key_that_makes_keys():
    assert setup_permissions([]) == sorted(OWN_PERMISSIONS)
    assert {"server.statistics", "apiKey.create"} <= set(setup_permissions([KEY]))
    assert setup_permissions([{"permissions": ["all"]}]) == ["all"]


@pytest.mark.parametrize(("text", "found"), [("", None), ("50G", 50 << 30), ("1024", 1024), ("2T", 2 << 40)])
def test_sizes(text, found):
    assert size(text) == found


@pytest.mark.parametrize("change", [{"quota": "much"}, {"storage_label": "an.na"}])
def test_declarations_that_cannot_be_met(change):
    with pytest.raises(DeclarationError):
        steps([{**ANNA, **change}])


def test_what_curl_reads():
    text = curl_config("POST", "/api/x", {"x-api-key": 'a"b'}, {"password": 'q"\\\n'})
    assert 'url = "http://localhost:2283/api/x"' in text
    assert 'header = "x-api-key: a\\"b"' in text
    assert 'data-raw = "{\\"password\\": \\"q\\\\\\"\\\\\\\\\\\\n\\"}"' in text
    assert len(text.splitlines()) == 9


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"message": "The server already has an admin"}, "The server already has an admin"),
        ({"message": ["email must be an email", "name"]}, "email must be an email; name"),
        ({"message": "Validation failed", "errors": [{"path": ["email"], "message": "is wrong"}]}, "Validation failed; email is wrong"),
        (None, "no reason given"),
    ],
)
def test_reasons(document, said):
    assert reason(document) == said


class FakeSession:
    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def podman(self, *args, data=None):
        self.asked.append((args, data))
        return self.answers.pop(0)


def test_an_answer():
    session = FakeSession((0, '{"res":"pong"}\n200', ""), (0, "\n204", ""))
    api = Api(session, "immich-server")
    assert api.call("GET", "/api/server/ping") == {"res": "pong"}
    assert api.call("DELETE", "/api/x") is None
    assert all("secret" not in " ".join(args) for args, data in session.asked)


@pytest.mark.parametrize(
    ("answer", "status"), [((0, '{"message":"Forbidden"}\n403', ""), 403), ((7, "\n000", "curl: (7) refused"), 0), ((125, "", "no container"), 0)]
)
def test_no_answer_and_refusals(answer, status):
    with pytest.raises(ApiError) as error:
        Api(FakeSession(answer), "immich-server").call("GET", "/api/x")
    assert error.value.status == status


@pytest.mark.parametrize(("answer", "known"), [("{}\n200", True), ("{}\n403", True), ("{}\n401", False)])
def test_whose_key_it_is(answer, known):
    assert Api(FakeSession((0, answer, "")), "immich-server").allows({"x-api-key": "x"}) is known


def test_a_server_in_trouble_is_no_unknown_key():
    with pytest.raises(ApiError):
        Api(FakeSession((0, "{}\n500", "")), "immich-server").allows({"x-api-key": "x"})
