#!/usr/bin/env bash
# Runs beside the machines: the pictures of pages that the visitor ($2) has taken go to a folder here ($3). $1 is the command `machine`.
set -euo pipefail
mkdir -p "$3"
"$1" ssh -l homelab "$2" 'mkdir -p pictures && tar -C pictures -c .' | tar --extract --no-same-owner --directory "$3"
