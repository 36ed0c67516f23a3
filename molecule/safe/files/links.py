# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts fifos and links where a traced run has touched something in the reach of the account, and takes them away again.

    links.py begin PGDATA | root | files fifo | files link | folders link | back

What was there waits beside it. The canaries are root's, and nobody else may even look at them.
"""

import json
import os
import sys

HERE = "/run/links"
CANARY, SECRET = f"{HERE}/canary", f"{HERE}/secret"
WAITS = ".links-was"
TEXT = "canary-of-root"
NOT_OURS = ("/.local/share/containers/", "/.ansible/", "/.cache/")


def events():
    with open(f"{HERE}/kept" if os.path.exists(f"{HERE}/kept") else f"{HERE}/log", encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def touched():
    """Files that are there, of those that the traced run named."""
    with open(f"{HERE}/data", encoding="utf-8") as handle:
        data = handle.read().strip()
    names = {os.path.join(data, path) for dummy, path, dummy2 in events()}
    return sorted(name for name in names if not any(part in name for part in NOT_OURS) and os.path.isfile(name) and not os.path.islink(name))


def folders():
    """Theirs; not those above one that becomes a link itself."""
    names = {os.path.dirname(name) for name in touched()}
    return sorted(name for name in names if not any(other.startswith(name + "/") for other in names))


def plant(name, kind):
    info = os.lstat(name)
    os.rename(name, name + WAITS)
    if kind == "fifo":
        os.mkfifo(name, 0o600)
    else:
        os.symlink(CANARY if os.path.isdir(name + WAITS) else SECRET, name)
    os.lchown(name, info.st_uid, info.st_gid)
    return name


def state():
    found = {}
    for name in (CANARY, SECRET):
        info = os.lstat(name)
        found[name] = [info.st_uid, info.st_gid, info.st_mode, info.st_mtime_ns, info.st_ctime_ns, name == SECRET and info.st_atime_ns]
    return [found, sorted(os.listdir(CANARY)), os.lstat(HERE).st_mode]


def save(name, value):
    with open(f"{HERE}/{name}", "w", encoding="utf-8") as handle:
        json.dump(value, handle)


def load(name):
    with open(f"{HERE}/{name}", encoding="utf-8") as handle:
        return json.load(handle)


def begin(data):
    os.makedirs(CANARY, 0o700)
    with open(SECRET, "w", encoding="utf-8") as handle:
        handle.write(TEXT + "\n")
    os.chmod(SECRET, 0o600)
    os.chmod(HERE, 0o711)  # in the way of nobody; the two themselves are root's
    for name, text in (("log", ""), ("data", data)):
        with open(f"{HERE}/{name}", "w", encoding="utf-8") as handle:
            handle.write(text)
    os.chmod(f"{HERE}/log", 0o622)
    save("before", state())
    return []


def main(words):
    if words[0] == "begin":
        return begin(words[1])
    if words[0] == "root":
        return [f"{event} {path}" for event, path, uid in events() if uid == 0 and path.startswith("/")]
    if words[0] == "back":
        for name in load("planted"):
            os.unlink(name)
            os.rename(name + WAITS, name)
        os.unlink(f"{HERE}/planted")
        return [] if state() == load("before") else [f"{load('before')} became {state()}"]
    if not os.path.exists(f"{HERE}/kept"):  # what comes from now on is no trace
        os.rename(f"{HERE}/log", f"{HERE}/kept")
    names = touched() if words[0] == "files" else folders()
    save("planted", [])
    planted = []
    for name in names:
        planted.append(plant(name, words[1]))
        save("planted", planted)
    return planted


print(json.dumps(main(sys.argv[1:])))
