#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: traefik_info
short_description: What a running Traefik has made of its files
version_added: 0.1.0
description:
  - Asks the API of a Traefik container, in the container's network, so that it need not be published.
  - A router that Traefik cannot use answers 404 to its visitors, and nothing but the API and the log tells so.
  - It changes nothing, and does not fail when the account or the container is missing.
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.info
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  platform:
    platforms: posix
    support: full
options:
  container:
    description:
      - Name of the container.
    type: str
    default: traefik
  api:
    description:
      - Where Traefik's API listens, seen from inside the container.
    type: str
    default: http://127.0.0.1:8080
  crowdsec:
    description:
      - Address of CrowdSec's local API, such as V(http://crowdsec:8080), to be asked from inside the container with the bouncer's key.
      - Needs C(wget) in the image, which Traefik's own image has. When omitted, nobody is asked.
    type: str
  crowdsec_key_file:
    description:
      - File inside the container with that key.
    type: path
    default: /run/secrets/traefik-crowdsec-key
  plugin_directory:
    description:
      - Directory of the host with a plugin's source, to be looked for. When omitted, nothing is.
    type: path
  visits:
    description:
      - Requests to be made the way visitors come, over TLS to the port of this host, with the name of the site.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Name of the site.
        type: str
        required: true
      path:
        description: What is asked for.
        type: str
        required: true
      method:
        description: And how. Everything but V(GET) and V(HEAD) is sent with an empty JSON object.
        type: str
        default: GET
  port:
    description:
      - Port of this host that leads to the proxy, for O(visits).
    type: int
    default: 443
seealso:
  - module: patriark.homelab.traefik_file
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: Is every router in use
  patriark.homelab.traefik_info:
    user: homelab
  register: proxy
  failed_when: proxy.unusable | length > 0
"""

RETURN = r"""
running:
  description: Whether the container runs.
  returned: always
  type: bool
error:
  description: Why the API gave no answer, null when it did.
  returned: always
  type: str
objects:
  description: Kind (V(routers), V(middlewares), V(services)) to the names of what Traefik has from its files.
  returned: always
  type: dict
  sample:
    routers: [immich]
unusable:
  description: What Traefik has and cannot use.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: V(routers), V(middlewares) and so on.
      type: str
    name:
      description: Its name.
      type: str
    status:
      description: V(disabled) or V(warning).
      type: str
    errors:
      description: Why, in Traefik's words.
      type: list
      elements: str
read_timeouts:
  description: Entry point to the seconds in which a request has to be read, an upload with its whole file. 0 is no limit.
  returned: always
  type: dict
  sample:
    websecure: 7200.0
plugins:
  description: Plugin to the names of the routers which need it.
  returned: always
  type: dict
  sample:
    crowdsec: [immich]
plugin_source:
  description: Whether there is a plugin's source in O(plugin_directory), as far as the account can see.
  returned: always
  type: bool
crowdsec:
  description: V(answers), or why the local API is of no use. Null when it was not asked.
  returned: always
  type: str
  sample: refuses the key
visits:
  description: What came of O(visits), in their order.
  returned: always
  type: list
  elements: dict
  contains:
    host:
      description: The site.
      type: str
    path:
      description: What was asked for.
      type: str
    status:
      description: HTTP status, null when there was none.
      type: int
    reason:
      description: Why there was none.
      type: str
certificates:
  description:
    - Each site of O(visits) to what the certificate says that its visitors are shown, whoever signed it.
    - Its C(faults) are why no visitor would take it, and C(default) tells that Traefik has none for the site and made one of its own.
  returned: always
  type: dict
  sample:
    photos.example.org:
      subject: photos.example.org
      issuer: R11
      names: [photos.example.org]
      begins: "2026-11-01T00:00:00Z"
      ends: "2027-01-30T00:00:00Z"
      default: false
      faults: []
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _visit as visit
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._traefik import ask_api
from ansible_collections.patriark.homelab.plugins.module_utils._traefik_verdict import Objects, objects, plugins, read_timeouts

SPEC: dict[str, t.Any] = {
    "user": {"type": "str"},
    "container": {"type": "str", "default": "traefik"},
    "api": {"type": "str", "default": "http://127.0.0.1:8080"},
    "crowdsec": {"type": "str"},
    "plugin_directory": {"type": "path"},
    "crowdsec_key_file": {"type": "path", "default": "/run/secrets/traefik-crowdsec-key", "no_log": False},
    "visits": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "host": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
            "method": {"type": "str", "default": "GET"},
        },
    },
    "port": {"type": "int", "default": 443},
}
# In the container, where the name of the local API is known; the key stays there too.
ASK_CROWDSEC = 'exec wget -q -T 10 -O /dev/null --header "X-Api-Key: $(cat "$2")" "$1/v1/decisions?ip=192.0.2.0"'


def unusable(found: Objects) -> list[dict[str, t.Any]]:
    """What is there and not enabled. A definition without a status (a service nobody asks for) is enabled."""
    return [
        {"kind": kind, "name": name, "status": definition["status"], "errors": list(definition.get("error") or [])}
        for (kind, name), definition in sorted(found.items())
        if definition.get("status", "enabled") != "enabled"
    ]


def names(found: Objects) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for kind, name in sorted(found):
        kinds.setdefault(kind, []).append(name)
    return kinds


def crowdsec_verdict(rc: int, err: str) -> str:
    """From how wget ended; its last line tells the reason, busybox's and GNU's alike."""
    if rc == 0:
        return "answers"
    reason = (err.strip().splitlines() or ["no reason"])[-1]
    return "refuses the key" if "403" in reason or "401" in reason else f"does not answer: {reason}"


def plugin_source(session: Session, directory: str | None) -> bool:
    with session.files():
        return directory is not None and os.path.isfile(os.path.join(directory, ".traefik.yml"))


def visited(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    address, visits = ("127.0.0.1", params["port"]), params["visits"]
    certificates = {host: visit.certificate(address, host) for host in sorted({each["host"] for each in visits})}
    answers = [{"host": each["host"], "path": each["path"], **visit.ask(address, each["host"], each["path"], each["method"])} for each in visits]
    return {"visits": answers, "certificates": certificates}


def look(session: Session, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    container, crowdsec = params["container"], params["crowdsec"]
    result: dict[str, t.Any] = {"running": False, "error": f"the container {container} does not run", "objects": {}, "unusable": []}
    result.update(read_timeouts={}, plugins={}, crowdsec=None, plugin_source=plugin_source(session, params["plugin_directory"]))
    result.update(visits=[], certificates={})
    if not session.exists or not session.ready or not session.module.get_bin_path("podman"):
        return result
    state = (podman.inspect_containers(session, [container]).get(container) or {}).get("State") or {}
    if not state.get("Running"):
        return result
    answer = ask_api(session, params["api"], {container: {"pid": int(state.get("Pid") or 0)}}, paths=("rawdata", "entrypoints"))[container]
    found = objects(answer["rawdata"])
    result.update(running=True, error=answer.get("error"), objects=names(found), unusable=unusable(found))
    result.update(read_timeouts=read_timeouts(answer.get("entrypoints", [])), plugins=plugins(found))
    result.update(visited(params))
    if crowdsec:
        rc, dummy, err = session.podman("exec", container, "sh", "-c", ASK_CROWDSEC, "sh", crowdsec.rstrip("/"), params["crowdsec_key_file"])
        result["crowdsec"] = crowdsec_verdict(rc, err)
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **look(Session(module, module.params["user"]), module.params))
    except SessionError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
