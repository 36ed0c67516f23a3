#!/usr/bin/env bash
# Runs beside the machines: out of the server that runs on a machine ($2), its command line client goes to a folder ($4) of another ($3). $1 is the command `machine`.
set -euo pipefail
"$1" ssh "$3" mkdir -p "$4"
"$1" ssh -l homelab "$2" podman cp immich-server:/usr/src/app/cli - | "$1" ssh "$3" tar --extract --directory "$4"
