# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The O(user) option shared by the modules which talk to podman and systemd.

Private to the collection.
"""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  user:
    description:
      - The rootless account whose podman and systemd user manager are meant.
      - When omitted, the system manager and root's podman are meant.
      - Run the task as root or as that account itself. The module sees to the lingering session, waits for its bus and sets
        the environment; no C(become_user) is needed.
    type: str
"""
