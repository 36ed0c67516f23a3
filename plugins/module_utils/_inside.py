# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to services that listen on container networks only. A rootless account's networks cannot be reached from the host, and most
images have no HTTP client, so the question is asked by the host's Python from inside the account's network namespace.

Private to the collection.
"""

from __future__ import annotations

import json
import sys
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError

_PROGRAM = """
import json, sys, urllib.error, urllib.request
asked = json.load(sys.stdin)
open_ = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
found = []
for places in asked["urls"]:
    for url in places:
        try:
            try:
                answer = open_(url, timeout=asked["timeout"])
            except urllib.error.HTTPError as error:
                answer = error
            result = [answer.getcode(), answer.read().decode("utf-8", "replace"), None]
            break
        except (OSError, ValueError) as error:
            result = [None, "", str(getattr(error, "reason", error))]
    found.append(result)
json.dump(found, sys.stdout)
"""


class Answer(t.NamedTuple):
    """status is None when nobody answered, and reason tells why."""

    status: int | None
    text: str
    reason: str | None


def describe(session: Session, container: str) -> dict[str, t.Any] | None:
    """What podman inspect tells about a container that runs; None for one that does not, or where podman cannot be asked."""
    if not session.exists:
        return None
    rc, out, dummy = session.podman("container", "inspect", container)
    if rc != 0:
        return None
    found = json.loads(out)[0]
    return found if (found.get("State") or {}).get("Running") else None


def places(container: t.Mapping[str, t.Any], port: int, path: str) -> list[str]:
    """URLs of a port, one for each of its addresses on bridge networks: it need not listen on all of them."""
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return [f"http://{item['IPAddress']}:{port}{path}" for dummy, item in sorted(networks.items()) if item.get("IPAddress")]


def get(session: Session, urls: t.Sequence[t.Sequence[str]], timeout: float = 10) -> list[Answer]:
    """Ask all of them, one after the other, from inside; of URLs that mean the same, the first that answers. Raises SessionError when there is no way in."""
    if not urls:
        return []
    enter = [] if session.system else ["podman", "unshare", "--rootless-netns"]
    rc, out, err = session.run([*enter, sys.executable, "-c", _PROGRAM], data=json.dumps({"urls": [list(same) for same in urls], "timeout": timeout}))
    if rc != 0:
        lines = err.strip().splitlines() or ["no reason"]
        raise SessionError(f"the container networks of {session.user or 'the system'} cannot be entered: {lines[-1]}")
    return [Answer(*item) for item in json.loads(out)]
