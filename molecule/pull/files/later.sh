#!/bin/sh
# On the registry's machine, where the archive of Valkey was the last to come: a later release of it, with two layers more, of 8 and 40 MB.
set -eu
podman load --quiet --input /var/tmp/image.tar
image=$(podman images --quiet | head -n 1)
for size in 8 40; do
	head -c "${size}000000" /dev/urandom >/var/tmp/more
	container=$(podman create "$image")
	podman cp /var/tmp/more "$container:/usr/share/more-$size"
	image=$(podman commit --quiet "$container")
	podman rm "$container"
done
podman push --quiet --tls-verify=false --creds "homelab:$(cat /etc/registry/password)" "$image" docker://127.0.0.1:5000/docker.io/valkey/valkey:8.2
podman rmi --all --force
rm /var/tmp/more /var/tmp/image.tar
