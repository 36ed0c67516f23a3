#!/bin/sh
# Waits until the conversion of a tree copies, and stops its processes, or sends them another signal. One process looks through all of them:
# a small tree is copied soon.
set -eu
sibling=$(dirname "$1")/.$(basename "$1").patriark-convert
until [ -n "$(ls -A "$sibling" 2>/dev/null)" ]; do sleep 0.02; done
grep -lsz '^PATRIARK_HOMELAB_PROGRESS=' /proc/[0-9]*/environ | cut -d/ -f3 | xargs kill "-${2-STOP}"
