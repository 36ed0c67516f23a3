# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One of the four servers with a database, a Valkey and a network of its own, run as the role runs it."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import threading
import time
import typing as t

from contract.client import Client
from contract.host import Failed, Machine

IMAGES = "localhost/homelab-test/"
POSTGRES, VALKEY, LEARNING = IMAGES + "postgres:17-pgvector0.8.0", IMAGES + "valkey:8.1", IMAGES + "immich-ml-stand-in:v2.5.5"
PORTS = {"api": 2283, "api metrics": 8081, "microservices metrics": 8082}
# There is no internet, and a name that cannot be had is not waited for.
IMPATIENT = ("--dns-option", "timeout:1", "--dns-option", "attempts:1")
HARDENED = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
WAIT = 240.0


class Face(t.NamedTuple):
    """Which server: C(kind) is stand-in or real."""

    kind: str
    version: str

    @property
    def title(self) -> str:
        return f"{self.kind} {self.version}"

    @property
    def image(self) -> str:
        return f"{IMAGES}immich-server{'-stand-in' if self.kind == 'stand-in' else ''}:v{self.version}"


class Ended(t.NamedTuple):
    """How a container ended."""

    status: int
    log: str


class Start(t.NamedTuple):
    """Times by the machine's clock, in seconds since 1970."""

    begun: float
    first_answer: float


