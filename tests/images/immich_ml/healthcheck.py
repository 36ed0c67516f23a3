# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health check of the image: exit 0 when /ping answers within 2 seconds."""

from __future__ import annotations

import os
import sys
import urllib.request

host = os.environ.get("IMMICH_HOST") or "localhost"
if host.strip("[]") in ("::", "0.0.0.0"):
    host = "localhost"
elif ":" in host:
    host = "[" + host.strip("[]") + "]"
try:
    with urllib.request.urlopen(f"http://{host}:{os.environ.get('IMMICH_PORT') or 3003}/ping", timeout=2) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except OSError:
    sys.exit(1)
