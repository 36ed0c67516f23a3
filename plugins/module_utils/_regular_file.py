# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a file that lies in the reach of somebody else: no link is followed at its end, a fifo cannot make us wait, and its size is limited.

Private to the collection.
"""

from __future__ import annotations

import errno
import os
import stat

LIMIT = 1 << 20


def read_bytes(path: str, limit: int = LIMIT, dir_fd: int | None = None) -> bytes:
    """The content of a regular file. Raises OSError: also for a link, for what is no regular file, and for more than limit bytes."""
    # Opening a fifo to read waits for a writer, unless it is opened like this; what it is, is asked of the descriptor.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        found = b""
        # The size is that of now, and what is read may grow meanwhile.
        while len(found) <= limit:
            part = os.read(handle, limit + 1 - len(found))
            if not part:
                return found
            found += part
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
    finally:
        os.close(handle)


def read_text(path: str, limit: int = LIMIT, dir_fd: int | None = None) -> str:
    return read_bytes(path, limit, dir_fd).decode("utf-8", "replace")
