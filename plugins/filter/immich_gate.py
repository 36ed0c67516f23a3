# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a set of images from being deployed, judged by a table of releases."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.patriark.homelab.plugins.plugin_utils import _immich_gate as gate

DOCUMENTATION = r"""
name: immich_gate
short_description: What keeps a set of Immich images from being deployed
version_added: 0.1.0
author:
  - The patriark.homelab maintainers (@patriark)
description:
  - Judges the images of a deployment by a table of releases. Are they pinned and of one release, does the server take what is in the
    database image, does the processor do, and is there a way from the release that ran last.
  - The role C(immich) has the table and makes rows of M(patriark.homelab.checks) of the findings.
options:
  _input:
    description:
      - The images C(server), C(ml), C(database) and C(redis), the choices C(vector_extension) and C(allow_floating), and of the host
        C(recorded) (server image of the last deployment), C(data) (major version of PostgreSQL's data directory), C(installed)
        (extension to version in the running database) and C(cpu) (x86-64 level).
      - What is empty or missing is not judged.
    type: dict
    required: true
  table:
    description: The table of releases.
    type: dict
    required: true
positional: table
seealso:
  - module: patriark.homelab.checks
  - module: patriark.homelab.immich_host
"""

EXAMPLES = r"""
- name: Show what keeps the images from being deployed
  ansible.builtin.debug:
    msg: "{{ {'server': 'ghcr.io/immich-app/immich-server:release'} | patriark.homelab.immich_gate(__immich_releases) }}"
"""

RETURN = r"""
_value:
  description: What was understood, and the findings.
  type: dict
  contains:
    server_version:
      description: Release that the server image names, empty when it names none.
      type: str
    recorded_version:
      description: Release of the last deployment, empty when it is not known.
      type: str
    findings:
      description: Name of each rule to what it found, in words.
      type: dict
"""


def immich_gate(request: t.Any, table: t.Any) -> dict[str, t.Any]:
    if not isinstance(request, dict) or not isinstance(table, dict):
        raise AnsibleFilterError("immich_gate wants a dictionary of images and the table of releases")
    try:
        return gate.judge(request, table)
    except (gate.TableError, KeyError) as error:
        raise AnsibleFilterError(f"the table of releases cannot be read: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"immich_gate": immich_gate}
