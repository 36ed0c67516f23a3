#!/usr/bin/env bash
# Runs the lines of docs/operations.md as the account, on a deployed machine, and says which one fails.
set -uo pipefail
cd / || exit 1 # where ssh left us may be closed to the account
wrong=0

# try TEXT COMMAND...: the command succeeds, and what it prints matches TEXT (an extended regular expression).
try() {
    local text=$1 out
    shift
    if ! out=$("$@" 2>&1) || ! grep --quiet --extended-regexp -- "$text" <<<"$out"; then
        echo "WRONG $*: $out"
        wrong=1
    else
        echo "ok    $*"
    fi
}

try 'Active: active' systemctl --user status --no-pager immich-server immich-ml postgresql-immich redis-immich
try 'Nest' podman logs --tail 50 immich-server
try . podman logs --tail 50 immich-ml
try . podman logs --tail 50 postgresql-immich
try . journalctl --user --unit immich-server.service --since "1 hour ago" --output cat
for name in immich-server immich-ml postgresql-immich redis-immich; do
    try '^healthy' sh -c "podman healthcheck run $name && echo healthy"
done
try ' 0 ' podman inspect --format '{{range .State.Health.Log}}{{.End}} {{.ExitCode}} {{.Output}}{{println}}{{end}}' immich-server
try 'MemoryMax=[0-9]' systemctl --user show --property=MemoryCurrent,MemoryMax immich-server.service
try '^10[.]89[.]5[.]4 ' podman exec immich-server getent hosts postgresql-immich redis-immich immich-ml
try 'redis-immich Up' podman ps --filter network=systemd-photos --format '{{.Names}} {{.Status}}'
try '"IPAddress":"10[.]89[.]5[.]5"' podman inspect --format '{{json .NetworkSettings.Networks}}' immich-server
try '^VACUUM' podman exec postgresql-immich psql -U immich -d immich -c 'VACUUM ANALYZE'
try 'accepting' podman exec postgresql-immich pg_isready -U immich -d immich
try '[kM]B' podman exec postgresql-immich psql -U immich -d immich -Atc "select pg_size_pretty(pg_database_size('immich'))"
try '^0?$' podman exec postgresql-immich psql -U immich -d immich -Atc 'select sum(checksum_failures) from pg_stat_database'
try '^PONG' podman exec redis-immich valkey-cli ping
try 'admin@example.org' podman exec immich-server immich-admin list-users
try '^v[0-9]+[.]' podman exec immich-server immich-admin version
try . podman exec immich-server immich-admin schema-check
try 'password has been updated' sh -c "printf '%s\n' correct-horse | podman exec --interactive immich-server immich-admin reset-admin-password"
# The damaged photo of live.py is among the failures; a pattern with the level behind the job finds none.
try 'AssetGenerateThumbnails' sh -c 'journalctl --user --unit immich-server.service --since "1 hour ago" --output cat |
    grep --extended-regexp "ERROR .*Unable to run job handler \(AssetGenerateThumbnails\)"'
try 'failed_total' sh -c 'podman exec immich-server curl --silent http://localhost:8082/metrics | grep immich_jobs_asset_generate_thumbnails_failed_total'
exit "$wrong"
