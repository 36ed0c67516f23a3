# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An installation as it was recorded, and what else may be found in its place."""

from __future__ import annotations

import copy

from ansible_collections.patriark.homelab.plugins.module_utils._installation_look import FOLDERS
from ansible_collections.patriark.homelab.plugins.module_utils._installation_record import Record

ACCOUNT = {"name": "homelab", "uid": 1000, "subuids": [[100000, 65536]], "subgids": [[100000, 65536]]}
OTHER = {"name": "photos", "uid": 1001, "subuids": [[165536, 65536]], "subgids": [[165536, 65536]]}
MARK = {"installation": "one", "host": "here", "host_name": "photos", "account": "homelab"}
DATABASE = {
    "path": "/pool/db",
    "state": "there",
    "owner": 100998,
    "mark": MARK,
    "major": "14",
    "identifier": "7312",
    "checkpoint": 2000,
    "time": 1700000000,
    "outside": [],
    "inode": 2,
    "filesystem": "0a4b",
    "subvolume": 257,
}
LIBRARY = {"path": "/pool/photos", "state": "there", "owner": 1000, "mark": MARK, "markers": list(FOLDERS), "inode": 3, "filesystem": "0a4b", "subvolume": 256}
FOUND = {"host": {"id": "here", "name": "photos"}, "account": ACCOUNT, "database": DATABASE, "library": LIBRARY}
RECORD = Record(
    installation="one",
    host={"id": "here", "name": "photos"},
    account=ACCOUNT,
    database={"path": "/pool/db", "identifier": "7312", "major": "14", "checkpoint": 1000, "marked": True, "filesystem": "0a4b", "subvolume": 257},
    library={"path": "/pool/photos", "markers": list(FOLDERS), "marked": True, "filesystem": "0a4b", "subvolume": 256},
    held=True,
)
NO_DATABASE = {"state": "empty", "mark": None, "identifier": "", "major": "", "checkpoint": 0}
NO_LIBRARY = {"state": "empty", "mark": None, "markers": []}


def found(**parts):
    """As recorded, with some parts changed; a dictionary changes keys of its part."""
    result = copy.deepcopy(FOUND)
    for name, part in parts.items():
        result[name] = {**(result.get(name) or {}), **part} if isinstance(part, dict) else part
    return result


# What was found beside RECORD, the subject and the case of the only finding, and what its sentence has.
CASES = {
    "database is empty": (found(database=NO_DATABASE), "database", "another", ["7312", "/pool/db", "nothing is in", "albums"]),
    "database is away": (found(database={**NO_DATABASE, "state": "absent"}), "database", "another", ["no directory /pool/db"]),
    "a letter is missing": (
        found(database={**NO_DATABASE, "path": "/pool/d", "state": "absent"}, before=DATABASE),
        "database",
        "another",
        ["/pool/db", "/pool/d:", "cp -aT"],
    ),
    "another installation's": (found(database={"identifier": "999"}), "database", "another", ["7312", "999"]),
    "nobody may read": (found(database={**NO_DATABASE, "state": "closed"}), "database", "another", ["nobody may read"]),
    "an older copy elsewhere": (
        found(database={"path": "/new", "checkpoint": 1500}, before=DATABASE),
        "database",
        "behind",
        ["is at 0/7D0", "is at 0/5DC", "forgotten"],
    ),
    "a copy while the original ran on": (
        found(database={"path": "/new"}, before={**DATABASE, "time": 1700000060}),
        "database",
        "behind",
        ["22:14:20", "22:13:20"],
    ),
    "external": (found(database=None, before=DATABASE), "database", "external", ["immich_database_external", "/pool/db"]),
    "library is empty": (found(library=NO_LIBRARY), "library", "markers", ["nothing is in /pool/photos"]),
    "library elsewhere and empty": (found(library={**NO_LIBRARY, "path": "/pool/foto"}), "library", "markers", ["/pool/photos", "/pool/foto", "cp -aT"]),
    "a marker is gone": (found(library={"markers": [name for name in FOLDERS if name != "thumbs"]}), "library", "markers", ["thumbs/.immich"]),
    "all markers gone": (found(library={"markers": []}), "library", "markers", ["no marker"]),
    "library of another": (found(library={"mark": {**MARK, "installation": "two"}}), "library", "another", ["another installation"]),
    "library without a mark": (found(library={"mark": None}), "library", "another", ["not marked"]),
    "library left behind": (
        found(library={"path": "/old", "mark": {**MARK, "left": "/pool/photos"}}),
        "library",
        "left",
        ["/old was left behind", "moved to /pool/photos"],
    ),
    "another account": (found(account=OTHER), "account", "another", ["homelab", "photos", "/pool/db"]),
    "account that is not there": (found(account={"name": "foto", "uid": -1, "subuids": [], "subgids": []}), "account", "another", ["homelab_user: homelab"]),
    "account made anew": (found(account={"uid": 1005}), "account", "other_ids", ["uid 1000", "uid 1005"]),
    "account that was removed": (found(account={"uid": -1, "subuids": [], "subgids": []}), "account", "other_ids", ["uid 1000", "no such account"]),
    "other subordinate ids": (found(account={"subuids": [[300000, 65536]]}), "account", "other_ids", ["100000+65536", "300000+65536"]),
    "another host": (found(host={"id": "there", "name": "new"}), "host", "another", ["host photos", "host new"]),
    "write-ahead log elsewhere": (found(database={"outside": ["pg_wal -> /wal"]}), "files", "outside", ["pg_wal -> /wal"]),
}

MOVES = {
    "database": found(database={"path": "/new", "inode": 9}, before={**DATABASE, "state": "absent", "identifier": "", "checkpoint": 0}),
    "database, the old one left": found(database={"path": "/new"}, before=DATABASE),
    "library": found(library={"path": "/new"}),
    "account": found(account=OTHER, database={"owner": 166534}, library={"owner": 1001}),
}
