#!/bin/sh
# On the registry's machine: point.sh NAME RELEASE lets a name of Valkey mean a release of it from now on.
set -eu
valkey=docker://127.0.0.1:5000/docker.io/valkey/valkey
account="homelab:$(cat /etc/registry/password)"
skopeo copy --quiet --src-tls-verify=false --dest-tls-verify=false --src-creds "$account" --dest-creds "$account" "$valkey:$2" "$valkey:$1"
