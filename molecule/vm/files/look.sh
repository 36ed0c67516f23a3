#!/usr/bin/env bash
# Waits until all services are healthy, and looks with plain commands whether the machine is what the card says.
#
#   look.sh ASSET SHA256    as root; the asset is a photo that was uploaded before
set -euo pipefail
asset=$1 sum=$2
services=(immich-server postgresql-immich redis-immich)
limits=/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice
database=/mnt/btrfs-pool/subvol7-containers/postgresql-immich
api=http://localhost:2283/api

account() { runuser -u homelab -- env --chdir=/ XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus "$@"; }
server() { account podman exec immich-server curl -sSf "$@"; }

# Name, addresses as its kernel has them, and the limit that this kernel enforces.
look() {
    local name pid token
    for name in "${services[@]}"; do
        pid=$(account podman inspect --format '{{.State.Pid}}' "$name")
        echo "$name" "$(nsenter --target "$pid" --net ip -4 -o address show scope global | awk '{ print $4 }' | sort | xargs)" \
            "$(cat "$limits/$name.service/memory.max")"
    done
    echo "copy-on-write in the database:" "$(find "$database" \( -type f -o -type d \) -exec lsattr -d {} + | cut -d ' ' -f 1 | grep -vc C)"
    token=$(server -H 'Content-Type: application/json' -d '{"email": "admin@example.org", "password": "correct-horse"}' $api/auth/login |
        sed -E 's/.*"accessToken": ?"([^"]*)".*/\1/')
    echo "photo:" "$(server -H "Authorization: Bearer $token" "$api/assets/$asset/original" | sha256sum | cut -d ' ' -f 1)"
}

deadline=$((SECONDS + 2400))
until [ "$(account podman inspect --format '{{.State.Status}} {{.State.Health.Status}}' "${services[@]}" 2>/dev/null | grep -cx 'running healthy')" = ${#services[@]} ]; do
    if [ "$SECONDS" -gt "$deadline" ]; then
        account podman ps --all
        exit 1
    fi
    sleep 5
done
diff - <(look) <<EXPECTED
immich-server 10.89.2.12/24 10.89.4.22/24 10.89.5.5/24 4294967296
postgresql-immich 10.89.5.3/24 1073741824
redis-immich 10.89.5.4/24 536870912
copy-on-write in the database: 0
photo: $sum
EXPECTED
