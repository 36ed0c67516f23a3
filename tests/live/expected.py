# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be true on a host, by its inventory. The defaults are typed here once more on purpose: those of the roles have no say."""

from __future__ import annotations

import typing as t

DEFAULTS: dict[str, t.Any] = {
    "homelab_user": "homelab",
    "immich_version": "v2.5.5",
    "immich_server_networks": ["reverse_proxy", "photos", "monitoring"],
    "immich_internal_network": "photos",
    "immich_server_memory": "4G",
    "immich_microservices_memory": "4G",
    "immich_ml_memory": "4G",
    "immich_database_memory": "1G",
    "immich_redis_memory": "512M",
    "immich_ingress_chain": ["crowdsec", "rate-limit", "retry", "compression", "security-headers"],
    "traefik_networks": ["reverse_proxy", "monitoring"],
}
IMAGES = {
    "immich_server_image": "ghcr.io/immich-app/immich-server:{version}",
    "immich_ml_image": "ghcr.io/immich-app/immich-machine-learning:{version}",
    "immich_database_image": "ghcr.io/immich-app/postgres:14-vectorchord0.4.3-pgvectors0.2.0",
    "immich_redis_image": "docker.io/valkey/valkey:9",
}
PLACE_OF = {"postgresql-immich": "postgresql-immich", "redis-immich": "redis-immich", "immich-ml": "immich-ml-cache"}
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
Facts = dict[str, t.Any]


def size(text: t.Any) -> int:
    """4G as bytes, the way systemd reads it."""
    word = str(text).strip().upper().removesuffix("B").removesuffix("I")
    return int(float(word[:-1]) * UNITS[word[-1]]) if word[-1:] in UNITS else int(word)


def facts(variables: t.Mapping[str, t.Any]) -> Facts:
    known = {**DEFAULTS, **variables}
    storage = {"photos": "", "containers": "", **known.get("homelab_storage", {})}
    wanted, places = containers(known), directories(known, storage["containers"])
    return {
        "account": known["homelab_user"],
        "domain": known.get("homelab_domain"),
        "site": (known.get("immich_ingress_hosts") or [f"photos.{known['homelab_domain']}"])[0] if "homelab_domain" in known else None,
        "published": known.get("immich_publish"),
        "version": known["immich_version"],
        "networks": networks(known),
        "containers": wanted,
        "library": known.get("immich_library", storage["photos"]),
        "data": storage["containers"],
        "directories": places,
        "data_of": {name: places[place] for name, place in PLACE_OF.items() if name in wanted},
        "pool": storage.get("pool"),
        "chain": known["immich_ingress_chain"],
        "crowdsec": "traefik_crowdsec" in known or "immich_ingress_crowdsec" in known or "immich_ingress_bouncer" in known,
        "acme": "traefik_acme" in known,
        "admin": known.get("immich_admin"),
        "variables": dict(known),
    }


def networks(known: t.Mapping[str, t.Any]) -> Facts:
    return {
        plan["unit"]: {
            "name": plan.get("name", f"systemd-{plan['unit']}"),
            "subnet": plan["subnet"],
            "way_out": bool(plan.get("default_route")),
            "addresses": plan.get("static", {}),
        }
        for plan in known.get("homelab_networks", [])
    }


def containers(known: t.Mapping[str, t.Any]) -> Facts:
    """The containers of Immich that the inventory asks for."""
    inside = [known["immich_internal_network"]]
    wanted: Facts = {"immich-server": ("server", list(known["immich_server_networks"]))}
    if known.get("immich_split_workers"):
        wanted["immich-microservices"] = ("microservices", known.get("immich_microservices_networks", known["immich_server_networks"]))
    if known.get("immich_ml_enabled", True) and not known.get("immich_ml_urls"):
        wanted["immich-ml"] = ("ml", known.get("immich_ml_networks", inside))
    if not known.get("immich_database_external"):
        wanted["postgresql-immich"] = ("database", inside)
    if not known.get("immich_redis_external"):
        wanted["redis-immich"] = ("redis", inside)
    return {
        name: {
            "image": image(known, "server" if part == "microservices" else part),
            "memory": known[f"immich_{part}_memory"],
            "networks": joined,
        }
        for name, (part, joined) in wanted.items()
    }


def image(known: t.Mapping[str, t.Any], part: str) -> str:
    """Without a digest, which says the same again."""
    key = f"immich_{part}_image"
    return str(known.get(key, IMAGES[key].format(version=known["immich_version"]))).partition("@")[0]


def directories(known: t.Mapping[str, t.Any], data: str) -> Facts:
    return {
        "postgresql-immich": known.get("immich_database_directory", f"{data}/postgresql-immich"),
        "redis-immich": known.get("immich_redis_directory", f"{data}/redis-immich"),
        "immich-ml-cache": known.get("immich_ml_directory", f"{data}/immich-ml-cache"),
    }


def look_up(known: Facts, path: str) -> t.Any:
    """The value at a path such as networks/photos/addresses/immich-ml; None where there is none."""
    value: t.Any = known
    for word in path.split("/"):
        if not isinstance(value, dict) or word not in value:
            return None
        value = value[word]
    return value
