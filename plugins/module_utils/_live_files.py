# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in a directory that a running service watches or reloads: judged beforehand, put in place by rename, asked for, and taken back.

The directory may belong to somebody else; only the files that are named here are ever written or removed. The order is always the
same: copy the whole directory to a place nobody watches, with our change in it; let the service's own program judge the copy; rename
our files into place; ask the live service whether it has them; put the previous files back if it has not.

A run that is killed leaves each file old or new, never half. What was there before is on record until the service has agreed, so
that the next run, whatever it is asked for, still knows what to go back to.

    class Prometheus(Service): ...              # judge, reload, ask: what differs between services
    made = plan(session, "/srv/prometheus/rules", {"immich.yml": Node(text)}, service)     # all of check mode
    outcome = apply(session, made, service, timeout=30)

Private to the collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
import typing as t

from ansible_collections.patriark.homelab.plugins.module_utils import _reach as reach
from ansible_collections.patriark.homelab.plugins.module_utils import _regular_file as regular
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._redact import redacted
from ansible_collections.patriark.homelab.plugins.module_utils._session import Session, SessionError
from ansible_collections.patriark.homelab.plugins.module_utils._stack_files import LARGEST, Node, read_node

# A directory of configuration is no larger either than one file of it may be: else it is a wrong path, and copying it would take long.
PAUSE = 0.3

Files = t.Mapping[str, t.Optional[Node]]


