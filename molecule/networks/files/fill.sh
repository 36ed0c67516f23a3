#!/bin/sh
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# As the account: starts containers without a planned address on the network lab until podman has none left, then prints theirs.
set -u
export XDG_RUNTIME_DIR=/run/user/1000
cd /
number=0
while podman run --detach --rm --name "fill-$number" --network systemd-lab localhost/tiny:1 sleep infinity >/dev/null 2>/tmp/fill.err; do
	number=$((number + 1))
	[ "$number" -lt 40 ] || break
done
grep -o 'failed to find free IP in range: .*' /tmp/fill.err || cat /tmp/fill.err
podman ps --quiet --filter name=fill- |
	xargs podman inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}'
