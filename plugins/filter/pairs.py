# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dictionary of lists as flat text, so that what is wanted and what is found can be compared as sets."""

from __future__ import annotations

import collections.abc
import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: pairs
short_description: A dictionary of lists as a list of pairs in words
version_added: 0.1.0
author:
  - The patriark.homelab maintainers (@patriark)
description:
  - From a dictionary whose values are lists, one text C(KEY VALUE) for each element of each list.
  - Two such lists are compared with the filters V(difference) and V(intersect).
options:
  _input:
    description: Keys to lists. A null counts as an empty list.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the addresses that are planned and not held
  ansible.builtin.debug:
    msg: "{{ planned | patriark.homelab.pairs | difference(live | patriark.homelab.pairs) }}"
  vars:
    planned: {immich-server: [10.89.2.12, 10.89.5.5]}
    live: {immich-server: [10.89.2.12]}
"""

RETURN = r"""
_value:
  description: The pairs, in the order of the dictionary.
  type: list
  elements: str
  sample: ["immich-server 10.89.2.12", "immich-server 10.89.5.5"]
"""


def pairs(lists: t.Any) -> list[str]:
    if not isinstance(lists, collections.abc.Mapping):
        raise AnsibleFilterError(f"pairs needs a dictionary, not {type(lists).__name__}")
    result = []
    for key, values in lists.items():
        if values is not None and (isinstance(values, str) or not isinstance(values, collections.abc.Iterable)):
            raise AnsibleFilterError(f"pairs: the value of {key!r} is no list")
        result += [f"{key} {value}" for value in values or []]
    return result


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"pairs": pairs}
