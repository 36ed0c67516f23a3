#!/bin/sh
# What somebody would notice, on standard output: which containers run and how they are, every unit and file, what is recorded of the stacks.
cd /home/homelab || exit
podman ps --format '{{.ID}} {{.Names}} {{.Image}} {{.Status}}' | sed -E 's/ Up .*\((.*)\)/ \1/; s/ Up .*/ up/' | sort
find .config/containers/systemd .config/systemd .local/state/patriark.homelab -printf '%p %m ' \( -type f -exec sha256sum {} \; -o -printf '\n' \) | sort
systemctl --user show --property=Id,ActiveState,NRestarts,InvocationID,NeedDaemonReload 'cache.service' 'immich-*.service'
