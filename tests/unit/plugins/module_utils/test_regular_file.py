# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of others: read, or refused at once."""

from __future__ import annotations

import os

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular


def test_read(tmp_path):
    (tmp_path / "file").write_bytes(b"14\n")
    assert regular.read_text(str(tmp_path / "file")) == "14\n"
    handle = os.open(tmp_path, os.O_PATH)
    assert regular.read_bytes("file", dir_fd=handle) == b"14\n"
    os.close(handle)


@pytest.mark.parametrize(
    ("what", "why"),
    [("link", "symbolic links"), ("fifo", "not a regular file"), ("directory", "not a regular file"), ("absent", "No such file")],
)
def test_nothing_else(tmp_path, what, why):
    (tmp_path / "secret").write_text("root's")
    path = tmp_path / "asked"
    make = {"link": lambda: path.symlink_to("secret"), "fifo": lambda: os.mkfifo(path), "directory": path.mkdir, "absent": lambda: None}
    make[what]()
    with pytest.raises(OSError, match=why):
        regular.read_bytes(str(path))


def test_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert regular.read_bytes(str(tmp_path / "file"), limit=10) == b"x" * 10
    with pytest.raises(OSError, match="larger than 9 bytes"):
        regular.read_bytes(str(tmp_path / "file"), limit=9)
