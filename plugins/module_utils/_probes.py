# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to what runs: commands inside containers and lines of the journal. A container that does not run is not asked.

Private to the collection.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._session import Session

OUTPUT_LIMIT = 16384
TIMED_OUT = 124


class Answer(t.NamedTuple):
    """What a command inside a container said. rc is None when it was not asked, and reason tells why."""

    rc: int | None
    stdout: str
    stderr: str
    reason: str | None


def ask(session: Session, container: str, state: str | None, argv: t.Sequence[str], timeout: int) -> Answer:
    """One command inside a container. state: of the container in podman, None without one."""
    if state != "running":
        return Answer(None, "", "", f"{container} is {state or 'not there'}")
    # Podman's own wait has no end.
    rc, out, err = session.run(["timeout", "--kill-after=5", str(timeout), "podman", "exec", container, *argv])
    if rc == TIMED_OUT:
        return Answer(rc, out, err, f"no answer within {timeout} s")
    return Answer(rc, out, err, None)


def shown(answer: Answer) -> dict[str, t.Any]:
    """An answer as the module returns it."""
    return {"rc": answer.rc, "stdout": answer.stdout.strip()[:OUTPUT_LIMIT], "stderr": answer.stderr.strip()[:OUTPUT_LIMIT], "reason": answer.reason}


def matches(lines: t.Iterable[str], pattern: str, last: int) -> dict[str, t.Any]:
    """How many lines match, and of the last ones what the first group of the pattern caught (the whole match without groups)."""
    expression = re.compile(pattern)
    found = [match for match in map(expression.search, lines) if match]
    texts = [match.group(1 if expression.groups else 0) or "" for match in found]
    return {"count": len(found), "last": texts[-last:] if last else []}


def log(session: Session, service: str, pattern: str, since: int, last: int) -> dict[str, t.Any]:
    """The lines a service and its container wrote in the last seconds, and whether they could be read."""
    rc, out, err = session.journal(service, f"--since=-{since}s")
    if rc != 0:
        return {"readable": False, "count": 0, "last": [], "reason": err.strip() or f"journalctl ended with {rc}"}
    return {"readable": True, "reason": None, **matches(out.splitlines(), pattern, last)}
