# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of one's own out of somebody else's: kernels take two file systems of one id for one file system."""

from __future__ import annotations

import pathlib
import subprocess

from rootfs import copy


def pool(source: pathlib.Path, target: pathlib.Path) -> None:
    copy(source, target)
    renew(target)


def renew(image: pathlib.Path) -> None:
    """Give the file system another id. Only the superblock says so (-m): files, subvolumes, flags and label stay as they are."""
    subprocess.run(["btrfstune", "-f", "-m", str(image)], check=True, stdout=subprocess.DEVNULL)
