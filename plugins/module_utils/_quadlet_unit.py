# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a unit of a stack means: its type, its service, the resource it makes, and what it refers to.

Private to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_keys import TYPES
from ansible_collections.patriark.homelab.plugins.module_utils._unit_file import Entry, UnitFile, split_words, unquoted

QUADLET_TYPES = tuple(name for name in TYPES if name != "quadlet")
PLAIN_TYPES = ("service", "socket", "timer", "path", "target")
DIGEST_LABEL = "patriark.homelab.digest"
# podman's, where a unit gives no HealthRetries
DEFAULT_RETRIES = 3
REQUIRING = ("Requires", "Requisite", "BindsTo", "PartOf", "Wants", "Upholds", "After", "Before", "Conflicts", "OnFailure", "OnSuccess")
_QUADLETS = tuple(f".{kind}" for kind in QUADLET_TYPES)
_NAME = re.compile(r"^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\.(?P<type>[a-z]+)\Z")


class UnitName(t.NamedTuple):
    """A file name of a stack taken apart.

    kind is container, network, ... or service, socket, ...; target is the unit a drop-in belongs to (None for a unit itself).
    """

    text: str
    kind: str
    target: str | None

    @property
    def plain(self) -> bool:
        """Whether systemd reads the file itself (and not podman's generator)."""
        return self.kind in PLAIN_TYPES

    @property
    def stem(self) -> str:
        return (self.target or self.text).rpartition(".")[0]

    @property
    def template(self) -> bool:
        return self.target is None and self.stem.endswith("@")

    @property
    def template_name(self) -> str | None:
        """For an instance: the name of its template."""
        base, at, instance = self.stem.partition("@")
        return f"{base}@.{self.kind}" if at and instance else None


def parse_name(text: str) -> UnitName | None:
    """None when it is not the name of a unit or drop-in which a stack can have."""
    folder, slash, conf = text.partition("/")
    unit = folder[:-2] if slash and folder.endswith(".d") else text
    match = _NAME.match(unit)
    if not match or match.group("type") not in QUADLET_TYPES + PLAIN_TYPES or (slash and not re.fullmatch(r"[A-Za-z0-9_.@-]+\.conf", conf)):
        return None
    return UnitName(text, match.group("type"), unit if slash else None)


def is_plain(text: str) -> bool:
    """Whether a file lies among systemd's own units, and not in the directory of the stack."""
    name = parse_name(text)
    return name is not None and name.plain


def has_install(text: str, content: str) -> bool:
    """Whether a plain unit has to be enabled by systemctl to be started at boot."""
    name = parse_name(text)
    return name is not None and name.target is None and not name.template and "[Install]" in content


