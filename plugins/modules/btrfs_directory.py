#!/usr/bin/python
# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: btrfs_directory
short_description: Directories and subvolumes on btrfs with a NOCOW state that is true down to the files
version_added: 0.1.0
description:
  - Makes directories or subvolumes and manages their NOCOW flag (C(chattr +C)), owner, group, mode and SELinux type.
  - The flag is set on the directory before anything can be put into it, read back, and then B(every file below is audited),
    since a file keeps the state it was born with. A file with data cannot take the flag; the kernel reports success and does nothing.
  - The whole list is looked at and planned before the first change. An error in one entry means that nothing was changed.
  - Owner, group, mode and SELinux type apply to the listed directory only, never to what is in it.
    Missing parent directories are made with mode V(0755), owned by the account that runs the module, and never get the flag from this module.
  - Other inode flags are never touched, except that a directory B(made by this module) loses a compression attribute inherited
    from its parent when O(directories[].nocow=true), since the kernel allows only one of the two.
author:
  - The patriark.homelab maintainers (@patriark)
extends_documentation_fragment:
  - patriark.homelab._attributes
  - patriark.homelab._attributes.action_group
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    platforms: linux
    support: full
options:
  directories:
    description:
      - The directories, in any order; parents are handled before what is below them.
      - A directory listed here is judged by its own entry only, also when it lies below another one of the list.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description:
          - Absolute path, not V(/). Symlinks in its parents are followed; the directory itself must not be a symlink.
        type: path
        required: true
      nocow:
        description:
          - V(true) wants the NOCOW flag on the directory, on every directory and on every regular file below it.
          - V(false) wants it on none of them, so that every file keeps its checksums.
          - Directories and empty files take the flag at once. For files with data see O(existing).
          - Nested writable subvolumes are part of the tree. Mount points, read-only subvolumes and directories with an entry
            of their own are not; RV(directories[].skipped) names them.
          - When omitted, the flag is neither looked at nor changed.
        type: bool
      subvolume:
        description:
          - V(true) wants the directory to be the root of a btrfs subvolume. An empty plain directory is replaced by one, atomically, and its
            owner, mode and extended attributes are kept. For a plain directory with content see O(existing).
          - V(false) makes a plain directory where there is nothing, and accepts a subvolume.
        type: bool
        default: false
      owner:
        description:
          - Account or numeric user id that is to own the directory. When omitted, an existing owner is kept and a new directory belongs
            to the account that runs the module.
          - An account given B(by name) stands for itself and for its subordinate ids in C(/etc/subuid). A directory that a rootless container
            has handed to one of them is left alone. A number means exactly this id.
          - In check mode an account that does not exist yet is taken as one that will.
        type: str
      group:
        description:
          - Group or numeric group id. When omitted, an existing group is kept.
          - A group given by name also stands for the ranges of the account of the same name in C(/etc/subgid). A number means exactly this id.
        type: str
      mode:
        description:
          - Permissions as a B(quoted) octal number such as V('0750'). Numbers without quotes are refused, YAML reads them as something else.
          - When omitted, an existing mode is kept and a new directory gets V(0777) minus the umask.
          - Omit it where the container sets its own mode, as PostgreSQL does, or give the same one.
        type: raw
      setype:
        description:
          - SELinux type, for example V(container_file_t). User, role and level of the context are kept.
          - Has no effect where SELinux is not enabled.
        type: str
  existing:
    description:
      - What to do about files with data whose state is not the one that O(directories[].nocow) wants, and about a plain directory with
        content where O(directories[].subvolume=true).
      - V(fail) is an error which names how many files and bytes there are. Nothing is changed.
      - V(convert) rewrites them. The whole tree is copied into a new directory beside it, synced, compared with the original and exchanged with it
        in one step; then the original is removed. Content with holes, hard links, owners, modes, modification times, ACLs, extended attributes
        and other inode flags are kept; inode numbers and change times are not.
      - Where that cannot be done each file with the wrong state is replaced by a copy of itself in place. These are mount points, trees with
        subvolumes, mounts, immutable files or other entries of O(directories) in them, trees in a directory that the account cannot change,
        and file systems without space for a second copy. RV(directories[].conversion) tells which.
      - A conversion that is killed or cut off from power at any moment loses nothing and is taken up, or started anew, by the next run
        with V(convert) and the same O(directories[].nocow) by the same account.
        Free space is needed for the copy, 10 % and 128 MiB; in place for the largest file and 128 MiB.
      - A conversion is refused, with names, while a process has a file of the tree open or mapped, works in it, or has it mounted (a container),
        while a swap file or a loop device stands on one, when a file has hard links outside of the tree, and when a file that has to be replaced
        is in an immutable directory. Stop the services first.
      - While it runs the playbook shows percent, rate and remaining time. When the playbook is stopped, a conversion that still copies
        stops after a minute; once the copy is complete it is finished.
    type: str
    choices: [fail, convert]
    default: fail
  unsupported:
    description:
      - What to do where the file system is not btrfs and O(directories[].nocow) or O(directories[].subvolume=true) is asked for.
        In check mode, and for a path that does not exist yet, the nearest existing parent tells.
      - V(fail) is an error.
      - V(warn) makes a plain directory with owner, group, mode and type, and warns if what was asked for is lost. Nothing is lost,
        and there is no warning, for O(directories[].nocow=true) on ext4, xfs and tmpfs, which overwrite in place.
      - V(ignore) is V(warn) without the warning.
    type: str
    choices: [fail, warn, ignore]
    default: warn
