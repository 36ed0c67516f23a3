# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Immich's settings file from a dictionary, judged by the settings a release knows."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.patriark.homelab.plugins.plugin_utils import _checks, _immich_gate, _immich_settings

DOCUMENTATION = r"""
name: immich_settings
short_description: Immich's settings file from a dictionary
version_added: 0.1.0
author:
  - The patriark.homelab maintainers (@patriark)
description:
  - Lays a person's settings over those of the role, puts secrets in by their dotted names, and tells what the release does not know.
options:
  _input:
    description: The settings, in Immich's own groups and names.
    type: dict
    required: true
  known:
    description: All settings with their defaults.
    type: dict
    required: true
  version:
    description: Release of Immich.
    type: str
    required: true
  releases:
    description: Range of releases that O(known) is complete for. Of others a name is only refused when it looks like a slip of a known one.
    type: str
    required: true
  secrets:
    description: Dotted names to values that are never shown.
    type: dict
    default: {}
  secret_names:
    description: Names of settings that belong in O(secrets).
    type: list
    elements: str
    default: []
  base:
    description: Settings below the person's.
    type: dict
    default: {}
positional: known, version, releases
seealso:
  - plugin: patriark.homelab.immich_gate
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the document
  ansible.builtin.debug:
    msg: "{{ {'trash': {'days': 14}} | patriark.homelab.immich_settings(__immich_known_settings, 'v2.5.5', '>=2.3.0 <2.8.0') }}"
"""

RETURN = r"""
_value:
  description: The settings, and what is wrong with them.
  type: dict
  contains:
    document:
      description: What the server reads.
      type: dict
    shown:
      description: The same without secrets.
      type: dict
    unknown:
      description: What the release does not know, in words.
      type: list
      elements: str
    misplaced:
      description: Names of secrets that are among the plain settings.
      type: list
      elements: str
"""


def immich_settings(
    settings: t.Any, known: t.Any, version: str, releases: str, secrets: t.Any = None, secret_names: t.Any = (), base: t.Any = None
) -> dict[str, t.Any]:
    number = _immich_gate.parse(version)
    if not isinstance(settings, dict) or not isinstance(known, dict):
        raise AnsibleFilterError("immich_settings wants dictionaries")
    strict = number is not None and _immich_gate.within(number, releases)
    plain = _checks.plain
    return _immich_settings.compose(plain(settings), plain(secrets or {}), plain(base or {}), plain(known), plain(list(secret_names)), strict)


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"immich_settings": immich_settings}
