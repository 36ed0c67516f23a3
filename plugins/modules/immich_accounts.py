#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: immich_accounts
short_description: First administrator, people, API keys and external libraries of a running Immich
version_added: 0.1.0
description:
  - Compares what is declared with what the server has, over its API, and makes the difference. What is not declared is left alone.
  - The server is asked from inside its container, so that no port has to be published.
  - The first run signs the administrator up and logs in with the password. It makes a key for itself, kept as the podman secret
    C(immich-setup-key), which later runs use; the administrator may change the password.
  - Passwords are only used to make somebody. Keys are made once, and their secrets are kept as podman secrets and shown nowhere.
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  check_mode:
    support: full
    details:
      - Before the first deployment, all that is declared is predicted to be made.
  diff_mode:
    support: full
    details:
      - Each request in words. Never a password or a key.
  idempotent:
    support: full
  platform:
    platforms: posix
    support: full
options:
  container:
    description:
      - Name of the server's container.
    type: str
    default: immich-server
  admin:
    description:
      - The first administrator.
    type: dict
    required: true
    suboptions:
      email:
        description:
          - Address to log in with.
        type: str
        required: true
      name:
        description:
          - Shown name.
        type: str
        required: true
      password:
        description:
          - First password.
        type: str
        required: true
  users:
    description:
      - Further people. Their name, quota, storage label and rights are kept as declared.
    type: list
    elements: dict
    default: []
    suboptions:
      email:
        description:
          - Address to log in with; tells who it is.
        type: str
        required: true
      name:
        description:
          - Shown name.
        type: str
        required: true
      password:
        description:
          - First password, to be changed at the first login.
        type: str
        required: true
      quota:
        description:
          - Space for photos, such as V(50G). No limit when empty.
        type: str
        default: ''
      storage_label:
        description:
          - Name of the folder where the storage template is on. Letters, digits, C(-) and C(_).
        type: str
        default: ''
      admin:
        description:
          - Whether the person is an administrator.
        type: bool
        default: false
  api_keys:
    description:
      - Keys of the administrator. On the server they are called C(homelab:NAME); others are left alone.
      - Each is kept as the podman secret C(immich-api-key-NAME). A key that is not listed any more is removed with its secret.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the key.
        type: str
        required: true
      permissions:
        description:
          - What the key may do, in Immich's words.
        type: list
        elements: str
        required: true
  libraries:
    description:
      - External libraries, mounted at C(/external/NAME) in the container.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - Name of the library, and of the folder below C(/external).
        type: str
        required: true
      owner:
        description:
          - Address of the person it belongs to.
        type: str
        required: true
      exclusion_patterns:
        description:
          - Files that are left out.
        type: list
        elements: str
        default: []
  end_tour:
    description:
      - Mark the welcome tour of the web interface as done.
    type: bool
    default: true
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: A family and a key for monitoring
  patriark.homelab.immich_accounts:
    user: homelab
    admin:
      email: admin@example.org
      name: Admin
      password: "{{ vault_admin_password }}"
    users:
      - email: anna@example.org
        name: Anna
        password: "{{ vault_anna_password }}"
        quota: 200G
    api_keys:
      - name: monitoring
        permissions: [server.statistics, job.read]
"""

RETURN = r"""
steps:
  description: What was done or, in check mode, would be done, in words.
  returned: always
  type: list
  elements: str
  sample: ["make the account anna@example.org"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patriark.homelab.plugins.module_utils import _immich_accounts as accounts
from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils import _secrets as secrets
from ansible_collections.patriark.homelab.plugins.module_utils._immich_api import Api, ApiError
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

PERSON: dict[str, t.Any] = {
    "email": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}
SPEC: dict[str, t.Any] = {
    "user": {"type": "str"},
    "container": {"type": "str", "default": "immich-server"},
    "admin": {"type": "dict", "required": True, "options": PERSON},
    "users": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            **PERSON,
            "quota": {"type": "str", "default": ""},
            "storage_label": {"type": "str", "default": ""},
            "admin": {"type": "bool", "default": False},
        },
    },
    "api_keys": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "no_log": False,
        "options": {"name": {"type": "str", "required": True}, "permissions": {"type": "list", "elements": "str", "required": True}},
    },
    "end_tour": {"type": "bool", "default": True},
    "libraries": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "owner": {"type": "str", "required": True},
            "exclusion_patterns": {"type": "list", "elements": "str", "default": []},
        },
    },
}


