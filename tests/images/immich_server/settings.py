# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment: secrets from files, defaults, checks. Pure: the environment and a reader of files go in, settings come out."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import os
import sys
import typing as t
import urllib.parse

from immich_server import logs, versions

# Only these can be given as a file; the original has no other _FILE variables.
FILE_VARIABLES = ("DB_URL", "DB_HOSTNAME", "DB_DATABASE_NAME", "DB_USERNAME", "DB_PASSWORD", "REDIS_PASSWORD")
WORKERS = ("api", "microservices")
TELEMETRY = ("host", "api", "io", "repo", "job")
PRIVATE_RANGES = ("127.0.0.0/8", "::1/128", "169.254.0.0/16", "fe80::/10", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
Reader = t.Callable[[str], str]


class BadEnvironment(Exception):
    """A variable has a value the original does not start with."""


class Database(t.NamedTuple):
    """Where the database is. C(options) are further libpq parameters (sslmode)."""

    host: str
    port: int
    user: str
    password: str
    name: str
    options: t.Mapping[str, str]


class Redis(t.NamedTuple):
    """Where Valkey is: C(socket) wins over host and port."""

    host: str
    port: int
    username: str | None
    password: str | None
    index: int
    socket: str | None


class Settings(t.NamedTuple):
    """Everything the environment decides."""

    database: Database
    vector_extension: str
    skip_migrations: bool
    redis: Redis
    host: str
    port: int
    media_location: str
    ignore_mount_errors: bool
    allow_setup: bool
    log_level: str
    log_json: bool
    color: bool
    telemetry: frozenset[str]
    api_metrics_port: int
    microservices_metrics_port: int
    workers: tuple[str, ...]
    config_file: str
    trusted_proxies: tuple[str, ...]
    machine_learning_url: str
    machine_learning: bool
    start_seconds: int


def read_text(path: str) -> str:
    with open(path, encoding="utf-8") as handle:
        return handle.read()


def resolve_files(environ: t.Mapping[str, str], read: Reader = read_text) -> dict[str, str]:
    """Replace NAME_FILE by NAME, and take credentials from $CREDENTIALS_DIRECTORY.

    As with the original's start script a file that cannot be read is reported and gives an empty value, not a stop.
    """
    resolved = dict(environ)
    for name in FILE_VARIABLES:
        path = resolved.pop(name + "_FILE", "")
        directory = resolved.get("CREDENTIALS_DIRECTORY", "")
        if path:
            try:
                resolved[name] = read(path).rstrip("\n")
            except OSError as error:
                print(f"cat: {path}: {error.strerror}", file=sys.stderr, flush=True)
                resolved[name] = ""
        elif directory:
            with contextlib.suppress(OSError):  # a credential that is not there is not wanted
                resolved[name] = read(os.path.join(directory, name)).rstrip("\n")
    return resolved


def boolean(environ: t.Mapping[str, str], name: str, default: bool) -> bool:
    text = environ.get(name, "")
    if not text:
        return default
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise BadEnvironment(f"Invalid environment variables: {name} must be a boolean value")


def number(environ: t.Mapping[str, str], name: str, default: int, lowest: int = 1, highest: int = 65535) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdigit() or not lowest <= int(text) <= highest:
        raise BadEnvironment(f"Invalid environment variables: {name} must be an integer from {lowest} to {highest}")
    return int(text)


def choice(environ: t.Mapping[str, str], name: str, allowed: t.Iterable[str], default: str = "") -> str:
    text = environ.get(name, "") or default
    if text and text not in allowed:
        raise BadEnvironment(f"Invalid environment variables: {name} must be one of the following values: {', '.join(allowed)}")
    return text


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def workers(environ: t.Mapping[str, str]) -> tuple[str, ...]:
    include = words(environ.get("IMMICH_WORKERS_INCLUDE", "")) or list(WORKERS)
    exclude = words(environ.get("IMMICH_WORKERS_EXCLUDE", ""))
    left = [name for name in include if name not in exclude]
    unknown = [name for name in left if name not in WORKERS]
    if unknown:
        raise BadEnvironment(f"Invalid worker(s) found: {','.join(left)}")
    return tuple(name for name in WORKERS if name in left)


def telemetry(environ: t.Mapping[str, str]) -> frozenset[str]:
    def group(name: str) -> set[str]:
        wanted = words(environ.get(name, ""))
        if "all" in wanted:
            return set(TELEMETRY)
        unknown = [word for word in wanted if word not in TELEMETRY]
        if unknown:
            raise BadEnvironment(f"Invalid telemetry found: {','.join(unknown)}")
        return set(wanted)

    return frozenset(group("IMMICH_TELEMETRY_INCLUDE") - group("IMMICH_TELEMETRY_EXCLUDE"))


def database(environ: t.Mapping[str, str]) -> Database:
    url = environ.get("DB_URL", "")
    if url:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("postgres", "postgresql") or not parts.hostname:
            raise BadEnvironment("Invalid environment variables: DB_URL must be a postgresql URL")
        options = dict(urllib.parse.parse_qsl(parts.query))
        options.pop("uselibpqcompat", None)  # a word of the original's driver
        unquote = urllib.parse.unquote
        return Database(
            options.pop("host", "") or parts.hostname,
            parts.port or 5432,
            unquote(parts.username or "postgres"),
            unquote(parts.password or ""),
            unquote(parts.path.lstrip("/")) or "immich",
            options,
        )
    mode = choice(environ, "DB_SSL_MODE", ("disable", "allow", "prefer", "require", "verify-full"))
    return Database(
        environ.get("DB_HOSTNAME") or "database",
        number(environ, "DB_PORT", 5432),
        environ.get("DB_USERNAME") or "postgres",
        environ.get("DB_PASSWORD") or "postgres",
        environ.get("DB_DATABASE_NAME") or "immich",
        {"sslmode": mode} if mode else {},
    )


def redis(environ: t.Mapping[str, str]) -> Redis:
    url = environ.get("REDIS_URL", "")
    if url.startswith("ioredis://"):
        try:
            given = json.loads(base64.b64decode(url[len("ioredis://") :]))
        except ValueError as error:
            raise BadEnvironment(f"Failed to decode redis options: {error}") from error
        return Redis(
            given.get("host", "redis"), int(given.get("port", 6379)), given.get("username"), given.get("password"), int(given.get("db", 0)), given.get("path")
        )
    if url:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("redis", "rediss"):
            raise BadEnvironment("Invalid environment variables: REDIS_URL must start with redis:// or ioredis://")
        return Redis(parts.hostname or "redis", parts.port or 6379, parts.username or None, parts.password or None, int(parts.path.strip("/") or 0), None)
    return Redis(
        environ.get("REDIS_HOSTNAME") or "redis",
        number(environ, "REDIS_PORT", 6379),
        environ.get("REDIS_USERNAME") or None,
        environ.get("REDIS_PASSWORD") or None,
        number(environ, "REDIS_DBINDEX", 0, 0, 1 << 20),
        environ.get("REDIS_SOCKET") or None,
    )


def media_location(environ: t.Mapping[str, str], exists: t.Callable[[str], bool] = os.path.exists) -> str:
    """Where the six folders are: said, else whichever of the new and the old place exists alone, else the old one."""
    given = environ.get("IMMICH_MEDIA_LOCATION", "")
    if given:
        if not given.startswith("/"):
            raise BadEnvironment("Invalid environment variables: IMMICH_MEDIA_LOCATION must be an absolute path")
        return given.rstrip("/") or "/"
    return "/data" if exists("/data") and not exists("/usr/src/app/upload") else "/usr/src/app/upload"


def trusted_proxies(environ: t.Mapping[str, str]) -> tuple[str, ...]:
    given = words(environ.get("IMMICH_TRUSTED_PROXIES", ""))
    for entry in given:
        try:
            ipaddress.ip_network(entry, strict=False)
        except ValueError as error:
            raise BadEnvironment("Invalid environment variables: IMMICH_TRUSTED_PROXIES must be an ip address, or ip address range") from error
    return tuple(given) or PRIVATE_RANGES


def from_environment(environ: t.Mapping[str, str], exists: t.Callable[[str], bool] = os.path.exists) -> Settings:
    """Settings from an environment whose files are resolved. Raises C(BadEnvironment)."""
    return Settings(
        database=database(environ),
        vector_extension=choice(environ, "DB_VECTOR_EXTENSION", versions.EXTENSIONS),
        skip_migrations=boolean(environ, "DB_SKIP_MIGRATIONS", False),
        redis=redis(environ),
        host=environ.get("IMMICH_HOST", ""),
        port=number(environ, "IMMICH_PORT", 2283),
        media_location=media_location(environ, exists),
        ignore_mount_errors=boolean(environ, "IMMICH_IGNORE_MOUNT_CHECK_ERRORS", False),
        allow_setup=boolean(environ, "IMMICH_ALLOW_SETUP", True),
        log_level=choice(environ, "IMMICH_LOG_LEVEL", logs.LEVELS),
        log_json=choice(environ, "IMMICH_LOG_FORMAT", ("console", "json"), "console") == "json",
        color=not environ.get("NO_COLOR"),
        telemetry=telemetry(environ),
        api_metrics_port=number(environ, "IMMICH_API_METRICS_PORT", 8081),
        microservices_metrics_port=number(environ, "IMMICH_MICROSERVICES_METRICS_PORT", 8082),
        workers=workers(environ),
        config_file=environ.get("IMMICH_CONFIG_FILE", ""),
        trusted_proxies=trusted_proxies(environ),
        machine_learning_url=environ.get("IMMICH_MACHINE_LEARNING_URL") or "http://immich-machine-learning:3003",
        # Not the original's: how much longer a start takes, between the migrations and the open port.
        start_seconds=number(environ, "HOMELAB_STAND_IN_START_SECONDS", 0, 0, 3600),
        # Like the original: any other word leaves it on.
        machine_learning=environ.get("IMMICH_MACHINE_LEARNING_ENABLED") != "false",
    )


def client_address(peer: str, forwarded: str, trusted: t.Sequence[str]) -> str:
    """The address a request came from: X-Forwarded-For is read from the right, as far as trusted proxies wrote it."""

    def is_trusted(text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in ipaddress.ip_network(entry, strict=False) for entry in trusted)

    chain = [*words(forwarded), peer]
    while len(chain) > 1 and is_trusted(chain[-1]):
        chain.pop()
    return chain[-1]
