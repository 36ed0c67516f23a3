# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The card's three networks and four containers, deployed side by side on one machine in three ways, and judged by what runs.

ours      quadlet_network and quadlet
modules   containers.podman with state=quadlet, then systemd, as its documentation shows, restarting what changed
copy      hand-written: copy, daemon-reload, restart what changed by a handler, start the rest

    python3 -B tests/bench/quadlet.py --inventory FILE --collections DIR [--rounds 7] [--output FILE]

The inventory has one machine of tests/machine with the account homelab and the image localhost/tiny:1 (molecule/quadlet/prepare.yml makes
it); DIR has containers.podman (from the package ansible). Every line of the output is one run as JSON; the last ones are medians.
Started counts processes and threads: the growth of the machine's last process id.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time
import typing as t

NETWORKS = {"bench-proxy": 101, "bench-photos": 102, "bench-monitoring": 103}
CONTAINERS = {
    "bench-server": {"bench-proxy": 12, "bench-photos": 5, "bench-monitoring": 22},
    "bench-ml": {"bench-photos": 2},
    "bench-postgres": {"bench-photos": 3},
    "bench-redis": {"bench-photos": 4},
}
SESSION = "{XDG_RUNTIME_DIR: /run/user/1000, DBUS_SESSION_BUS_ADDRESS: 'unix:path=/run/user/1000/bus'}"
UNITS = "/home/homelab/.config/containers/systemd"
CALLBACK = """
import json, os
from ansible.plugins.callback import CallbackBase
class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "counts"
    def __init__(self):
        super().__init__()
        self.counts = dict(tasks=0, modules=0, changed=0, failed=0)
    def v2_playbook_on_task_start(self, task, is_conditional): self.counts["tasks"] += 1
    def v2_playbook_on_handler_task_start(self, task): self.counts["tasks"] += 1
    def v2_runner_on_ok(self, result):
        data = result._result
        self.counts["modules"] += len([item for item in data["results"] if not item.get("skipped")]) if "results" in data else 1
        self.counts["changed"] += bool(data.get("changed"))
    def v2_runner_on_failed(self, result, ignore_errors=False): self.counts["failed"] += 1
    def v2_playbook_on_stats(self, stats):
        with open(os.environ["BENCH_COUNTS"], "w") as out: json.dump(self.counts, out)
"""


def network_unit(name: str) -> str:
    third = NETWORKS[name]
    return f"[Network]\nNetworkName={name}\nSubnet=10.{third}.1.0/24\nGateway=10.{third}.1.1\nIPRange=10.{third}.1.128/25\n"


def container_unit(name: str, value: str) -> str:
    lines = [f"Network={network}.network:ip=10.{NETWORKS[network]}.1.{host}" for network, host in CONTAINERS[name].items()]
    mark = f"Environment=MARK={value}\n" if name == "bench-ml" else ""
    check = "HealthCmd=test -e /bin/sh\nHealthInterval=5s\n"
    return (
        f"[Container]\nContainerName={name}\nImage=localhost/tiny:1\nExec=sleep 100000\nStopTimeout=0\n{mark}{check}"
        + "\n".join(lines)
        + "\n\n[Service]\nRestart=always\n\n[Install]\nWantedBy=default.target\n"
    )


