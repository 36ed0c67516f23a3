# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a file that lies in the reach of somebody else: no link is followed at its end, a fifo cannot make us wait, and its size is limited.

Links in the directories above are the matter of _reach.py. Private to the collection.
"""

from __future__ import annotations

import errno
import os
import stat
import time
import typing as t

LIMIT = 1 << 20
SECONDS = 30.0
_CHUNK = 1 << 20
# Opening a fifo to read waits for a writer, unless it is opened like this; what it is, is asked of the descriptor.
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = ((stat.S_ISFIFO, "a fifo"), (stat.S_ISDIR, "a directory"), (stat.S_ISSOCK, "a socket"), (stat.S_ISLNK, "a link"), (stat.S_ISREG, "a file"))


def kind(mode: int) -> str:
    return next((name for test, name in _KINDS if test(mode)), "a device")


def _unfit(path: str, dir_fd: int | None, error: OSError | None, mode: int = 0) -> OSError:
    """Why it cannot be read, with the way out. A link and a socket are told by the kernel, with numbers that say little."""
    try:
        mode = mode or os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            target = os.readlink(path, dir_fd=dir_fd)
            return OSError(errno.ELOOP, f"is a link to {target}, and symbolic links are not followed here: put the file itself in its place", path)
    except OSError as gone:
        error = error or gone
    if error is not None and (not mode or stat.S_ISREG(mode) or error.errno in (errno.EACCES, errno.EPERM)):
        return error
    return OSError(errno.EINVAL, f"is {kind(mode)} and not a regular file: see who made it, and put the file in its place", path)


def open_regular(path: str, dir_fd: int | None = None, follow: bool = False) -> int:
    """A descriptor of a regular file, to read. Raises OSError for everything else. follow: a link at its end, for who acts with the owner's ids."""
    try:
        handle = os.open(path, _OPEN if follow else _OPEN | os.O_NOFOLLOW, dir_fd=dir_fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unfit(path, dir_fd, error) from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise _unfit(path, dir_fd, None, mode)
    return handle


def chunks(path: str, limit: int | None = LIMIT, dir_fd: int | None = None, follow: bool = False) -> t.Iterator[bytes]:
    """The content of a regular file, piece by piece. Raises OSError: also for more than limit bytes, and when it takes too long."""
    handle = open_regular(path, dir_fd, follow)
    try:
        # The size is that of now, and what is read may grow meanwhile.
        size, end = 0, time.monotonic() + SECONDS
        while True:
            part = os.read(handle, _CHUNK)
            if not part:
                return
            size += len(part)
            if limit is not None and size > limit:
                raise OSError(errno.EFBIG, f"is larger than {limit} bytes", path)
            if time.monotonic() > end:
                raise OSError(errno.ETIMEDOUT, f"could not be read within {SECONDS:.0f} seconds", path)
            yield part
    finally:
        os.close(handle)


def read_bytes(path: str, limit: int = LIMIT, dir_fd: int | None = None, follow: bool = False) -> bytes:
    """The content of a regular file. Raises OSError: also for a link, for what is no regular file, and for more than limit bytes."""
    return b"".join(chunks(path, limit, dir_fd, follow))


def read_text(path: str, limit: int = LIMIT, dir_fd: int | None = None, follow: bool = False, errors: str = "replace") -> str:
    """The same as text, with its line ends as they are."""
    return read_bytes(path, limit, dir_fd, follow).decode("utf-8", errors)
