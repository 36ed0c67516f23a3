#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: quadlet
short_description: A whole stack of Podman quadlets in one transaction, ending with what runs being what is written
version_added: 0.1.0
description:
  - Takes all units of a stack in one call, checks them, lets Podman's own generator and C(systemd-analyze) judge the complete
    future set, writes it in one step, reloads systemd once, restarts exactly what changed or is stale in one call to systemctl,
    and waits until everything is active and healthy. When that fails, the previous units are brought back.
  - A service is stale when its running container differs from what its unit says now. The unit and its drop-ins, the files that
    belong to it, the image its reference means, the secrets it uses, and the arguments it was started with are compared with the container
    that runs.
  - A volume that exists with another driver or other options than its unit has is refused, since Podman never changes a volume.
  - Environment files and mount sources that do not exist are refused. In check mode they are told in RV(notes), since another task may make them.
  - Keys newer than the host's Podman are written in words it knows where that means the same, and refused otherwise.
  - Units lie in a directory of the stack below the account's quadlet directory. A record of what belongs to the stack is kept
    outside of it. Nothing else is ever removed, and no volume, network, image or secret either.
  - Images of services that are about to start are brought before anything is written, as V(Pull=) of their unit says. When one cannot be had,
    nothing is changed and the message says which registry or mirror failed, how, and what to do. Images that C(.kube), C(.build), C(.volume) and
    C(.artifact) units name are left to their start.
  - Two runs on one account wait for each other.
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  check_mode:
    support: full
    details:
      - Predicts files, restarts, reloads and pulls. A registry is asked for the size of what would be pulled, and need not answer.
      - What cannot be known yet, because the account, Podman or another stack is not there, is told in RV(notes).
  diff_mode:
    support: full
    details:
      - Values in private files, and values whose name tells a secret, are hidden.
  idempotent:
    support: full
  platform:
    platforms: posix
    support: full
options:
  stack:
    description:
      - Name of the stack, the owner of the units. Letters, digits, C(-) and C(_).
    type: str
    required: true
  units:
    description:
      - All units of the stack. What was in the stack and is not listed is removed, see O(prune).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - File name of a quadlet (C(.container), C(.network), C(.volume), C(.pod), C(.image), C(.build), C(.kube), C(.artifact)), of a plain
            systemd unit (C(.service), C(.socket), C(.timer), C(.path), C(.target)), or of a drop-in of one (C(app.container.d/extra.conf)).
          - A drop-in may belong to a unit of another stack. Its service is restarted when the drop-in changes.
          - An instance (C(app@one.container)) without O(units[].content) and O(units[].sections) is made from its template (C(app@.container)).
        type: str
        required: true
      content:
        description:
          - Text of the unit, written as given. Specifiers (C(%h)) and variables (C($X)) mean what systemd makes of them.
          - Container units get one more line, a label with the digest by which staleness is seen.
        type: str
      sections:
        description:
          - The unit as data. Section names to keys to values. A value is a string, number or boolean, a list for keys that may be
            repeated or take words, or a mapping for keys that hold assignments (C(Environment), C(Label)).
          - Every value is quoted as its key needs it.
        type: dict
      specifiers:
        description:
          - Whether C(%) and C($) in O(units[].sections) mean what systemd makes of them. By default they are literal.
        type: bool
        default: false
  files:
    description:
      - Files that lie beside the units, such as environment files and configuration. Units refer to them relatively
        (C(EnvironmentFile=app.env), C(Volume=./app.yml:/etc/app.yml:ro)).
      - They are part of the transaction. A unit that mentions one is restarted when its content changes.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Path below the stack's directory.
        type: str
        required: true
      content:
        description:
          - Text of the file.
        type: str
        required: true
      mode:
        description:
          - Permissions, as an octal string such as V('0640').
          - Values in a file without rights for group and others are hidden in the diff.
        type: str
        default: '0600'
  watch:
    description:
      - Unit name to a list of absolute paths outside the stack. When the content of one changes, that unit is restarted.
    type: dict
    default: {}
  secrets:
    description:
      - Podman secrets the stack uses. They stay when the stack is removed, since data may depend on them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the secret.
        type: str
        required: true
      value:
        description:
          - What the secret must hold. It is compared with what is there and replaced when it differs.
          - When omitted, a value of letters and digits is made on the host once, and left alone from then on.
        type: str
      length:
        description:
          - Number of characters of a value made on the host.
        type: int
        default: 32
  state:
    description:
      - With V(started) all units are in place, their services run, are not stale and are healthy.
      - With V(stopped) all units are in place and their services are stopped.
      - With V(present) all units are in place and loaded. Nothing is started, stopped or restarted.
      - With V(absent) the services of the stack are stopped and its units and files removed. Secrets, volumes, networks and data stay.
      - Work that ends by itself (C(Type=oneshot) without C(RemainAfterExit)) and templates are never started.
    type: str
    choices: [started, stopped, present, absent]
    default: started
  prune:
    description:
      - Remove units and files of the stack that are not listed any more. Their services are stopped first.
    type: bool
    default: true
  wait:
    description:
      - Wait until all services are active, and healthy where the unit has a health check.
      - With V(false) the services are only told to start.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait at most. A start that takes ten minutes (a model download) needs more than the default.
        Images are there before this time begins.
    type: int
    default: 300
  pull_timeout:
    description:
      - Seconds for which a registry may say nothing before a pull is given up. A pull itself may take as long as it likes.
    type: int
    default: 120
  on_failure:
    description:
      - With V(rollback) a change whose services do not come up is taken back, the previous services are started and waited for.
      - With V(leave) everything stays as it is, to be looked at.
    type: str
    choices: [rollback, leave]
    default: rollback
