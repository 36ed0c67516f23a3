# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role immich renders for choices that no test machine has the hardware or the kernel for. Ansible itself renders, in one run."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/immich"
CARD = yaml.safe_load((ROOT / "examples/card/inventory.yml").read_text(encoding="utf-8"))["all"]["vars"]
EMPTY = {"recorded_image": "", "setup_closed": False, "postgresql_data": "", "extensions": {}, "cpu_level": 3, "devices": {}, "cdi": [], "selinux": False}
ADMIN = {"email": "a@example.org", "name": "A", "password": "x"}


def host(**found):
    return {"__immich_host": {**EMPTY, "pool_mounted": True, **found}}


# Few and full, since each costs seconds.
CASES = {
    "card": host(devices={"dri": True}),
    "lacking": {
        **host(devices={"dri": False}),
        "immich_devices": "vaapi",
        "immich_ml_devices": "openvino",
        "immich_redis_external": {"host": "cache", "username": "photos", "dbindex": 3},
        "immich_redis_password": "TestPassword0",
        "immich_read_only": False,
        "immich_admin": ADMIN,
    },
    "nvidia": {**host(cdi=["nvidia.com/gpu"], selinux=True, setup_closed=True), "immich_devices": "nvenc", "immich_ml_devices": "cuda", "immich_admin": ADMIN},
    "elsewhere": {
        **host(devices={"dri": True}, selinux=True),
        "immich_selinux": "never",
        "immich_ml_urls": ["http://one:3003", "http://two:3003"],
        "immich_settings": {"ffmpeg": {"accel": "disabled"}},
        "immich_users": [ADMIN],
        "immich_database_external": {"host": "db"},
    },
    "open": {
        **host(setup_closed=True),
        "immich_version": "v2.4.1",
        "immich_admin": ADMIN,
        "immich_allow_setup": True,
        "immich_ml_urls": ["http://one:3003", "http://two:3003"],
    },
    "options": {
        **host(mounts_below={"/srv/scans": ["old/stick"]}),
        "immich_split_workers": True,
        "immich_publish": "127.0.0.1:2283",
        "immich_trusted_proxies": ["10.89.2.69", "10.89.4.69"],
        "immich_log_format": "json",
        "immich_telemetry": ["host", "api"],
        "immich_database_external": {"host": "db", "ssl_mode": "verify-full"},
        "immich_database_password": "TestPassword1",
        "immich_settings": {"trash": {"dayss": 7}},
        "immich_admin": ADMIN,
        "immich_external_libraries": [{"name": "scans", "path": "/srv/scans", "owner": ADMIN["email"], "exclusion_patterns": []}],
    },
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Case -> units, files and secrets by name, and the request as the checks see it."""
    work = tmp_path_factory.mktemp("render")
    (work / "ansible_collections/patriark").mkdir(parents=True)
    (work / "ansible_collections/patriark/homelab").symlink_to(ROOT)
    (work / "templates").symlink_to(ROLE / "templates")
    files = [str(path) for path in sorted((ROLE / "vars/main").glob("*.yml"))]
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    shown = {name: f"{{{{ __immich_{name} }}}}" for name in ("units", "files", "secrets", "request", "images", "containers", "directories")}
    plays = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars_files": files,
            "vars": {**defaults, **CARD, **variables, "__shown": shown},
            "tasks": [{"ansible.builtin.copy": {"dest": str(work / f"{case}.json"), "content": "{{ __shown | to_json }}", "mode": "0600"}}],
        }
        for case, variables in CASES.items()
    ]
    (work / "render.yml").write_text(yaml.safe_dump(plays), encoding="utf-8")
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(work),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_HOME": str(work / "home"),
        "LC_ALL": "C.UTF-8",
    }
    environment.pop("ANSIBLE_CONFIG", None)
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-c",
        "local",
        "-i",
        "localhost,",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        "render.yml",
    ]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for case in CASES:
        data = json.loads((work / f"{case}.json").read_text(encoding="utf-8"))
        for kind in ("units", "files"):
            data[kind] = {item["name"]: item["content"] for item in data[kind]}
        found[case] = data
    return found


def values(text, key):
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def test_the_cards_units(rendered):
    units = rendered["card"]["units"]
    assert sorted(units) == ["immich-ml.container", "immich-server.container", "postgresql-immich.container", "redis-immich.container"]
    assert all(re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", *values(text, "Image")) for text in units.values())  # readable, and pinned
    assert values(units["immich-server.container"], "AddDevice") == ["/dev/dri:/dev/dri"]
    assert values(units["immich-server.container"], "GroupAdd") == ["keep-groups"]
    assert values(units["immich-server.container"], "Network")[0] == "reverse_proxy.network:ip=10.89.2.12"
    assert all(values(text, "AssertPathIsMountPoint") == values(text, "RequiresMountsFor") == ["/mnt/btrfs-pool"] for text in units.values())
    assert all(values(text, "DropCapability") == ["all"] and values(text, "NoNewPrivileges") == ["true"] for text in units.values())
    assert all(values(text, "ReadOnly") == ["true"] for text in units.values())
    assert not any(values(text, "User") for text in units.values())
    assert values(units["postgresql-immich.container"], "HealthCmd")[0].startswith("pg_isready -U immich -d immich && ")


def test_a_server_that_was_asked_to_stop_has_not_failed(rendered):
    assert values(rendered["card"]["units"]["immich-server.container"], "SuccessExitStatus") == ["143"]


def test_the_check_is_the_cards_and_its_log_has_room_for_the_reason(rendered):
    unit = rendered["card"]["units"]["immich-server.container"]
    assert values(unit, "HealthCmd") == values(unit, "HealthStartupCmd") == ["curl -f http://localhost:2283/api/server/ping -sS"]


def test_the_cards_health_limits_and_storage(rendered):
    made = rendered["card"]
    keys = ("HealthInterval", "HealthStartPeriod", "MemoryMax", "WantedBy")
    assert {name: [*(values(text, key)[0] for key in keys)] for name, text in made["units"].items()} == {
        "immich-ml.container": ["30s", "600s", "4G", "default.target"],
        "immich-server.container": ["30s", "300s", "4G", "default.target"],
        "postgresql-immich.container": ["30s", "30s", "1G", "default.target"],
        "redis-immich.container": ["30s", "15s", "512M", "default.target"],
    }
    assert "POSTGRES_INITDB_ARGS=--data-checksums" in values(made["units"]["postgresql-immich.container"], "Environment")
    assert values(made["units"]["postgresql-immich.container"], "HealthCmd")[0].endswith("/usr/local/bin/healthcheck.sh; fi")
    assert {item["path"].rpartition("/")[2]: item.get("nocow") for item in made["directories"]} == {
        "immich": False,
        "postgresql-immich": True,
        "immich-ml-cache": True,
        "redis-immich": None,
    }
    assert re.findall(r"^DB_PASSWORD.*$", made["files"]["immich-server.env"], re.MULTILINE) == ["DB_PASSWORD_FILE=/run/secrets/immich-db-password"]


def test_what_people_have_who_do_not_have_the_card(rendered):
    made = rendered["options"]
    server, work = (made["units"][f"immich-{name}.container"] for name in ("server", "microservices"))
    assert made["containers"] == ["redis-immich", "immich-ml", "immich-server", "immich-microservices"]
    assert values(server, "PublishPort") == ["127.0.0.1:2283:2283"] and not values(work, "PublishPort")
    libraries = [line for line in values(server, "Volume") if "/external/" in line]
    assert libraries == ["/srv/scans:/external/scans:ro", "/srv/scans/old/stick:/external/scans/old/stick:ro"]
    assert "immich-settings,type=mount,target=immich-settings.json,mode=0400" in values(server, "Secret")
    for name, include in (("server", "api"), ("microservices", "microservices")):
        env = dict(line.split("=", 1) for line in made["files"][f"immich-{name}.env"].splitlines() if not line.startswith("#"))
        wanted = {
            "IMMICH_WORKERS_INCLUDE": include,
            "IMMICH_TRUSTED_PROXIES": "10.89.2.69,10.89.4.69",
            "IMMICH_LOG_FORMAT": "json",
            "IMMICH_TELEMETRY_INCLUDE": "host,api",
            "DB_SSL_MODE": "verify-full",
        }
        assert {key: env.get(key) for key in wanted} == wanted
    assert made["request"]["unknown_settings"] == ["trash.dayss is not a setting (did you mean trash.days?)"]


def test_a_device_that_is_not_usable_is_told_and_left_out(rendered):
    made = rendered["lacking"]
    assert values(made["units"]["immich-server.container"], "AddDevice") == values(made["units"]["immich-ml.container"], "AddDevice") == []
    assert made["request"]["transcoding"] == made["request"]["ml_devices"] == ["dri"]
    assert values(made["units"]["immich-ml.container"], "Image") == ["ghcr.io/immich-app/immich-machine-learning:v2.5.5-openvino"]


def test_a_release_whose_digest_is_not_known_has_its_tag(rendered):
    assert values(rendered["open"]["units"]["immich-server.container"], "Image") == ["ghcr.io/immich-app/immich-server:v2.4.1"]


def test_nvidia(rendered):
    units = rendered["nvidia"]["units"]
    assert values(units["immich-server.container"], "AddDevice") == values(units["immich-ml.container"], "AddDevice") == ["nvidia.com/gpu=all"]
    assert values(units["immich-ml.container"], "Image") == ["ghcr.io/immich-app/immich-machine-learning:v2.5.5-cuda"]
    assert rendered["nvidia"]["images"]["findings"]["equal"] == []


def test_labels_for_selinux(rendered):
    units = rendered["nvidia"]["units"]
    assert values(units["immich-server.container"], "Volume")[0].endswith(":/data:z")
    for name in ("immich-ml", "postgresql-immich", "redis-immich"):
        assert values(units[f"{name}.container"], "Volume")[0].endswith(":Z")
    assert not any(re.search(r"^Volume=.*[:,][zZ]$", text, re.MULTILINE) for case in ("card", "elsewhere") for text in rendered[case]["units"].values())


def test_machine_learning_elsewhere(rendered):
    made = rendered["elsewhere"]
    assert sorted(made["units"]) == ["immich-server.container", "redis-immich.container"]
    assert "immich-ml.env" not in made["files"]
    assert "IMMICH_MACHINE_LEARNING_URL=http://one:3003\n" in made["files"]["immich-server.env"]
    (settings,) = [json.loads(item["value"]) for item in made["secrets"] if item["name"] == "immich-settings"]
    assert settings == {"ffmpeg": {"accel": "disabled"}, "machineLearning": {"enabled": True, "urls": ["http://one:3003", "http://two:3003"]}}
    assert not any("immich-ml" in item["path"] or "postgresql" in item["path"] for item in made["directories"])
    assert made["request"]["ml_urls_without_settings"] is False
    assert rendered["open"]["request"]["ml_urls_without_settings"] is True


def test_valkey_has_a_password_that_no_command_line_shows(rendered):
    made = rendered["card"]
    unit = made["units"]["redis-immich.container"]
    assert values(unit, "Secret") == ["immich-redis-password,type=mount,mode=0400", "immich-redis-password,type=env,target=REDISCLI_AUTH"]
    (command,) = values(unit, "Exec")
    assert command.startswith("sh -c 'umask 077; ") and command.endswith("; exec docker-entrypoint.sh valkey-server --protected-mode yes -'")
    assert values(unit, "HealthCmd") == ["valkey-cli ping"]
    assert {"name": "immich-redis-password"} in made["secrets"]
    assert "immich-redis-password,type=mount,mode=0400" in values(made["units"]["immich-server.container"], "Secret")
    assert "REDIS_PASSWORD_FILE=/run/secrets/immich-redis-password\n" in made["files"]["immich-server.env"]


def test_a_valkey_elsewhere(rendered):
    made = rendered["lacking"]
    assert made["containers"] == ["postgresql-immich", "immich-ml", "immich-server"]
    env = made["files"]["immich-server.env"]
    for line in (
        "REDIS_HOSTNAME=cache",
        "REDIS_PORT=6379",
        "REDIS_DBINDEX=3",
        "REDIS_USERNAME=photos",
        "REDIS_PASSWORD_FILE=/run/secrets/immich-redis-password",
    ):
        assert f"{line}\n" in env
    assert "TestPassword0" not in json.dumps([made["units"], made["files"]])
    assert values(made["units"]["immich-server.container"], "Requires") == ["postgresql-immich.service"]
    assert not any(values(text, "ReadOnly") for text in made["units"].values())


@pytest.mark.parametrize(("case", "closed"), [("card", False), ("lacking", False), ("nvidia", True), ("open", False)])
def test_the_sign_up_is_closed_once_the_declared_administrator_is_there(rendered, case, closed):
    assert ("IMMICH_ALLOW_SETUP=false" in rendered[case]["files"]["immich-server.env"]) is closed


def test_what_cannot_be_without_something_else(rendered):
    request = rendered["elsewhere"]["request"]
    assert request["without_admin"] == ["immich_users"]
    assert request["passwords_missing"] == ["immich_database_password"]
    assert request["device_not_used"] is True


def test_every_fact_of_the_request_has_a_row(rendered):
    rows = yaml.safe_load((ROLE / "vars/main/request.yml").read_text(encoding="utf-8"))["__immich_request_checks"]
    assert sorted(rendered["card"]["request"]) == sorted(row["query"].removeprefix("request.") for row in rows)


def test_before_each_start_the_units_look_for_what_is_recorded(rendered):
    """Executed as they are, with podman left out: what they find decides."""
    units = rendered["options"]["units"]
    for name in ("immich-server", "immich-microservices"):
        assert "ExecStartPre=/bin/sh -c 'test ! -e %h/.local/state/patriark.homelab/immich.library ||" in units[f"{name}.container"]
    assert "ExecStartPre=/bin/sh -c 'test ! -e %h/.local/state/patriark.homelab/immich.database ||" in rendered["card"]["units"]["postgresql-immich.container"]


@pytest.mark.parametrize(
    ("unit", "guard", "content", "file", "starts"),
    [
        ("postgresql-immich", "database", "", "", True),
        ("postgresql-immich", "database", "7", "", False),
        ("postgresql-immich", "database", "7", "\x07" + 7 * "\0", True),
        ("postgresql-immich", "database", "7", "\x08" + 7 * "\0", False),
        ("immich-server", "library", "", "", True),
        ("immich-server", "library", "upload thumbs", "x", False),
        ("immich-server", "library", "upload", "x", True),
    ],
)
def test_guard(rendered, tmp_path, unit, guard, content, file, starts):
    (line,) = re.findall(r"(?m)^ExecStartPre=/bin/sh -c '(.*)'$", rendered["card"]["units"][f"{unit}.container"])
    state, data = tmp_path / ".local/state/patriark.homelab", tmp_path / "data"
    state.mkdir(parents=True)
    if content:
        (state / f"immich.{guard}").write_text(content + "\n")
    for name in ("global/pg_control", "upload/.immich") if file else ():
        (data / name).parent.mkdir(parents=True)
        (data / name).write_text(file)
    places = CARD["homelab_storage"]
    script = line.replace("%h", str(tmp_path)).replace("$$", "$").replace("podman unshare ", "")
    script = script.replace(f"{places['containers']}/postgresql-immich", str(data)).replace(places["photos"], str(data))
    done = subprocess.run(["/bin/sh", "-c", script], check=False, capture_output=True, text=True)
    assert (done.returncode == 0) is starts
    assert starts or "of this installation" in done.stderr


def test_identity_comes_before_everything_that_changes_something():
    site = yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))[0]
    roles = [task["ansible.builtin.import_role"] for task in site["pre_tasks"] if "ansible.builtin.import_role" in task]
    assert {"name": "patriark.homelab.immich", "tasks_from": "identity"} in roles
    tasks = yaml.safe_load((ROLE / "tasks/main.yml").read_text(encoding="utf-8"))
    assert "__immich_identity_checks" in next(task for task in tasks if "patriark.homelab.checks" in task)["patriark.homelab.checks"]["rows"]
