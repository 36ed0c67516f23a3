# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs, told from one look: for people, for verify and for tests. Reads only and never fails on an absent thing.

Private to the collection.
"""

from __future__ import annotations

import os
import re
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _account as account
from ansible_collections.patriark.homelab.plugins.module_utils import _generator as generator
from ansible_collections.patriark.homelab.plugins.module_utils import _manifest as manifests
from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _staleness as staleness
from ansible_collections.patriark.homelab.plugins.module_utils import _systemd as systemd
from ansible_collections.patriark.homelab.plugins.module_utils._commands import moment, start_command
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, UnitName, container_name, image_reference, parse_name
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import changed, read_tree
from ansible_collections.patriark.homelab.plugins.module_utils._values import dotted

_Found = t.TypeVar("_Found")


class Report:
    """One look at a session. Read the attributes after gather()."""

    def __init__(self, session: Session, stack: str | None) -> None:
        self.session, self.stack = session, stack
        self.notes: list[str] = []
        self.installed = session.module.get_bin_path("podman") is not None

    def gather(self) -> dict[str, t.Any]:
        session = self.session
        found = manifests.load_all(session) if session.exists else {}
        stacks = {name: manifest for name, manifest in found.items() if self.stack in (None, name)}
        program = podman.generator(session) if self.installed else None
        units: dict[str, tuple[str, Unit, str]] = {}
        for name, manifest in stacks.items():
            for text, unit, digest in self._units(manifest):
                units[text] = (name, unit, digest)
        services = {text: unit.service for text, (dummy, unit, dummy2) in units.items()}
        live = self._try(lambda: systemd.show(session, sorted(set(services.values())))) or {}
        usable = self.installed and session.exists and session.ready
        names = [container_name(unit) for dummy, unit, dummy2 in units.values() if unit.name.kind == "container" and not unit.name.template]
        everything = {text: unit for text, (dummy, unit, dummy2) in units.items()}
        references = {text: image_reference(unit, everything) for text, unit in everything.items() if unit.name.kind == "container"}
        containers = (self._try(lambda: podman.inspect_containers(session, names)) if usable else None) or {}
        kubes = [unit.service for unit in everything.values() if unit.name.kind == "kube"]
        plays = (self._try(lambda: podman.by_service(podman.containers(session), kubes)) if usable and kubes else None) or {}
        wanted = [ref for ref in references.values() if ref] + [piece["Image"] for pieces in plays.values() for piece in pieces]
        images = (self._try(lambda: podman.image_ids(session, wanted)) if containers or plays else None) or {}
        others = (self._try(lambda: self._others(found)) if usable else None) or []
        secrets = (self._try(lambda: podman.secret_ids(session)) if usable else None) or {}
        networks = (self._try(lambda: podman.networks(session)) if usable else None) or []
        with session.files():
            texts = generator.loaded(facts.get("FragmentPath", "") for facts in live.values() if facts.get("NeedDaemonReload") == "no")[0]
        upgraded = changed(program) if program else 0.0
        reports = {}
        for text, (name, unit, digest) in sorted(units.items()):
            reference = references.get(text)
            container = containers.get(container_name(unit)) if unit.name.kind == "container" else None
            made = moment((container or {}).get("Created") or "")
            reports[text] = self._unit(
                name,
                unit,
                digest,
                found[name].applied.get(text),
                live.get(unit.service, {}),
                container,
                (reference, images[reference]) if reference and reference in images else None,
                secrets,
                start_command(texts[unit.service]) if unit.service in texts and made and made > upgraded else None,
                staleness.play_reasons(plays.get(unit.service, []), images),
            )
        return {
            "host": self._host(program),
            "stacks": {
                name: {
                    "units": manifest.units,
                    "files": manifest.files,
                    "secrets": manifest.secrets,
                    "unfinished": manifests.load_previous(session, name) is not None,
                }
                for name, manifest in stacks.items()
            },
            "units": reports,
            "others": others,
            "networks": {item["name"]: network(item) for item in networks},
            "secrets": [{"name": name, "id": secrets[name]} for name in sorted(secrets)],
            "findings": self._broken(program, reports),
            "notes": self.notes,
        }

    def _try(self, read: t.Callable[[], _Found]) -> _Found | None:
        """What could be read; else None, and a note."""
        try:
            return read()
        except (SessionError, OSError, ValueError, KeyError) as error:
            self.notes.append(str(error))
            return None

    def _others(self, stacks: t.Mapping[str, manifests.Manifest]) -> list[dict[str, t.Any]]:
        """Containers which no stack of the account made."""
        ours = {container_name(unit) for manifest in stacks.values() for dummy, unit, dummy2 in self._units(manifest) if unit.name.kind == "container"}
        names = sorted({name for item in podman.containers(self.session) for name in item.get("Names") or []} - ours)
        return [other(item) for dummy, item in sorted(podman.inspect_containers(self.session, names).items())]

    def _units(self, manifest: manifests.Manifest) -> t.Iterator[tuple[str, Unit, str]]:
        """The units of a stack as they lie on disk, with the digest their containers should carry."""
        session = self.session
        folder = os.path.join(session.unit_dir, manifest.stack)
        parsed = {text: name for text, name in ((text, parse_name(text)) for text in manifest.units) if name is not None}
        with session.files():
            tree = self._try(lambda: read_tree(folder, [text for text, name in parsed.items() if not name.plain] + manifest.files)) or {}
            plain = self._try(lambda: read_tree(session.systemd_dir, [text for text, name in parsed.items() if name.plain])) or {}
            contents = {path: staleness.watched(path) for paths in manifest.watch.values() for path in paths}
        everything = {**tree, **plain}
        for text, name in parsed.items():
            if name.target is not None:
                continue
            content = staleness.without_label(everything[text].content) if text in everything else ""
            extra = {other: everything[other].content for other, parsed_other in parsed.items() if _belongs(parsed_other, name) and other in everything}
            unit = Unit(name, content, extra)
            files: dict[str, str | None] = {file: tree[file].content for file in manifest.files if file in tree and unit.mentions(file)}
            files.update({path: contents[path] for path in manifest.watch.get(text, [])})
            yield text, unit, staleness.digest(content, extra, files)

    def _unit(
        self,
        stack: str,
        unit: Unit,
        digest: str,
        applied: str | None,
        live: t.Mapping[str, str],
        container: dict[str, t.Any] | None,
        image: tuple[str, str] | None,
        secrets: t.Mapping[str, str],
        command: t.Sequence[str] | None,
        played: t.Sequence[str],
    ) -> dict[str, t.Any]:
        reasons: list[str] = []
        if live.get("ActiveState") == "active":
            if unit.name.kind == "container":
                reasons = staleness.container_reasons(unit, digest, container, image, secrets)
                if not reasons and applied != digest and staleness.other_command(container, command):
                    reasons = ["it was started with another command than its unit has"]
            elif applied is not None:
                reasons = [*staleness.differences(digest, applied), *played]
        if live.get("NeedDaemonReload") == "yes":
            reasons.append("systemd has not read the unit since it changed")
        return {
            "name": unit.name.text,
            "stack": stack,
            "kind": unit.name.kind,
            "service": unit.service,
            "template": unit.name.template,
            "on_demand": unit.on_demand,
            "load_state": live.get("LoadState"),
            "active_state": live.get("ActiveState"),
            "sub_state": live.get("SubState"),
            "result": live.get("Result"),
            "n_restarts": _number(live.get("NRestarts")),
            "invocation_id": live.get("InvocationID") or None,
            "exit_code": _number(live.get("ExecMainCode")),
            "exit_status": _number(live.get("ExecMainStatus")),
            "need_reload": live.get("NeedDaemonReload") == "yes",
            "enabled": live.get("UnitFileState") or None,
            "active_since": live.get("ActiveEnterTimestamp") or None,
            "memory_max": _number(live.get("MemoryMax")),
            "memory_current": _number(live.get("MemoryCurrent")),
            "stale": bool(reasons),
            "stale_reasons": reasons,
            "resource": container_name(unit) if unit.name.kind == "container" else unit.resource,
            **container_facts(container),
        }

    def _host(self, program: str | None) -> dict[str, t.Any]:
        session = self.session
        version = podman.parse_version(self._output("podman", "--version"))
        name, uid = session.user or "root", session.uid
        subuid, next_uid = account.subordinate_ids(account.read("/etc/subuid"), name if session.exists else None, uid)
        subgid, next_gid = account.subordinate_ids(account.read("/etc/subgid"), name if session.exists else None, uid)
        return {
            "podman_version": dotted(version) if version else None,
            "generator": program,
            "systemd_version": self._systemd_version(),
            "cgroup_controllers": account.controllers(max(uid, 0)) if session.exists else [],
            "time": {"epoch": int(time.time()), "zone": time_zone()},
            "account": {
                "name": name,
                "exists": session.exists,
                "uid": uid if session.exists else None,
                "gid": session.gid if session.exists else None,
                "home": session.home if session.exists else None,
                "linger": session.exists and session.lingering,
                "session_ready": session.exists and session.ready,
                "subuid_count": subuid,
                "subgid_count": subgid,
                "subuid_next_free": next_uid,
                "subgid_next_free": next_gid,
            },
        }

    def _systemd_version(self) -> int | None:
        match = re.search(r"systemd (\d+)", self._output("systemctl", "--version"))
        return int(match.group(1)) if match else None

    def _output(self, program: str, *args: str) -> str:
        """What a program says that needs no account; empty when it is missing."""
        module = self.session.module
        if module.get_bin_path(program) is None:
            return ""
        rc, out, dummy = module.run_command([program, *args])
        return str(out) if rc == 0 else ""

    def _broken(self, program: str | None, reports: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
        """Why units failed to load: what podman's generator says of the set as it is."""
        broken = [name for name, report in reports.items() if report["load_state"] not in (None, "loaded") and not report["template"]]
        if not broken:
            return []
        lines: list[str] = []
        if program and self.session.exists:
            roots = generator.scan(self.session)

            def judge() -> list[str]:
                with generator.Staging(self.session) as staging:
                    return staging.judge(program, roots).errors

            lines = self._try(judge) or []
        result = []
        for name in broken:
            said = [line for line in lines if re.search(rf'["/]{re.escape(name)}\b', line)]
            result.append({"unit": name, "service": reports[name]["service"], "load_state": reports[name]["load_state"], "messages": said})
        return result