seealso:
  - module: patriark.homelab.quadlet_info
  - module: patriark.homelab.quadlet_network
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: A small web server of the account homelab
  patriark.homelab.quadlet:
    user: homelab
    stack: web
    units:
      - name: web.container
        content: |
          [Unit]
          Description=Web server

          [Container]
          Image=docker.io/library/caddy:2.10
          EnvironmentFile=web.env
          HealthCmd=["wget","-q","-O","/dev/null","http://127.0.0.1/"]
          Notify=healthy
          Secret=web_token,type=mount

          [Install]
          WantedBy=default.target
    files:
      - name: web.env
        content: |
          GREETING=hello
    secrets:
      - name: web_token

- name: The same as data
  patriark.homelab.quadlet:
    user: homelab
    stack: web
    units:
      - name: web.container
        sections:
          Container:
            Image: docker.io/library/caddy:2.10
            Environment:
              GREETING: hello, 100% literal
            HealthCmd: [wget, -q, -O, /dev/null, "http://127.0.0.1/"]
          Install:
            WantedBy: default.target

- name: Take it away, data stays
  patriark.homelab.quadlet:
    user: homelab
    stack: web
    state: absent
"""

RETURN = r"""
written:
  description: Files written or, in check mode, to be written.
  returned: success
  type: list
  elements: str
removed:
  description: Files removed.
  returned: success
  type: list
  elements: str
services_started:
  description: Services started that did not run.
  returned: success
  type: list
  elements: str
services_restarted:
  description: Services restarted.
  returned: success
  type: list
  elements: str
services_stopped:
  description: Services stopped.
  returned: success
  type: list
  elements: str
reasons:
  description: Service name to the reason why it is started, restarted or stopped.
  returned: success
  type: dict
  sample:
    web.service: its unit changed
reloaded:
  description: Whether systemd was told to read its units again.
  returned: success
  type: bool
secrets_changed:
  description: Name of each secret that was made or replaced, to V(create), V(generate) or V(replace).
  returned: success
  type: dict
images:
  description: Images brought or, in check mode, to be brought. What a registry is only asked for (V(Pull=newer), V(Pull=always)) is listed too.
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: Its name.
      type: str
    unit:
      description: The unit that needs it.
      type: str
    bytes:
      description: What its layers weigh on their way, those that are here already included. Null when that is not known.
      type: int
    told:
      description: The same in words. In check mode with the reason why the size is not known.
      type: str
  sample:
    - image: docker.io/library/caddy:2.10
      unit: web.container
      bytes: 21233664
      told: docker.io/library/caddy:2.10 (21.2 MB)
services:
  description: State of each service that was waited for. Empty when nothing had to be waited for.
  returned: success, outside check mode
  type: dict
  sample:
    web.service:
      verdict: up
      state: healthy
waited:
  description: Seconds spent waiting.
  returned: success, outside check mode
  type: float
notes:
  description: What could not be judged, and what was lowered for this Podman.
  returned: success
  type: list
  elements: str
findings:
  description: Every reason why the units were refused, or why an image is not here.
  returned: when units are refused or images could not be pulled
  type: list
  elements: dict
  contains:
    unit:
      description: Name of the unit or file.
      type: str
    line:
      description: Line in that unit, or null.
      type: int
    key:
      description: Key on that line, or null.
      type: str
    value:
      description: Its value, or null.
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
failure:
  description: Why the stack did not come up.
  returned: when services do not come up
  type: str
failed_services:
  description: For each service that did not come up, its state, result, exit status, restarts, health log and last journal lines.
  returned: when services do not come up
  type: dict
rollback:
  description: What became of the previous units. Null with O(on_failure=leave) or when nothing had been changed.
  returned: when services do not come up
  type: dict
  contains:
    done:
      description: Whether the previous units are in place again.
      type: bool
    healthy:
      description: Whether their services came up.
      type: bool
    message:
      description: The same in words.
      type: str
    services:
      description: Service name to state.
      type: dict