def play(tasks: list[t.Any], handlers: list[t.Any] | None = None, become: bool = False) -> str:
    found: dict[str, t.Any] = {"hosts": "all", "gather_facts": False, "tasks": tasks, "handlers": handlers or []}
    if become:
        found.update(
            become=True, become_user="homelab", environment={"XDG_RUNTIME_DIR": "/run/user/1000", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus"}
        )
    return json.dumps([found])


def ours(value: str) -> str:
    networks = [
        {
            "unit": name,
            "name": name,
            "subnet": f"10.{third}.1.0/24",
            "default_route": name == "bench-proxy",
            "static": {container: f"10.{third}.1.{hosts[name]}" for container, hosts in CONTAINERS.items() if name in hosts},
        }
        for name, third in NETWORKS.items()
    ]
    return play(
        [
            {"patriark.homelab.quadlet_network": {"user": "homelab", "stack": "bench-networks", "networks": networks}},
            {
                "patriark.homelab.quadlet": {
                    "user": "homelab",
                    "stack": "bench",
                    "units": [{"name": f"{name}.container", "content": container_unit(name, value)} for name in CONTAINERS],
                }
            },
        ]
    )


def modules(value: str) -> str:
    tasks: list[t.Any] = [
        {
            "containers.podman.podman_network": {
                "name": name, "state": "quadlet", "subnet": f"10.{third}.1.0/24", "gateway": f"10.{third}.1.1", "ip_range": f"10.{third}.1.128/25",
            }
        }
        for name, third in NETWORKS.items()
    ]  # fmt: skip
    for name, addresses in CONTAINERS.items():
        options: dict[str, t.Any] = {
            "name": name, "state": "quadlet", "image": "localhost/tiny:1", "command": "sleep 100000", "stop_timeout": 0,
            "network": [f"{network}.network:ip=10.{NETWORKS[network]}.1.{host}" for network, host in addresses.items()],
            "healthcheck": "test -e /bin/sh", "healthcheck_interval": "5s",
            "quadlet_options": ["[Service]\nRestart=always", "[Install]\nWantedBy=default.target"],
        }  # fmt: skip
        if name == "bench-ml":
            options["env"] = {"MARK": value}
        tasks.append({"containers.podman.podman_container": options, "register": f"r_{name.replace('-', '_')}"})
    tasks.append({"ansible.builtin.systemd_service": {"daemon_reload": True, "scope": "user"}})
    tasks += [
        {
            "ansible.builtin.systemd_service": {
                "name": f"{name}.service",
                "scope": "user",
                "state": f"{{{{ 'restarted' if r_{name.replace('-', '_')} is changed else 'started' }}}}",
            }
        }
        for name in CONTAINERS
    ]
    return play(tasks, become=True)


def copies(value: str) -> str:
    files = {f"{name}.network": network_unit(name) for name in NETWORKS} | {f"{name}.container": container_unit(name, value) for name in CONTAINERS}
    tasks = [
        {"ansible.builtin.file": {"path": UNITS, "state": "directory", "mode": "0755"}},
        *(
            {"ansible.builtin.copy": {"dest": f"{UNITS}/{name}", "content": text, "mode": "0644"}, "notify": [f"restart {name}"]}
            for name, text in files.items()
        ),
        {"ansible.builtin.meta": "flush_handlers"},
        {"ansible.builtin.systemd_service": {"name": "{{ item }}.service", "scope": "user", "state": "started"}, "loop": list(CONTAINERS)},
    ]
    handlers = [
        {"name": "reload", "listen": [f"restart {name}" for name in files], "ansible.builtin.systemd_service": {"daemon_reload": True, "scope": "user"}},
        *(
            {
                "name": f"again {name}",
                "listen": f"restart {name}.container",
                "ansible.builtin.systemd_service": {"name": f"{name}.service", "scope": "user", "state": "restarted"},
            }
            for name in CONTAINERS
        ),
    ]
    return play(tasks, handlers, become=True)


WAYS: dict[str, t.Callable[[str], str]] = {"ours": ours, "modules": modules, "copy": copies}
CLEAN = f"""
systemctl --user stop {" ".join(f"{name}.service" for name in CONTAINERS)} {" ".join(f"{name}-network.service" for name in NETWORKS)} 2>/dev/null
systemctl --user reset-failed 2>/dev/null
rm -rf {UNITS} /home/homelab/.local/state/patriark.homelab
systemctl --user daemon-reload
podman network rm {" ".join(NETWORKS)} >/dev/null 2>&1
true
"""


class Bench:
    def __init__(self, options: argparse.Namespace, folder: pathlib.Path) -> None:
        self.options, self.folder = options, folder
        (folder / "callback").mkdir()
        (folder / "callback" / "counts.py").write_text(CALLBACK)
        self.env = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": options.collections,
            "ANSIBLE_CALLBACK_PLUGINS": str(folder / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "counts",
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "BENCH_COUNTS": str(folder / "counts"),
        }

    def say(self, **facts: t.Any) -> None:
        line = json.dumps(facts)
        print(line, flush=True)
        if self.options.output:
            with open(self.options.output, "a", encoding="utf-8") as out:
                out.write(line + "\n")

    def remote(self, script: str) -> str:
        data = json.loads(pathlib.Path(self.options.inventory).read_text(encoding="utf-8"))
        host = next(iter(data["all"]["hosts"].values()))
        prefix = "export XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus; cd; "
        command = ["ssh", *host["ansible_ssh_common_args"].split(), "-l", "homelab", host["ansible_host"], prefix + script]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def last_id(self) -> int:
        return int(self.remote("cat /proc/sys/kernel/ns_last_pid"))

    def play(self, text: str, *more: str) -> dict[str, t.Any]:
        path = self.folder / "play.yml"
        path.write_text(text)
        before = self.last_id()
        start = time.monotonic()
        done = subprocess.run(
            ["ansible-playbook", "-i", self.options.inventory, str(path), *more],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wall = round(time.monotonic() - start, 2)
        if done.returncode != 0:
            print(done.stdout[-3000:])
        counts: dict[str, t.Any] = json.loads((self.folder / "counts").read_text())
        return {"wall": wall, "started": self.last_id() - before, "rc": done.returncode, **counts}

    def invocations(self) -> dict[str, str]:
        return {name: self.remote(f"systemctl --user show --value -p InvocationID {name}.service") for name in CONTAINERS}

    def right(self, value: str) -> bool:
        """Whether all four run, healthy, with the value asked for."""
        look = "podman ps --format '{{.Names}} {{.Status}}'; podman exec bench-ml sh -c 'echo MARK=$MARK' 2>/dev/null"
        script = f"for i in 1 2 3 4 5 6; do {look}; echo --; sleep 0.5; done"
        text = self.remote(script).split("--")[-2]
        return f"MARK={value}" in text and all(any(line.startswith(f"{name} ") and "(healthy)" in line for line in text.splitlines()) for name in CONTAINERS)

    def run(self) -> None:
        results: dict[tuple[str, str], list[dict[str, t.Any]]] = {}
        pings = []
        # One way after the other in each round: what slows the machine for a while slows all of them.
        for dummy in range(self.options.rounds):
            pings.append(self.play(play([{"ansible.builtin.ping": {}}, {"ansible.builtin.ping": {}}])))
            self.say(way="two pings", run="no-op", **pings[-1])
            for way, text in WAYS.items():
                self.remote(CLEAN)
                self.measure(results, way, "converge", text("0"), "0")
                self.measure(results, way, "no-op", text("0"), "0")
                self.measure(results, way, "one key", text("1"), "1")
        ping = statistics.median(found["wall"] for found in pings)
        self.remote(CLEAN)
        for (way, run), found in results.items():
            medians = {key: statistics.median(item[key] for item in found) for key in ("wall", "started", "tasks", "modules", "needless")}
            self.say(
                median=True,
                way=way,
                run=run,
                to_two_pings=round(medians["wall"] / ping, 2),
                right=all(item["right"] for item in found),
                honest=all(item["honest"] for item in found),
                **medians,
            )
        for count in (10, 50, 200):
            units = [
                {
                    "name": f"many{number}.container",
                    "content": container_unit("bench-redis", "0").replace("bench-redis", f"many{number}").replace("bench-photos.network:ip=10.102.1.4", "none"),
                }
                for number in range(count)
            ]
            made = self.play(play([{"patriark.homelab.quadlet": {"user": "homelab", "stack": "many", "units": units}}]), "--check")
            self.say(way="ours", run=f"plan and verify {count} new units in check mode", per_unit=round(made["wall"] / count, 4), **made)

    def measure(self, results: dict[tuple[str, str], list[dict[str, t.Any]]], way: str, run: str, text: str, value: str) -> None:
        before = self.invocations()
        found = self.play(text)
        after = self.invocations()
        moved = [name for name in CONTAINERS if before[name] != after[name]]
        meant = {"converge": list(CONTAINERS), "no-op": [], "one key": ["bench-ml"]}[run]
        found["needless"] = len([name for name in moved if name not in meant])
        found["right"] = self.right(value)
        found["honest"] = bool(found["changed"]) == (run != "no-op")
        results.setdefault((way, run), []).append(found)
        self.say(way=way, run=run, **found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inventory", required=True)
    parser.add_argument("--collections", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output")
    with tempfile.TemporaryDirectory() as folder:
        Bench(parser.parse_args(), pathlib.Path(folder)).run()


if __name__ == "__main__":
    main()
