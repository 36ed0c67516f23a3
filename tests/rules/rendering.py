# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates of the role immich_monitoring rendered by Ansible itself, without a host."""

from __future__ import annotations

import functools
import pathlib
import typing as t

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/immich_monitoring"
PROBE = {"immich_monitoring_probe_url": "https://photos.example.org/api/server/ping"}

# Options under which the rules are tested; what is not named has its default.
VARIANTS: dict[str, dict[str, t.Any]] = {
    "default": PROBE,
    "literal": {**PROBE, "immich_monitoring_client_errors": "bad"},
    "lenient": {**PROBE, "immich_monitoring_client_errors": "good"},
    "low": {
        **PROBE,
        "immich_monitoring_availability_objective": 0.9,
        "immich_monitoring_upload_objective": 0.999,
        "immich_monitoring_page_errors": 1,
        "immich_monitoring_window": "28d",
    },
    "alloy": {"immich_monitoring_thumbnail_source": "alloy", "immich_monitoring_containers": [], "immich_monitoring_mountpoints": []},
    "promtail": {**PROBE, "immich_monitoring_thumbnail_source": "promtail", "immich_monitoring_grafana_url": "https://grafana.example.org"},
}


@functools.cache
def plugins() -> None:
    init_plugin_loader()


def templated(text: str, options: t.Mapping[str, t.Any]) -> t.Any:
    """A template, with the role's defaults and internals and some options."""
    plugins()
    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    variables: dict[str, t.Any] = {}
    for file in (ROLE / "defaults/main.yml", *sorted((ROLE / "vars/main").glob("*.yml"))):
        variables.update(loader.load_from_file(str(file), trusted_as_template=True))
    variables.update(options, role_path=str(ROLE), ansible_search_path=[str(ROLE)])
    return Templar(loader=loader, variables=variables).template(trust_as_template(text))


def rendered(template: str, options: t.Mapping[str, t.Any]) -> str:
    return str(templated(f"{{{{ lookup('ansible.builtin.template', '{ROLE}/templates/{template}') }}}}", options))


def rules(variant: str) -> str:
    return rendered("rules.yml.j2", VARIANTS[variant])
