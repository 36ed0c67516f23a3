# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start: the first process looks whether the database is in maintenance mode, starts one process per worker and watches them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import typing as t

from immich_server import api, database, jobs, logs, maintenance, settings, watch, worker


def run_worker(made: worker.Worker) -> int:
    """Run until it ends; a failed start is told like the original tells it."""

    async def guarded() -> list[t.Any]:
        return await asyncio.gather(made.run(), return_exceptions=True)

    (error,) = asyncio.run(guarded())
    if isinstance(error, Exception):
        text = str(error) if isinstance(error, database.ConnectFailed) else f"Error: {error}"
        stack = logs.stack_of(error)
        if isinstance(error, database.ConnectFailed):
            stack += f"\n    caused by: {error.reason}"
        logs.say(f"{made.name} worker error: {text}, stack: {text}{stack}", sys.stderr)
        return 1
    return made.status


def make(name: str, environment: settings.Settings) -> worker.Worker:
    return {"api": api.Api, "microservices": jobs.Microservices, "maintenance": maintenance.Maintenance}[name](environment)


def start(environment: settings.Settings, names: t.Sequence[str]) -> dict[int, str]:
    """Fork these workers; returns their names by process id."""
    first = os.getpid()
    go_read, go_write = os.pipe()
    children = {}
    for name in names:
        logs.say(f"Starting {name} worker")
        child = os.fork()
        if child:
            children[child] = name
            continue
        status = 1
        try:
            made = make(name, environment)
            if name == "api":
                os.close(go_write)
                made.go_read = go_read if "microservices" in names else -1
            else:
                logs.Options.pid = first
                os.close(go_read)
                made.go_write = go_write if "api" in names else -1
            status = run_worker(made)
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(go_read)
    os.close(go_write)
    return children


def main() -> int:
    # Libraries' own complaints are not part of the contract.
    logging.getLogger().addHandler(logging.NullHandler())
    worker.banner()
    try:
        environment = settings.from_environment(settings.resolve_files(os.environ))
    except settings.BadEnvironment as error:
        logs.say(f"Error: {error}", sys.stderr)
        return 1
    logs.Options.level = environment.log_level or "log"
    logs.Options.as_json = environment.log_json
    logs.Options.color = environment.color
    while True:
        # The database may take its time, and there is no worker to end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(watch.ENDED_BY_SIGTERM))
        try:
            in_maintenance = database.maintenance_mode(environment.database)
        except database.Crash as error:
            logs.say(str(error), sys.stderr)
            return 1
        result = watch.watch(start(environment, ("maintenance",) if in_maintenance else environment.workers))
        if result != watch.RESTART:
            return result


if __name__ == "__main__":
    sys.exit(main())
