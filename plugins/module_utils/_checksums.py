# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether files still have the content somebody recorded: what is on the disk, bounded in bytes and seconds.

Private to the collection.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular

_CHUNK = 1 << 20
SHOWN = 20


class Bounds(t.NamedTuple):
    """No file is begun after max_bytes were read or max_seconds went by; None is without bound."""

    max_bytes: int | None
    max_seconds: float | None


def outside(path: str, roots: t.Mapping[str, str]) -> str | None:
    """Where a path of the container lies on the host; None when it is below no root, or leads out of one."""
    for inner in sorted(roots, key=len, reverse=True):
        prefix = inner.rstrip("/") + "/"
        if path.startswith(prefix) and ".." not in path.split("/"):
            return posixpath.join(roots[inner], path[len(prefix) :])
    return None


def content(path: str, algorithm: str = "sha1") -> tuple[str, int]:
    """Digest and size of a file, read from the disk and not from memory, where the kernel lets us choose."""
    total = hashlib.new(algorithm)
    size = 0
    handle = regular.open_regular(path)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        while True:
            data = os.read(handle, _CHUNK)
            if not data:
                break
            total.update(data)
            size += len(data)
        # The photos of years would push everything else out of memory.
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
    return total.hexdigest(), size


def compare(
    lines: t.Iterable[str],
    roots: t.Mapping[str, str],
    bounds: Bounds,
    now: t.Callable[[], float] = time.monotonic,
    read: t.Callable[[str], tuple[str, int]] = content,
) -> dict[str, t.Any]:
    """Compare files with a list of lines "DIGEST PATH", the path as the container sees it."""
    listed = [(digest, path) for digest, space, path in (line.strip().partition(" ") for line in lines) if space]
    start, checked, size = now(), 0, 0
    wrong: dict[str, list[str]] = {"different": [], "missing": [], "unreadable": []}
    for digest, path in listed:
        if (bounds.max_bytes is not None and size >= bounds.max_bytes) or (bounds.max_seconds is not None and now() - start >= bounds.max_seconds):
            break
        checked += 1
        place = outside(path, roots)
        if place is None:
            wrong["unreadable"].append(f"{path} (not below {', '.join(sorted(roots))})")
            continue
        try:
            found, count = read(place)
        except FileNotFoundError:
            wrong["missing"].append(place)
            continue
        except OSError as error:
            wrong["unreadable"].append(f"{place} ({error.strerror})")
            continue
        size += count
        if found != digest:
            wrong["different"].append(place)
    return {
        "listed": len(listed),
        "checked": checked,
        "bytes": size,
        **{name: paths[:SHOWN] + ([f"and {len(paths) - SHOWN} more"] if len(paths) > SHOWN else []) for name, paths in wrong.items()},
    }
