#!/bin/sh
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# As root: restarts immich-server 20 times, and prints each time its way out and its addresses.
set -eu
account() { runuser -u homelab -- env --chdir=/ HOME=/home/homelab XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus "$@"; }
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	account systemctl --user reset-failed immich-server # systemd counts how often it is started
	account systemctl --user restart immich-server
	pid=$(account podman inspect --format '{{.State.Pid}}' immich-server)
	way=$(nsenter -t "$pid" -n ip -4 route get 192.0.2.1 | grep -o 'via [^ ]*')
	echo "$way $(nsenter -t "$pid" -n ip -4 -o address | awk '$2 != "lo" { print $4 }' | sort | tr '\n' ' ')"
done
