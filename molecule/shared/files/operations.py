# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries every line of docs/operations.md as the account, on a deployed card, and says which does not do what the page says.

    operations.py PAGE

Every line of the page has to be here, with what it prints; one that is not here is wrong, and so is one that is only here.
"""

from __future__ import annotations

import os
import pathlib
import pty
import re
import subprocess
import sys
import time

PASSWORD = "correct-horse"  # what it is already
SERVICES = ("immich-server", "immich-ml", "postgresql-immich", "redis-immich")
SCHEMA_CHECK = "podman exec immich-server immich-admin schema-check"
OLDER = (1, "unknown command 'schema-check'")  # what releases before 2.6 say to that, as the page tells
# Line to what it prints, in the order in which they are tried: what restarts something comes last.
PRINTS = {
    "systemctl --user status immich-server immich-ml postgresql-immich redis-immich": "(?s)(Active: active.*){4}",
    "podman logs --follow immich-server": "Nest",
    "podman logs --follow immich-ml": ".",
    'journalctl --user --unit immich-server.service --since "1 hour ago" --output cat': "Nest",
    "podman healthcheck run immich-server && echo healthy": r"healthy\n$",
    "podman inspect --format '{{range .State.Health.Log}}{{.End}} {{.ExitCode}} {{.Output}}{{println}}{{end}}' immich-server": " 0 ",
    "systemctl --user show --property=MemoryCurrent,MemoryMax immich-server.service": "MemoryMax=4294967296",
    "podman exec immich-server getent hosts postgresql-immich redis-immich immich-ml": r"(?s)10[.]89[.]5[.]3 .*10[.]89[.]5[.]4 .*10[.]89[.]5[.]2 ",
    "podman exec traefik getent hosts immich-server": r"^10[.]89[.]2[.]12 ",
    "podman ps --filter network=systemd-photos --format '{{.Names}} {{.Status}}'": "(?m)^redis-immich Up",
    "podman inspect --format '{{json .NetworkSettings.Networks}}' immich-server": '"IPAddress":"10[.]89[.]5[.]5"',
    # The damaged photo of tests/live is among the failures; a pattern with the level behind the job finds none.
    'journalctl --user --unit immich-server.service --since "1 hour ago" --output cat'
    r" | grep --extended-regexp 'ERROR .*Unable to run job handler \(AssetGenerateThumbnails\)'": "AssetGenerateThumbnails",
    "podman exec immich-server curl --silent http://localhost:8082/metrics | grep immich_jobs_asset_generate_thumbnails_failed_total": "failed_total",
    "podman exec postgresql-immich pg_isready -U immich -d immich": "accepting",
    "podman logs --tail 50 postgresql-immich": ".",
    "podman exec postgresql-immich psql -U immich -d immich -c 'VACUUM ANALYZE'": "^VACUUM",
    "podman exec postgresql-immich psql -U immich -d immich -Atc \"select pg_size_pretty(pg_database_size('immich'))\"": "^[0-9]+ [kM]B",
    "podman exec postgresql-immich psql -U immich -d immich -Atc 'select sum(checksum_failures) from pg_stat_database'": "^0\n",
    "podman exec redis-immich valkey-cli ping": "^PONG",
    "podman exec --interactive --tty immich-server immich-admin reset-admin-password": "password has been updated",
    "podman exec immich-server immich-admin list-users": "admin@example.org",
    "podman exec immich-server immich-admin version": r"^v[0-9]+[.]",
    SCHEMA_CHECK: "No schema drift detected",
    "printf '%s\\n' \"$NEW\" | podman exec --interactive immich-server immich-admin reset-admin-password": "password has been updated",
    "systemctl --user restart immich-server.service": "^$",
    "systemctl --user stop immich-server immich-ml redis-immich postgresql-immich": "^$",
    "systemctl --user start immich-server immich-ml": "^$",
}
wrong: list[str] = []


def claim(text: str, true: object, found: str = "") -> None:
    print(f"{'ok    ' if true else 'WRONG '} {text}" + ("" if true else f": {found}"))
    if not true:
        wrong.append(text)


def lines_of(page: str) -> list[str]:
    """What the page tells to type: between backticks or on indented lines. Lines for the controller are tried from there."""
    texts = [span or line for span, line in re.findall(r"`([^`]+)`|^ {4}(.+)$", page, re.MULTILINE)]
    return [text for text in texts if re.match(r"(systemctl|podman|journalctl|printf) ", text)]


def at_a_terminal(line: str) -> tuple[int, str]:
    """Somebody types the password when asked."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp("bash", ["bash", "-c", line])
    said = b""
    asked = False
    while True:
        try:
            block = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        said += block
        if not asked and b"(optional)" in said:
            os.write(terminal, f"{PASSWORD}\r".encode())  # the key Enter
            asked = True
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.decode(errors="replace")


def typed(line: str) -> tuple[int, str]:
    if "--tty" in line:
        return at_a_terminal(line)
    follows = "--follow" in line
    argv = (["timeout", "3"] if follows else []) + ["bash", "-o", "pipefail", "-c", line]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "NEW": PASSWORD}, check=False)
    return 0 if follows and done.returncode == 124 else done.returncode, done.stdout


def release() -> tuple[int, ...]:
    """Of the server that runs."""
    return tuple(int(number) for number in re.findall(r"[0-9]+", typed("podman exec immich-server immich-admin version")[1])[:2])


def settled() -> bool:
    """All four are healthy; after a minute, whether or not."""
    for dummy in range(120):
        if all(subprocess.run(["podman", "healthcheck", "run", name], capture_output=True, check=False).returncode == 0 for name in SERVICES):
            return True
        time.sleep(0.5)
    return False


def main() -> None:
    os.chdir("/")  # where ssh left us may be closed to the account
    page = lines_of(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    claim("every line of the page is tried", set(page) <= set(PRINTS), str(sorted(set(page) - set(PRINTS))))
    claim("every line tried is on the page", set(PRINTS) <= set(page), str(sorted(set(PRINTS) - set(page))))
    expected = {line: (0, prints) for line, prints in PRINTS.items()}
    if release() < (2, 6):
        expected[SCHEMA_CHECK] = OLDER
    for line, (ends, prints) in expected.items():
        status, said = typed(line)
        claim(line, status == ends and re.search(prints, said), f"{status} {said[-500:]}")
    claim("all four are healthy afterwards", settled())
    if wrong:
        raise SystemExit(f"\n{len(wrong)} lines are wrong: {'; '.join(wrong)}")


main()