class LiveRefused(Exception):
    """The change is refused; nothing was touched. The findings say why."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


class LiveFailed(Exception):
    """The service did not take the files. Says why, and what became of the previous ones."""

    def __init__(self, reason: str, rollback: dict[str, t.Any] | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rollback = rollback


class Service:
    """What this module has to be told about a service. All methods run outside Session.files, as the user the module runs as."""

    def judge(self, staged: str) -> list[Finding]:
        """Whether the service would take the directory C(staged), a copy with our change in it. Readable by everybody in a
        container of the account. Findings of severity error refuse the change, others are told."""
        raise NotImplementedError

    def reload(self) -> None:
        """Tell the service to read its files again. Services that watch the directory need none."""

    def ask(self) -> str | None:
        """None as soon as the live service has what is wanted, else what it has not. Asked until the deadline.

        It has to tell the wanted files from the previous ones: an answer that fits both would confirm what is not loaded yet.
        """
        raise NotImplementedError

    def ask_back(self) -> str | None:
        """The same after a rollback, for the previous files."""
        return None


class Change(t.NamedTuple):
    """One of our files: what lies there now (before) and what shall (after). None means no file."""

    path: str
    before: Node | None
    after: Node | None


@dataclasses.dataclass
class Plan:
    """What apply will do.

    Attributes:
        root: the directory.
        changes: one for each file that was asked for, changed or not.
        previous: by path, what the service last agreed to. Differs from before when an earlier run was killed.
        pending: whether an earlier run was killed before the service had agreed.
        missing: why the live service does not have the files, although they lie there as wanted.
        warnings: what the judge told without refusing.
    """

    root: str
    changes: list[Change]
    previous: dict[str, Node | None]
    pending: bool = False
    missing: str | None = None
    warnings: list[Finding] = dataclasses.field(default_factory=list)

    @property
    def rewritten(self) -> list[Change]:
        return [change for change in self.changes if change.before != change.after]

    @property
    def changed(self) -> bool:
        return bool(self.rewritten) or self.missing is not None

    def diff(self) -> list[dict[str, str]]:
        """For exit_json. Values that look secret, and those of private files, are hidden."""
        shown = []
        for change in self.rewritten:
            # private as soon as one of the two is
            mode = 0o644 if all(node is None or node.mode & 0o077 for node in (change.before, change.after)) else 0o600
            before, after = redacted(change.before and change.before.content, change.after and change.after.content, mode)
            shown.append(
                {
                    "before_header": _header(change.path, change.before),
                    "after_header": _header(change.path, change.after),
                    "before": before,
                    "after": after,
                }
            )
        if self.missing is not None and not shown:
            what = ", ".join(change.path for change in self.changes)
            shown.append({"before_header": what, "after_header": what, "before": f"not in effect: {self.missing}\n", "after": "in effect\n"})
        return shown


@dataclasses.dataclass
class Outcome:
    waited: float = 0.0


def plan(session: Session, root: str, files: Files, service: Service) -> Plan:
    """Look, copy, judge. Raises LiveRefused; changes nothing.

    files: path below root -> what shall be there, None for nothing. Directories must exist.
    """
    with session.files():
        changes = _look(session, root, files)
        current = {change.path: change.before for change in changes}
        killed = _Record(session, root).read(current)
        made = Plan(root, changes, {**current, **killed}, bool(killed))
    with staged(session, root, files) as (copy, unread):
        found = [*unread, *service.judge(copy)]
    errors = [finding for finding in found if finding.severity == "error"]
    if errors:
        raise LiveRefused(errors)
    made.warnings = [finding for finding in found if finding.severity != "error"]
    if not made.rewritten:
        made.missing = _asked(service.ask)
    return made


def apply(session: Session, made: Plan, service: Service, timeout: float) -> Outcome:
    """Carry the plan out. Raises LiveFailed when the service does not agree within timeout seconds; then the previous files are back."""
    start = time.monotonic()
    record = _Record(session, made.root)
    if not made.changed:
        # a killed run has done all of the work: the service has agreed just now
        with session.files():
            record.clear(made.previous)
        return Outcome()
    with session.files():
        record.write(made.previous)
    try:
        with session.files():
            for change in made.changes:
                # when only the service lags behind, the same text once more: whoever watches wakes up, whoever reloads does not mind
                if change.before != change.after or made.missing is not None:
                    put(made.root, change.path, change.after)
    except OSError as error:
        reason: str | None = f"{error.filename or made.root} could not be written: {error.strerror}"
    else:
        reason = _told(service, service.ask, timeout)
    if reason is None or all(change.after == made.previous[change.path] for change in made.changes):
        with session.files():
            record.clear(made.previous)
        if reason is not None:  # and there is nothing else to go back to
            raise LiveFailed(f"the files lie there as wanted, but {reason}", None)
        return Outcome(time.monotonic() - start)
    with session.files():
        for path, node in made.previous.items():
            put(made.root, path, node)
    back = _told(service, service.ask_back, timeout)
    with session.files():
        record.clear(made.previous)
    message = "the previous files are back" + (", and in effect" if back is None else f", but {back}")
    raise LiveFailed(reason, {"done": True, "in_effect": back is None, "message": message})


@contextlib.contextmanager
def staged(session: Session, root: str, files: Files) -> t.Iterator[tuple[str, list[Finding]]]:
    """A copy of the directory with our change in it, and findings about what could not be copied. Removed afterwards."""
    with session.files():
        outer = tempfile.mkdtemp(prefix="homelab-live-")
    try:
        with session.files():
            # programs in containers run as other users; the outer directory keeps everybody else out
            copy = os.path.join(outer, "set")
            found = _copy(root, copy, set(files))
            for path, node in files.items():
                if node is not None:
                    _write(os.path.join(copy, path), node.content, 0o644)
        yield copy, found
    finally:
        with session.files():
            shutil.rmtree(outer, ignore_errors=True)


def put(root: str, path: str, node: Node | None) -> None:
    """Create, replace or remove one file by a single step, seen by nobody half done. Call inside Session.files."""
    target = os.path.join(root, path)
    if node is None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target)
        _sync(os.path.dirname(target))
        return
    # beside the directory, where nobody watches; inside of it only where that is another file system or not ours to write
    hidden = f".{os.path.basename(path)}.patriark-homelab.new"
    for place in (os.path.dirname(os.path.abspath(root)), os.path.dirname(target)):
        temporary = os.path.join(place, hidden)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # of a run that was killed
            _write(temporary, node.content, node.mode)
            os.rename(temporary, target)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if place != os.path.dirname(target) and error.errno in (errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS):
                continue
            raise
        _sync(os.path.dirname(target))
        return


def make_folders(session: Session, root: str, files: Files) -> None:
    """The directories of the files that are wanted, made with the account's ids: a link in there leads no further than the account may go."""
    with session.files():
        for path in sorted(path for path, node in files.items() if node is not None and _below(path)):
            folder = os.path.dirname(os.path.join(root, path))
            try:
                os.makedirs(folder, mode=0o755, exist_ok=True)
            except OSError as error:
                reason = f"cannot be made by {session.user or 'root'}: {error.strerror}"
                raise LiveRefused([Finding(folder, reason, reach.obstacle(folder) or "give that account the right, or make it first")]) from None


def _below(path: str) -> bool:
    return not os.path.isabs(path) and ".." not in path.split("/")


def have_folders(session: Session, root: str, files: t.Iterable[str]) -> bool:
    """Whether the directories of the files are there, as the account sees them."""
    with session.files():
        return all(os.path.isdir(os.path.dirname(os.path.join(root, path))) for path in files)


