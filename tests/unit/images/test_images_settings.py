# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server stand-in's environment."""

from __future__ import annotations

import base64
import json
import typing as t

import pytest
from immich_server import settings


def load(**environ: str) -> settings.Settings:
    return settings.from_environment(environ, exists=lambda path: path == "/data")


def reader(**files: str) -> t.Callable[[str], str]:
    def read(path: str) -> str:
        try:
            return files[path.strip("/").replace("/", "_")]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", path) from None

    return read


def test_defaults_are_those_of_the_original() -> None:
    made = load()
    assert made.database == ("database", 5432, "postgres", "postgres", "immich", {})
    assert made.redis == ("redis", 6379, None, None, 0, None)
    assert (made.host, made.port, made.media_location) == ("", 2283, "/data")
    assert (made.api_metrics_port, made.microservices_metrics_port) == (8081, 8082)
    assert made.telemetry == frozenset()
    assert made.workers == ("api", "microservices")
    assert (made.allow_setup, made.ignore_mount_errors, made.skip_migrations, made.color, made.log_json) == (True, False, False, True, False)
    assert made.machine_learning_url == "http://immich-machine-learning:3003"
    assert made.start_seconds == 0


@pytest.mark.parametrize("name", ["DB_URL", "DB_HOSTNAME", "DB_DATABASE_NAME", "DB_USERNAME", "DB_PASSWORD", "REDIS_PASSWORD"])
def test_six_variables_can_be_files(name: str) -> None:
    assert settings.resolve_files({name + "_FILE": "/s/x"}, reader(s_x="geheim\n")) == {name: "geheim"}


def test_other_variables_cannot_be_files() -> None:
    assert settings.resolve_files({"REDIS_HOSTNAME_FILE": "/s/x"}, reader(s_x="y")) == {"REDIS_HOSTNAME_FILE": "/s/x"}


def test_a_file_wins_over_the_variable_and_over_the_credentials() -> None:
    environ = {"DB_PASSWORD": "env", "DB_PASSWORD_FILE": "/s/x", "CREDENTIALS_DIRECTORY": "/c"}
    assert settings.resolve_files(environ, reader(s_x="file", c_DB_PASSWORD="credential"))["DB_PASSWORD"] == "file"


def test_credentials_are_taken_where_they_are() -> None:
    found = settings.resolve_files({"CREDENTIALS_DIRECTORY": "/c", "DB_USERNAME": "me"}, reader(c_DB_PASSWORD="credential\n"))
    assert (found["DB_PASSWORD"], found["DB_USERNAME"]) == ("credential", "me")


def test_a_missing_secret_is_told_and_empty_like_with_the_original_s_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert settings.resolve_files({"DB_PASSWORD": "env", "DB_PASSWORD_FILE": "/s/none"}, reader()) == {"DB_PASSWORD": ""}
    assert capsys.readouterr().err == "cat: /s/none: No such file or directory\n"


def test_a_url_overrides_the_parts() -> None:
    made = load(DB_URL="postgresql://us%40er:p%2Fw@db.example:6432/photos?sslmode=require&uselibpqcompat=true", DB_HOSTNAME="other")
    assert made.database == ("db.example", 6432, "us@er", "p/w", "photos", {"sslmode": "require"})


def test_redis_from_a_url_and_from_an_encoded_one() -> None:
    assert load(REDIS_URL="redis://u:p@h:7000/3").redis == ("h", 7000, "u", "p", 3, None)
    encoded = base64.b64encode(json.dumps({"host": "h", "port": 1, "db": 2, "path": "/s"}).encode()).decode()
    assert load(REDIS_URL="ioredis://" + encoded).redis == ("h", 1, None, None, 2, "/s")


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"IMMICH_TELEMETRY_INCLUDE": "api,banana"}, "Invalid telemetry found: banana"),
        ({"IMMICH_TELEMETRY_EXCLUDE": "banana"}, "Invalid telemetry found: banana"),
        ({"IMMICH_WORKERS_INCLUDE": "api,banana"}, "Invalid worker"),
        ({"DB_VECTOR_EXTENSION": "vchord"}, "DB_VECTOR_EXTENSION must be one of"),
        ({"IMMICH_LOG_LEVEL": "info"}, "IMMICH_LOG_LEVEL must be one of"),
        ({"IMMICH_LOG_FORMAT": "xml"}, "IMMICH_LOG_FORMAT must be one of"),
        ({"IMMICH_PORT": "http"}, "IMMICH_PORT must be an integer"),
        ({"IMMICH_PORT": "70000"}, "IMMICH_PORT must be an integer"),
        ({"IMMICH_ALLOW_SETUP": "maybe"}, "IMMICH_ALLOW_SETUP must be a boolean"),
        ({"IMMICH_MEDIA_LOCATION": "data"}, "IMMICH_MEDIA_LOCATION must be an absolute path"),
        ({"IMMICH_TRUSTED_PROXIES": "traefik"}, "IMMICH_TRUSTED_PROXIES must be an ip address"),
        ({"DB_URL": "mysql://x/y"}, "DB_URL must be a postgresql URL"),
        ({"DB_SSL_MODE": "on"}, "DB_SSL_MODE must be one of"),
    ],
)
def test_bad_values_stop_the_start(environ: dict[str, str], text: str) -> None:
    with pytest.raises(settings.BadEnvironment, match=text):
        load(**environ)


def test_telemetry_groups() -> None:
    assert load(IMMICH_TELEMETRY_INCLUDE="all").telemetry == {"host", "api", "io", "repo", "job"}
    assert load(IMMICH_TELEMETRY_INCLUDE="all", IMMICH_TELEMETRY_EXCLUDE="host, repo").telemetry == {"api", "io", "job"}
    assert load(IMMICH_TELEMETRY_INCLUDE="job").telemetry == {"job"}


def test_workers() -> None:
    assert load(IMMICH_WORKERS_INCLUDE="api").workers == ("api",)
    assert load(IMMICH_WORKERS_EXCLUDE="api").workers == ("microservices",)


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["/data"], "/data"),
        (["/usr/src/app/upload"], "/usr/src/app/upload"),
        (["/data", "/usr/src/app/upload"], "/usr/src/app/upload"),
        ([], "/usr/src/app/upload"),
    ],
)
def test_the_media_location_is_the_one_place_there_is(there: list[str], chosen: str) -> None:
    assert settings.media_location({}, there.__contains__) == chosen
    assert settings.media_location({"IMMICH_MEDIA_LOCATION": "/photos/"}, there.__contains__) == "/photos"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.89.2.10", "203.0.113.7", "203.0.113.7"),
        ("10.89.2.10", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("10.89.2.10", "203.0.113.7, 10.0.0.1", "203.0.113.7"),
        ("::ffff:10.89.2.10", "203.0.113.7", "203.0.113.7"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.89.2.10", "", "10.89.2.10"),
        ("10.89.2.10", "unknown, 10.0.0.1", "unknown"),
    ],
)
def test_forwarded_addresses_count_as_far_as_they_are_trusted(peer: str, forwarded: str, client: str) -> None:
    assert settings.client_address(peer, forwarded, load().trusted_proxies) == client


def test_a_slow_start_can_be_asked_for() -> None:
    assert load(HOMELAB_STAND_IN_START_SECONDS="20").start_seconds == 20
    with pytest.raises(settings.BadEnvironment, match="HOMELAB_STAND_IN_START_SECONDS"):
        load(HOMELAB_STAND_IN_START_SECONDS="soon")
