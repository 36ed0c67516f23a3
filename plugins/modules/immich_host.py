#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: immich_host
short_description: What of a host decides how Immich is deployed on it
version_added: 0.1.0
description:
  - Tells which devices there are and whether the account may use them, what the processor can do, which release ran last, what made the
    database, and whether the pool is mounted.
  - It changes nothing, and does not fail when the account or Podman is missing, so that check mode before the first deployment can use it.
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
  stack:
    description:
      - Stack in which Immich's units are.
    type: str
    default: immich
  server:
    description:
      - Name of the server's container, of its unit C(NAME.container) and of its environment file C(NAME.env).
    type: str
    default: immich-server
  database:
    description:
      - Name of the database's container.
    type: str
    default: postgresql-immich
  database_directory:
    description:
      - Data directory of the database. When omitted, there is no database of ours.
    type: path
  library:
    description:
      - Directory of the photo library. When omitted, nothing is compared with the record of the installation.
    type: path
  accept:
    description:
      - The word by which another installation than the recorded one is begun on purpose, as RV(installation.token) gave it.
    type: str
    default: ""
  pool:
    description:
      - Mount point that must be mounted. When omitted, none must.
    type: path
  libraries:
    description:
      - Directories that the server gets read-only.
    type: list
    elements: path
    default: []
  directories:
    description:
      - Directories by the option that names them, to be looked at for what is none.
    type: dict
    default: {}
seealso:
  - module: patriark.homelab.quadlet_info
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: Look at the host
  patriark.homelab.immich_host:
    user: homelab
    database_directory: /srv/containers/postgresql-immich
  register: host
"""

RETURN = r"""
recorded_image:
  description: Image of the server in the unit of the last deployment, empty before the first.
  returned: always
  type: str
  sample: ghcr.io/immich-app/immich-server:v2.5.5
setup_closed:
  description: Whether the last deployment closed the sign-up of the first administrator.
  returned: always
  type: bool
postgresql_data:
  description: Major version of PostgreSQL that made the data directory, empty without data.
  returned: always
  type: str
  sample: "14"
extensions:
  description: Extensions for vectors in the running database, name to version. Empty when it does not run.
  returned: always
  type: dict
  sample: {vchord: 0.4.3}
cpu_level:
  description: Level of x86-64 that the processor has, 1 to 4, and 0 for other processors.
  returned: always
  type: int
devices:
  description: Devices for transcoding and machine learning, name to whether the account may use it.
  returned: always
  type: dict
  sample: {dri: true}
cdi:
  description: Kinds of devices described for the Container Device Interface.
  returned: always
  type: list
  elements: str
  sample: [nvidia.com/gpu]
selinux:
  description: Whether SELinux is enforcing.
  returned: always
  type: bool
installation:
  description: What lies here beside the record of the installation (M(patriark.homelab.immich_installation)).
  returned: always
  type: dict
  contains:
    record:
      description: The record itself; what was found of it, what is recorded, and the sentence that tells what to do. Both are equal when all is well.
      type: dict
      returned: with O(library)
      sample: {found: as recorded, recorded: as recorded, fix: ""}
    host:
      description: The host, in the same way.
      type: dict
      returned: with O(library)
      sample: {found: as recorded, recorded: as recorded, fix: ""}
    account:
      description: The account, in the same way.
      type: dict
      returned: with O(library)
      sample: {found: as recorded, recorded: as recorded, fix: ""}
    database:
      description: The database, in the same way.
      type: dict
      returned: with O(library)
      sample: {found: as recorded, recorded: as recorded, fix: ""}
    files:
      description: Links that lead out of the database's directory, in the same way.
      type: dict
      returned: with O(library)
      sample: {found: as recorded, recorded: as recorded, fix: ""}
    library:
      description: The library, in the same way.
      type: dict
      returned: with O(library)
      sample: {found: as recorded, recorded: as recorded, fix: ""}
    notices:
      description: What is told and stops nothing.
      type: list
      elements: str
      returned: with O(library)
      sample: []
    token:
      description: The word that accepts what was found, empty when all is as recorded.
      type: str
      returned: with O(library)
      sample: ""
    accepted:
      description: Whether O(accept) is that word.
      type: bool
      returned: with O(library)
      sample: false
    begin:
      description: Whether a new installation is to be recorded before it is deployed.
      type: bool
      returned: with O(library)
      sample: false
    password:
      description: Whether the password of the database stayed with another account or host.
      type: bool
      returned: with O(library)
      sample: false
    stale:
      description: Whether the record is to be written after the deployment.
      type: bool
      returned: with O(library)
      sample: false
pool_mounted:
  description: Whether the pool is mounted; true when none is asked for.
  returned: always
  type: bool
obstacles:
  description: What stands in the place of one of O(directories), or on the way to it.
  returned: always
  type: list
  elements: str
  sample: ["immich_library: /srv/photos is a file and no directory: move it away"]
mounts_below:
  description: Each of O(libraries) to what is mounted below it.
  returned: always
  type: dict
  sample: {/srv/scans: [stick]}
"""

import os
import platform

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patriark.homelab.plugins.module_utils import _immich_host as host
from ansible_collections.patriark.homelab.plugins.module_utils import _installation
from ansible_collections.patriark.homelab.plugins.module_utils._account import read
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str"},
            "stack": {"type": "str", "default": "immich"},
            "server": {"type": "str", "default": "immich-server"},
            "database": {"type": "str", "default": "postgresql-immich"},
            "database_directory": {"type": "path"},
            "library": {"type": "path"},
            "accept": {"type": "str", "default": ""},
            "pool": {"type": "path"},
            "libraries": {"type": "list", "elements": "path", "default": []},
            "directories": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        session = Session(module, wanted["user"])
        look = host.Look(session, wanted["stack"])
        result = {
            "recorded_image": host.image_of(look.unit(f"{wanted['server']}.container")),
            "setup_closed": host.setup_closed(look.unit(f"{wanted['server']}.env")),
            "postgresql_data": look.postgresql_data(wanted["database_directory"]) if wanted["database_directory"] else "",
            "extensions": look.extensions(wanted["database"]) if wanted["database_directory"] else {},
            "cpu_level": host.cpu_level(read("/proc/cpuinfo"), platform.machine()),
            "devices": look.devices(),
            "cdi": look.cdi(),
            "selinux": read("/sys/fs/selinux/enforce").strip() == "1",
            "installation": _installation.Installation(session, wanted["stack"], wanted["database_directory"], wanted["library"]).verdict(wanted["accept"])
            if wanted["library"]
            else {},
            "pool_mounted": wanted["pool"] is None or os.path.ismount(wanted["pool"]),
            "obstacles": host.obstacles(wanted["directories"]),
            "mounts_below": {path: host.mounts_below(read("/proc/self/mountinfo"), os.path.realpath(path)) for path in wanted["libraries"]},
        }
    except SessionError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
