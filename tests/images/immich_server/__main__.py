# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start: one process per worker. The first is the microservices worker's and watches; the api worker is its child."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import typing as t

from immich_server import api, database, jobs, logs, settings, worker


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
    return 0


def start(environment: settings.Settings) -> dict[int, str]:
    """Fork the wanted workers; returns their names by process id."""
    go_read, go_write = os.pipe()
    children = {}
    for name in environment.workers:
        logs.say(f"Starting {name} worker")
        child = os.fork()
        if child:
            children[child] = name
            continue
        status = 1
        try:
            made = api.Api(environment) if name == "api" else jobs.Microservices(environment)
            if name == "api":
                os.close(go_write)
                made.go_read = go_read if "microservices" in environment.workers else -1
            else:
                os.close(go_read)
                made.go_write = go_write if "api" in environment.workers else -1
            status = run_worker(made)
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(go_read)
    os.close(go_write)
    return children


def watch(children: dict[int, str]) -> int:
    """Wait for the workers. SIGTERM goes to all; one that fails takes the others with it."""
    asked = False

    def stop(number: int, frame: t.Any) -> None:
        nonlocal asked
        asked = True
        for child in children:
            os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    result = 0
    while children:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        name = children.pop(pid, "")
        code = os.waitstatus_to_exitcode(status)
        if not name or asked or result:
            continue
        result = code if code > 0 else 1
        if code != 0:
            logs.say(f"{name} worker exited with code {code}", sys.stderr)
            for other in children.values():
                logs.say(f"Killing {other} process", sys.stderr)
        # A failing start may be killed in the middle of anything: it gets no time.
        for child in children:
            os.kill(child, signal.SIGKILL)
    return 0 if asked else result


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
    return watch(start(environment))


if __name__ == "__main__":
    sys.exit(main())
