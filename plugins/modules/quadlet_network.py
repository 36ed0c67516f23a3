#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: quadlet_network
short_description: Podman networks with a plan of addresses that cannot collide
version_added: 0.1.0
description:
  - Takes all networks of an account in one call, with the address of every container that shall have a fixed one, and judges the plan
    as a whole before anything is written. All errors are reported at once, each with what to write instead.
  - Writes one C(.network) quadlet for each network, starts it, and compares the B(live) network with the plan, key by key.
    A changed network file alone changes nothing, since podman never changes a network that exists.
  - A dynamic range is always written, so that podman cannot give a planned address to another container.
  - Networks that are no longer listed are removed. That is refused while a container or a unit uses one.
  - Addresses are not written into the network files. Planning another address for a container touches no network.
author:
  - The patriark.homelab maintainers (@patriark)
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
  - patriark.homelab._session
attributes:
  check_mode:
    support: full
    details:
      - Where the account, its session or podman is not there yet, nothing live can be looked at, and every network is predicted as new.
  diff_mode:
    support: full
    details:
      - Shows the files, the networks as podman describes them, and the services that are stopped and started.
  idempotent:
    support: full
  platform:
    platforms: linux
    support: full
options:
  stack:
    description:
      - Name under which these networks are kept together. One call is the whole stack.
      - The quadlets are written to a directory of this name.
    type: str
    default: networks
  networks:
    description:
      - The networks. Required with O(state=present).
      - With O(state=absent), the networks to remove; the others of the stack stay. When omitted, all of the stack are removed.
    type: list
    elements: dict
    suboptions:
      unit:
        description:
          - Name of the quadlet, without suffix. A container's quadlet says C(Network=photos.network) for V(photos).
          - When omitted, it is O(networks[].name) without a leading C(systemd-). One of the two is required.
        type: str
      name:
        description:
          - Podman's name of the network.
          - When omitted, it is C(systemd-) followed by O(networks[].unit), which is podman's own rule.
        type: str
      subnet:
        description:
          - Addresses of the network, one IPv4 subnet or one IPv6 subnet or both, such as V(10.89.2.0/24) or V(fd00:89:2::/64). Required.
          - It must not overlap another network of the plan or of the account, nor a route or interface of the host.
          - The smallest possible are C(/29) and C(/125).
        type: list
        elements: str
      gateway:
        description:
          - Address of the gateway, for each subnet.
          - When omitted, the first address of the subnet. An internal network without DNS has none.
        type: list
        elements: str
      dynamic_range:
        description:
          - The addresses that podman may give to containers without a planned one, for each subnet, as V(10.89.2.128/25) or
            V(10.89.2.100-10.89.2.199). A CIDR is read as podman reads it, without its first address.
          - When omitted, the upper half of the subnet.
        type: list
        elements: str
      default_route:
        description:
          - V(true) lets this network carry the default route of the containers on it, by a metric of 50 where podman's default is 100.
          - Podman keeps no order of networks. A container with planned addresses on several networks needs exactly one that wins,
            not counting internal networks; anything else is an error.
        type: bool
        default: false
      metric:
        description:
          - Metric of the default route through this network, from 1 to 4294967295, the lowest wins. An alternative to
            O(networks[].default_route=true).
          - When omitted, podman's default of 100 holds.
        type: int
      internal:
        description:
          - V(true) gives the network no way out and no default route.
        type: bool
        default: false
      dns:
        description:
          - Addresses of name servers to ask for names which are no container's. When omitted, those of the host.
        type: list
        elements: str
      dns_enabled:
        description:
          - Whether containers find one another by name on this network.
        type: bool
        default: true
      options:
        description:
          - Options of podman's bridge driver. Known are C(isolate) (V(true), V(false) or V(strict)), C(mtu), C(no_default_route),
            C(vlan) and C(vrf). Others are refused. The metric has options of its own.
        type: dict
      labels:
        description:
          - Labels of the network. The live network must have exactly these.
        type: dict
      static:
        description:
          - The planned address of each container by the container's name, as text, or as a list with one address of each subnet.
          - An address must be inside the subnet, outside the dynamic range, unique, and neither the network's, nor the broadcast, nor the gateway's.
          - The module does not change containers. Their quadlets take the value from RV(containers) or from the filter
            P(patriark.homelab.network_lines#filter).
        type: dict
  recreate:
    description:
      - What may be done about a live network that is not as planned. Podman cannot change a network in place.
      - V(never) is an error that says what differs, and what a repair would stop.
      - V(unused) removes and makes again those networks which no container refers to, and is an error for the others.
      - V(stop_users) stops the services that depend on the network, removes it without force, makes it again, starts these services and waits
        until they are healthy. If that fails, the previous networks and services are restored.
      - A container that belongs to no service of this account could not be started again. It is never touched, and is an error with its name.
      - A run that was interrupted is finished by the next one.
    type: str
    choices: [never, unused, stop_users]
    default: never
  state:
    description:
      - V(present) makes the stack exactly the networks listed.
      - V(absent) removes networks, their files and services. It is an error while a container or another unit uses one.
    type: str
    choices: [present, absent]
    default: present
  wait_timeout:
    description:
      - Seconds to wait until everything that was started is active and healthy.
    type: int
    default: 600
seealso:
  - module: patriark.homelab.quadlet
  - plugin: patriark.homelab.network_lines
    plugin_type: filter
  - plugin: patriark.homelab.network_address
    plugin_type: filter
  - name: podman-network-create
    description: What podman makes of these options.
    link: https://docs.podman.io/en/latest/markdown/podman-network-create.1.html
"""

EXAMPLES = r"""
- name: Three networks, and the server's way out is the first
  patriark.homelab.quadlet_network:
    user: homelab
    networks:
      - unit: reverse_proxy
        subnet: 10.89.2.0/24
        default_route: true
        static:
          immich-server: 10.89.2.12
      - unit: photos
        subnet: 10.89.5.0/24
        static:
          immich-ml: 10.89.5.2
          postgresql-immich: 10.89.5.3
          redis-immich: 10.89.5.4
          immich-server: 10.89.5.5
      - unit: monitoring
        subnet: 10.89.4.0/24
        static:
          immich-server: 10.89.4.22

- name: IPv4 and IPv6, a small dynamic range, and no way out
  patriark.homelab.quadlet_network:
    user: homelab
    stack: lab
    recreate: unused
    networks:
      - unit: lab
        subnet: [10.90.1.0/24, "fd00:90:1::/64"]
        dynamic_range: [10.90.1.200-10.90.1.220]
        internal: true
        static:
          database: [10.90.1.10, "fd00:90:1::10"]

- name: Remove one network of the stack
  patriark.homelab.quadlet_network:
    user: homelab
    networks:
      - unit: monitoring
    state: absent
"""

RETURN = r"""
networks:
  description: The networks as planned and as they are, in the order of O(networks). Empty with O(state=absent).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Podman's name of the network.
      type: str
      returned: always
    unit:
      description: Name of the quadlet without suffix.
      type: str
      returned: always
    service:
      description: The systemd service that makes the network.
      type: str
      returned: always
    subnets:
      description: The subnets, IPv4 first, each with its V(subnet), V(gateway) and V(dynamic_range).
      type: list
      elements: dict
      returned: always
    metric:
      description: Metric of the default route; V(null) for podman's default.
      type: int
      returned: always
    internal:
      description: Whether there is no way out.
      type: bool
      returned: always
    dns_enabled:
      description: Whether containers find one another by name.
      type: bool
      returned: always
    live:
      description:
        - The network as podman describes it, one line of text for each key, named as the options of this module.
        - V(null) when there is none (in check mode, before it is made).
      type: dict
      returned: always
    drift:
      description: Where the live network differed from the plan when the module looked, each with V(key), V(live) and V(planned).
      type: list
      elements: dict
      returned: always
containers:
  description:
    - For each container with a planned address, its V(addresses) (a list for each network unit) and its V(network_lines),
      the values of C(Network=) for its quadlet in the order of O(networks).
  returned: always
  type: dict
  sample:
    immich-server:
      addresses:
        reverse_proxy: [10.89.2.12]
        photos: [10.89.5.5]
      network_lines:
        - reverse_proxy.network:ip=10.89.2.12
        - photos.network:ip=10.89.5.5
actions:
  description: What was done about networks, or would be in check mode, in words and in order.
  returned: always
  type: list
  elements: str
  sample:
    - stop immich-server.service
    - recreate the network systemd-photos
    - start immich-server.service
findings:
  description: Everything that is wrong with the plan, each with V(network), V(container), V(address), V(problem) and V(fix).
  returned: when the plan cannot be carried out
  type: list
  elements: dict
details:
  description: The failure and the outcome of the rollback.
  returned: when the change was begun and failed
  type: dict
"""

import contextlib
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patriark.homelab.plugins.module_utils._address_plan import explain
from ansible_collections.patriark.homelab.plugins.module_utils._network_stack import NetworkStack, PlanError
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._transaction import TransactionFailed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str"},
            "stack": {"type": "str", "default": "networks"},
            "networks": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "unit": {"type": "str"},
                    "name": {"type": "str"},
                    "subnet": {"type": "list", "elements": "str"},
                    "gateway": {"type": "list", "elements": "str"},
                    "dynamic_range": {"type": "list", "elements": "str"},
                    "default_route": {"type": "bool", "default": False},
                    "metric": {"type": "int"},
                    "internal": {"type": "bool", "default": False},
                    "dns": {"type": "list", "elements": "str"},
                    "dns_enabled": {"type": "bool", "default": True},
                    "options": {"type": "dict"},
                    "labels": {"type": "dict"},
                    "static": {"type": "dict"},
                },
            },
            "recreate": {"type": "str", "choices": ["never", "unused", "stop_users"], "default": "never"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "wait_timeout": {"type": "int", "default": 600},
        },
        required_if=[("state", "present", ["networks"])],
        supports_check_mode=True,
    )
    result: dict[str, t.Any] = {}
    try:
        session = Session(module, module.params["user"])
        networks = NetworkStack(
            session,
            stack=module.params["stack"],
            entries=module.params["networks"] or [],
            state=module.params["state"],
            recreate=module.params["recreate"],
            wait_timeout=module.params["wait_timeout"],
            check=module.check_mode,
        )
        with session.lock() if session.exists and not module.check_mode else contextlib.nullcontext():
            networks.plan()
            for warning in networks.warnings:
                module.warn(warning)
            result = {**networks.facts(), "changed": networks.changed, "diff": networks.diff()}
            if not module.check_mode:
                networks.apply()
                result["networks"] = networks.facts()["networks"]
    except PlanError as error:
        module.fail_json(msg=explain(error.findings), findings=[finding.as_dict() for finding in error.findings])
    except TransactionFailed as error:
        rollback = error.details.get("rollback") or {"message": "nothing was taken back"}
        module.fail_json(msg=f"{error}; rollback: {rollback['message']}", details=error.details, **result)
    except SessionError as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
