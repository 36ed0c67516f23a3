# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module whose options are texts in which secrets may stand: they do not go into the journal of the host. Private to the collection."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule


class QuietModule(AnsibleModule):
    """no_log would hide each value of the option in the results too, names of units and all."""

    def _log_invocation(self) -> None:
        self.log("Invoked")
