#!/bin/sh
# Waits until the conversion of a tree copies, and stops its processes.
set -eu
sibling=$(dirname "$1")/.$(basename "$1").patriark-convert
until [ -n "$(ls -A "$sibling" 2>/dev/null)" ]; do sleep 0.02; done
for process in /proc/[0-9]*; do
    if grep -qsz '^PATRIARK_HOMELAB_PROGRESS=' "$process/environ"; then kill -STOP "${process#/proc/}"; fi
done
