# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus metrics with the names of the original. A counter exists only after its first event, as there."""

from __future__ import annotations

import os
import re
import threading
import time
import typing as t

from immich_server import MAJOR

# Who counted is a label of each series.
SCOPE = (("otel_scope_name", "nestjs-otel"),)
HOST_SCOPE = (("otel_scope_name", "host-metrics"), ("otel_scope_version", "0.38.3" if MAJOR >= 3 else "0.36.2"))
BUCKETS_MS = (0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000)
Labels = tuple[tuple[str, str], ...]


def snake(name: str) -> str:
    """AssetGenerateThumbnails and thumbnailGeneration as in metric names."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def label_text(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels) + "}" if labels else ""


def process_memory() -> float:
    """Resident bytes of this process."""
    with open("/proc/self/statm", encoding="ascii") as handle:
        return float(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def system_memory() -> dict[Labels, float]:
    with open("/proc/meminfo", encoding="ascii") as handle:
        kibibytes = {line.split(":")[0]: float(line.split()[1]) for line in handle}
    free = kibibytes["MemFree"] * 1024
    return {(("system_memory_state", "free"),): free, (("system_memory_state", "used"),): kibibytes["MemTotal"] * 1024 - free}


class Registry:
    """All metrics of one worker; C(enabled) are the telemetry groups, the rest is not counted."""

    def __init__(self, enabled: t.Collection[str]) -> None:
        self.enabled = enabled
        self.lock = threading.Lock()
        self.counters: dict[str, dict[Labels, float]] = {}
        self.gauges: dict[str, dict[Labels, float]] = {}
        self.histograms: dict[str, dict[Labels, list[float]]] = {}
        self.live: dict[str, t.Callable[[], dict[Labels, float]]] = {}
        if "host" in enabled:
            self.live["process_memory_usage"] = lambda: {(): process_memory()}
            self.live["process_cpu_time"] = lambda: {(): time.process_time()}
            self.live["system_memory_usage"] = system_memory

    def count(self, group: str, name: str, amount: float = 1, **labels: str) -> None:
        if group in self.enabled:
            with self.lock:
                series = self.counters.setdefault(name, {})
                key = tuple(sorted(labels.items()))
                series[key] = series.get(key, 0) + amount

    def gauge(self, group: str, name: str, change: float, **labels: str) -> None:
        """Add to a gauge."""
        if group in self.enabled:
            with self.lock:
                series = self.gauges.setdefault(name, {})
                key = tuple(sorted(labels.items()))
                series[key] = series.get(key, 0) + change

    def observe(self, group: str, name: str, milliseconds: float, **labels: str) -> None:
        if group in self.enabled:
            with self.lock:
                series = self.histograms.setdefault(name, {})
                row = series.setdefault(tuple(sorted(labels.items())), [0.0] * (len(BUCKETS_MS) + 2))
                for position, bound in enumerate(BUCKETS_MS):
                    row[position] += milliseconds <= bound
                row[-2] += 1
                row[-1] += milliseconds

    def render(self) -> str:
        """The exposition text."""
        lines = ["# HELP target_info Target metadata", "# TYPE target_info gauge", 'target_info{service_name="immich"} 1']
        with self.lock:
            for name, series in sorted(self.counters.items()):
                lines.append(f"# TYPE {name}_total counter")
                lines += [f"{name}_total{label_text((*labels, *SCOPE))} {value:g}" for labels, value in sorted(series.items())]
            for name, series in sorted(self.gauges.items()):
                lines.append(f"# TYPE {name} gauge")
                lines += [f"{name}{label_text((*labels, *SCOPE))} {value:g}" for labels, value in sorted(series.items())]
            for name, rows in sorted(self.histograms.items()):
                lines.append(f"# TYPE {name} histogram")
                for labels, row in sorted(rows.items()):
                    for position, bound in enumerate((*map(str, BUCKETS_MS), "+Inf")):
                        lines.append(f"{name}_bucket{label_text((*labels, *SCOPE, ('le', bound)))} {row[position]:g}")
                    lines.append(f"{name}_count{label_text((*labels, *SCOPE))} {row[-2]:g}")
                    lines.append(f"{name}_sum{label_text((*labels, *SCOPE))} {row[-1]:g}")
        for name, read in sorted(self.live.items()):
            lines.append(f"# TYPE {name} gauge")
            lines += [f"{name}{label_text((*labels, *HOST_SCOPE))} {value:g}" for labels, value in sorted(read().items())]
        return "\n".join(lines) + "\n"