class Unit:
    """A quadlet or plain unit with its drop-ins merged in.

    Attributes:
        name: of the main file.
        file: the parsed main file.
        drop_ins: name -> parsed drop-in, in the order they are merged.
        merged: all of it as one file; place() tells which file and line an entry of it comes from.
    """

    def __init__(self, name: UnitName, text: str, drop_ins: t.Mapping[str, str] | None = None) -> None:
        self.name = name
        self.file = UnitFile(text)
        self.drop_ins = {key: UnitFile((drop_ins or {})[key]) for key in sorted(drop_ins or {}, key=lambda key: key.rpartition("/")[2])}
        self.merged = UnitFile("\n".join([text, *(drop_in.text for drop_in in self.drop_ins.values())])) if self.drop_ins else self.file

    @property
    def section(self) -> str:
        return "" if self.name.plain else TYPES[self.name.kind].section

    def get(self, key: str, default: str = "") -> str:
        return unquoted(self.merged.value(self.section, key, default))

    def place(self, entry: Entry) -> tuple[str, int]:
        """File name and line of an entry of the merged file."""
        line = entry.line
        for name, file in ((self.name.text, self.file), *self.drop_ins.items()):
            count = file.text.count("\n") + 1
            if line <= count:
                return name, line
            line -= count
        raise ValueError(entry)

    def finding(self, section: str, key: str, reason: str, remedy: str, severity: str = "error", entry: Entry | None = None) -> Finding:
        """What is wrong with a key, said of the line that counts, or of the unit when it has no such line."""
        entry = entry or self.merged.last(section, key)
        name, line = self.place(entry) if entry else (self.name.text, None)
        return Finding(name, reason, remedy, line, key or None, entry.value if entry else None, severity)

    @property
    def service(self) -> str:
        """The systemd unit this file makes."""
        if self.name.plain:
            return self.name.text
        stem = self.get("ServiceName") or self.name.stem + ("" if self.name.kind in ("container", "kube") else f"-{self.name.kind}")
        return f"{stem}.service"

    @property
    def resource(self) -> str | None:
        """Name of the container, network, volume or pod it makes."""
        key = {"container": "ContainerName", "network": "NetworkName", "volume": "VolumeName", "pod": "PodName"}.get(self.name.kind)
        if key is None:
            return None
        # without a name of its own a container takes the name of its service, the others that of their file
        fallback = self.service.rpartition(".")[0] if self.name.kind == "container" else self.name.stem
        return self.get(key) or f"systemd-{fallback}"

    @property
    def on_demand(self) -> bool:
        """Whether nothing is expected to run: a template, or work which ends (started by a timer, by hand, or for what needs it)."""
        if self.name.template or self.name.kind == "build":
            return True
        one_shot = self.merged.value("Service", "Type").lower() == "oneshot"
        remains = is_true(self.merged.value("Service", "RemainAfterExit"))
        return self.name.kind in ("service", "container", "kube") and one_shot and not remains

    @property
    def secrets(self) -> list[str]:
        """Names of the podman secrets it uses (a build takes files and variables for its secrets)."""
        if self.name.kind != "container":
            return []
        return [word.partition(",")[0] for word in self.merged.words(self.section, "Secret")]

    @property
    def networks(self) -> list[tuple[str, dict[str, list[str]]]]:
        """(network, options) of each Network= line."""
        found = []
        for entry in self.merged.all(self.section, "Network"):
            name, dummy, options = entry.value.partition(":")
            parsed: dict[str, list[str]] = {}
            for option in filter(None, options.split(",")):
                key, dummy, value = option.partition("=")
                parsed.setdefault(key, []).append(value)
            found.append((name, parsed))
        return found

    @property
    def addresses(self) -> list[tuple[Entry, str, str]]:
        """Static addresses: the entry that gives it, its network, and the address."""
        lines = self.merged.all(self.section, "Network")
        found = [(entry, network, text) for entry, (network, options) in zip(lines, self.networks) for key in ("ip", "ip6") for text in options.get(key, [])]
        own = [self.merged.last(self.section, key) for key in ("IP", "IP6")] if len(lines) == 1 else []
        return found + [(entry, self.networks[0][0], unquoted(entry.value)) for entry in own if entry]

    @property
    def has_health_check(self) -> bool:
        return self.get("HealthCmd") not in ("", "none") or any("--health-cmd" in word for word in self.merged.words(self.section, "PodmanArgs"))

    def references(self) -> list[tuple[Entry, str]]:
        """Every reference of a key to another quadlet unit, with the file name of that unit."""
        entries = [entry for entry in self.merged.entries if entry.section == self.section and entry.value]
        return [(entry, target) for entry in entries for target in _targets(self.name.kind, entry.key, entry.value)]

    def depends_on(self) -> list[tuple[Entry, str]]:
        """Every dependency of [Unit] on a quadlet unit, with the file name of that unit."""
        entries = [entry for entry in self.merged.entries if entry.section == "Unit" and entry.key in REQUIRING]
        return [(entry, word) for entry in entries for word in entry.value.split() if word.endswith(_QUADLETS)]

    def needs(self) -> list[str]:
        """Services and quadlets it wants to come after."""
        return [target for dummy, target in self.references()] + [
            word for key in ("After", "Requires", "BindsTo", "Wants") for word in self.merged.words("Unit", key)
        ]

    def pulls_in(self) -> list[str]:
        """Services and quadlets it starts."""
        found = [word for key in ("Requires", "Wants", "BindsTo", "Upholds") for word in self.merged.words("Unit", key)]
        if self.name.kind in ("socket", "timer", "path"):
            key = "Service" if self.name.kind == "socket" else "Unit"
            found.append(self.merged.value(self.name.kind.capitalize(), key) or f"{self.name.stem}.service")
        return found

    def mentions(self, name: str) -> bool:
        """Whether the text names a companion file, or a folder which holds it, or mounts the stack's own directory."""
        parts = name.split("/")
        paths = ["/".join(parts[: index + 1]) for index in range(len(parts))]
        for text in (self.file, *self.drop_ins.values()):
            for entry in text.entries:
                if any(re.search(rf"(?<![\w.-]){re.escape(path)}(?![\w.-])", entry.value) for path in paths):
                    return True
                if entry.key == "Volume" and entry.value.partition(":")[0] in (".", "./"):
                    return True
        return False


def image_reference(unit: Unit, units: t.Mapping[str, Unit]) -> str | None:
    """The reference a container is made from, or an .image unit makes, followed through units; None when only the start will tell."""
    image = unit.get("Image")
    provider = unit if unit.name.kind == "image" else units.get(image)
    if provider is not None:
        image = provider.get("ImageTag") or provider.get("Image")
    return image if image and "%" not in image and "$" not in image and not re.match(r"[a-z-]+:[./]|.*\.(image|build)\Z", image) else None


def container_name(unit: Unit) -> str:
    """Name of the container a unit runs, for a template's instance too."""
    base, dummy, instance = unit.name.stem.partition("@")
    if instance and not unit.get("ContainerName"):
        return f"systemd-{base}_{instance}"
    return (unit.resource or "").replace("%i", instance).replace("%p", base).replace("%N", unit.service.rpartition(".")[0])


def is_true(value: str) -> bool:
    return value.lower() in ("1", "yes", "true", "on", "y", "t")


def _targets(kind: str, key: str, value: str) -> t.Iterator[str]:
    suffixes: tuple[str, ...] = ()
    if key == "Network":
        suffixes, value = (".network", ".container"), value.partition(":")[0]
    elif key == "Volume":
        suffixes, value = (".volume",), value.partition(":")[0]
    elif key == "Pod":
        suffixes = (".pod",)
    elif key == "Image" and kind in ("container", "volume"):
        suffixes = (".image", ".build")
    elif key == "Mount":
        for word in split_words(value)[0]:
            for option in word.split(","):
                name, dummy, source = option.partition("=")
                if name in ("source", "src") and source.endswith((".volume", ".image", ".build", ".artifact")):
                    yield source
        return
    if suffixes and value.endswith(suffixes):
        yield value
