# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules over _live_files have in common: the session, its lock, and how refusals and failures are told.

Private to the collection.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._live_files import LiveFailed, LiveRefused, Service
from ansible_collections.patriark.homelab.plugins.module_utils._quiet_module import QuietModule
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError


class Unseen(Service):
    """Nobody there to try the files or to be asked."""

    def judge(self, staged: str) -> list[Finding]:
        return []

    def ask(self) -> str | None:
        return None


def run(module: QuietModule, subject: str, work: t.Callable[[QuietModule, Session], dict[str, t.Any]]) -> None:
    """Call work below the account's lock (in check mode without), and exit with its result.

    subject: how a message about the files begins, with its verb: "the files are". work returns diff, which is only
    shown on request, and may return waited, which check mode knows nothing of.
    """
    try:
        session = Session(module, module.params["user"])
        with contextlib.ExitStack() as held:
            if not module.check_mode:
                session.ensure()
                held.enter_context(session.lock())
            result = work(module, session)
    except LiveRefused as error:
        count = len(error.findings)
        message = f"{subject} refused, {count} finding{'s' if count > 1 else ''}:\n{error}"
        module.fail_json(msg=message, findings=[finding.as_dict() for finding in error.findings])
    except LiveFailed as error:
        tail = f" Rollback: {error.rollback['message']}." if error.rollback else ""
        module.fail_json(msg=f"{subject} not in effect: {error}.{tail}", changed=True, rollback=error.rollback)
    except (SessionError, OSError) as error:
        module.fail_json(msg=str(error))
    if module.check_mode:
        result.pop("waited", None)
    if not module._diff:
        result.pop("diff")
    module.exit_json(**result)
