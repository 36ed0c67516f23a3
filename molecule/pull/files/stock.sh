#!/bin/sh
# Fills the registry of a machine, from this build machine's archives: stock.sh MACHINE, in the checkout's folder.
set -eu
store="tests/machine/machine ssh $1"
for pair in immich-server-stand-in-2.5.5=ghcr.io/immich-app/immich-server:v2.5.5 immich-ml-stand-in-2.5.5=ghcr.io/immich-app/immich-machine-learning:v2.5.5 \
	postgres=ghcr.io/immich-app/postgres:17-pgvector0.8.0 valkey=docker.io/valkey/valkey:8.1; do
	archive=$(tests/images/build build "${pair%%=*}")
	$store "cat >/var/tmp/image.tar && skopeo copy --quiet --dest-tls-verify=false --dest-creds homelab:\$(cat /etc/registry/password) \
		oci-archive:/var/tmp/image.tar docker://127.0.0.1:5000/${pair#*=}" <"$archive"
done
