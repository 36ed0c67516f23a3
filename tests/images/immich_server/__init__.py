# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for immich-server 2.5.5, for tests on machines without a container registry.

It keeps the original's contract (environment, storage markers, database, queues, API subset, metrics, log lines, reasons to refuse to start)
and none of its looks: no web interface, no videos, no search, no real machine learning. Nothing is ever fetched from the internet.

Standard library only: settings, logs, versions, storage, metrics, config, schema, dumps.
Debian's packages: database, queues, jobs, media, access, worker, api, admin.
"""

VERSION = "2.5.5"
