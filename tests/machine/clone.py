# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of one's own out of somebody else's: kernels take two file systems of one id for one file system.

Seen on ext4, with the 1.1 GB of a deployed card, under load: a sparse copy takes 1.3 to 3.8 s (0.5 s of the processor). A qcow2 file over it,
exported by qemu-storage-daemon (FUSE), is there after 0.13 s, and then 4000 files of the containers' store are read in 2.2 s instead of 1.2 s;
writing is the same. So it is a copy, which needs no process to live on.
"""

from __future__ import annotations

import pathlib
import subprocess

from rootfs import copy


def pool(source: pathlib.Path, target: pathlib.Path) -> None:
    copy(source, target)
    renew(target)


def renew(image: pathlib.Path) -> None:
    """Give the file system another id. Only the superblock says so (-m): files, subvolumes, flags and label stay as they are.

    It takes 0.02 to 0.07 s whatever the size. Writing it into every block (-u) took 0.1 s for the deployed card, and can be interrupted half-way.
    """
    subprocess.run(["btrfstune", "-f", "-m", str(image)], check=True, stdout=subprocess.DEVNULL)
