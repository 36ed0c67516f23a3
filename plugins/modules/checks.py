# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the checks action; the work is done on the controller by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: checks
short_description: Evaluate checks written as data and print what was found
version_added: 0.1.0
author:
  - The patriark.homelab maintainers (@patriark)
description:
  - Evaluates rows of checks over facts that were gathered before, prints one table and fails when a row of severity V(error) is not met.
  - All rows are looked at before it fails, so that a person sees everything that is wrong at once.
  - Runs on the controller and touches no host. Needs the Python library C(jmespath) there.
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
  rows:
    description: The checks.
    type: list
    elements: dict
    required: true
    suboptions:
      area:
        description: What the check belongs to, the word to select it by.
        type: str
        required: true
      name:
        description: What should be true, in a few words.
        type: str
        required: true
      query:
        description: A JMESPath expression over O(facts) that gives the found value.
        type: str
        required: true
      expect:
        description:
          - The value that should be found.
          - A dictionary with the single key C(at_least), C(at_most), C(contains), C(differs_from), C(matches) or C(one_of) compares in that way.
        type: raw
        required: true
      applies:
        description:
          - A JMESPath expression over O(facts). Unless it gives something true (and not empty) the row is left out, since it is about something
            that is not used here.
        type: str
      when:
        description:
          - A JMESPath expression over O(facts), what the row needs. Unless it gives something true (and not empty) the row is not looked at,
            which is shown, with the failed rows that stand for it, and counted.
          - It keeps the consequence of a fault from being reported as a second fault.
        type: str
      severity:
        description: Whether an unmet check fails the task or is only shown.
        type: str
        choices: [error, warning]
        default: error
      fix:
        description: What a person should do when the check is not met.
        type: str
        required: true
  facts:
    description: What the queries look at.
    type: dict
    required: true
  title:
    description: Heading of the table.
    type: str
    default: checks
  areas:
    description:
      - Only rows of these areas are shown and count. When omitted or empty, all do. An area that no row has is refused.
      - When one of them cannot be looked at, failures of other areas are shown and count too, for they are the reason.
    type: list
    elements: str
  blind:
    description:
      - What becomes of rows that cannot be looked at while no row of severity V(error) has failed, so that nothing tells why.
      - With V(failed) they count as failed themselves.
    type: str
    choices: [shown, failed]
    default: shown
  show:
    description: Which rows the table has. With V(unmet) nothing is printed while all is well.
    type: str
    choices: [all, unmet]
    default: all
  report:
    description:
      - File on the controller that receives all results as JSON, an object with C(host), C(title), C(summary) and C(results).
      - Each result has the keys of RV(unmet).
    type: path
"""

EXAMPLES = r"""
- name: Is the account ready
  patriark.homelab.checks:
    title: preflight
    facts: "{{ __info }}"
    rows:
      - area: host
        name: podman is new enough
        query: host.podman_version
        expect: {matches: '^[5-9]'}
        fix: Install podman 5.0 or newer.
"""

RETURN = r"""
summary:
  description: Numbers of checks, failures and warnings in one line.
  type: str
  returned: always
  sample: 12 checks, 0 failed, 1 warning
unmet:
  description: One entry for each row whose expectation was not met, warnings included. All rows are in O(report).
  type: list
  elements: dict
  returned: always
  contains:
    area: {description: Area of the row., type: str, returned: always}
    name: {description: Name of the row., type: str, returned: always}
    ok: {description: Always V(false)., type: bool, returned: always}
    severity: {description: Severity of the row., type: str, returned: always}
    looked_at:
      description: V(false) for a row whose O(rows[].when) was not met.
      type: bool
      returned: always
    reason: {description: Why it was not looked at; empty when it was., type: str, returned: always}
    found: {description: What the query gave., type: raw, returned: always}
    expected: {description: The expectation in words., type: str, returned: always}
    fix: {description: What to do., type: str, returned: always}
"""
