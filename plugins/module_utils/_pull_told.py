# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What podman says while it pulls an image: how far it is, and why it could not. Pure. Private to the collection."""

from __future__ import annotations

import json
import re
import typing as t

_UNITS = {"b": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_BLOB = re.compile(r"Copying (?:blob|config) (\w+)\s+(?:\[[^\]]*\]\s+([\d.]+)([KMGT]iB|b) / ([\d.]+)([KMGT]iB|b)|(done|skipped))")
_RETRY = re.compile(r'Failed, retrying in .*? Error: (.*)"\s*\Z')


class Progress:
    """How far a pull is, from what podman draws on a terminal. Layers are drawn when their turn comes, so that the total grows at first."""

    def __init__(self) -> None:
        self.blobs: dict[str, tuple[float, float]] = {}
        self.retry = ""
        self._rest = ""

    def hear(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            found, again = _BLOB.search(line), _RETRY.search(line)
            if found:
                name, done, unit, total, of, end = found.groups()
                before = self.blobs.get(name, (0.0, 0.0))
                size = before[1] if end else float(total) * _UNITS[of]
                # it draws what is over once more, from nothing
                self.blobs[name] = (size if end else max(before[0], float(done) * _UNITS[unit]), size)
                self.retry = ""
            elif again:
                self.retry = WORDS[kind_of(again.group(1))][0]

    @property
    def sums(self) -> tuple[float, float]:
        """Bytes that are here, and of all layers drawn so far."""
        return sum(done for done, dummy in self.blobs.values()), sum(total for dummy, total in self.blobs.values())

    @property
    def downloading(self) -> bool:
        """Whether the next word is the registry's. When all that was begun is here, the disk may be busy with it for long."""
        done, total = self.sums
        return not self.blobs or done < total

    def shown(self) -> str:
        done, total = self.sums
        if self.retry:
            return f"the registry is asked again: {self.retry}"
        return f"{megabytes(done)} of {megabytes(total)}" if total else "the registry is asked"


def megabytes(number: float) -> str:
    """As registries and podman images count."""
    return f"{number / 1e6:.1f} MB"


# What an answer of podman means. The first that fits counts. Seen with podman 5.4.2; Docker Hub's and GitHub's words for the same are beside it.
_KINDS = (
    ("space", r"no space left on device|disk quota exceeded"),
    ("rate", r"toomanyrequests|too many requests|rate limit"),
    ("authority", r"x509: |tls: failed to verify|server gave HTTP response to HTTPS client|remote error: tls"),
    ("digest", r"does not match expected|[Dd]igest did not match|does not match provided manifest digest|digest mismatch"),
    ("name", r"no such host|server misbehaving|dial tcp: lookup \S+"),
    ("refused", r"connection refused"),
    ("silent", r"i/o timeout|deadline exceeded|Client\.Timeout|handshake timeout|timed out|no route to host|network is unreachable"),
    ("cut", r"unexpected EOF|connection reset|broken pipe|stream error|EOF\s*\Z"),
    ("missing", r"manifest unknown|name unknown|blob unknown|name invalid|repository \S* ?not found|404 \(?Not Found|404 page not found"),
    ("unauthorized", r"unauthorized|authentication required|invalid username/password|denied|insufficient_scope|403 \(?Forbidden"),
    ("platform", r"no image found in (?:manifest list|image index) for"),
    ("broken", r"unexpected HTTP status"),
)
# Kind -> what is wrong, and what to do about it
WORDS = {
    "space": ("the disk of this host is full", "make room for the download (below /var/tmp) and for the images (podman system df; podman image prune)"),
    "rate": ("too many requests", "wait until it counts anew, or log in: it allows an account more"),
    "authority": ("its certificate is of an authority that is not known here", "put the authority's certificate into /etc/containers/certs.d/{host}/ca.crt"),
    "digest": ("what it sends is not what was asked for (wrong digest)", "the registry or the way to it is damaged: tell its owner, or pull from another"),
    "name": ("its name cannot be resolved", "look after the host's network and name server, or name a mirror in registries.conf"),
    "refused": ("it does not answer (connection refused)", "start it, or look after a firewall between"),
    "silent": ("it does not answer", "look after the network between, or raise pull_timeout where it is only slow"),
    "cut": ("the transfer was cut", "run again: layers that arrived whole are not fetched again"),
    "missing": ("it does not have this image", "look after the name and the tag"),
    "unauthorized": ("it wants a name and a password, or does not take the one it was given", "log in as the account: podman login {host}"),
    "platform": ("it does not have this image for this processor", "choose another tag"),
    "broken": ("it fails by itself", "try later, or tell its owner"),
    "other": ("podman does not say more", "try podman pull as the account"),
}
# Those which the next image of the same registry meets too.
GENERAL = ("space", "rate", "authority", "name", "refused", "silent", "unauthorized", "broken")
_AWAY = ("name", "refused", "silent")


def kind_of(text: str) -> str:
    return next((kind for kind, pattern in _KINDS if re.search(pattern, text)), "other")


class Blame(t.NamedTuple):
    """Who failed, how, and in podman's words. A mirror stands in for a registry; host is empty when podman does not say who it was."""

    host: str
    mirror: bool
    kind: str
    text: str


def host_of(reference: str) -> str:
    """The registry in an image's name; docker.io where it has none."""
    first, slash, dummy = reference.partition("/")
    return first if slash and re.search(r"[.:]|^localhost\Z", first) else "docker.io"


def blames(said: str, reference: str) -> list[Blame]:
    """From what podman pull said last: the mirrors in the order they were asked, then the registry itself."""
    text = said.replace("\r", "").rpartition("Error: ")[2].strip()
    mirrored = re.search(r"\(Mirrors also failed: (.*)\): (\S+?): (.*)", text, re.DOTALL)
    if mirrored:
        found = [Blame(host_of(match.group(1)), True, kind_of(match.group(2)), match.group(2)) for match in _mirrors(mirrored.group(1))]
        return [*found, Blame(host_of(reference), False, kind_of(mirrored.group(3)), mirrored.group(3))]
    asked = re.search(r"(?:reading manifest \S+ in|pinging container registry) (\S+?)[:/]", text)
    kind = kind_of(text)
    return [Blame(host_of(reference) if asked else "", False, kind, text)]


def _mirrors(text: str) -> t.Iterator[re.Match[str]]:
    return (match for line in text.split("\n") for match in [re.fullmatch(r"\[(\S+?): (.*)\]", line.strip())] if match)


def told(reference: str, found: t.Sequence[Blame], mirrors: t.Sequence[str]) -> tuple[str, str]:
    """Why an image is not here, for people, and what to do. mirrors: hosts that may have sent what they should not, where podman does not say who did."""
    registry = host_of(reference)
    whole = f"{registry} or its mirror {' or '.join(mirrors)}" if mirrors else registry
    decisive = telling(found)
    remedy = WORDS[decisive.kind][1].format(host=decisive.host or registry)
    said = [WORDS[blame.kind][0] + (f" ({blame.text})" if blame.kind == "other" else "") for blame in found]
    if len(found) == 1:
        return f"{reference} could not be pulled from {whole}: {said[0]}", remedy
    parts = [f"{'the mirror ' if blame.mirror else ''}{blame.host}: {text}" for blame, text in zip(found, said)]
    return f"{reference} could not be pulled: {'; '.join(parts)}", remedy


def telling(found: t.Sequence[Blame]) -> Blame:
    """Who is to be looked after: the first that answered at all, else the first."""
    return next((blame for blame in found if blame.kind not in _AWAY), found[0])


def mirrors_of(reference: str, registries: t.Mapping[str, t.Any]) -> list[str]:
    """Hosts of the mirrors that podman asks first, from podman info."""
    prefixes = [prefix for prefix, facts in registries.items() if isinstance(facts, dict) and f"{reference}/".startswith((f"{prefix}/", f"{prefix}:"))]
    if not prefixes:
        return []
    return [host_of(f"{item['Location']}/") for item in registries[max(prefixes, key=len)].get("Mirrors") or []]


# -- the size --------------------------------------------------------------------------------------------------------------


def manifest_of(out: str, err: str) -> dict[str, t.Any] | None:
    """The manifest in what podman manifest inspect says: printed, or quoted in its refusal to take an image for a list (podman 5)."""
    quoted = re.search(r'parsing manifest blob ("(?:[^"\\]|\\.)*") as a', err)
    try:
        found = json.loads(json.loads(quoted.group(1)) if quoted else out)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def bytes_of(manifest: t.Mapping[str, t.Any]) -> int | None:
    """What the layers of an image weigh on their way; None when it is a list of images."""
    layers = manifest.get("layers")
    return sum(int(layer.get("size") or 0) for layer in layers) if isinstance(layers, list) else None


def digest_for(manifest: t.Mapping[str, t.Any], machine: str) -> str | None:
    """The image for a processor (as uname tells it) in a list of images."""
    wanted = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    for item in manifest.get("manifests") or []:
        platform = item.get("platform") or {}
        if (platform.get("os"), platform.get("architecture")) == ("linux", wanted):
            return str(item.get("digest"))
    return None