notes:
  - No privilege is needed to set the flag on one's own directories. Trees with files of subordinate ids (a rootless container's) need root;
    otherwise the module warns with the names of what it could not read.
  - A directory for a container that hands it to a user of its own on first start needs O(directories[].owner) by name, or none, and
    O(directories[].mode) as the container sets it, or none. Then a second run changes nothing.
  - NOCOW files have no checksums. Keep data checksums and C(full_page_writes) of PostgreSQL on.
seealso:
  - module: ansible.builtin.file
"""

EXAMPLES = r"""
- name: Storage for a photo library and its database
  patriark.homelab.btrfs_directory:
    directories:
      - path: /mnt/btrfs-pool/subvol3-opptak/immich
        nocow: false
        owner: homelab
        group: homelab
        mode: "0750"
      - path: /mnt/btrfs-pool/subvol7-containers/postgresql-immich
        nocow: true
        subvolume: true
        owner: homelab
        group: homelab

- name: Make a database that was filled too early NOCOW, with its service stopped
  patriark.homelab.btrfs_directory:
    directories:
      - path: /mnt/btrfs-pool/subvol7-containers/postgresql-immich
        nocow: true
    existing: convert

- name: Is every file of the database NOCOW? (with --check nothing is changed)
  patriark.homelab.btrfs_directory:
    directories:
      - path: /mnt/btrfs-pool/subvol7-containers/postgresql-immich
        nocow: true
    unsupported: fail
  check_mode: true
  register: storage
"""

RETURN = r"""
directories:
  description: One entry for each of O(directories), in the same order.
  returned: when every path is usable
  type: list
  elements: dict
  contains:
    path:
      description: The path as given.
      type: str
      returned: always
    real_path:
      description: The path with the symlinks of its parents resolved.
      type: str
      returned: always
    changed:
      description: Whether this entry was changed, or would be in check mode.
      type: bool
      returned: always
    created:
      description: Whether the directory was made, or would be.
      type: bool
      returned: always
    fstype:
      description: File system below the path, for example V(btrfs), V(ext4) or a magic number.
      type: str
      returned: always
    supported:
      description: Whether that is btrfs.
      type: bool
      returned: always
    subvolume:
      description: Whether the directory is the root of a subvolume afterwards.
      type: bool
      returned: always
    nocow_before:
      description: The flag of the directory itself before; V(null) when it was not there or has none.
      type: bool
      returned: always
    nocow_after:
      description: The flag of the directory itself afterwards, read back (predicted in check mode); V(null) off btrfs.
      type: bool
      returned: always
    files:
      description: Regular files found below. V(null) when no audit was asked for (O(directories[].nocow) omitted), or there was nothing.
      type: int
      returned: always
    dirs:
      description: Directories found, the listed one included. V(null) like RV(directories[].files).
      type: int
      returned: always
    wrong_files:
      description: Regular files whose state was not the one wanted, before any change.
      type: int
      returned: always
    wrong_dirs:
      description: Directories whose flag was not the one wanted, before any change.
      type: int
      returned: always
    wrong_bytes:
      description: Sum of the sizes of RV(directories[].wrong_files) in bytes, hard links counted once.
      type: int
      returned: always
    offenders:
      description: The first 20 names of RV(directories[].wrong_files), relative to the directory.
      type: list
      elements: str
      returned: always
    unreadable:
      description: Entries which this account could not read, and which were therefore not judged.
      type: int
      returned: always
    skipped:
      description: The first 20 names of what is below and not part of the tree (mount points, read-only subvolumes, other entries).
      type: list
      elements: str
      returned: always
    conversion:
      description: How files with data were rewritten, or would be, V(copy) or V(in_place); V(discard) when all is right and only the unfinished
        copy of an interrupted conversion is removed; V(null) when there was no need.
      type: str
      returned: always
    conversion_bytes:
      description: Allocated bytes that the conversion had to copy.
      type: int
      returned: always
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_owner
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_directories import Directories, Want
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_progress import VARIABLE, Reporter


def parse(entry: dict[str, t.Any]) -> Want:
    """One entry of the option as the rest of the code wants it."""
    if not os.path.isabs(entry["path"]) or "\0" in entry["path"]:
        raise _btrfs.BtrfsError(f"path {entry['path']!r} is not an absolute path")
    return Want(
        path=entry["path"],
        nocow=entry["nocow"],
        subvolume=entry["subvolume"],
        owner=_btrfs_owner.owner(entry["owner"]),
        group=_btrfs_owner.group(entry["group"]),
        mode=_btrfs_owner.mode(entry["mode"]),
        setype=entry["setype"],
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "nocow": {"type": "bool"},
                    "subvolume": {"type": "bool", "default": False},
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                    "mode": {"type": "raw"},
                    "setype": {"type": "str"},
                },
            },
            "existing": {"type": "str", "choices": ["fail", "convert"], "default": "fail"},
            "unsupported": {"type": "str", "choices": ["fail", "warn", "ignore"], "default": "warn"},
        },
        supports_check_mode=True,
    )
    results: list[dict[str, t.Any]] = []
    progress = Reporter(os.environ.get(VARIABLE))
    try:
        _btrfs.check_machine(os.uname().machine)
        directories = Directories([parse(entry) for entry in module.params["directories"]], module.params["existing"], module.params["unsupported"])
        for warning in directories.warnings:
            module.warn(warning)
        results = directories.results(done=False)
        if directories.errors:
            module.fail_json(msg="\n".join(directories.errors), directories=results)
        if not module.check_mode:
            directories.apply(progress)
            results = directories.results(done=True)
    except (_btrfs.BtrfsError, OSError) as error:
        module.fail_json(msg=_btrfs.reason(error), directories=results)
    finally:
        progress.close()
    module.exit_json(changed=directories.changed, directories=results, diff=directories.diff)


if __name__ == "__main__":
    main()
