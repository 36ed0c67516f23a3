# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's inventory of the images a test machine has: all that a test deployment has beyond its example.

PostgreSQL with pgvector, Valkey, Traefik and what watches them are the real programs; which Immich it is, immich.py says.
"""

from __future__ import annotations

import json
import sys
import typing as t

import immich
import recipes

REST = {
    "immich_ml_image": recipes.PREFIX + "immich-ml-stand-in:{{ immich_version }}",
    "immich_database_image": recipes.PREFIX + "postgres:17-pgvector0.8.0",
    "immich_redis_image": recipes.PREFIX + "valkey:8.1",
    "traefik_image": f"{recipes.PREFIX}traefik:v{recipes.TRAEFIK_VERSION}",
    "immich_database_vector_extension": "pgvector",
    "monitoring_prometheus_image": recipes.PREFIX + "prometheus:2.53",
    "monitoring_alertmanager_image": recipes.PREFIX + "alertmanager:0.28",
    "monitoring_blackbox_image": recipes.PREFIX + "blackbox-exporter:0.26",
    "monitoring_node_image": recipes.PREFIX + "node-exporter:1.9",
    "monitoring_grafana_enabled": False,  # no package of it can be had here
}
SERVER = {immich.STAND_IN: "immich-server-stand-in", immich.BUILDS: "immich-server"}


def variables(kind: str) -> dict[str, t.Any]:
    """What differs from the example: with upstream's own images, nothing."""
    if kind == immich.UPSTREAM:
        return {}
    return {"immich_server_image": recipes.PREFIX + SERVER[kind] + ":{{ immich_version }}", **REST}


def document(kind: str) -> dict[str, t.Any]:
    """In the form Ansible wants of a program: without the last key it would ask again for each host."""
    return {"all": {"vars": variables(kind)}, "_meta": {"hostvars": {}}}


def main() -> int:
    try:
        chosen = immich.choose()
    except immich.Unclear as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(document(chosen.kind), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