def time_zone(link: str = "/etc/localtime") -> str | None:
    """Name of the host's time zone; None when it is set by a copy of a zone and not by a link to one."""
    place = os.path.realpath(link)
    dummy, found, name = place.partition("/zoneinfo/")
    return name if found else None


def _belongs(drop_in: UnitName, unit: UnitName) -> bool:
    return drop_in.target is not None and drop_in.target in (unit.text, unit.template_name)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and text != "18446744073709551615" else None


def network(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A network as podman describes it, with every part always there."""
    return {
        "name": item["name"],
        "driver": item.get("driver"),
        "interface": item.get("network_interface"),
        "internal": bool(item.get("internal")),
        "ipv6": bool(item.get("ipv6_enabled")),
        "dns": bool(item.get("dns_enabled")),
        "dns_servers": item.get("network_dns_servers") or [],
        "options": item.get("options") or {},
        "labels": item.get("labels") or {},
        "subnets": [
            {
                "subnet": subnet.get("subnet"),
                "gateway": subnet.get("gateway"),
                "range_start": (subnet.get("lease_range") or {}).get("start_ip"),
                "range_end": (subnet.get("lease_range") or {}).get("end_ip"),
            }
            for subnet in item.get("subnets") or []
        ],
    }


def recent_failures(log: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Checks that failed after one had succeeded, of the last few which podman keeps: those before belong to the start."""
    first = next((number for number, entry in enumerate(log) if entry["exit_code"] == 0), len(log))
    return [dict(entry) for entry in log[first:] if entry["exit_code"] != 0]


def other(container: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A container that belongs to no stack."""
    facts = container_facts(container)
    labels = (container.get("Config") or {}).get("Labels") or {}
    return {
        "name": container["Name"],
        "state": facts["container_state"],
        "image": facts["image"]["reference"],
        "networks": facts["networks"],
        "unit": labels.get(podman.SERVICE_LABEL),
    }


def container_facts(container: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """What verify wants to know of a container, from podman inspect. All of it null or empty without one."""
    found = container or {}
    config, host, settings = found.get("Config") or {}, found.get("HostConfig") or {}, found.get("NetworkSettings") or {}
    health = staleness.health_of(container)
    if health:
        log = health.pop("log")
        health["last_log"] = log[-1] if log else None
        health["recent_failures"] = recent_failures(log)
        health["starting_for"] = staleness.starting_for(found, time.time())
    security = host.get("SecurityOpt") or []
    return {
        "container_id": found.get("Id"),
        "container_state": (found.get("State") or {}).get("Status"),
        "started_at": (found.get("State") or {}).get("StartedAt"),
        "health": health,
        "health_check": (config.get("Healthcheck") or {}).get("Test") or [],
        "networks": {name: facts.get("IPAddress") or facts.get("GlobalIPv6Address") or "" for name, facts in (settings.get("Networks") or {}).items()},
        "ports": sorted(
            f"{binding.get('HostIp') or '0.0.0.0'}:{binding.get('HostPort')}->{inner}"
            for inner, bindings in (settings.get("Ports") or {}).items()
            for binding in bindings or []
        ),
        "image": {"reference": found.get("ImageName"), "id": found.get("Image"), "digest": found.get("ImageDigest")} if container else None,
        "mounts": [
            {"source": mount.get("Source"), "destination": mount.get("Destination"), "rw": bool(mount.get("RW"))} for mount in found.get("Mounts") or []
        ],
        "user": config.get("User") if container else None,
        "env_names": sorted({item.partition("=")[0] for item in config.get("Env") or []}),
        "secret_names": sorted(item.get("Name") for item in config.get("Secrets") or []),
        "extra_hosts": host.get("ExtraHosts") or [],
        "hardening": {
            "no_new_privileges": any(option.startswith("no-new-privileges") and not option.endswith("false") for option in security),
            "capabilities": found.get("EffectiveCaps") or [],
            "read_only": bool(host.get("ReadonlyRootfs")),
        }
        if container
        else None,
    }


def settled(
    look: t.Callable[[], dict[str, t.Any]],
    seconds: int,
    sleep: t.Callable[[float], None] = time.sleep,
    clock: t.Callable[[], float] = time.monotonic,
) -> dict[str, t.Any]:
    """What look finds once no container is still starting, or after so many seconds."""
    end = clock() + seconds
    while True:
        found = look()
        starting = any((unit.get("health") or {}).get("starting_for") is not None for unit in found["units"].values())
        if not starting or clock() >= end:
            return found
        sleep(2)
