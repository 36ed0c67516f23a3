#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: quadlet_info
short_description: What really runs of the stacks made by quadlet, and what the host offers
version_added: 0.1.0
description:
  - Tells for every unit of a stack whether its service runs, whether it is healthy, whether what runs is still what is written,
    and which addresses, image, limits, mounts and hardening its container really has.
  - Also tells what the host and the account offer. It changes nothing, and does not fail when the account, Podman or the
    account's session is missing, so that a check before the first deployment can use it.
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
      - Name of the stack to tell about. All stacks of the account when omitted.
    type: str
  wait_starting:
    description:
      - How many seconds to wait, before anything else is looked at, for containers that have just been started and whose check has not succeeded yet.
      - One that is unhealthy, or was not healthy before its start period ended, is not waited for.
    type: int
    default: 0
  probes:
    description:
      - Commands to run inside containers, for what can only be seen from there. They must only read; that is up to who writes them.
      - A container that does not run is not asked, which is no failure.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Key of the answer in RV(probes).
        type: str
        required: true
      container:
        description: Name of the container.
        type: str
        required: true
      argv:
        description: The command and its arguments. No shell reads them.
        type: list
        elements: str
        required: true
      timeout:
        description: Seconds after which the command is given up.
        type: int
        default: 10
  logs:
    description: Lines to look for in the journal.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Key of the answer in RV(logs).
        type: str
        required: true
      service:
        description: The systemd unit whose lines are read.
        type: str
        required: true
      pattern:
        description: Regular expression that a line has to match. Of what matches, the first group is returned.
        type: str
        required: true
      since:
        description: How many seconds back.
        type: int
        default: 3600
      last:
        description: How many of the matching lines are returned.
        type: int
        default: 5
  paths:
    description: Paths of the host to tell about in RV(paths).
    type: list
    elements: path
    default: []
  checksums:
    description:
      - Compare files with checksums which an application recorded.
      - Files are read with the account's rights and from the disk, not from memory.
    type: dict
    suboptions:
      container:
        description: Container that knows the checksums.
        type: str
        required: true
      argv:
        description: Command which prints one line for each file, its checksum in hexadecimal digits, a space, and its path as containers see it.
        type: list
        elements: str
        required: true
      timeout:
        description: Seconds after which that command is given up.
        type: int
        default: 60
      algorithm:
        description: Algorithm of the checksums.
        type: str
        default: sha1
        choices: [sha1, sha256]
      roots:
        description: Directory inside containers to the directory of the host it is.
        type: dict
        required: true
      max_bytes:
        description: No further file is read after so many bytes. Without bound when omitted.
        type: int
      max_seconds:
        description: No further file is read after so many seconds. Without bound when omitted.
        type: int
seealso:
  - module: patriark.homelab.quadlet
author:
  - The patriark.homelab maintainers (@patriark)
"""

EXAMPLES = r"""
- name: Look at all stacks of homelab
  patriark.homelab.quadlet_info:
    user: homelab
  register: info

- name: Ask the database from inside
  patriark.homelab.quadlet_info:
    user: homelab
    stack: immich
    probes:
      - {name: ready, container: postgresql-immich, argv: [pg_isready, -U, immich]}

- name: Everything runs as written
  ansible.builtin.assert:
    that:
      - info.units.values() | selectattr('stale') | list | length == 0
"""

RETURN = r"""
host:
  description: What the host and the account offer.
  returned: always
  type: dict
  contains:
    podman_version:
      description: Version of Podman, null when it is missing.
      type: str
    generator:
      description: Path of Podman's systemd generator, null when it is missing.
      type: str
    systemd_version:
      description: Version of systemd, null when it is missing.
      type: int
    cgroup_controllers:
      description: Cgroup controllers which the account's manager may use.
      type: list
      elements: str
    time:
      description: The clock as C(epoch), seconds since 1970, and the time C(zone), null when it has no name.
      type: dict
    account:
      description: The account.
      type: dict
      contains:
        name:
          description: Its name.
          type: str
        exists:
          description: Whether it exists.
          type: bool
        uid:
          description: Its numeric id, null without an account.
          type: int
        gid:
          description: Its numeric group id, null without an account.
          type: int
        home:
          description: Its home directory, null without an account.
          type: str
        linger:
          description: Whether its services run without a login.
          type: bool
        session_ready:
          description: Whether its service manager can be talked to.
          type: bool
        subuid_count:
          description: Number of its subordinate user ids.
          type: int
        subgid_count:
          description: Number of its subordinate group ids.
          type: int
        subuid_next_free:
          description: Start of the next free range of 65536 subordinate user ids, null when there is none.
          type: int
        subgid_next_free:
          description: Start of the next free range of 65536 subordinate group ids, null when there is none.
          type: int
