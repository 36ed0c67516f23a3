# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack's directory as one value: read whole, replaced whole by one atomic exchange.

Whoever looks at it, also after a kill, sees the old set or the new set. Files that did not change keep their inode, and so
do unchanged sub-directories, because running containers may have them mounted. What is not ours in there is carried over.
Call these functions with the account's effective ids (Session.files). Private to the collection.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular

# A file of configuration is small.
LARGEST = 64 * 1024 * 1024


class Node(t.NamedTuple):
    """A file (content, mode) or, with target, a symbolic link."""

    content: str
    mode: int = 0o644
    target: str | None = None


Tree = dict[str, Node]
# Marks the directory with the new set while the two are exchanged, so that a later run knows which one was left over
_NEW_SET = ".new-set"
_ASIDE = ".old.d"


def read_node(path: str) -> Node | None:
    """None when there is nothing at path. A directory or anything else that is no file raises OSError."""
    try:
        state = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(state.st_mode):
        return Node("", 0o777, os.readlink(path))
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, f"is {regular.kind(state.st_mode)} and not a regular file", path)
    return Node(regular.read_text(path, LARGEST, errors="surrogateescape"), stat.S_IMODE(state.st_mode))


def changed(path: str) -> float:
    """When a file, or its name, was last changed (seconds since 1970); 0 when there is none."""
    try:
        return os.lstat(path).st_ctime
    except OSError:
        return 0.0


def read_tree(root: str, names: t.Iterable[str]) -> Tree:
    """Those of the named files (paths below root) which exist."""
    found = {name: read_node(os.path.join(root, name)) for name in names}
    return {name: node for name, node in found.items() if node is not None}


def write_node(path: str, node: Node) -> None:
    """Create or replace one file by rename; directories are made."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = _temporary(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(node.content)
            file.flush()
            os.fchmod(file.fileno(), node.mode)
            os.fsync(file.fileno())
        if node.target is not None:
            os.unlink(temporary)
            os.symlink(node.target, temporary)
        os.rename(temporary, path)
    except OSError as error:
        # a full disk does not say where
        error.filename = error.filename or path
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.new")


def _fresh(root: str) -> str:
    parent, name = os.path.split(root)
    # podman's generator does not look into directories whose name ends in .d
    return os.path.join(parent, f".{name}.new.d")


def tidy(root: str, owned: t.Container[str], paths: t.Iterable[str] = ()) -> None:
    """Remove what a run that was killed has left beside the directory and the files, and give back what is not ours of it."""
    fresh = _fresh(root)
    aside = fresh + _ASIDE
    if os.path.lexists(aside):
        os.rename(aside, fresh if os.path.lexists(root) else root)
    if os.path.lexists(fresh):
        if not os.path.lexists(os.path.join(fresh, _NEW_SET)):
            _restore_moved(root, fresh, owned)
        shutil.rmtree(fresh)
    for path in [os.path.join(root, _NEW_SET), *map(_temporary, paths)]:
        if os.path.lexists(path):
            os.unlink(path)
    if os.path.isdir(root) and not os.listdir(root):
        os.rmdir(root)


def remove_file(path: str) -> None:
    """Remove a file if it is there, and the drop-in directory it leaves empty."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    if os.path.dirname(path).endswith(".d"):
        try:
            os.rmdir(os.path.dirname(path))
        except OSError:
            return


def replace_tree(root: str, wanted: Tree, owned: t.Container[str]) -> None:
    """Make the directory hold exactly wanted, and what is neither wanted nor owned. Without either it is removed."""
    parent, fresh = os.path.dirname(root), _fresh(root)
    os.makedirs(parent, exist_ok=True)
    tidy(root, owned)
    exists = os.path.isdir(root)
    os.mkdir(fresh, stat.S_IMODE(os.stat(root).st_mode) if exists else 0o755)
    open(os.path.join(fresh, _NEW_SET), "x").close()
    foreign = _carry(root, fresh, wanted, owned) if exists else []
    for path, node in wanted.items():
        target, old = os.path.join(fresh, path), os.path.join(root, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if node.target is None and read_quietly(old) == node:
            # same inode and time: systemd sees no newer file, and a mounted file stays mounted
            os.link(old, target)
        else:
            write_node(target, node)
    if not exists:
        if wanted:
            os.rename(fresh, root)
            os.unlink(os.path.join(root, _NEW_SET))
        else:
            shutil.rmtree(fresh)
        _sync(parent)
        return
    _exchange(fresh, root)
    # fresh now holds the old set
    for path in foreign:
        os.rename(os.path.join(fresh, path), os.path.join(root, path))
    for entry in sorted(os.listdir(fresh)):
        one, other = os.path.join(fresh, entry), os.path.join(root, entry)
        if os.path.isdir(one) and not os.path.islink(one) and os.path.isdir(other) and _listing(one) == _listing(other):
            _exchange(one, other)
    shutil.rmtree(fresh)
    os.unlink(os.path.join(root, _NEW_SET))
    if not os.listdir(root):
        os.rmdir(root)
    _sync(parent)


def read_quietly(path: str) -> Node | None:
    try:
        return read_node(path)
    except OSError:
        return None


def _carry(root: str, fresh: str, wanted: Tree, owned: t.Container[str], below: str = "") -> list[str]:
    """Bring files over that are not ours. Returns the directories to move after the exchange (a directory cannot be linked)."""
    later = []
    for entry in os.scandir(os.path.join(root, below)):
        path = os.path.join(below, entry.name)
        if path in wanted or path in owned or path == _NEW_SET:
            continue
        if entry.is_dir(follow_symlinks=False):
            ours = any(name.startswith(path + "/") for name in wanted)
            listed = _files(root, path)
            kept = [file for file in listed if file not in owned]
            if ours or 0 < len(kept) < len(listed):
                os.makedirs(os.path.join(fresh, path), exist_ok=True)
                shutil.copymode(os.path.join(root, path), os.path.join(fresh, path))
                later += _carry(root, fresh, wanted, owned, path)
            elif kept or not listed:
                later.append(path)
        elif entry.is_symlink():
            os.symlink(os.readlink(entry.path), os.path.join(fresh, path))
        else:
            os.link(entry.path, os.path.join(fresh, path), follow_symlinks=False)
    return later


def _files(root: str, below: str) -> list[str]:
    return [os.path.relpath(os.path.join(folder, file), root) for folder, dummy, files in os.walk(os.path.join(root, below)) for file in files]


def _restore_moved(root: str, leftover: str, owned: t.Container[str], below: str = "") -> None:
    """A run was killed between the exchange and the move of foreign directories: give them back before the leftover goes."""
    for entry in os.scandir(os.path.join(leftover, below)):
        path = os.path.join(below, entry.name)
        if not entry.is_dir(follow_symlinks=False):
            continue
        if os.path.isdir(os.path.join(root, path)):
            _restore_moved(root, leftover, owned, path)
        elif not any(file in owned for file in _files(leftover, path)):
            os.rename(entry.path, os.path.join(root, path))


def _listing(folder: str) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    for entry in os.scandir(folder):
        found[entry.name] = _listing(entry.path) if entry.is_dir(follow_symlinks=False) else read_quietly(entry.path)
    return found


def _exchange(one: str, other: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    at_fdcwd, rename_exchange = -100, 2
    if libc.renameat2(at_fdcwd, os.fsencode(one), at_fdcwd, os.fsencode(other), ctypes.c_uint(rename_exchange)) == 0:
        return
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), other)
    # a file system without exchange: there is a moment without the directory
    aside = one + _ASIDE
    os.rename(other, aside)
    os.rename(one, other)
    os.rename(aside, one)


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
