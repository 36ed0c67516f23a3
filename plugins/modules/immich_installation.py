#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: immich_installation
short_description: Write down what an installation of Immich is
version_added: 0.1.0
description:
  - Records on the host which database, library and account belong together, marks the two directories, and tells the account's units what to
    expect before they start. M(patriark.homelab.immich_host) compares with it.
  - The record is a file of root's below C(/var/lib/patriark.homelab/installations), or the account's own where the module runs without root. The
    marks are extended attributes; no file is put into a directory of Immich.
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - With O(state=begun) a new installation is begun each time.
  platform:
    platforms: posix
    support: full
options:
  stack:
    description:
      - Stack in which Immich's units are.
    type: str
    default: immich
  server:
    description:
      - Name of the server's unit, whose image is recorded.
    type: str
    default: immich-server
  database_directory:
    description:
      - Data directory of the database. When omitted, there is no database of ours.
    type: path
  library:
    description:
      - Directory of the photo library.
    type: path
    required: true
  state:
    description:
      - V(begun) writes before a first deployment that there is an installation which holds nothing yet. A record of another one is kept beside it.
      - V(present) writes after a deployment what is there.
    type: str
    choices: [begun, present]
    default: present
seealso:
  - module: patriark.homelab.immich_host
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: What runs here is written down
  patriark.homelab.immich_installation:
    user: homelab
    database_directory: /srv/containers/postgresql-immich
    library: /srv/photos
"""

RETURN = r"""
path:
  description: File of the record.
  returned: always
  type: str
  sample: /var/lib/patriark.homelab/installations/immich.json
installation:
  description: Identifier of the installation.
  returned: always
  type: str
  sample: 0d5c8e5e-7c0f-4a39-a5ad-6f4b8e0f3f0e
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patriark.homelab.plugins.module_utils import _installation
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str"},
            "stack": {"type": "str", "default": "immich"},
            "server": {"type": "str", "default": "immich-server"},
            "database_directory": {"type": "path"},
            "library": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["begun", "present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        work = _installation.Installation(Session(module, wanted["user"]), wanted["stack"], wanted["database_directory"], wanted["library"])
        record = work.begun() if wanted["state"] == "begun" else work.present(wanted["server"])
        changed = work.write(record, begun=wanted["state"] == "begun", dry=module.check_mode)
    except SessionError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or work.path}: {error.strerror or error}")
    module.exit_json(changed=changed, path=work.path, installation=record.installation)


if __name__ == "__main__":
    main()
