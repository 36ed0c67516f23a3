#!/usr/bin/env bash
# Secrets given as files are read by the program itself.
exec python3 -m immich_server "$@"
