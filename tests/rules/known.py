# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Series that somebody else makes, which rules and dashboard may read. Whatever is not here has to be a rule of our own."""

SERIES = {
    "Prometheus": {
        "up",
        "ALERTS",
        "prometheus_tsdb_retention_limit_seconds",
        "prometheus_tsdb_lowest_timestamp_seconds",
        "prometheus_tsdb_time_retentions_total",
        "prometheus_tsdb_size_retentions_total",
    },
    "Traefik": {"traefik_router_requests_total", "traefik_service_requests_total"},
    "blackbox exporter": {"probe_success", "probe_duration_seconds", "probe_ssl_earliest_cert_expiry"},
    "node exporter": {"node_filesystem_avail_bytes", "node_filesystem_size_bytes", "node_textfile_mtime_seconds"},
    "Immich": {"immich_jobs_asset_generate_thumbnails_failed_total"},
    "log agents": {"loki_process_custom_immich_thumbnail_failures_total", "promtail_custom_immich_thumbnail_failures_total"},
    "text files of this collection": {
        "podman_container_running",
        "podman_container_healthy",
        "podman_container_restarts_total",
        "btrfs_unallocated_bytes",
        "immich_backup_last_success_timestamp_seconds",
        "immich_database_up",
        "immich_cache_up",
        "immich_database_checksum_failures_total",
    },
}
NAMES = set().union(*SERIES.values())
