# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One listed directory: look at it, plan (pure), apply.

Check mode and the real run share look and plan, so a prediction cannot differ from the deed.

Private to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _btrfs, _btrfs_audit, _btrfs_busy, _btrfs_convert, _btrfs_copy, _btrfs_owner, _btrfs_walk
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs import BtrfsError, size
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_audit import Audit
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_convert import Leftover, Preflight, Progress
from ansible_collections.patriark.homelab.plugins.module_utils._btrfs_walk import open_quiet, printable
from ansible_collections.patriark.homelab.plugins.module_utils._reach import OPEN_PATH, canonical, open_path, resolve

_PARENT_MODE = 0o755


@dataclasses.dataclass(frozen=True)
class Want:
    """One entry of O(directories), parsed. None means: not managed."""

    path: str
    nocow: bool | None = None
    subvolume: bool = False
    owner: _btrfs_owner.Principal | None = None
    group: _btrfs_owner.Principal | None = None
    mode: int | None = None
    setype: str | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is there.

    Attributes:
        real: the path with the symlinks of its ancestors resolved.
        exists: whether real is there; the fields about the directory itself are meaningful only then.
        obstacle: why the path cannot be used at all ("" when it can).
        anchor: real itself, or its nearest existing ancestor.
        kind: type of the file system of anchor.
        readonly: whether that is mounted (or snapshotted) read-only.
        breeds_nocow: whether a plain directory made here would inherit the flag.
        selinux: whether the system uses SELinux.
        umask: of the process.
    """

    real: str
    exists: bool = False
    obstacle: str = ""
    anchor: str = "/"
    kind: str = ""
    readonly: bool = False
    breeds_nocow: bool = False
    selinux: bool = False
    umask: int = 0o022
    subvolume: bool = False
    empty: bool = True
    flags: int | None = None
    uid: int = 0
    gid: int = 0
    mode: int = 0
    context: str | None = None
    audit: Audit | None = None
    # Traces of an interrupted conversion, and what is known about the one to come (looked for only when there is one).
    left: Leftover = dataclasses.field(default_factory=Leftover)
    preflight: Preflight | None = None
    # Processes of other accounts that have it mounted; looked for only when it would get another owner.
    others: tuple[str, ...] = ()

    @property
    def nocow(self) -> bool | None:
        return None if self.flags is None else bool(self.flags & _btrfs.FS_NOCOW)


@dataclasses.dataclass
class Plan:
    """What will be done, and how it looks before and after."""

    create: bool = False
    # Make it a subvolume: a new one, or in the place of an empty plain directory.
    make_subvolume: bool = False
    # Flag directories and empty files, the top included.
    fix: bool = False
    # Rewrite files with data, the method and its bytes.
    convert: str | None = None
    amount: int = 0
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    setype: str | None = None
    supported: bool = True
    errors: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    before: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    after: dict[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return self.before != self.after


def names(some: t.Sequence[str], total: int, limit: int = 5) -> str:
    """The first names of many, for one line of text."""
    shown = ", ".join(some[:limit])
    return f"{shown} and {total - limit} more" if total > limit else shown


# ---------------------------------------------------------------------------------------------------------------- plan


def plan(want: Want, facts: Facts, unsupported: str, existing: str = "fail") -> Plan:
    """Compare; no side effects. Errors mean that nothing at all is to be done."""
    result = Plan()
    if facts.obstacle:
        result.errors.append(f"{want.path}: {facts.obstacle}")
        return result
    if want.nocow is not None or want.subvolume:
        _plan_support(want, facts, unsupported, result)
    if facts.exists:
        result.before["state"] = result.after["state"] = "directory"
    else:
        result.create = True
        result.before["state"], result.after["state"] = "absent", "directory"
    if result.supported and want.subvolume:
        _plan_subvolume(want, facts, existing, result)
    if result.supported and want.nocow is not None:
        _plan_nocow(want, facts, existing, result)
    if facts.exists and result.supported:
        _plan_conversion(want, facts, existing, result)
    _plan_access(want, facts, result)
    if result.changed and facts.readonly:
        changes = ", ".join(key for key in result.after if result.before.get(key) != result.after[key])
        result.errors.append(f"{want.path}: {facts.anchor} is on a read-only mount or snapshot, and this has to change: {changes}")
    return result


def _plan_support(want: Want, facts: Facts, unsupported: str, result: Plan) -> None:
    if facts.kind == _btrfs.BTRFS:
        return
    result.supported = False
    where = f"{want.path} is on {facts.kind}" if facts.exists else f"{want.path} would be on {facts.kind} (as {facts.anchor} is)"
    if unsupported == "fail":
        result.errors.append(f"{where}, not btrfs: nocow and subvolume mean nothing there. Mount btrfs first, or set unsupported: warn.")
    elif unsupported == "warn":
        if want.subvolume:
            result.warnings.append(f"{where}, not btrfs: a plain directory stands in for the subvolume")
        elif want.nocow and facts.kind not in _btrfs.IN_PLACE:
            result.warnings.append(f"{where}, not btrfs: no NOCOW flag there, and it may copy on write")
        elif want.nocow is False:
            result.warnings.append(f"{where}, not btrfs: copy-on-write with checksums of the data cannot be assured")


def _plan_subvolume(want: Want, facts: Facts, existing: str, result: Plan) -> None:
    result.before["subvolume"] = facts.exists and facts.subvolume
    result.after["subvolume"] = True
    if facts.exists and facts.subvolume:
        return
    if facts.exists and facts.flags is None:
        result.errors.append(_unread(want, facts))
        return
    if facts.exists and not facts.empty and existing == "fail":
        result.errors.append(
            f"{want.path} is a plain directory with content, not a subvolume. Nothing was changed."
            " Set existing: convert to have it copied into a subvolume, or subvolume: false."
        )
        return
    result.make_subvolume = True


def _plan_nocow(want: Want, facts: Facts, existing: str, result: Plan) -> None:
    wanted = bool(want.nocow)
    result.after["nocow"] = wanted
    if not facts.exists or (result.make_subvolume and facts.empty):
        result.before["nocow"] = facts.nocow if facts.exists else None
        if facts.audit is not None:
            _plan_compressed(want, facts.audit, result)
        return
    if facts.audit is None or facts.flags is None:
        if not result.errors:
            result.errors.append(_unread(want, facts))
        return
    audit = facts.audit
    result.before["nocow"] = facts.nocow
    if audit.wrong_dirs or audit.wrong_files:
        wrong = "cow" if wanted else "nocow"
        result.before[f"{wrong}_directories"], result.after[f"{wrong}_directories"] = audit.wrong_dirs, 0
        result.before[f"{wrong}_files"], result.after[f"{wrong}_files"] = audit.wrong_files, 0
    result.fix = bool(audit.fixable)
    _plan_obstacles(want, audit, existing, result)


def _unread(want: Want, facts: Facts) -> str:
    return f"{want.path}: cannot be read as uid {os.geteuid()} (owner {facts.uid}, mode {facts.mode:04o}): run as root to judge it"


def _plan_compressed(want: Want, audit: Audit, result: Plan) -> None:
    if audit.compressed:
        result.errors.append(
            f"{want.path}: the compression attribute (c or m) excludes NOCOW, and it is on: {names(audit.compressed, len(audit.compressed))}."
            " Clear it if compression is not wanted there: chattr -c -m DIRECTORY, or btrfs property set DIRECTORY compression ''"
        )


def _plan_obstacles(want: Want, audit: Audit, existing: str, result: Plan) -> None:
    wanted = bool(want.nocow)
    _plan_compressed(want, audit, result)
    if audit.frozen:
        result.errors.append(f"{want.path}: immutable or append-only, so the flag cannot change: {names(audit.frozen, len(audit.frozen))} (chattr -i -a)")
    if audit.wrong_data and existing == "fail":
        state, cure = ("copy-on-write", "NOCOW") if wanted else ("NOCOW (no checksums, no repair)", "copy-on-write")
        result.errors.append(
            f"{want.path}: {audit.wrong_files} of {audit.files} files, {size(audit.data)} of data, are {state}: {names(audit.offenders, audit.wrong_files)}."
            f" The flag of a file with data cannot be changed, only a new copy is {cure}. Nothing was changed."
            " Stop what uses the directory and run the module once with existing: convert (docs/nocow.md of the collection has the commands)."
        )
    if audit.unreadable:
        result.warnings.append(
            f"{want.path}: {audit.unreadable} entries could not be read as uid {os.geteuid()} and were not judged:"
            f" {names(audit.unreadable_names, audit.unreadable)}"
        )


def _plan_conversion(want: Want, facts: Facts, existing: str, result: Plan) -> None:
    """Whether files have to be rewritten, or an interrupted rewriting finished."""
    before = facts.preflight
    if facts.left.kind not in ("", "foreign") and (before is None or existing == "fail"):
        result.warnings.append(
            f"{want.path}: a conversion of it was interrupted and left things behind; run once with existing: convert, and nocow as then, to finish it"
        )
    if before is None:
        return
    result.errors.extend(f"{want.path}: {error}" for error in before.errors)
    result.warnings.extend(f"{want.path}: {warning}" for warning in before.warnings)
    if result.make_subvolume and facts.empty:
        return
    result.convert, result.amount = before.method, before.amount
    result.before["conversion"] = None
    if before.method == _btrfs_convert.DISCARD:
        result.after["conversion"] = "the unfinished copy of an interrupted one is removed"
    elif before.left.kind in ("swapped", _btrfs_convert.IN_PLACE):
        result.after["conversion"] = "the interrupted one is finished"
    else:
        how = "the whole tree is copied and exchanged" if before.method == _btrfs_convert.COPY else f"file by file, since {before.reason}"
        result.after["conversion"] = f"{size(before.amount)}, {how}"


def _plan_access(want: Want, facts: Facts, result: Plan) -> None:
    """Owner, group, mode and SELinux type of the listed directory only."""
    if facts.others and want.owner is not None:
        result.errors.append(
            f"{want.path}: belongs to {_btrfs_owner.user_name(facts.uid)}, whose containers use it: {names(facts.others, len(facts.others))}."
            f" It is not given to {want.owner.text}. Put the account back, or stop those containers and move what they have (docs/moving.md of the collection)."
        )
    if want.owner is not None:
        result.before["owner"] = _btrfs_owner.user_name(facts.uid) if facts.exists else None
        if facts.exists and want.owner.covers(facts.uid):
            result.after["owner"] = result.before["owner"]
        else:
            result.uid = want.owner.number
            result.after["owner"] = want.owner.text if want.owner.number is None else _btrfs_owner.user_name(want.owner.number)
    if want.group is not None:
        result.before["group"] = _btrfs_owner.group_name(facts.gid) if facts.exists else None
        if facts.exists and want.group.covers(facts.gid):
            result.after["group"] = result.before["group"]
        else:
            result.gid = want.group.number
            result.after["group"] = want.group.text if want.group.number is None else _btrfs_owner.group_name(want.group.number)
    if want.mode is not None or not facts.exists:
        wanted = want.mode if want.mode is not None else 0o777 & ~facts.umask
        result.before["mode"] = f"{facts.mode:04o}" if facts.exists else None
        result.after["mode"] = f"{wanted:04o}"
        if not facts.exists or facts.mode != wanted:
            result.mode = wanted
    if want.setype is not None and facts.selinux:
        result.before["setype"] = _btrfs_owner.type_of(facts.context) if facts.exists else None
        result.after["setype"] = want.setype
        if result.before["setype"] != want.setype:
            result.setype = want.setype


# ---------------------------------------------------------------------------------------------------------------- look


def _anchor(path: str) -> tuple[str, str]:
    """The nearest existing ancestor of an absent path as given, and what is wrong with it."""
    parent = os.path.dirname(path.rstrip("/"))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.exists(parent):
        return parent, f"{parent} is a dangling symlink"
    if not os.path.isdir(parent):
        return parent, f"{parent} is not a directory"
    return resolve(parent), ""


def look(want: Want, listed: frozenset[str] = frozenset(), existing: str = "fail") -> Facts:
    """Gather the facts about one directory, the audit included. Reads only.

    Args:
        want: the entry.
        listed: canonical paths of all entries: those below this one are judged on their own.
        existing: convert also looks for what a conversion would meet, if one is needed.
    """
    real = canonical(want.path)
    if real == "/":
        return Facts(real, obstacle="the root directory is not managed by this module")
    try:
        info = os.lstat(real)
    except FileNotFoundError:
        return _look_ahead(want.path, real)
    except NotADirectoryError:
        return Facts(real, obstacle=_anchor(want.path)[1])
    except PermissionError:
        return Facts(real, obstacle=f"uid {os.geteuid()} may not look into {os.path.dirname(real)}: run as root")
    if stat.S_ISLNK(info.st_mode):
        return Facts(real, obstacle=f"it is a symlink to {printable(os.readlink(real))}: give the real path")
    if not stat.S_ISDIR(info.st_mode):
        return Facts(real, obstacle="it exists and is not a directory")
    anchor = open_path(real)
    try:
        kind = _btrfs.fstype(anchor)
        if kind == _btrfs.BTRFS and info.st_ino == _btrfs.PLACEHOLDER_INODE:
            return Facts(real, obstacle="it is the empty placeholder of a nested subvolume in a snapshot: nothing can be stored there")
        facts = Facts(
            real=real,
            exists=True,
            anchor=real,
            kind=kind,
            subvolume=_btrfs.is_subvolume(info, kind),
            uid=info.st_uid,
            gid=info.st_gid,
            mode=stat.S_IMODE(info.st_mode),
            selinux=_btrfs_owner.selinux_enabled(),
        )
        if want.owner is not None and not want.owner.covers(info.st_uid):
            facts = dataclasses.replace(facts, others=tuple(_btrfs_busy.mounted_by_others(real, want.owner.covers)))
        try:
            fd = open_quiet(".", _btrfs.OPEN_DIR, anchor)
        except PermissionError:
            return facts
        try:
            return _look_inside(want, facts, fd, listed, existing)
        finally:
            os.close(fd)
    finally:
        os.close(anchor)


def _look_inside(want: Want, facts: Facts, fd: int, listed: frozenset[str], existing: str) -> Facts:
    with os.scandir(fd) as entries:
        empty = next(entries, None) is None
    readonly = bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)
    flags = None
    audit = None
    if facts.kind == _btrfs.BTRFS:
        readonly = readonly or (facts.subvolume and _btrfs.is_readonly_subvolume(fd))
        flags = _btrfs.get_flags(fd)
        skip = skip_set(facts.real, listed)
        if want.nocow is not None:
            audit = _btrfs_audit.audit(fd, want.nocow, skip)
    facts = dataclasses.replace(facts, empty=empty, readonly=readonly, flags=flags, audit=audit, context=_btrfs_owner.context(fd))
    if facts.kind != _btrfs.BTRFS or (want.nocow is None and not want.subvolume):
        return facts
    facts = dataclasses.replace(facts, left=_btrfs_convert.leftover(facts.real))
    becomes = want.subvolume and not facts.subvolume
    needed = bool((audit and audit.wrong_data) or becomes)
    # What was begun in place can be finished only towards a state.
    left = facts.left.kind in ("copying", "swapped") or (facts.left.kind == _btrfs_convert.IN_PLACE and want.nocow is not None)
    if (existing == "convert" and (needed or left)) or (becomes and empty):
        facts = dataclasses.replace(facts, preflight=_btrfs_convert.preflight(facts.real, want.nocow, becomes, skip, needed))
    return facts


def skip_set(real: str, listed: frozenset[str]) -> set[str]:
    """What an audit of real does not look into: mount points, and directories listed on their own."""
    prefix = real.rstrip("/") + "/"
    skip = _btrfs_walk.mounts_below(real, _btrfs_walk.read_mountinfo())
    skip.update(path[len(prefix) :] for path in listed if path.startswith(prefix))
    return skip


def _look_ahead(path: str, real: str) -> Facts:
    """Facts about a directory which is not there: those of the nearest ancestor that is."""
    anchor, obstacle = _anchor(path)
    if obstacle:
        return Facts(real, obstacle=obstacle)
    fd = open_path(anchor)
    try:
        kind = _btrfs.fstype(fd)
        readonly = bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)
        breeds = False
        if kind == _btrfs.BTRFS:
            if os.fstat(fd).st_ino == _btrfs.PLACEHOLDER_INODE:
                return Facts(real, obstacle=f"{anchor} is the placeholder of a nested subvolume in a snapshot: nothing can be stored there")
            with contextlib.suppress(PermissionError):
                handle = os.open(".", _btrfs.OPEN_DIR, dir_fd=fd)
                try:
                    breeds = bool(_btrfs.get_flags(handle) & _btrfs.FS_NOCOW)
                finally:
                    os.close(handle)
    finally:
        os.close(fd)
    umask = os.umask(0o077)
    os.umask(umask)
    return Facts(real, anchor=anchor, kind=kind, readonly=readonly, breeds_nocow=breeds, selinux=_btrfs_owner.selinux_enabled(), umask=umask)


# --------------------------------------------------------------------------------------------------------------- apply


def apply(want: Want, facts: Facts, todo: Plan, listed: frozenset[str], progress: Progress) -> None:
    """Do what was planned. Order for a new directory: 0700, flag, re-read, then owner, mode, context."""
    if todo.create:
        _create(want, facts, todo)
        return
    if not todo.changed:
        return
    if todo.convert is not None:
        _convert(want, facts, todo, listed, progress)
    if todo.convert in (_btrfs_convert.COPY, _btrfs_convert.IN_PLACE):
        todo = dataclasses.replace(todo, make_subvolume=False, fix=False)
    anchor = open_path(facts.real)
    try:
        if todo.make_subvolume:
            _replace_by_subvolume(want, facts, todo, anchor)
            return
        if todo.fix and want.nocow is not None:
            fd = open_quiet(".", _btrfs.OPEN_DIR, anchor)
            try:
                _fix(want, fd, facts, listed)
            finally:
                os.close(fd)
        _access(want, todo, anchor)
    finally:
        os.close(anchor)


def _convert(want: Want, facts: Facts, todo: Plan, listed: frozenset[str], progress: Progress) -> None:
    progress.begin(want.path, todo.amount)
    try:
        skip = skip_set(facts.real, listed)
        _btrfs_convert.convert(facts.real, want.nocow, todo.make_subvolume, str(todo.convert), skip, progress)
        if todo.convert != _btrfs_convert.DISCARD:
            _prove(want, facts, skip)
    except (BtrfsError, OSError) as error:
        raise BtrfsError(f"{want.path}: the conversion was given up: {_btrfs.reason(error)}. No data was lost; run again to take it up.") from error


def _prove(want: Want, facts: Facts, skip: set[str]) -> None:
    """What came while files were replaced in place, or since an interrupted conversion was begun, is not in it."""
    if want.nocow is None:
        return
    anchor = open_path(facts.real)
    try:
        left = _btrfs_audit.audit(anchor, want.nocow, skip)
    finally:
        os.close(anchor)
    if left.wrong_files or left.wrong_dirs:
        raise BtrfsError(f"it is done, but other files have come since it was begun: {names(left.offenders, left.wrong_files)}")


def _fix(want: Want, fd: int, facts: Facts, listed: frozenset[str]) -> None:
    skip = skip_set(facts.real, listed)
    left = _btrfs_audit.audit(fd, bool(want.nocow), skip, fix=True)
    if left.wrong_data:
        raise BtrfsError(f"{want.path}: files got data while the module ran: {names(left.offenders, left.wrong_data)}. Stop what uses the directory.")


def _create(want: Want, facts: Facts, todo: Plan) -> None:
    parent = open_path(facts.anchor)
    try:
        missing = os.path.relpath(facts.real, facts.anchor).split("/")
        for part in missing[:-1]:
            made = False
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=parent)
                made = True
            child = os.open(part, OPEN_PATH, dir_fd=parent)
            os.close(parent)
            parent = child
            if made:  # by its descriptor: the name may be somebody's link by now
                os.chmod(f"/proc/self/fd/{parent}", _PARENT_MODE)
        name = missing[-1]
        _make(want, todo, parent, name)
    except PermissionError as error:
        raise BtrfsError(f"{want.path}: uid {os.geteuid()} may not create it: {error.strerror}") from error
    finally:
        os.close(parent)


def _make(want: Want, todo: Plan, parent: int, name: str) -> None:
    """Make and finish one new directory or subvolume; nothing is left behind when it cannot be finished."""
    if todo.make_subvolume:
        handle = os.open(".", _btrfs.OPEN_DIR, dir_fd=parent)
        try:
            _btrfs.create_subvolume(handle, name)
        finally:
            os.close(handle)
    else:
        os.mkdir(name, 0o700, dir_fd=parent)
    fd = -1
    try:
        fd = os.open(name, _btrfs.OPEN_DIR, dir_fd=parent)
        if todo.supported and want.nocow is not None:
            # A new directory has inherited its attributes; its own compression is nobody's policy yet.
            _btrfs.set_nocow(fd, want.nocow, want.path, clear_compression=True)
        _access(want, todo, fd)
    except BaseException:
        os.rmdir(name, dir_fd=parent)
        raise
    finally:
        if fd >= 0:
            os.close(fd)


def _replace_by_subvolume(want: Want, facts: Facts, todo: Plan, anchor: int) -> None:
    """Put a new subvolume in the place of an empty plain directory, which keeps its owner, mode and attributes.

    The rename is atomic and the kernel refuses it as soon as the old directory has an entry.
    """
    parent = open_path(os.path.dirname(facts.real))
    name = os.path.basename(facts.real)
    fresh = _btrfs.beside(name, "subvolume-new")
    try:
        handle = os.open(".", _btrfs.OPEN_DIR, dir_fd=parent)
        try:
            _btrfs.create_subvolume(handle, fresh)
        except FileExistsError:
            # Left by a run that was killed here; rmdir refuses if anything is in it.
            os.rmdir(fresh, dir_fd=parent)
            _btrfs.create_subvolume(handle, fresh)
        finally:
            os.close(handle)
        try:
            fd = os.open(fresh, _btrfs.OPEN_DIR, dir_fd=parent)
            try:
                wanted = want.nocow if want.nocow is not None else bool(facts.nocow)
                _btrfs.set_nocow(fd, wanted, want.path)
                handle = open_quiet(".", _btrfs.OPEN_DIR, anchor)
                try:
                    _btrfs_copy.copy_metadata(handle, fd, os.fstat(handle), _btrfs.get_flags(handle))
                finally:
                    os.close(handle)
                _access(want, todo, fd)
            finally:
                os.close(fd)
            os.rename(fresh, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.rmdir(fresh, dir_fd=parent)
            raise
    except OSError as error:
        reason = "it is a mount point" if error.errno == errno.EBUSY else error.strerror
        raise BtrfsError(f"{want.path}: cannot be replaced by a subvolume: {reason}") from error
    finally:
        os.close(parent)


def _access(want: Want, todo: Plan, anchor: int) -> None:
    """Owner first (it clears set-id bits), then mode, then context, on a descriptor that may be O_PATH."""
    # O_PATH descriptors take no fchown/fchmod, and the directory may not be readable: go through procfs, not the path.
    path = f"/proc/self/fd/{anchor}"
    try:
        if todo.uid is not None or todo.gid is not None:
            os.chown(path, -1 if todo.uid is None else todo.uid, -1 if todo.gid is None else todo.gid)
        if todo.mode is not None:
            wanted = todo.mode
            if want.mode is None:
                # Not asked for: keep the set-group-id bit a new directory inherits.
                wanted |= os.stat(path).st_mode & stat.S_ISGID
            os.chmod(path, wanted)
        if todo.setype is not None:
            fd = os.open(path, _btrfs.OPEN_DIR & ~os.O_NOFOLLOW)
            try:
                _btrfs_owner.set_context(fd, _btrfs_owner.with_type(_btrfs_owner.context(fd), todo.setype))
            finally:
                os.close(fd)
    except OSError as error:
        raise BtrfsError(f"{want.path}: cannot set owner, mode or context: {error.strerror} (uid {os.geteuid()})") from error


def result(want: Want, facts: Facts, todo: Plan, done: bool) -> dict[str, t.Any]:
    """One entry of RV(directories). done: the state afterwards is read, not predicted."""
    audit = facts.audit
    after: bool | None = todo.after.get("nocow", facts.nocow)
    subvolume = todo.after.get("subvolume", facts.subvolume if facts.exists else False)
    if done and todo.changed and facts.kind == _btrfs.BTRFS:
        seen = look(dataclasses.replace(want, nocow=None))
        after, subvolume = seen.nocow, seen.subvolume
    elif not facts.exists and want.nocow is None:
        after = facts.breeds_nocow and not todo.make_subvolume
    is_btrfs = facts.kind == _btrfs.BTRFS
    return {
        "path": want.path,
        "real_path": printable(facts.real),
        "changed": todo.changed,
        "created": todo.create,
        "fstype": facts.kind,
        "supported": is_btrfs,
        "subvolume": bool(subvolume),
        "nocow_before": facts.nocow,
        "nocow_after": after if is_btrfs else None,
        "files": audit.files if audit else None,
        "dirs": audit.dirs if audit else None,
        "wrong_files": audit.wrong_files if audit else None,
        "wrong_dirs": audit.wrong_dirs if audit else None,
        "wrong_bytes": audit.data if audit else None,
        "offenders": audit.offenders if audit else [],
        "unreadable": audit.unreadable if audit else None,
        "skipped": audit.skipped if audit else [],
        "conversion": todo.convert,
        "conversion_bytes": todo.amount if todo.convert else None,
    }
