# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An error that nobody caught, as the original's runtime tells it: no prefix of the logger, the driver's fields in braces."""

from __future__ import annotations

import re
import socket

# libpq tells a refused connection in words only.
CODES = (
    (r"password authentication failed", "28P01", "auth_failed"),
    (r"no pg_hba\.conf entry", "28000", "ClientAuthentication"),
    (r'role ".*" does not exist', "28000", "InitializeSessionUserId"),
    (r'database ".*" does not exist', "3D000", "InitPostgres"),
    (r"starting up|shutting down|recovery", "57P03", "ProcessStartupPacket"),
    (r"too many clients|connection slots", "53300", "InitProcess"),
)
# Of getaddrinfo: the runtime's own name and number.
NAME_ERRORS = {socket.EAI_AGAIN: ("EAI_AGAIN", -3001), socket.EAI_NONAME: ("ENOTFOUND", -3008)}


def fields(**values: object) -> str:
    lines = [f"  {key}: {value!r}" for key, value in values.items()]
    return " {\n" + ",\n".join(lines) + "\n}"


def of_name(host: str, number: int) -> str:
    """A host name that leads nowhere."""
    code, errno = NAME_ERRORS.get(number, ("ENOTFOUND", -3008))
    return f"Error: getaddrinfo {code} {host}\n    at GetAddrInfoReqWrap.onlookupall" + fields(errno=errno, code=code, syscall="getaddrinfo", hostname=host)


def of_connection(reason: str, address: str, port: int) -> str:
    """A connection that was refused, by PostgreSQL or before it."""
    told = re.search(r"FATAL:\s+(.+)", reason)
    if not told:
        code = "ETIMEDOUT" if "timeout" in reason or "timed out" in reason else "ECONNREFUSED"
        found = fields(errno=-111, code=code, syscall="connect", address=address, port=port)
        return f"Error: connect {code} {address}:{port}\n    at TCPConnectWrap.afterConnect" + found
    code, routine = next(((code, routine) for pattern, code, routine in CODES if re.search(pattern, told[1])), ("XX000", "unknown"))
    found = fields(severity_local="FATAL", severity="FATAL", code=code, routine=routine)
    return f"PostgresError: {told[1].strip()}\n    at ErrorResponse" + found
