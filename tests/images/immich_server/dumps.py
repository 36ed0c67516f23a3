# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the database dumps, and which of them are removed."""

from __future__ import annotations

import datetime as dt
import re
import typing as t

# What the retention rule may remove; restore points and uploaded dumps have other names.
DUMP_NAME = re.compile(r"immich-db-backup-(\d{8}T\d{6}-v\d+\.\d+\.\d+-pg[\d.]+|\d+)\.sql\.gz")
LEFT_OVER = re.compile(r"immich-db-backup-.+\.sql\.gz\.tmp")


def dump_name(version: str, database_version: str, now: dt.datetime) -> str:
    return f"immich-db-backup-{now:%Y%m%dT%H%M%S}-v{version}-pg{database_version}.sql.gz"


def old_dumps(names: t.Iterable[str], keep: int) -> list[str]:
    """Dumps beyond the newest C(keep), by name: names with a time are newer than the old ones with a number."""
    return sorted((name for name in names if DUMP_NAME.fullmatch(name)), reverse=True)[keep:]


def left_over(names: t.Iterable[str]) -> list[str]:
    """Partial dumps of runs that were cut off."""
    return sorted(name for name in names if LEFT_OVER.fullmatch(name))