"""

import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._pull import predicted
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import parse_name
from ansible_collections.patriark.homelab.plugins.module_utils._quiet_module import QuietModule
from ansible_collections.patriark.homelab.plugins.module_utils._render import render
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._transaction import (
    CompanionFile,
    Outcome,
    Plan,
    PullFailed,
    Request,
    SecretRequest,
    TransactionError,
    TransactionFailed,
    deploy,
    plan,
)
from ansible_collections.patriark.homelab.plugins.module_utils._wait_progress import ProgressFile

SPEC: dict[str, t.Any] = {
    "user": {"type": "str"},
    "stack": {"type": "str", "required": True},
    "units": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "content": {"type": "str"},
            "sections": {"type": "dict"},
            "specifiers": {"type": "bool", "default": False},
        },
        "mutually_exclusive": [("content", "sections")],
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "content": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0600"},
        },
    },
    "watch": {"type": "dict", "default": {}},
    "secrets": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "value": {"type": "str", "no_log": True},
            "length": {"type": "int", "default": 32},
        },
    },
    "state": {"type": "str", "choices": ["started", "stopped", "present", "absent"], "default": "started"},
    "prune": {"type": "bool", "default": True},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 300},
    "pull_timeout": {"type": "int", "default": 120},
    "on_failure": {"type": "str", "choices": ["rollback", "leave"], "default": "rollback"},
}


def request_of(params: dict[str, t.Any]) -> Request:
    """The options as a request. Raises TransactionError for what cannot be one."""
    findings: list[Finding] = []
    units: dict[str, str | None] = {}
    for item in params["units"]:
        name = parse_name(item["name"])
        if item["name"] in units:
            findings.append(Finding(item["name"], "listed twice", "keep one of them"))
        units[item["name"]] = item["content"]
        if item["sections"] is not None and name is not None:
            units[item["name"]], wrong = render(name, item["sections"], item["specifiers"])
            findings += wrong
        elif item["specifiers"]:
            findings.append(Finding(item["name"], "specifiers is for sections; in content they always count", "leave it out"))
    files: dict[str, CompanionFile] = {}
    for item in params["files"]:
        try:
            mode = int(item["mode"], 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777:
            findings.append(Finding(item["name"], f"mode {item['mode']!r} is not octal permissions", "write mode: '0640'"))
        if item["name"] in files:
            findings.append(Finding(item["name"], "listed twice", "keep one of them"))
        files[item["name"]] = CompanionFile(item["content"], mode)
    watch: dict[str, list[str]] = {}
    for name, paths in params["watch"].items():
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            findings.append(Finding(name, "watch wants a list of paths for each unit", "write unit: [/path]"))
        else:
            watch[name] = [str(path) for path in paths]
    secrets = [SecretRequest(item["name"], item["value"], item["length"]) for item in params["secrets"]]
    for secret in secrets:
        if secret.length < 1:
            findings.append(Finding(secret.name, "a secret has at least one character", "leave length out"))
    if findings:
        raise TransactionError(findings)
    return Request(
        params["stack"],
        units,
        files,
        watch,
        secrets,
        params["state"],
        params["prune"],
        params["wait"],
        params["wait_timeout"],
        params["on_failure"],
        pull_timeout=params["pull_timeout"],
    )


def result_of(made: Plan, outcome: Outcome | None) -> dict[str, t.Any]:
    result: dict[str, t.Any] = {
        "changed": made.changed,
        "written": [change.path for change in made.files if change.after is not None],
        "removed": [change.path for change in made.files if change.after is None],
        "services_started": made.services("start"),
        "services_restarted": made.services("restart"),
        "services_stopped": made.services("stop"),
        "reasons": {action.service: action.reason for action in made.actions},
        "reloaded": made.reload,
        "secrets_changed": {change.name: change.verb for change in made.secrets},
        "notes": made.notes,
    }
    if outcome is not None:
        result.update(services=outcome.services, waited=outcome.waited, notes=[*made.notes, *outcome.notes])
    return result


def main() -> None:
    module = QuietModule(argument_spec=SPEC, supports_check_mode=True)
    made: Plan | None = None
    try:
        session = Session(module, module.params["user"])
        request = request_of(module.params)
        outcome = None
        images: list[dict[str, t.Any]] = []
        if module.check_mode:
            made = plan(session, request)
            images = predicted(session, made.pulls, made.usable)
        else:
            lingered = session.ensure()
            with ProgressFile() as progress, session.lock(waiting=progress.say):
                request.progress = progress.show
                request.tell = progress.say
                made, outcome = deploy(session, request)
                made.linger = lingered
                images = outcome.images
    except PullFailed as error:
        module.fail_json(
            msg=f"nothing of the stack {module.params['stack']} was changed, since an image is not here:\n{error}",
            findings=[finding.as_dict() for finding in error.findings],
        )
    except TransactionError as error:
        count = len(error.findings)
        message = f"the stack {module.params['stack']} is refused, {count} finding{'s' if count > 1 else ''}:\n{error}"
        module.fail_json(msg=message, findings=[finding.as_dict() for finding in error.findings])
    except TransactionFailed as error:
        details = error.details
        story = details["rollback"]
        tail = f" Rollback: {story['message']}." if story else ""
        module.fail_json(
            msg=f"the stack {module.params['stack']} did not come up: {error}.{tail}",
            changed=error.touched,
            failure=details["failure"],
            failed_services=details["services"],
            rollback=story,
        )
    except SessionError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"no unit was changed: {error}")
    for finding in made.warnings:
        module.warn(str(finding))
    result = {**result_of(made, outcome), "images": images}
    if module._diff:
        result["diff"] = made.diff()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