def _look(session: Session, root: str, files: Files) -> list[Change]:
    who = session.user or "root"
    if not os.path.isdir(root):
        raise LiveRefused([Finding(root, "is not a directory", "make it first; it is the one that the service reads")])
    changes = []
    for path, after in sorted(files.items()):
        target = os.path.join(root, path)
        if not _below(path):
            raise LiveRefused([Finding(path, f"does not lie below {root}")])
        try:
            before = read_node(target)
        except PermissionError:
            raise LiveRefused([Finding(target, f"cannot be read by {who}", reach.obstacle(target) or "")]) from None
        except OSError as error:
            raise LiveRefused([Finding(target, str(error.strerror or error))]) from None
        if before is not None and before.target is not None:
            raise LiveRefused([Finding(target, f"is a symbolic link to {before.target}", "somebody arranged that; name the file it leads to")])
        folder = os.path.dirname(target)
        if not os.path.isdir(folder):
            raise LiveRefused([Finding(folder, "is not a directory", "make it first")])
        if before != after and not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise LiveRefused(
                [Finding(folder, f"cannot be written by {who}", reach.obstacle(folder) or "give that account the right, or name the account that has it")]
            )
        changes.append(Change(path, before, after))
    return changes


def _copy(root: str, copy: str, leave_out: set[str]) -> list[Finding]:
    """The tree as a reader sees it: links followed, without what is neither file nor directory."""
    found: list[Finding] = []
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        source, target = os.path.join(root, below), os.path.join(copy, below)
        try:
            state = os.stat(source)
            entries = sorted(os.listdir(source))
        except OSError as error:
            found.append(Finding(source, f"cannot be read: {error.strerror}; judged without it", severity="warning"))
            continue
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        os.mkdir(target, 0o755)
        os.chmod(target, 0o755)
        for name in entries:
            path = os.path.join(below, name)
            if path in leave_out:
                continue
            try:
                state = os.stat(os.path.join(root, path))
                if stat.S_ISDIR(state.st_mode):
                    waiting.append(path)
                elif stat.S_ISREG(state.st_mode):
                    total += state.st_size
                    if total > LARGEST:
                        raise LiveRefused([Finding(root, f"holds more than {LARGEST >> 20} MiB", "that is no directory of configuration; check the path")])
                    with open(os.path.join(copy, path), "xb") as taken:
                        taken.writelines(regular.chunks(os.path.join(root, path), LARGEST, follow=True))
                    os.chmod(os.path.join(copy, path), 0o644)
            except OSError as error:
                found.append(Finding(os.path.join(root, path), f"cannot be read: {error.strerror}; judged without it", severity="warning"))
    return found


class _Record:
    """What to go back to, one file for each of ours, kept from before the first rename until the service has agreed."""

    def __init__(self, session: Session, root: str) -> None:
        self.root = os.path.abspath(root)
        self.folder = os.path.join(session.state_dir, "live")

    def _place(self, path: str) -> str:
        return os.path.join(self.folder, hashlib.sha256(os.fsencode(os.path.join(self.root, path))).hexdigest()[:24] + ".json")

    def read(self, paths: t.Iterable[str]) -> dict[str, Node | None]:
        found: dict[str, Node | None] = {}
        for path in paths:
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
                node = json.loads(regular.read_text(self._place(path), 2 * LARGEST))["previous"]
                found[path] = None if node is None else Node(str(node[0]), int(node[1]))
        return found

    def write(self, files: Files) -> None:
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        for path, node in files.items():
            place = self._place(path)
            kept = {"path": os.path.join(self.root, path), "previous": None if node is None else [node.content, node.mode]}
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place + ".new")
            _write(place + ".new", json.dumps(kept), 0o600)
            os.rename(place + ".new", place)
        _sync(self.folder)

    def clear(self, paths: t.Iterable[str]) -> None:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._place(path))


def _told(service: Service, ask: t.Callable[[], str | None], timeout: float) -> str | None:
    """Reload and ask until the answer is yes (None) or the time is over (the last reason)."""
    deadline = time.monotonic() + timeout
    try:
        service.reload()
    except (SessionError, OSError) as error:
        return f"it could not be reloaded: {error}"
    while True:
        reason = _asked(ask)
        if reason is None or time.monotonic() >= deadline:
            return reason
        time.sleep(PAUSE)


def _asked(ask: t.Callable[[], str | None]) -> str | None:
    try:
        return ask()
    except (SessionError, OSError) as error:
        return str(error)


def _write(path: str, content: str, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _header(path: str, node: Node | None) -> str:
    return f"{path} (no file)" if node is None else f"{path} (mode {node.mode:04o})"
