# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server gives for a photo: the status and the SHA-256 of its original.

original.py URL EMAIL PASSWORD ASSET, beside photo.py
"""

from __future__ import annotations

import hashlib
import sys

import photo

url, email, password, asset = sys.argv[1:]
server = photo.Server(url)
server.log_in(email, password)
status, content = server.call("GET", f"/api/assets/{asset}/original")
print(status, hashlib.sha256(content).hexdigest())
