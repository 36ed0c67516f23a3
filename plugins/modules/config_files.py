#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Configuration that a service in a container reloads, tried in its own image and taken back when it does not take it
version_added: 0.1.0
description:
  - Copies the whole directory to a place apart, puts the wanted files into the copy, and lets a program of the service's own image judge
    it. Only then the files are put in place, each by a rename, and the service is told to reload (SIGHUP).
  - Then the service's metrics are asked whether the reload went well. If not, the previous files are put back and loaded again.
  - Files of the directory that are not listed are judged with the others, and never touched. A broken one of somebody else is an error
    too, since the service would load nothing, and not start again.
  - That is for services that show C(*_config_last_reload_successful) among their metrics, as Prometheus, Alertmanager and the blackbox exporter do.
    Others, as Grafana and Alloy, are given without O(port). They are restarted when they were started before the files were written, and have to
    become healthy.
  - A service that does not run yet reads its files when it starts.
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  check_mode:
    support: full
    details:
      - Judges as the real run does, where the image is there already; it pulls none.
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: posix
    support: full
options:
  directory:
    description: The directory on the host. Made, with the rights of the account, where a file is wanted in it.
    type: path
    required: true
  files:
    description: Files of ours in it.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Path below O(directory). Directories on the way that are missing are made too.
        type: str
        required: true
      content:
        description: Text of the file. When omitted, the file is removed.
        type: str
      mode:
        description: Permissions, as an octal string.
        type: str
        default: '0640'
  image:
    description: Image with the program that judges. It is pulled when it is missing. Required with O(check).
    type: str
  seen_at:
    description: Where that program, and the service, see the directory. Required with O(check).
    type: path
  check:
    description:
      - The program with its arguments. It ends with another status than 0 for configuration that cannot be loaded.
      - When omitted, nothing is judged beforehand.
    type: list
    elements: str
  container:
    description:
      - The service's container. Required with O(check).
      - When omitted, nobody is told. Whoever looks after the container restarts it, as O(patriark.homelab.quadlet#module:watch) does.
    type: str
  port:
    description: Port inside the container with C(/metrics). When omitted, the service is restarted and not told to reload.
    type: int
  wait_timeout:
    description: Seconds to wait until the service has taken the files.
    type: int
    default: 30
seealso:
  - module: patriark.homelab.traefik_file
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: Prometheus scrapes itself
  patriark.homelab.config_files:
    user: homelab
    directory: /home/homelab/containers/config/prometheus
    files:
      - name: prometheus.yml
        content: |
          scrape_configs:
            - job_name: prometheus
              static_configs: [{targets: ["localhost:9090"]}]
    image: docker.io/prom/prometheus:v3.5.0
    seen_at: /etc/prometheus
    check: [promtool, check, config, /etc/prometheus/prometheus.yml]
    container: prometheus
    port: 9090

- name: Grafana, which looks for providers of dashboards at its start only
  patriark.homelab.config_files:
    user: homelab
    directory: /home/homelab/containers/config/grafana
    files:
      - name: provisioning/dashboards/app.yml
        content: |
          apiVersion: 1
          providers: [{name: app, type: file, options: {path: /var/lib/grafana/dashboards/app}}]
      - name: provisioning/dashboards/old.yml
    container: grafana
"""

RETURN = r"""
in_effect:
  description: Whether the running service has these files. False when it does not run, and in check mode when they differ.
  returned: success
  type: bool
notes:
  description: What could not be judged or asked.
  returned: success
  type: list
  elements: str
findings:
  description: Why the files were refused.
  returned: when files are refused
  type: list
  elements: dict
rollback:
  description: What became of the previous files, with C(done), C(in_effect) and C(message). Null when there was nothing to go back to.
  returned: when the service does not take the files
  type: dict
"""

import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _inside as inside
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import LiveRefused, Service, apply, have_folders, make_folders, plan
from ansible_collections.patriark.homelab.plugins.module_utils._live_module import Unseen, run
from ansible_collections.patriark.homelab.plugins.module_utils._quiet_module import QuietModule
from ansible_collections.patriark.homelab.plugins.module_utils._reloading import Recipe, Reloading
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node

SPEC: dict[str, t.Any] = {
    "user": {"type": "str"},
    "directory": {"type": "path", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "content": {"type": "str"},
            "mode": {"type": "str", "default": "0640"},
        },
    },
    "image": {"type": "str"},
    "seen_at": {"type": "path"},
    "check": {"type": "list", "elements": "str"},
    "container": {"type": "str"},
    "port": {"type": "int"},
    "wait_timeout": {"type": "int", "default": 30},
}


def wanted(files: list[dict[str, t.Any]]) -> dict[str, Node | None]:
    found: dict[str, Node | None] = {}
    for item in files:
        try:
            mode = int(item["mode"], 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777:
            raise LiveRefused([Finding(item["name"], f"mode {item['mode']!r} is not octal permissions", "write mode: '0640'")])
        found[item["name"]] = None if item["content"] is None else Node(item["content"], mode)
    return found


def work(module: QuietModule, session: Session) -> dict[str, t.Any]:
    params = module.params
    files = wanted(params["files"])
    # what has to be removed from a directory that is not there is removed
    files = {name: node for name, node in files.items() if node or have_folders(session, params["directory"], [name])}
    if not files:
        return {"changed": False, "in_effect": False, "notes": [], "diff": []}
    if not module.check_mode:
        make_folders(session, params["directory"], files)
    elif not session.exists or not have_folders(session, params["directory"], files):
        return {"changed": True, "in_effect": False, "notes": [f"{params['directory']} is not there yet, so nothing could be tried"], "diff": []}
    recipe = Recipe(params["image"] or "", params["seen_at"] or "", params["check"] or [], params["container"] or "", params["port"])
    reader = Reloading(session, params["directory"], list(files), recipe)
    service: Service = reader if recipe.container else Unseen()
    made = plan(session, params["directory"], files, service)
    for finding in made.warnings:
        module.warn(str(finding))
    notes = [] if reader.tried else [f"the image {recipe.image} is not there yet, so nothing could be tried"]
    running = bool(recipe.container) and inside.describe(session, recipe.container) is not None
    if recipe.container and not running:
        notes.append(f"{recipe.container} does not run; it reads the files when it starts")
    if not module.check_mode:
        apply(session, made, service, params["wait_timeout"])
    return {"changed": made.changed, "in_effect": running and not (module.check_mode and made.changed), "notes": notes, "diff": made.diff()}


def main() -> None:
    module = QuietModule(argument_spec=SPEC, supports_check_mode=True, required_by={"check": ("image", "seen_at", "container")})
    run(module, f"the configuration in {module.params['directory']} is", work)


if __name__ == "__main__":
    main()
