#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_get
short_description: Answers of services that listen on container networks only
version_added: 0.1.0
description:
  - Makes HTTP requests (GET) to containers of an account from inside its container networks, where nothing has to be published and
    the image needs no HTTP client.
  - Reads only. A container that does not run, and a service that does not answer, are told and are no failure.
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  check_mode:
    support: full
    details:
      - Asks as it does otherwise.
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    platforms: posix
    support: full
options:
  requests:
    description:
      - What to ask.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Key of the answer.
        type: str
        required: true
      container:
        description: Name of the container.
        type: str
        required: true
      port:
        description: Port inside the container.
        type: int
        required: true
      path:
        description: Path, with the query if there is one.
        type: str
        default: /
  timeout:
    description: Seconds to wait for each answer.
    type: int
    default: 10
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: Ask Prometheus which targets it has
  patriark.homelab.container_get:
    user: homelab
    requests:
      - {name: targets, container: prometheus, port: 9090, path: /api/v1/targets}
  register: answer

- name: Show those that are down
  ansible.builtin.debug:
    msg: "{{ answer.answers.targets.json.data.activeTargets | rejectattr('health', 'eq', 'up') }}"
"""

RETURN = r"""
answers:
  description: Name of each request to its answer.
  returned: always
  type: dict
  contains:
    status:
      description: HTTP status, null without an answer.
      type: int
    json:
      description: The answer as data, null when it is no JSON.
      type: raw
    text:
      description: The first 16384 characters of an answer that is no JSON.
      type: str
    reason:
      description: Why there is no answer, else null.
      type: str
"""

import json
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patriark.homelab.plugins.module_utils import _inside as inside
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

LIMIT = 16384
SPEC: dict[str, t.Any] = {
    "user": {"type": "str"},
    "requests": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "container": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "path": {"type": "str", "default": "/"},
        },
    },
    "timeout": {"type": "int", "default": 10},
}


def shown(answer: inside.Answer) -> dict[str, t.Any]:
    try:
        return {"status": answer.status, "json": json.loads(answer.text), "text": "", "reason": answer.reason}
    except ValueError:
        return {"status": answer.status, "json": None, "text": answer.text[:LIMIT], "reason": answer.reason}


def work(session: Session, requests: list[dict[str, t.Any]], timeout: int) -> dict[str, t.Any]:
    answers = {item["name"]: inside.Answer(None, "", f"{item['container']} does not run") for item in requests}
    if session.ready:
        names = sorted({item["container"] for item in requests})
        running = {name: found for name, found in ((name, inside.describe(session, name)) for name in names) if found}
        urls = {item["name"]: inside.places(running[item["container"]], item["port"], item["path"]) for item in requests if item["container"] in running}
        able = {name: same for name, same in urls.items() if same}
        answers.update(zip(able, inside.get(session, list(able.values()), timeout)))
    return {name: shown(answer) for name, answer in answers.items()}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        answers = work(Session(module, module.params["user"]), module.params["requests"], module.params["timeout"])
    except (SessionError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, answers=answers)


if __name__ == "__main__":
    main()
