# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server does, in a form that is the same each time: one function per claim, from what the story saw to plain data.

Names that are made up by a server (identities, times, secrets) become words; what only one of the two programs can say is left out.
"""

from __future__ import annotations

import json
import re
import typing as t

from contract import story
from contract.client import Answer
from contract.servers import Ended

Seen = t.Mapping[str, t.Any]
CLAIMS: dict[str, t.Callable[[Seen], t.Any]] = {}

# What each process says at a first start, in the order in which it says it.
EVENTS = {
    "main": {
        "banner": r"^Initializing Immich v[\d.]+$",
        "cores": r"^Detected CPU Cores: \d+$",
        "api starts": r"^Starting api worker$",
        "microservices start": r"^Starting microservices worker$",
    },
    # Both workers want to migrate and to mark the folders; the one that gets the lock first does.
    "first worker": {
        "migrations begin": r"\[\w+:DatabaseRepository\] Running migrations$",
        "a migration": r'\[\w+:DatabaseRepository\] Migration "[^"]+" succeeded$',
        "migrations end": r"\[\w+:DatabaseRepository\] Finished running migrations$",
        "folders begin": r"\[\w+:StorageService\] Verifying system mount folder checks, current state: \{\"mountChecks\":\{\}\}$",
        "a marker": r"\[\w+:StorageService\] Writing initial mount file for the encoded-video folder$",
        "folders end": r"\[\w+:StorageService\] Successfully verified system mount folder checks$",
    },
    "microservices": {
        "migrations begin": r"\[Microservices:DatabaseRepository\] Running migrations$",
        "migrations end": r"\[Microservices:DatabaseRepository\] Finished running migrations$",
        "no drift": r"\[Microservices:DatabaseService\] No schema drift detected$",
        "folders end": r"\[Microservices:StorageService\] Successfully verified system mount folder checks$",
        "runs": r"\[Microservices:Bootstrap\] Immich Microservices is running \[v[\d.]+\] \[production\] ?$",
    },
    "api": {
        "migrations begin": r"\[Api:DatabaseRepository\] Running migrations$",
        "migrations end": r"\[Api:DatabaseRepository\] Finished running migrations$",
        # At a first start the other worker may be replacing two tables of places at that moment; see REPLACED.
        "looks for drift": r"\[Api:DatabaseService\] Checking for schema drift$",
        "folders end": r"\[Api:StorageService\] Successfully verified system mount folder checks$",
        "listens": r"\[Api:Bootstrap\] Immich Server is listening on http://\[::1\]:2283 \[v[\d.]+\] \[production\] ?$",
    },
}
# The primary keys of these may be missing while they are replaced.
REPLACED = r"geodata_places|naturalearth_countries"
# Families that rules and dashboards read, or may.
FAMILIES = {
    "api metrics": (
        "target_info",
        "http_server_request_count_total",
        "http_server_response_count_total",
        "http_server_duration_count",
        "http_server_duration_bucket",
        "immich_users_total",
        "process_memory_usage",
        "system_memory_usage",
    ),
    "microservices metrics": (
        "target_info",
        "immich_jobs_asset_generate_thumbnails_success_total",
        "immich_jobs_asset_generate_thumbnails_failed_total",
        "immich_jobs_smart_search_success_total",
        "immich_jobs_asset_detect_faces_success_total",
        "immich_queues_thumbnail_generation_active",
        "immich_queues_metadata_extraction_active",
        "process_memory_usage",
        "system_memory_usage",
    ),
}
MADE_UP = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "TIME"),
    (r"token=[\w.-]+", "token=TOKEN"),
    (r"(::ffff:)?\b10(\.\d+){3}\b", "ADDRESS"),
)


def claim(function: t.Callable[[Seen], t.Any]) -> t.Callable[[Seen], t.Any]:
    CLAIMS[function.__name__.replace("_", " ")] = function
    return function


def plain(text: str) -> str:
    for pattern, word in MADE_UP:
        text = re.sub(pattern, word, text)
    return text


def document(value: t.Any) -> t.Any:
    """JSON without what is made up."""
    if isinstance(value, dict):
        return {key: "WORD" if key in ("correlationId", "avatarColor") else document(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [document(inner) for inner in value]
    return plain(value) if isinstance(value, str) else value


def answer(given: Answer) -> t.Any:
    body = document(given.json) if given.json is not None else plain(given.text)
    if isinstance(body, dict) and "errors" in body:
        # The checking library has more to say of a field than anybody reads.
        body["errors"] = [{name: error.get(name) for name in ("code", "path", "message")} for error in body["errors"]]
    return {"status": given.status, "body": body}


def answers(seen: Seen, step: str, *names: str) -> dict[str, t.Any]:
    return {name: answer(seen[step][name]) for name in names}


def flat(value: t.Any, prefix: str = "") -> dict[str, t.Any]:
    """Nested settings as one level of dotted names."""
    found: dict[str, t.Any] = {}
    for key, inner in value.items():
        name = f"{prefix}.{key}" if prefix else key
        found.update(flat(inner, name) if isinstance(inner, dict) else {name: inner})
    return found


def labels(exposition: str, family: str) -> list[str] | None:
    """Names of the labels of a family's series, without those of time-series' values; None when it is not there."""
    series = [line for line in exposition.splitlines() if re.match(re.escape(family) + r"[{ ]", line)]
    return sorted({name for line in series for name in re.findall(r'[{,](\w+)="', line)}) if series else None


def first_at(lines: t.Sequence[tuple[float, str]], pattern: str) -> int:
    return next((number for number, line in enumerate(lines) if re.search(pattern, line[1])), -1)


# Start and end


@claim
def the_start_goes_through_these_events_in_this_order(seen: Seen) -> t.Any:
    # Until the last of both is there: the story goes on as soon as both ports answer.
    lines = seen["failing"]["timed lines"]
    found = {"drift": [text for _seconds, text in lines if re.search(r":DatabaseService\]   - ", text) and not re.search(REPLACED, text)]}
    for process, events in EVENTS.items():
        places = sorted((first_at(lines, pattern), name) for name, pattern in events.items())
        found[process] = [name for place, name in places if place >= 0]
    return found


@claim
def the_port_answers_only_after_the_migrations(seen: Seen) -> t.Any:
    lines = seen["start"]["lines"]
    done = lines[first_at(lines, EVENTS["first worker"]["migrations end"])][0]
    return {"answered first": "after" if seen["start"]["first answer"] > done else "before", "healthcheck": seen["start"]["healthcheck"]}


@claim
def so_many_migrations_are_recorded(seen: Seen) -> t.Any:
    return seen["migrations"]


@claim
def sigterm_ends_it_with_this_exit_code(seen: Seen) -> t.Any:
    return seen["stop"].status


# What anybody may ask


@claim
def ping(seen: Seen) -> t.Any:
    return answer(seen["public"]["ping"])


@claim
def version(seen: Seen) -> t.Any:
    return answer(seen["public"]["version"])


@claim
def version_history(seen: Seen) -> t.Any:
    return answer(seen["public"]["version-history"])


@claim
def config(seen: Seen) -> t.Any:
    return answer(seen["public"]["config"])


@claim
def features(seen: Seen) -> t.Any:
    return answer(seen["public"]["features"])


@claim
def theme(seen: Seen) -> t.Any:
    return answer(seen["public"]["theme"])


@claim
def about_wants_a_login(seen: Seen) -> t.Any:
    return answer(seen["public"]["about"])


@claim
def an_answer_names_itself(seen: Seen) -> t.Any:
    headers = seen["public"]["ping"].headers
    return {name: headers.get(name) for name in ("x-powered-by", "content-type")} | {
        "correlation": sorted(name for name in headers if name in ("x-immich-cid", "x-correlation-id"))
    }


# People


@claim
def sign_up(seen: Seen) -> t.Any:
    return answers(seen, "sign-up", "first", "again") | {"initialized": seen["sign-up"]["config"].json["isInitialized"]}


@claim
def sign_up_refuses(seen: Seen) -> t.Any:
    return answers(seen, "sign-up", "without a name", "bad address", "without a password")


@claim
def sign_in_with_the_right_password(seen: Seen) -> t.Any:
    right = seen["sign-in"]["right"]
    found = {name: value for name, value in document(right.json).items() if name != "accessToken"}
    return {"status": right.status, "body": found, "token": secret(right.json["accessToken"])}


@claim
def sign_in_refuses(seen: Seen) -> t.Any:
    return answers(seen, "sign-in", "wrong password", "unknown person", "no password")


@claim
def who_am_i(seen: Seen) -> t.Any:
    return answers(seen, "sign-in", "me", "stranger", "bad token")


@claim
def people(seen: Seen) -> t.Any:
    return answers(seen, "people", "create", "again", "bad password") | {
        "list": [{"email": person["email"], "fields": sorted(person)} for person in seen["people"]["list"].json]
    }


def secret(text: str) -> str:
    """32 random bytes in base64 without its special characters: 43 letters and digits, a few less by chance."""
    return "up to 43 letters and digits" if re.fullmatch(r"[0-9A-Za-z]{34,43}", text) else f"{len(text)} characters"


@claim
def api_keys(seen: Seen) -> t.Any:
    keys = seen["keys"]
    made = {name: document({key: value for key, value in keys[name].json.items() if key != "secret"}) for name in ("all", "narrow")}
    return {"status": keys["all"].status, "made": made, "secret": secret(keys["all"].json["secret"])}


@claim
def permissions_of_a_key(seen: Seen) -> t.Any:
    keys = seen["keys"]
    allowed = {name: keys[name].status for name in ("statistics by all", "about by all", "about by narrow")}
    return {"refused": answers(seen, "keys", "statistics by narrow", "bad key"), "allowed": allowed}


@claim
def an_unknown_permission_is_refused(seen: Seen) -> t.Any:
    return answer(seen["keys"]["unknown"])


# Photos


@claim
def upload(seen: Seen) -> t.Any:
    return answers(seen, "upload", "first", "again", "with device")


@claim
def upload_refuses(seen: Seen) -> t.Any:
    return answers(seen, "upload", "text", "without times", "without device")


@claim
def download(seen: Seen) -> t.Any:
    original = seen["upload"]["original"]
    headers = {name: original.headers.get(name) for name in ("content-type", "content-disposition")}
    return {"equal": original.body == seen["upload"]["picture"], "status": original.status, **headers, "missing": answer(seen["upload"]["missing"])}


@claim
def thumbnails(seen: Seen) -> t.Any:
    return {name: {header: seen["upload"][name].headers.get(header) for header in ("content-type", "content-disposition")} for name in ("preview", "thumbnail")}


@claim
def an_asset(seen: Seen) -> t.Any:
    asset = seen["upload"]["asset"].json
    told = ("type", "originalFileName", "originalMimeType", "fileCreatedAt", "fileModifiedAt", "isTrashed", "visibility", "deviceAssetId", "duration")
    return {
        "fields": sorted(asset),
        "told": {name: asset[name] for name in told if name in asset},
        "path": plain(re.sub(r"/\w\w/\w\w/", "/xx/xx/", asset["originalPath"])),
    }


@claim
def a_damaged_photo_is_taken(seen: Seen) -> t.Any:
    return answer(seen["failing"]["upload"])


# Jobs, settings, libraries


@claim
def jobs(seen: Seen) -> t.Any:
    found = seen["jobs"]["jobs"]
    return {"status": found.status, "queues": sorted(found.json), "one": document(found.json)["thumbnailGeneration"]}


@claim
def queues(seen: Seen) -> t.Any:
    found = seen["jobs"]["queues"]
    return {
        "status": found.status,
        "names": sorted(queue["name"] for queue in found.json),
        "fields": sorted(found.json[0]),
        "counts": sorted(found.json[0]["statistics"]),
    }


@claim
def jobs_are_started(seen: Seen) -> t.Any:
    return {"create": answer(seen["jobs"]["create"]), "unknown": answer(seen["jobs"]["unknown"]), "start": seen["jobs"]["start"].status}


@claim
def statistics(seen: Seen) -> t.Any:
    found = seen["jobs"]["statistics"]
    return {"status": found.status, "fields": sorted(found.json), "by user": sorted(found.json["usageByUser"][0]), "photos": found.json["photos"]}


@claim
def settings(seen: Seen) -> t.Any:
    return flat(seen["jobs"]["default settings"].json)


@claim
def settings_in_use_are_the_defaults(seen: Seen) -> t.Any:
    return seen["jobs"]["settings"].json == seen["jobs"]["default settings"].json


@claim
def libraries(seen: Seen) -> t.Any:
    return answers(seen, "libraries", "create", "list", "change", "scan")


# Metrics


@claim
def metrics_of_the_api(seen: Seen) -> t.Any:
    return told_metrics(seen["metrics"]["api metrics"], FAMILIES["api metrics"])


@claim
def metrics_of_the_microservices(seen: Seen) -> t.Any:
    return told_metrics(seen["metrics"]["microservices metrics"], FAMILIES["microservices metrics"])


def told_metrics(found: Answer, families: t.Iterable[str]) -> t.Any:
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", found.text, re.MULTILINE))
    known = {}
    for family in families:
        names = labels(found.text, family)
        # What the program says of itself differs by program.
        known[family] = names if names is None or family != "target_info" else ["service_name"] if "service_name" in names else names
    types = {family: kinds.get(family) or kinds.get(re.sub(r"_(count|bucket|sum)$", "", family)) for family in families}
    return {"status": found.status, "content-type": found.headers.get("content-type"), "labels": known, "types": types}


# The log


def record(lines: t.Iterable[str], pattern: str) -> str | None:
    """The first line that fits, its clock as a word."""
    line = next((line for line in lines if re.search(pattern, line)), None)
    if line is None:
        return None
    line = re.sub(r"\d\d/\d\d/\d{4}, \d{1,2}:\d\d:\d\d [AP]M", "CLOCK", line)
    return plain(re.sub(r"~[a-z0-9]{8}\]", "~WORD]", line))


@claim
def the_log_has_a_failed_job(seen: Seen) -> t.Any:
    lines = seen["failing"]["lines"]
    found = record(lines, r"Unable to run job handler \(AssetGenerateThumbnails\)")
    place = next((number for number, line in enumerate(lines) if "Unable to run job handler (AssetGenerateThumbnails)" in line), None)
    stack = [] if place is None else lines[place + 1 : place + 3]
    return {"line": found, "stack begins": [re.sub(r"\(.*\)|at .*", "...", line) for line in stack]}


@claim
def the_log_has_a_failed_sign_in(seen: Seen) -> t.Any:
    return re.sub(r"\[Nest\] \d+ ", "[Nest] CHILD ", record(seen["failing"]["lines"], "Failed login attempt for user admin@") or "")


@claim
def the_first_process_of_the_log_is(seen: Seen) -> t.Any:
    return sorted({found[1] for line in seen["failing"]["lines"] for found in [re.match(r"\[Nest\] (\d+)  - .*\[Microservices:", line)] if found})


@claim
def the_log_in_json(seen: Seen) -> t.Any:
    records = [json.loads(line) for line in seen["json"] if line.startswith("{")]
    found = {}
    for name, pattern in (("job", "Unable to run job handler"), ("sign-in", "Failed login attempt"), ("start", "Running migrations")):
        one = next((entry for entry in records if pattern in entry["message"]), None)
        if one is None:
            found[name] = None
            continue
        kinds = {key: type(value).__name__ for key, value in one.items()}
        context = re.sub(r"~[a-z0-9]{8}", "~WORD", plain(str(one.get("context"))))
        found[name] = {
            "fields": kinds,
            "context": context,
            "level": one["level"],
            "message": plain(one["message"]),
            "stack begins": plain(str(one.get("stack", ""))).split("\n")[0],
        }
    return found


# immich-admin


def said(given: tuple[int, str]) -> t.Any:
    """Status and words of a command; what a prompt draws again for each key is taken out."""
    lines = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip() for line in given[1].splitlines()]
    # start.sh of 3.x tells that the image has no libmimalloc: ours leaves it out (tests/images/recipes.py).
    dropped = ("?", "skipping libmimalloc")
    return {"status": given[0], "says": [plain(line) for line in lines if line and not line.startswith(dropped)]}


def questions(given: tuple[int, str]) -> list[str]:
    found = re.findall(r"\? ([A-Z][^?(]*(?:\?|\(optional\)))", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", given[1]))
    return list(dict.fromkeys(text.strip() for text in found))


@claim
def admin_version(seen: Seen) -> t.Any:
    return said(seen["admin"]["version"])


@claim
def admin_list_users(seen: Seen) -> t.Any:
    found = said(seen["admin"]["list-users"])
    found["says"] = [re.sub(r"avatarColor: '\w+'", "avatarColor: 'WORD'", line) for line in found["says"]]
    return found


@claim
def admin_schema_check(seen: Seen) -> t.Any:
    return said(seen["admin"]["schema-check"])


@claim
def admin_reset_admin_password(seen: Seen) -> t.Any:
    given = seen["admin"]["reset-admin-password"]
    after = {name: seen["new password"][name].status for name in ("old session", "right")}
    return said(given) | {"questions": questions(given), "afterwards": after}


@claim
def admin_commands(seen: Seen) -> t.Any:
    return sorted(re.findall(r"^  ([a-z]+(?:-[a-z]+)*) ", seen["admin"]["help"][1], re.MULTILINE))


# Maintenance mode


@claim
def maintenance_mode_on_and_off(seen: Seen) -> t.Any:
    found = seen["maintenance"]
    after = {key: found["after"].json[key] for key in ("isInitialized", "maintenanceMode")}
    return {name: said(found[name]) for name in ("enable", "again", "disable", "disable again")} | {"container": found["container"], "after": after}


@claim
def answers_in_maintenance_mode(seen: Seen) -> t.Any:
    found = seen["maintenance"]
    told = {name: answer(found[name]) for name in found if name.startswith("/api/") or name in ("login", "sign-up")}
    return told | {"healthcheck": found["health"], "api metrics": found["api metrics"], "/": [found["/"].status, found["/"].headers.get("location")]}


@claim
def the_log_of_maintenance_mode(seen: Seen) -> t.Any:
    lines = seen["maintenance"]["lines"]
    single = ("Restarting due to event", "Starting maintenance worker", "is in maintenance mode", "Maintenance:Bootstrap")
    found: dict[str, t.Any] = {pattern: re.sub(r"\[Nest\] \d+ ", "[Nest] N ", record(lines, pattern) or "none") for pattern in single}
    # Which of the two is the first differs.
    found["Restarting due to event"] = re.sub(r"\[(Api|Microservices):", "[WORKER:", found["Restarting due to event"])
    return found | {"end": sorted(line for line in lines if line.endswith("worker shutdown for restart"))}


# Starts that fail


def failure(ended: Ended, *patterns: str) -> t.Any:
    """Status, and the lines with these words."""
    lines = ended.log.splitlines()
    return {"status": ended.status, "says": [record(lines, pattern) for pattern in patterns]}


def failure_of_a_worker(ended: Ended, pattern: str) -> t.Any:
    """Both workers meet the fault; the one that gets the lock first says it and ends, and takes the other one with it."""
    lines = ended.log.splitlines()
    found = failure(ended, pattern, r"^(api|microservices) worker exited")
    names = r"(?<=\[Nest\] )\d+|\b(Api|api|Microservices|microservices)\b(?=:| worker)"
    # The api worker is a process, which dies of the error by itself; the other one is a thread of the first process, which tells it,
    # and on the way there the error loses the name of its class.
    is_thread = any(line.startswith("microservices worker exited") for line in lines)
    error = record(lines, r"^microservices worker error: " if is_thread else r"^\w*Error: ") or "nothing"
    return {
        "status": found["status"],
        "says": [re.sub(names, "WORKER", line or "nothing") for line in found["says"]],
        "error": re.sub(r"^\w*Error: ", "", re.sub(r"^microservices worker error: (.*), stack: \1$", r"\1", error)),
        "the other one ends": "Killing api process" in lines or not is_thread,
    }


@claim
def a_lost_marker_ends_the_start(seen: Seen) -> t.Any:
    return failure_of_a_worker(seen["lost marker"], r"ERROR .*StorageService\]")


@claim
def a_wrong_password_ends_the_start(seen: Seen) -> t.Any:
    prefixed = [line for line in seen["wrong password"].log.splitlines() if line.startswith("[Nest]")]
    return failure(seen["wrong password"], "PostgresError", "code: '", "severity: '", "routine: '") | {"lines of the logger": len(prefixed)}


@claim
def a_database_that_is_not_found_ends_the_start(seen: Seen) -> t.Any:
    return failure(seen["no database"], r"getaddrinfo (EAI_AGAIN|ENOTFOUND)", "hostname: '", "syscall: '")


@claim
def a_database_that_refuses_ends_the_start(seen: Seen) -> t.Any:
    return failure(seen["closed port"], r"rror: .*ECONNREFUSED", "code: '", "port: ")


@claim
def a_bad_variable_ends_the_start(seen: Seen) -> t.Any:
    return failure(seen["bad telemetry"], "banana")


@claim
def a_newer_database_is_refused(seen: Seen) -> t.Any:
    return failure_of_a_worker(seen["newer database"], r"ERROR .*DatabaseRepository\] Migrations failed") | {
        "stranger": story.STRANGER in seen["newer database"].log
    }
