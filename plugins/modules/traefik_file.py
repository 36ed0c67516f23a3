#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: traefik_file
short_description: One file in the directory that a running Traefik watches, tried before it counts and asked for afterwards
version_added: 0.1.0
description:
  - Writes or removes exactly one file among the dynamic files of a Traefik container, which may be somebody else's. No other file is touched.
  - Traefik takes no change of any file while one of them is broken, ignores a name which an alphabetically earlier file has, and drops a router
    whose middleware or service is missing. It tells none of that but in its log. So the whole directory with the new file is tried first,
    by throw-away twins of the live container without a network, with its image and its static settings. What they do not accept is refused, and
    the live Traefik has not seen it.
  - Then the file is put in place by one rename, and the live Traefik is asked whether it has what the file says. If it has not, the previous
    file comes back.
  - A run that is killed leaves the old file or the new one, never half of one. The next run finishes.
  - Every run tries and asks, also when the file is right already, so that V(ok) means that the routers are there.
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  check_mode:
    support: full
    details:
      - Tries everything, up to the rename. When the container is not there yet, the file is predicted and RV(notes) says that it could not be tried.
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: posix
    support: full
options:
  path:
    description:
      - The file, as the host sees it. Its directory must exist and be mounted into the container as a directory.
      - The name must end in C(.yml), C(.yaml) or C(.toml). Traefik reads no other files.
    type: path
    required: true
  content:
    description:
      - Text of the file. It must not hold C({{), which Traefik takes for a template.
      - Required with O(state=present).
    type: str
  mode:
    description:
      - Permissions, as an octal string such as V('0640').
      - When omitted, an existing file keeps its own, and a new one gets V('0644').
    type: str
  state:
    description:
      - With V(absent) the file is removed. When another file's routers need what it defines, that is refused.
    type: str
    choices: [present, absent]
    default: present
  container:
    description:
      - Name of the running container.
    type: str
    default: traefik
  api:
    description:
      - Where Traefik's API listens, seen from inside the container. It is asked in the container's network, so it need not be published.
    type: str
    default: http://127.0.0.1:8080
  probe:
    description:
      - A request from the host through the proxy that stands in when the API does not answer. A status from 200 to 399 is a yes, and 404
        when the file is to be absent. It cannot tell a new file from the one before.
    type: dict
    suboptions:
      url:
        description:
          - What to ask for. The certificate is not checked.
        type: str
        required: true
      connect:
        description:
          - Address, or address and port, to connect to instead of looking up the name in the URL.
        type: str
  wait_timeout:
    description:
      - Seconds the live Traefik has to take the file.
    type: int
    default: 30
seealso:
  - module: patriark.homelab.quadlet
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: A router for the photo service, in a Traefik that runs already
  patriark.homelab.traefik_file:
    user: homelab
    path: /home/homelab/containers/config/traefik/dynamic/immich.yml
    content: |
      http:
        routers:
          immich:
            rule: Host(`photos.example.org`)
            entryPoints: [websecure]
            service: immich
            tls: {}
        services:
          immich:
            loadBalancer:
              servers:
                - url: http://10.89.2.12:2283

- name: Take it away again
  patriark.homelab.traefik_file:
    user: homelab
    path: /home/homelab/containers/config/traefik/dynamic/immich.yml
    state: absent
"""

RETURN = r"""
file:
  description: The file.
  returned: success
  type: str
routers:
  description: Name of each HTTP router of the file to its rule, as Traefik understands it.
  returned: success
  type: dict
  sample:
    immich: Host(`photos.example.org`)
confirmed_by:
  description: Who told that it is in effect, V(api) or V(probe); V(nobody) when the container does not run.
  returned: success
  type: str
reason:
  description: Why there was something to do, or would be. Null when there was nothing.
  returned: success
  type: str
  sample: the file differs
waited:
  description: Seconds until it was in effect. 0 when it was.
  returned: success, outside check mode
  type: float
notes:
  description: What could not be tried, and what an earlier run left to be done.
  returned: success
  type: list
  elements: str
findings:
  description: Every reason why the file is refused.
  returned: when it is refused
  type: list
  elements: dict
  contains:
    unit:
      description: Path of the file that has to be mended, which may be somebody else's.
      type: str
    line:
      description: Line in that file, or null.
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
  description: What became of the previous file. Null when there was nothing to go back to.
  returned: when the live Traefik does not take the file
  type: dict
  contains:
    done:
      description: Whether the previous file is back.
      type: bool
    in_effect:
      description: Whether Traefik has taken it back.
      type: bool
    message:
      description: The same in words.
      type: str
"""

import os
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import LiveRefused, Outcome, Plan, Service, apply, have_folders, plan
from ansible_collections.patriark.homelab.plugins.module_utils._live_module import Unseen, run
from ansible_collections.patriark.homelab.plugins.module_utils._quiet_module import QuietModule
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import Node, read_quietly
from ansible_collections.patriark.homelab.plugins.module_utils._traefik import Probe, Traefik
from ansible_collections.patriark.homelab.plugins.module_utils._traefik_verdict import templates

SPEC: dict[str, t.Any] = {
    "user": {"type": "str"},
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "mode": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "container": {"type": "str", "default": "traefik"},
    "api": {"type": "str", "default": "http://127.0.0.1:8080"},
    "probe": {"type": "dict", "options": {"url": {"type": "str", "required": True}, "connect": {"type": "str"}}},
    "wait_timeout": {"type": "int", "default": 30},
}


def wanted_node(session: Session, params: dict[str, t.Any]) -> Node | None:
    """What shall lie at the path. Raises LiveRefused for what cannot be wanted."""
    path, content, mode = params["path"], params["content"], params["mode"]
    if not os.path.isabs(path) or not path.endswith((".yml", ".yaml", ".toml")):
        raise LiveRefused([Finding(path, "is not an absolute path that ends in .yml, .yaml or .toml", "Traefik reads no other files")])
    if params["state"] == "absent":
        return None
    found = templates(content, path)
    if mode is not None and not (mode.isdigit() and set(mode) <= set("01234567") and int(mode, 8) <= 0o777):
        found.append(Finding(path, f"mode {mode!r} is not octal permissions", "write mode: '0640'"))
    if found:
        raise LiveRefused(found)
    with session.files():
        existing = read_quietly(path)
    return Node(content, int(mode, 8) if mode else existing.mode if existing else 0o644)


def reason_of(made: Plan) -> str | None:
    for change in made.rewritten:
        return "there is no such file" if change.before is None else "the file is still there" if change.after is None else "the file differs"
    return made.missing


def work(module: QuietModule, session: Session) -> dict[str, t.Any]:
    params = module.params
    node = wanted_node(session, params)
    folder, name = os.path.split(params["path"])
    probe = Probe(params["probe"]["url"], params["probe"]["connect"]) if params["probe"] else None
    traefik = Traefik(session, params["container"], params["path"], params["content"] if node else None, params["api"], probe)
    seen = traefik.find()
    service: Service = traefik if seen else Unseen()
    notes = []
    if not seen and (node is None or module.check_mode):
        notes.append(f"the container {params['container']} does not run, so nothing could be tried and nobody asked")
    elif not seen:
        raise LiveRefused([Finding(params["path"], f"the container {params['container']} does not run", "start it first, or name the right container")])
    result: dict[str, t.Any] = {"file": params["path"], "notes": notes}
    if not seen and not have_folders(session, folder, [name]):
        # check mode before anything is there, or absent after everything is gone
        reason = None if node is None else "there is no such file"
        return {**result, "changed": reason is not None, "reason": reason, "routers": {}, "confirmed_by": "nobody", "waited": 0.0, "diff": []}
    made = plan(session, folder, {name: node}, service)
    for finding in made.warnings:
        module.warn(str(finding))
    if made.pending:
        notes.append("an earlier run was killed before Traefik had agreed; this one finishes")
    outcome = Outcome() if module.check_mode else apply(session, made, service, params["wait_timeout"])
    result.update(changed=made.changed, reason=reason_of(made), routers=traefik.routers, waited=outcome.waited, diff=made.diff())
    result["confirmed_by"] = traefik.confirms if seen else "nobody"
    return result


def main() -> None:
    module = QuietModule(argument_spec=SPEC, required_if=[("state", "present", ["content"])], supports_check_mode=True)
    run(module, f"{module.params['path']} is", work)


if __name__ == "__main__":
    main()