class Server:
    """Containers of one face. C(number) keeps the ports of the faces apart."""

    def __init__(self, machine: Machine, face: Face, number: int) -> None:
        self.machine = machine
        self.face = face
        self.short = f"contract-{number}"
        self.name = self.short + "-server"
        self.ports = {name: 20000 + 100 * number + position for position, name in enumerate(PORTS)}
        self.clients = {name: Client(machine.forward(port)) for name, port in self.ports.items()}
        self.api = self.clients["api"]

    def prepare(self) -> None:
        podman = self.machine.podman
        podman("network", "create", self.short)
        podman("volume", "create", self.short)
        podman("secret", "create", self.short, "-", given="pass of the database")
        secret = ("--secret", f"{self.short},type=mount,target=password,mode=0400")
        network = ("--network", f"{self.short}:alias=")
        names = ("-e", "POSTGRES_USER=immich", "-e", "POSTGRES_DB=immich", "-e", "POSTGRES_PASSWORD_FILE=/run/secrets/password")
        podman("run", "-d", "--name", f"{self.short}-postgres", network[0], network[1] + "database", *secret, *names, POSTGRES)
        podman("run", "-d", "--name", f"{self.short}-valkey", network[0], network[1] + "redis", VALKEY)
        podman("run", "-d", "--name", f"{self.short}-learning", network[0], network[1] + "immich-machine-learning", LEARNING)
        self.wait_for(lambda: self.sql("SELECT 1") == "1", "the database")

    def sql(self, query: str) -> str:
        return self.machine.podman("exec", f"{self.short}-postgres", "psql", "-h", "127.0.0.1", "-U", "immich", "-Atc", query, check=False).stdout.strip()

    def start(self, **environment: str) -> None:
        """A new container on the same database and photos; what was there ends at once."""
        self.machine.podman("rm", "--force", "--time", "0", "--ignore", self.name)
        given = {
            "NO_COLOR": "true",
            "DB_USERNAME": "immich",
            "DB_DATABASE_NAME": "immich",
            "DB_PASSWORD_FILE": "/run/secrets/password",
            "DB_VECTOR_EXTENSION": "pgvector",
            "IMMICH_TELEMETRY_INCLUDE": "all",
            **environment,
        }
        arguments = [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
        for name, port in self.ports.items():
            arguments += ["-p", f"127.0.0.1:{port}:{PORTS[name]}"]
        arguments += ["--secret", f"{self.short},type=mount,target=password,mode=0400", "--volume", f"{self.short}:/data", "--network", self.short]
        # A file of its own, from which a line that came in two parts is read as one: from the journal it is two.
        arguments += ["--log-driver", "k8s-file"]
        arguments += ["--health-cmd", "immich-healthcheck", "--health-interval", "disable"]
        self.machine.podman("run", "-d", "--name", self.name, *HARDENED, *IMPATIENT, *arguments, self.face.image)

    def start_and_wait(self, **environment: str) -> Start:
        begun = time.time()
        first: list[float] = []
        over = threading.Event()

        def knock() -> None:
            while not over.is_set() and not first:
                if self.api.get("/api/server/ping", timeout=3).status:
                    first.append(time.time())
                time.sleep(0.1)

        knocker = threading.Thread(target=knock, daemon=True)
        knocker.start()
        try:
            self.start(**environment)
            self.wait_for(self.is_ready, "the server")
        finally:
            over.set()
            knocker.join(10)
        return Start(begun, first[0] if first else 0.0)

    def is_ready(self) -> bool:
        if self.api.get("/api/server/ping", timeout=3).json == {"res": "pong"}:
            # Both workers: a job of the first seconds fails when the other one is not ready for it.
            return bool(self.clients["microservices metrics"].get("/metrics").status)
        if self.state() != "running":
            raise Failed(f"{self.face.title} ended: {self.log()[-3000:]}")
        return False

    def wait_for(self, condition: t.Callable[[], bool], what: str, limit: float = WAIT) -> None:
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"{self.face.title}: waited {limit:.0f} s for {what}")
            time.sleep(1)

    def state(self) -> str:
        return self.machine.podman("inspect", "--format", "{{.State.Status}}", self.name).stdout.strip()

    def ended(self) -> Ended:
        """Wait for the end of a start that has to fail."""
        self.machine.podman("wait", self.name)
        return self.end()

    def stop(self) -> Ended:
        self.machine.podman("stop", "--time", "30", self.name)
        return self.end()

    def end(self) -> Ended:
        status = self.machine.podman("inspect", "--format", "{{.State.ExitCode}}", self.name).stdout.strip()
        return Ended(int(status), self.log())

    def lines(self) -> list[tuple[float, str]]:
        """Both streams of the container, each line with its time."""
        done = self.machine.run("sh", "-c", f"podman logs --timestamps {self.name} 2>&1")
        return sorted(timed_lines(done.stdout), key=lambda line: line[0])

    def log(self) -> str:
        return "\n".join(text for _seconds, text in self.lines())

    def admin(self, *arguments: str, answers: t.Sequence[tuple[str, str]] = ()) -> tuple[int, str]:
        """immich-admin: its status and all it says. C(answers) are part of each question that may come, and what is answered."""
        return self.machine.talk("podman", "exec", "-i", self.name, "immich-admin", *arguments, answers=answers)

    def health(self) -> int:
        return self.machine.podman("healthcheck", "run", self.name, check=False).returncode

    def in_server(self, *command: str, check: bool = True) -> str:
        return self.machine.podman("exec", self.name, *command, check=check).stdout

    def in_photos(self, *command: str) -> None:
        """A command on the photos while no server runs."""
        self.machine.podman("run", "--rm", "--volume", f"{self.short}:/data", "--entrypoint", command[0], self.face.image, *command[1:])

    def remove(self) -> None:
        with contextlib.suppress(Failed):
            self.machine.podman("rm", "--force", "--time", "0", *(f"{self.short}-{part}" for part in ("server", "postgres", "valkey", "learning")), check=False)
            for kind in ("volume", "network", "secret"):
                self.machine.podman(kind, "rm", self.short, check=False)


def timed_lines(text: str) -> list[tuple[float, str]]:
    """Lines of C(podman logs --timestamps): 2026-11-28T12:00:00.123456789Z words, or with an offset."""
    found = []
    for line in text.splitlines():
        match = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d) ?(.*)", line)
        if match:
            moment = dt.datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).timestamp()
            # A line that came in two parts has a time before each of them.
            found.append((moment + float("0." + (match[2] or "0")), re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) ", "", match[4])))
    return found
