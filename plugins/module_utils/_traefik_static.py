# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to run a Traefik like one that runs already, but cut off, with another directory of dynamic files, and with ears and a voice.

A Traefik takes its static settings from a file, from flags or from the environment, the first of these that there is. Entry points,
plugins and certificate resolvers decide whether a router is valid, so they stay as they are; only log and API are set anew.

Pure functions over what C(podman inspect) tells. Private to the collection.
"""

from __future__ import annotations

import os
import posixpath
import re
import typing as t

DEFAULT_FILES = tuple(f"/etc/traefik/traefik.{kind}" for kind in ("yml", "yaml", "toml"))
LOG = "log:\n  level: WARN\n  format: json\n"
API = "api:\n  insecure: true\n"
FLAGS = ("--log.level=WARN", "--log.format=json", "--api.insecure=true")
_REPLACED = re.compile(r"--(log(\.[a-z]+)?|api(\.insecure|\.basepath)?|experimental\.abortonpluginfailure)(=|\Z)", re.IGNORECASE)


class Mount(t.NamedTuple):
    """source: path on the host; target: path in the container."""

    source: str
    target: str


def mounts_of(container: t.Mapping[str, t.Any]) -> list[Mount]:
    return [Mount(item["Source"], item["Destination"]) for item in container.get("Mounts") or [] if item.get("Source") and item.get("Destination")]


def inside(mounts: t.Sequence[Mount], path: str) -> str | None:
    """Where the container sees a path of the host. The mount that shows it most directly wins."""
    found = [mount for mount in mounts if path == mount.source or path.startswith(mount.source.rstrip("/") + "/")]
    if not found:
        return None
    best = max(found, key=lambda mount: len(mount.source))
    rest = path[len(best.source.rstrip("/")) :].lstrip("/")
    return posixpath.join(best.target, rest) if rest else best.target


def outside(mounts: t.Sequence[Mount], path: str) -> str | None:
    """Where the host keeps what the container sees at a path, when that comes from a mount."""
    found = [mount for mount in mounts if path == mount.target or path.startswith(mount.target.rstrip("/") + "/")]
    if not found:
        return None
    best = max(found, key=lambda mount: len(mount.target))
    rest = path[len(best.target.rstrip("/")) :].lstrip("/")
    return os.path.join(best.source, rest) if rest else best.source


def command_of(container: t.Mapping[str, t.Any]) -> list[str]:
    return [str(word) for word in (container.get("Config") or {}).get("Cmd") or []]


def static_files(container: t.Mapping[str, t.Any]) -> list[str]:
    """Paths in the container where Traefik would look for its static file, in order."""
    command = command_of(container)
    for number, word in enumerate(command):
        name, equals, value = word.partition("=")
        if name.lower() == "--configfile":
            return [value] if equals else command[number + 1 : number + 2]
    return list(DEFAULT_FILES)


def static_text(text: str) -> str | None:
    """A static file in YAML with log and API as they are needed here. None when it is written in a way not understood here."""
    if re.search(r"^[\[{\"']", text, re.MULTILINE) or re.search(r"^---.*\n(.*\n)*---", text, re.MULTILINE):
        return None
    lines, kept, dropping = text.splitlines(keepends=True), [], False
    for line in lines:
        if re.match(r"(log|api)\s*:", line):
            dropping = True
        elif dropping and re.match(r"[^\s#]", line):
            dropping = False
        if not dropping:
            kept.append(line)
    # without a network the twin gets no plugin from elsewhere; it has to come up all the same
    body = re.sub(r"(abortOnPluginFailure\s*:\s*)true", r"\1false", "".join(kept))
    return body + ("" if body.endswith("\n") or not body else "\n") + LOG + API


def flags(command: t.Sequence[str]) -> list[str]:
    """The command of a Traefik that is set by flags, with log and API as they are needed here."""
    return [word for word in command if not _REPLACED.match(word)] + list(FLAGS)


def environment(container: t.Mapping[str, t.Any], by_environment: bool) -> list[str]:
    """Its environment; when that holds the static settings, with log and API as they are needed here."""
    # sockets that systemd handed to the live one are not there for a twin
    found = [str(item) for item in (container.get("Config") or {}).get("Env") or [] if not str(item).startswith(("LISTEN_", "NOTIFY_"))]
    if by_environment:
        found = [item for item in found if not re.match(r"TRAEFIK_(LOG|API)(_|=)", item)]
        found += ["TRAEFIK_LOG_LEVEL=WARN", "TRAEFIK_LOG_FORMAT=json", "TRAEFIK_API_INSECURE=true"]
    return found


def secrets_of(container: t.Mapping[str, t.Any]) -> list[str]:
    """The values of its --secret options. podman inspect tells names only, so the command that made it is read."""
    command = [str(word) for word in (container.get("Config") or {}).get("CreateCommand") or []]
    found = []
    for number, word in enumerate(command):
        if word == "--secret":
            found += command[number + 1 : number + 2]
        elif word.startswith("--secret="):
            found.append(word.partition("=")[2])
    return found


class Recipe(t.NamedTuple):
    """What is special about the throw-away: options of podman run, image, command.

    static: (path in the container, text) to put over its static file, or None.
    complete: False when log and API could not be set, so that less is seen.
    """

    options: list[str]
    image: str
    command: list[str]
    static: tuple[str, str] | None
    complete: bool


def recipe(container: t.Mapping[str, t.Any], read: t.Callable[[str], str | None], is_directory: t.Callable[[str], bool], skip: str) -> Recipe:
    """How to run one like it.

    read, is_directory: look at a path of the host. skip: path in the container of the directory of dynamic files, mounted by the caller.
    """
    config, mounts, command = container.get("Config") or {}, mounts_of(container), command_of(container)
    static, complete, from_file = None, True, False
    for path in static_files(container):
        place = outside(mounts, path)
        text = read(place) if place else None
        if text is not None:
            from_file = True
            fresh = None if path.endswith(".toml") else static_text(text)
            static, complete = (None, False) if fresh is None else ((path, fresh), True)
            break
    by_flags = not from_file and any(word.startswith("--") for word in command)
    by_environment = not from_file and not by_flags and any(str(item).startswith("TRAEFIK_") for item in config.get("Env") or [])
    options: list[str] = []
    for item in environment(container, by_environment):
        options += ["--env", item]
    for value in secrets_of(container):
        options += ["--secret", value]
    for mount in mounts:
        if mount.target != skip and not (static and mount.target == static[0]):
            # an overlay: what it writes (certificates, logs, plugins) is gone with it, and the live one never sees it
            options += ["--volume", f"{mount.source}:{mount.target}:{'O' if is_directory(mount.source) else 'ro'}"]
    if config.get("User"):
        options += ["--user", str(config["User"])]
    if config.get("WorkingDir"):
        options += ["--workdir", str(config["WorkingDir"])]
    if by_flags or not (from_file or by_environment):
        command = flags(command)
    return Recipe(options, str(container.get("Image")), command, static, complete)