class Run:
    """One comparison and what follows from it. Steps are kept in words."""

    def __init__(self, session: Session, wanted: dict[str, t.Any], check: bool) -> None:
        self.session, self.wanted, self.check = session, wanted, check
        self.api = Api(session, wanted["container"])
        self.steps: list[str] = []
        self.permissions = accounts.setup_permissions(wanted["api_keys"])
        self.token: dict[str, str] = {}

    def everything(self) -> None:
        """What a first run does, without a server to ask."""
        self.steps += [f"sign up the administrator {self.wanted['admin']['email']}", f"make the key {accounts.SETUP_KEY}, kept as {accounts.SETUP_SECRET}"]
        self.steps += [step.text for step in self._plan(accounts.State(onboarded=not self.wanted["end_tour"]))]

    def run(self) -> None:
        session = self.session
        if not (session.exists and session.ready and self.wanted["container"] in podman.inspect_containers(session, [self.wanted["container"]])):
            if not self.check:
                raise ApiError(f"there is no container {self.wanted['container']}: deploy it first")
            return self.everything()
        config = self.api.call("GET", "/api/server/config")
        if not config["isInitialized"]:
            if self.check:
                return self.everything()
            self.api.call("POST", "/api/auth/admin-sign-up", {name: self.wanted["admin"][name] for name in ("email", "name", "password")})
            self.steps.append(f"sign up the administrator {self.wanted['admin']['email']}")
        try:
            self._enter()
            self._apply(config["isOnboarded"] or not self.wanted["end_tour"])
        finally:
            if self.token:
                self.api.call("POST", "/api/auth/logout", headers=self.token)
        return None

    def _enter(self) -> None:
        """Log in with our own key, or with the password where there is none that will do."""
        names = podman.secret_ids(self.session)
        key = podman.secret_values(self.session, [accounts.SETUP_SECRET] if accounts.SETUP_SECRET in names else []).get(accounts.SETUP_SECRET)
        if key and self.api.allows({"x-api-key": key}):
            self.api.headers = {"x-api-key": key}
            own = [item for item in self.api.call("GET", "/api/api-keys") if item["name"] == accounts.SETUP_KEY]
            if len(own) == 1 and set(self.permissions) <= set(own[0]["permissions"]):
                return
        self.api.headers = {}
        admin = self.wanted["admin"]
        try:
            answer = self.api.call("POST", "/api/auth/login", {"email": admin["email"], "password": admin["password"]})
        except ApiError as error:
            if error.status != 401:
                raise
            raise ApiError(
                f"{admin['email']} cannot log in with the declared password, and the podman secret {accounts.SETUP_SECRET} does not do either. Was the password"
                " changed in Immich? Declare the present one for this run. Is the database new and the sign-up closed? Set immich_allow_setup for this run",
                401,
            ) from error
        self.token = self.api.headers = {"Authorization": f"Bearer {answer['accessToken']}"}
        self._own_key(names)

    def _own_key(self, names: t.Container[str]) -> None:
        old = [item for item in self.api.call("GET", "/api/api-keys") if item["name"] == accounts.SETUP_KEY]
        self.steps.append(f"make the key {accounts.SETUP_KEY}, kept as {accounts.SETUP_SECRET}")
        if self.check:
            return
        for item in old:
            self.api.call("DELETE", f"/api/api-keys/{item['id']}")
        answer = self.api.call("POST", "/api/api-keys", {"name": accounts.SETUP_KEY, "permissions": self.permissions})
        secrets.write(self.session, accounts.SETUP_SECRET, answer["secret"], replace=accounts.SETUP_SECRET in names)

    def _apply(self, onboarded: bool) -> None:
        names = podman.secret_ids(self.session)
        kept = [name for name in (accounts.secret_name(key["name"]) for key in self.wanted["api_keys"]) if name in names]
        values = podman.secret_values(self.session, kept)
        state = accounts.State(
            self.api.call("GET", "/api/admin/users"),
            self.api.call("GET", "/api/api-keys"),
            self.api.call("GET", "/api/libraries"),
            onboarded,
            frozenset(names),
            frozenset(name for name, value in values.items() if self.api.allows({"x-api-key": value})),
        )
        ids = {str(user["email"]).lower(): user["id"] for user in state.users}
        for step in self._plan(state):
            if not self.check:
                self._do(step, ids, names)
            self.steps.append(step.text)

    def _plan(self, state: accounts.State) -> list[accounts.Step]:
        return accounts.plan(self.wanted["users"], self.wanted["api_keys"], self.wanted["libraries"], state)

    def _do(self, step: accounts.Step, ids: dict[str, str], names: t.Mapping[str, str]) -> None:
        body = step.body
        if step.owner is not None:
            if step.owner not in ids:
                raise accounts.DeclarationError(f"{step.text}: nobody has the address {step.owner}; declare the person, or correct the owner")
            body = {**(body or {}), "ownerId": ids[step.owner]}
        answer = self.api.call(step.method, step.path, body)
        if step.path == "/api/admin/users" and isinstance(answer, dict):
            ids[str(answer["email"]).lower()] = answer["id"]
        if step.owner is not None:
            self.api.call("POST", f"/api/libraries/{answer['id']}/scan", {})
        if step.secret is not None and step.method == "POST":
            secrets.write(self.session, step.secret, answer["secret"], replace=step.secret in names)
        elif step.secret is not None and step.secret in names:
            self.session.podman("secret", "rm", step.secret)


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    run: Run | None = None
    try:
        session = Session(module, module.params["user"])
        run = Run(session, module.params, module.check_mode)
        run.run()
    except (SessionError, ApiError, accounts.DeclarationError) as error:
        module.fail_json(msg=str(error), steps=run.steps if run else [], changed=bool(run and run.steps and not module.check_mode))
    result: dict[str, t.Any] = {"changed": bool(run.steps), "steps": run.steps}
    if module._diff and run.steps:
        result["diff"] = [{"prepared": "".join(f"{step}\n" for step in run.steps)}]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