stacks:
  description: Stack name to what it owns.
  returned: always
  type: dict
  contains:
    units:
      description: File names of its units and drop-ins.
      type: list
      elements: str
    files:
      description: Names of the files beside them.
      type: list
      elements: str
    secrets:
      description: Names of its secrets.
      type: list
      elements: str
    unfinished:
      description: Whether a change of the stack was interrupted. The next run of quadlet mends that.
      type: bool
units:
  description: File name of each unit (such as C(app.container)) to its report. What is not known is null or empty.
  returned: always
  type: dict
  contains:
    name:
      description: File name of the unit.
      type: str
    stack:
      description: The stack it belongs to.
      type: str
    kind:
      description: C(container), C(network), C(socket) and so on.
      type: str
    service:
      description: Its systemd unit.
      type: str
    template:
      description: Whether it is a template.
      type: bool
    on_demand:
      description: Whether it is work that ends, or a template, so that nothing is expected to run.
      type: bool
    load_state:
      description: Load state in systemd.
      type: str
    active_state:
      description: Active state in systemd.
      type: str
    sub_state:
      description: Sub-state in systemd.
      type: str
    result:
      description: Result in systemd.
      type: str
    n_restarts:
      description: How often systemd restarted it by itself.
      type: int
    invocation_id:
      description: Changes with every start.
      type: str
    exit_code:
      description: How the main process ended, as in systemd's ExecMainCode.
      type: int
    exit_status:
      description: Exit status or signal of the main process.
      type: int
    need_reload:
      description: Whether the unit changed on disk since systemd read it.
      type: bool
    enabled:
      description: Unit file state in systemd.
      type: str
    active_since:
      description: When it became active.
      type: str
    memory_max:
      description: Memory limit of the service in bytes, null without one.
      type: int
    memory_current:
      description: Memory in use in bytes, null when it is not measured.
      type: int
    stale:
      description: Whether what runs is not what is written.
      type: bool
    stale_reasons:
      description: Why it is stale.
      type: list
      elements: str
    resource:
      description: Name of the container, network, volume or pod.
      type: str
    container_id:
      description: Id of the container.
      type: str
    container_state:
      description: State of the container in Podman.
      type: str
    started_at:
      description: When the container was started.
      type: str
    health:
      description: Health, null without a check.
      type: dict
      contains:
        status:
          description:
            - C(healthy), C(unhealthy) or C(starting).
            - C(unhealthy) also while Podman still says healthy because it counts no failures before the start period is over, when as many checks in
              a row have failed as it allows.
          type: str
        failing_streak:
          description: Failed checks in a row, those that Podman does not count included.
          type: int
        last_log:
          description: The last check, with C(end), C(exit_code) and C(output).
          type: dict
        recent_failures:
          description: Checks that failed after one had succeeded, of the last few that Podman keeps.
          type: list
          elements: dict
        starting_for:
          description: Seconds since the start of a container that is not healthy yet and whose start period is not over; null for any other.
          type: int
    health_check:
      description: The check as Podman runs it.
      type: list
      elements: str
    networks:
      description: Network name to the address on it.
      type: dict
    ports:
      description: Published ports.
      type: list
      elements: str
    image:
      description: The image of the running container, with C(reference), C(id) and C(digest).
      type: dict
    mounts:
      description: Mounts, each with C(source), C(destination) and C(rw).
      type: list
      elements: dict
    user:
      description: User inside the container.
      type: str
    env_names:
      description: Names of the environment variables, never their values.
      type: list
      elements: str
    secret_names:
      description: Names of the secrets in use.
      type: list
      elements: str
    extra_hosts:
      description: Additional entries of the hosts file.
      type: list
      elements: str
    hardening:
      description: Effective hardening.
      type: dict
      contains:
        no_new_privileges:
          description: Whether processes cannot gain privileges.
          type: bool
        capabilities:
          description: Effective capabilities.
          type: list
          elements: str
        read_only:
          description: Whether the root file system is read-only.
          type: bool
