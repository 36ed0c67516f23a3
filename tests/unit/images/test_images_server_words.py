# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server stand-in says in the words of the release it stands in for."""

from __future__ import annotations

import socket

import pytest
from immich_server import crash, validation


def test_a_refused_password_is_told_with_the_drivers_fields() -> None:
    told = crash.of_connection('connection failed: FATAL:  password authentication failed for user "immich"', "10.89.0.2", 5432)
    assert told.startswith('PostgresError: password authentication failed for user "immich"\n    at ')
    assert "\n  code: '28P01',\n  routine: 'auth_failed'\n}" in told


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ('FATAL:  database "x" does not exist', "3D000"),
        ("FATAL:  the database system is starting up", "57P03"),
        ("FATAL:  something new", "XX000"),
        ("connection to server at x failed: Connection refused", "ECONNREFUSED"),
        ("connection timeout expired", "ETIMEDOUT"),
    ],
)
def test_other_ends_of_the_first_connection_have_their_code(reason: str, code: str) -> None:
    assert f"  code: '{code}'" in crash.of_connection(reason, "10.89.0.2", 5432)


def test_a_name_that_leads_nowhere() -> None:
    told = crash.of_name("database", socket.EAI_NONAME)
    assert told.startswith("Error: getaddrinfo ENOTFOUND database\n")
    assert "hostname: 'database'" in told
    assert "getaddrinfo EAI_AGAIN database" in crash.of_name("database", socket.EAI_AGAIN)


@pytest.fixture(params=[2, 3], ids=["2.x", "3.x"])
def major(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(validation, "MAJOR", request.param)
    return int(request.param)


def test_a_refusal_has_its_releases_form(major: int) -> None:
    body = validation.body("No", 403, "abc")
    assert body == ({"message": "No"} if major >= 3 else {"message": "No", "error": "Forbidden", "statusCode": 403, "correlationId": "abc"})
    several = validation.body(["x is wrong"], 400, "abc")
    assert several["message"] == ("Validation failed" if major >= 3 else ["x is wrong"])
    assert ("errors" in several) == (major >= 3)


def test_text_that_lacks_and_text_that_is_empty(major: int) -> None:
    assert len(validation.text({}, "name")) == (1 if major >= 3 else 2)
    assert validation.text({"name": ""}, "name") == ([] if major >= 3 else ["name should not be empty"])
    assert validation.text({"name": "x"}, "name") == []


def test_a_choice_names_what_is_allowed(major: int) -> None:
    assert validation.choice("a", ["a", "b"], ["name"]) == []
    (wrong,) = validation.choice("c", ["a", "b"], ["permissions", 0])
    if major >= 3:
        assert isinstance(wrong, dict)
        assert (wrong["path"], wrong["message"]) == (["permissions", 0], 'Invalid option: expected one of "a"|"b"')
    else:
        assert wrong == "each value in permissions must be one of the following values: a, b"


def test_only_the_older_release_wants_a_device(major: int) -> None:
    times = {"fileCreatedAt": "now", "fileModifiedAt": "now"}
    assert len(validation.upload(times, bool)) == (0 if major >= 3 else 4)
    assert len(validation.upload({"deviceAssetId": "a", "deviceId": "b"}, bool)) == (2 if major >= 3 else 4)


@pytest.mark.parametrize("address", ["nobody", "a@b@c", "a b@c", "@c", "a@"])
def test_what_is_no_address(major: int, address: str) -> None:
    assert len(validation.email(address)) == 1
    assert validation.email("a@b") == []
