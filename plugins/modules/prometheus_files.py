#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: prometheus_files
short_description: Rules and targets in the configuration of a running Prometheus, tried before they count and asked for afterwards
version_added: 0.1.0
description:
  - Writes or removes some files below the configuration directory of a Prometheus container, which may be somebody else's. No other file is touched.
  - Prometheus loads no rules at all while one file of rules is broken, and does not start in that state. So its own promtool first judges all rules
    of the directory on a copy with the new file, in a container of the same image without a network. What it does not accept is refused, and the
    file to be mended is named, also when it is another's.
  - Then the files are put in place by rename, Prometheus is told by SIGHUP (which needs no setting) and asked through its API whether it has the
    rules and the targets. If it has not, the previous files come back.
  - A run that is killed leaves each file old or new. The next run finishes.
  - Every run asks, also when the files are right already, so that V(ok) means that they are in effect.
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  check_mode:
    support: full
    details:
      - Tries everything, up to the rename. When the container is not there yet, the files are predicted and RV(notes) says that nothing could be tried.
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: posix
    support: full
options:
  directory:
    description:
      - The configuration directory, as the host sees it; C(~account/) stands for the account's home. It must be mounted into the container as a directory.
    type: path
    required: true
  files:
    description:
      - The files. Directories below O(directory) that are missing are made, with the rights of the account.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description:
          - Path below O(directory), ending in C(.yml) or C(.yaml), such as V(rules/app.yml).
        type: str
        required: true
      content:
        description:
          - Text of the file. A JSON list, which is YAML too, holds targets for C(file_sd_configs); everything else is a file of rules.
          - Required with O(state=present).
        type: str
  state:
    description:
      - With V(absent) the files are removed.
    type: str
    choices: [present, absent]
    default: present
  container:
    description:
      - Name of the running container.
    type: str
    default: prometheus
  url:
    description:
      - Where Prometheus listens, seen from inside the container. It is asked in the container's network, so it need not be published.
    type: str
    default: http://127.0.0.1:9090
  wait_timeout:
    description:
      - Seconds Prometheus has to take the files.
    type: int
    default: 60
seealso:
  - module: patriark.homelab.quadlet
  - module: patriark.homelab.traefik_file
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: An alert and a target, in a Prometheus that runs already
  patriark.homelab.prometheus_files:
    user: homelab
    directory: ~homelab/containers/config/prometheus
    files:
      - path: rules/app.yml
        content: |
          groups:
            - name: app
              rules:
                - alert: AppDown
                  expr: up{job="app"} == 0
      - path: targets/app.yml
        content: "{{ [{'targets': ['app:8080'], 'labels': {'job': 'app'}}] | to_json }}"

- name: Take them away again
  patriark.homelab.prometheus_files:
    user: homelab
    directory: ~homelab/containers/config/prometheus
    files: [{path: rules/app.yml}, {path: targets/app.yml}]
    state: absent
"""

RETURN = r"""
rules:
  description: How many rules Prometheus has of each file, by path.
  returned: success
  type: dict
  sample:
    rules/app.yml: 1
retention:
  description: Seconds that Prometheus keeps its samples. Null when only their size limits them, or nobody could be asked.
  returned: success
  type: float
waited:
  description: Seconds until the files were in effect. 0 when they were.
  returned: success, outside check mode
  type: float
notes:
  description: What could not be tried, and what an earlier run left to be done.
  returned: success
  type: list
  elements: str
findings:
  description: Every reason why the files are refused.
  returned: when they are refused
  type: list
  elements: dict
  contains:
    unit:
      description: Path of the file that has to be mended, which may be somebody else's.
      type: str
    line:
      description: Always null.
      type: int
    key:
      description: Always null.
      type: str
    value:
      description: Always null.
      type: str
    reason:
      description: What is wrong.
      type: str
    remedy:
      description: What to do.
      type: str
    severity:
      description: Always V(error).
      type: str
rollback:
  description: What became of the previous files. Null when there was nothing to go back to.
  returned: when Prometheus does not take the files
  type: dict
  contains:
    done:
      description: Whether the previous files are back.
      type: bool
    in_effect:
      description: Whether Prometheus has taken them back.
      type: bool
    message:
      description: The same in words.
      type: str
"""

import os
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import LiveRefused, Outcome, apply, have_folders, make_folders, plan
from ansible_collections.patriark.homelab.plugins.module_utils._live_module import Unseen, run
from ansible_collections.patriark.homelab.plugins.module_utils._prometheus import RULES, Prometheus
from ansible_collections.patriark.homelab.plugins.module_utils._quiet_module import QuietModule
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node

SPEC: dict[str, t.Any] = {
    "user": {"type": "str"},
    "directory": {"type": "path", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"path": {"type": "str", "required": True}, "content": {"type": "str"}},
    },
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "container": {"type": "str", "default": "prometheus"},
    "url": {"type": "str", "default": "http://127.0.0.1:9090"},
    "wait_timeout": {"type": "int", "default": 60},
}


def wanted_files(params: dict[str, t.Any]) -> dict[str, str | None]:
    """Path below the directory -> text. Raises LiveRefused for what cannot be wanted."""
    found, files = [], {}
    for item in params["files"]:
        path = item["path"]
        if not path.endswith(RULES) or os.path.isabs(path):
            found.append(Finding(path, "is not a path below the directory that ends in .yml or .yaml"))
        elif path in files:
            found.append(Finding(path, "is named twice"))
        if params["state"] == "present" and item["content"] is None:
            found.append(Finding(path, "has no content"))
        files[path] = item["content"] if params["state"] == "present" else None
    if found:
        raise LiveRefused(found)
    return files


def work(module: QuietModule, session: Session) -> dict[str, t.Any]:
    params = module.params
    files = wanted_files(params)
    root = params["directory"]
    if not os.path.isabs(root):
        raise LiveRefused([Finding(root, "is not an absolute path, nor below the home of an account that exists")])
    prometheus = Prometheus(session, params["container"], root, files, params["url"])
    seen = prometheus.find()
    notes = []
    if not seen and params["state"] == "present" and not module.check_mode:
        raise LiveRefused([Finding(root, f"the container {params['container']} does not run", "start it first, or name the right container")])
    if not seen:
        notes.append(f"the container {params['container']} does not run, so nothing could be tried and nobody asked")
    result: dict[str, t.Any] = {"rules": {}, "retention": None, "notes": notes}
    nodes = {path: None if text is None else Node(text) for path, text in files.items()}
    if not module.check_mode and have_folders(session, root, ["."]):
        make_folders(session, root, nodes)
    if (not seen or module.check_mode) and not have_folders(session, root, files):
        # check mode before anything is there, or absent after everything is gone
        return {**result, "changed": params["state"] == "present", "waited": 0.0, "diff": []}
    made = plan(session, root, nodes, prometheus if seen else Unseen())
    for finding in made.warnings:
        module.warn(str(finding))
    if made.pending:
        notes.append("an earlier run was killed before Prometheus had agreed; this one finishes")
    outcome = Outcome() if module.check_mode else apply(session, made, prometheus if seen else Unseen(), params["wait_timeout"])
    if seen and prometheus.retention is None:
        prometheus.ask()
    result.update(changed=made.changed, rules=prometheus.loaded, retention=prometheus.retention, waited=outcome.waited, diff=made.diff())
    return result


def main() -> None:
    module = QuietModule(argument_spec=SPEC, supports_check_mode=True)
    run(module, "the files are", work)


if __name__ == "__main__":
    main()