others:
  description: Containers of the account that no stack made, each with C(name), C(state), C(image), C(networks) and the systemd C(unit) it belongs to.
  returned: always
  type: list
  elements: dict
networks:
  description: Network name to its description by Podman, for all networks of the account.
  returned: always
  type: dict
  contains:
    name:
      description: Its name.
      type: str
    driver:
      description: Its driver.
      type: str
    interface:
      description: Its interface.
      type: str
    internal:
      description: Whether it is closed to the outside.
      type: bool
    ipv6:
      description: Whether it has IPv6.
      type: bool
    dns:
      description: Whether names are resolved on it.
      type: bool
    dns_servers:
      description: Its upstream name servers.
      type: list
      elements: str
    options:
      description: Driver options.
      type: dict
    labels:
      description: Labels.
      type: dict
    subnets:
      description: Subnets, each with C(subnet), C(gateway), C(range_start) and C(range_end).
      type: list
      elements: dict
secrets:
  description: All secrets of the account, each with C(name) and C(id), never the value.
  returned: always
  type: list
  elements: dict
probes:
  description:
    - Name of each probe to its answer, with C(rc), C(stdout), C(stderr) and C(reason).
    - Without an answer C(rc) is null and C(reason) tells why. After a timeout C(rc) is 124.
  returned: always
  type: dict
logs:
  description:
    - Name of each log to what was found, the C(count) of matching lines, the C(last) of them, and whether the journal was C(readable);
      C(reason) tells why not.
  returned: always
  type: dict
paths:
  description:
    - Path to what is there. With C(exists) false nothing else is told.
    - Otherwise C(kind), C(uid), C(gid), C(mode) and C(size) in bytes of what lies there, C(mount), the mount point it is on, C(fstype), and the C(total) and
      C(free) bytes and C(free_percent) of that file system. On btrfs also the bytes C(unallocated), which belong to no chunk yet, and C(unallocated_percent),
      null when the kernel does not tell. C(reason) tells what could not be read.
  returned: always
  type: dict
checksums:
  description: The comparison of files with O(checksums), null without that option.
  returned: always
  type: dict
  contains:
    rc:
      description: Exit status of the command, null when it could not be asked.
      type: int
    reason:
      description: Why the command gave no list, null when it did.
      type: str
    listed:
      description: Number of files in the list.
      type: int
    checked:
      description: Number of them that were looked at, fewer when a bound was reached.
      type: int
    bytes:
      description: How much was read.
      type: int
    different:
      description: Files with another content, the first 20.
      type: list
      elements: str
    missing:
      description: Files that are not there, the first 20.
      type: list
      elements: str
    unreadable:
      description: Files that cannot be read, each with the reason, the first 20. An input or output error is what btrfs says of damaged data.
      type: list
      elements: str
findings:
  description: Units that systemd did not load, each with C(unit), C(service), C(load_state) and what Podman's generator says in C(messages).
  returned: always
  type: list
  elements: dict
notes:
  description: What could not be read.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patriark.homelab.plugins.module_utils._closer_look import closer_look
from ansible_collections.patriark.homelab.plugins.module_utils._report import Report, settled
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

_ARGV = {"type": "list", "elements": "str", "required": True}
_NAME = {"type": "str", "required": True}
SPEC = {
    "user": {"type": "str"},
    "stack": {"type": "str"},
    "wait_starting": {"type": "int", "default": 0},
    "probes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"name": _NAME, "container": _NAME, "argv": _ARGV, "timeout": {"type": "int", "default": 10}},
    },
    "logs": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": _NAME,
            "service": _NAME,
            "pattern": _NAME,
            "since": {"type": "int", "default": 3600},
            "last": {"type": "int", "default": 5},
        },
    },
    "paths": {"type": "list", "elements": "path", "default": []},
    "checksums": {
        "type": "dict",
        "options": {
            "container": _NAME,
            "argv": _ARGV,
            "timeout": {"type": "int", "default": 60},
            "algorithm": {"type": "str", "default": "sha1", "choices": ["sha1", "sha256"]},
            "roots": {"type": "dict", "required": True},
            "max_bytes": {"type": "int"},
            "max_seconds": {"type": "int"},
        },
    },
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        session = Session(module, module.params["user"])
        result = settled(lambda: Report(session, module.params["stack"]).gather(), module.params["wait_starting"])
        result.update(closer_look(session, module.params))
    except SessionError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
