# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for immich-server 2.5.5 and 3.1.0 (IMMICH_VERSION says which), for tests on machines without a container registry.

It keeps the original's contract (environment, storage markers, database, queues, API subset, metrics, log lines, maintenance mode, reasons to
refuse to start), as tests/contract shows, and none of its looks. What it does not keep is in README.md. Nothing is ever fetched from the internet.

Standard library only: settings, logs, names, versions, validation, storage, metrics, config, schema, dumps, crash, watch.
Debian's packages: database, queues, jobs, media, access, worker, api, maintenance, admin.
"""

import os

VERSION = os.environ.get("IMMICH_VERSION", "").lstrip("v") or "2.5.5"
# What differs, differs between 2 and 3.
MAJOR = int(VERSION.split(".", maxsplit=1)[0])
