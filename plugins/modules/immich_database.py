#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: immich_database
short_description: Superuser roles that a restore of Immich's database wants to find
version_added: 0.1.0
description:
  - Immich's web restore, before release 3.0.2, hands the restored schema to the role C(postgres). A database whose superuser has another name
    lacks it, and the restore fails at its end.
  - Makes the roles that are missing, in new databases and in old ones. They have no password, so that they can only be used from inside the
    database's container. A role that is there is left as it is, unless it is no superuser.
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  check_mode:
    support: full
    details:
      - When the database does not run, all roles are predicted to be made.
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: posix
    support: full
options:
  container:
    description:
      - Name of the database's container.
    type: str
    default: postgresql-immich
  superuser:
    description:
      - Superuser to connect as.
    type: str
    default: immich
  database:
    description:
      - Database to connect to.
    type: str
    default: immich
  roles:
    description:
      - Superuser roles that must be there. Letters, digits and C(_).
    type: list
    elements: str
    default: [postgres]
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: The web restore finds its role
  patriark.homelab.immich_database:
    user: homelab
"""

RETURN = r"""
roles_made:
  description: Roles that were made, or given the rights of a superuser.
  returned: always
  type: list
  elements: str
  sample: [postgres]
"""

import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patriark.homelab.plugins.module_utils import _podman as podman
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str"},
            "container": {"type": "str", "default": "postgresql-immich"},
            "superuser": {"type": "str", "default": "immich"},
            "database": {"type": "str", "default": "immich"},
            "roles": {"type": "list", "elements": "str", "default": ["postgres"]},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    wrong = [name for name in wanted["roles"] if not re.fullmatch(r"[a-z_][a-z0-9_]*", name)]
    if wrong:
        module.fail_json(msg=f"not names of roles: {', '.join(wrong)}")
    try:
        session = Session(module, wanted["user"])
        psql = ["exec", wanted["container"], "psql", "--no-psqlrc", "-U", wanted["superuser"], "-d", wanted["database"], "-v", "ON_ERROR_STOP=1", "-Atc"]
        found: dict[str, bool] = {}
        if session.exists and session.ready and wanted["container"] in podman.inspect_containers(session, [wanted["container"]]):
            rc, out, err = session.podman(*psql, "select rolname || ' ' || rolsuper from pg_roles")
            if rc != 0:
                module.fail_json(msg=f"the database in {wanted['container']} does not answer: {err.strip()}")
            found = {name: flag == "true" for name, dummy, flag in (line.partition(" ") for line in out.splitlines())}
        elif not module.check_mode:
            module.fail_json(msg=f"there is no container {wanted['container']}: deploy it first")
        missing = [name for name in wanted["roles"] if not found.get(name)]
        if missing and not module.check_mode:
            rc, out, err = session.podman(*psql, "; ".join(f"{'ALTER' if name in found else 'CREATE'} ROLE {name} SUPERUSER LOGIN" for name in missing))
            if rc != 0:
                module.fail_json(msg=f"cannot make roles: {err.strip()}")
    except SessionError as error:
        module.fail_json(msg=str(error))
    result = {"changed": bool(missing), "roles_made": missing}
    if module._diff and missing:
        result["diff"] = [{"prepared": "".join(f"superuser role {name}\n" for name in missing)}]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
