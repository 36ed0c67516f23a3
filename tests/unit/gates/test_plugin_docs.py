# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from plugin_docs import findings, group_findings

FRAGMENTS = {"patriark.homelab._session": {"options": {"user": {}}}}
SOURCE = '''
DOCUMENTATION = r"""
module: thing
version_added: 0.1.0
extends_documentation_fragment: [patriark.homelab._session, patriark.homelab._attributes.action_group]
options:
  name: {type: str}
"""
EXAMPLES = r"""
- name: In a block
  block:
    - name: Use it
      patriark.homelab.thing:
        name: x
        user: homelab
"""
RETURN = r"""
state: {type: str}
"""
'''


def test_a_good_module_passes() -> None:
    assert list(findings("thing", SOURCE, FRAGMENTS)) == []
    assert list(group_findings({"thing": SOURCE}, ["thing"])) == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("EXAMPLES =", "EXAMPLE =", "thing: EXAMPLES is missing or empty"),
        ("state: {type: str}", "", "thing: RETURN is missing or empty"),
        ("module: thing", "module: other", "thing: DOCUMENTATION is that of other"),
        ("version_added: 0.1.0\n", "", "thing: no version_added"),
        ("        name: x\n", "        nmae: x\n", "thing: an example has the unknown option nmae"),
        ("patriark.homelab.thing:", "thing:", "thing: no example uses patriark.homelab.thing"),
    ],
)
def test_each_defect_is_found(old: str, new: str, finding: str) -> None:
    assert old in SOURCE
    assert any(finding in found for found in findings("thing", SOURCE.replace(old, new, 1), FRAGMENTS))


def test_the_action_group_equals_the_modules_that_document_it() -> None:
    silent = SOURCE.replace(", patriark.homelab._attributes.action_group", "")
    assert list(group_findings({"thing": SOURCE}, [])) == ["thing: documents the action group and is not in meta/runtime.yml"]
    assert list(group_findings({"thing": silent}, ["thing"])) == ["thing: is in the action group of meta/runtime.yml and does not document it"]
    assert list(group_findings({}, ["gone"])) == ["gone: is in the action group of meta/runtime.yml and is no module"]
