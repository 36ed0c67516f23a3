# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the known_variables action; the work is done on the controller by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: known_variables
short_description: Stop at variables that a role of this collection does not know or cannot use
version_added: 0.1.0
author:
  - The patriark.homelab maintainers (@patriark)
description:
  - An argument specification checks the variables it lists. A misspelt variable is in no list, so it would be ignored in silence.
  - This action compares the names of all variables that begin with the role's name, or with C(homelab_), with the specifications.
  - It looks at the values, too. A text where the specification has a list, and characters that cannot be seen, such as a line break that would begin a line of
    its own in a unit, are refused with the option's name and the way to write it.
  - Runs on the controller and touches no host. Every role of this collection calls it first.
extends_documentation_fragment:
  - patriark.homelab._attributes
attributes:
  check_mode:
    support: full
    details:
      - This action reads and never changes a host.
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    platforms: posix
    support: full
options:
  role:
    description: Name of a role of this collection, without the collection's name.
    type: str
  roles:
    description: Several of them, in place of O(role).
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Stop at misspelt variables
  patriark.homelab.known_variables:
    role: immich
"""

RETURN = r"""
unknown:
  description: Variables that no specification has.
  type: list
  elements: str
  returned: always
  sample: [immich_memroy]
forms:
  description: What is wrong with values, in words.
  type: list
  elements: str
  returned: always
  sample: ["immich_ml_urls is a text: write a list, such as [http://10.0.0.7:3003]"]
"""
