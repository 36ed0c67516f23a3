# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each trap by example: it is found, on its line, with its key, for the podman that has it."""

from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils import _values as values
from ansible_collections.patriark.homelab.plugins.module_utils._findings import Finding
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_lint import (
    lint_addresses,
    lint_analysis,
    lint_drop_in,
    lint_duplicates,
    lint_install,
    lint_networks,
    lint_references,
    lint_unit,
)
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_lower import lower
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, container_name, image_reference, parse_name

TRIXIE = (5, 4, 2)


def unit(text, name="x.container", **drop_ins):
    return Unit(parse_name(name), text, {f"{name}.d/{key}.conf": value for key, value in drop_ins.items()})


def container(*lines, service=(), name="x.container"):
    text = "[Container]\nImage=localhost/a:1\n" + "".join(f"{line}\n" for line in lines)
    return unit(text + "[Service]\n" + "".join(f"{line}\n" for line in service), name)


GOOD = [
    'Environment="A=one two" B=3',
    "Environment=",
    "Volume=/a:/b:ro,Z",
    "Volume=./a:/b",
    "Volume=name:/b",
    "Volume=%h/x:/y",
    "Volume=/anonymous",
    "PublishPort=127.0.0.1:8080:80/tcp",
    "PublishPort=[::1]:8080:80",
    "PublishPort=8000-8010:8000-8010",
    "PublishPort=80",
    "PublishPort=127.0.0.1::80",
    "PublishPort=${HOME}:80",
    "Network=a.network:ip=10.1.1.5,alias=x",
    "Network=host",
    "Network=pasta:--map-gw",
    "UserNS=keep-id:uid=999,gid=999",
    "AddHost=a:10.1.1.1",
    "AddHost=a:host-gateway",
    "DropCapability=all",
    "AddCapability=CAP_NET_ADMIN net_raw",
    "Secret=s,type=env,target=X",
    "Secret=s,mode=0400,uid=1",
    "ShmSize=128m",
    "HealthCmd=curl -f http://localhost/",
    'HealthCmd=["pg_isready","-U","x"]',
    "HealthCmd=test \"$$X\" = 'a'",
    "Pull=never",
    "ReadOnly=Yes",
    "Ulimit=nofile=1024:2048",
    "HealthCmd=none",
    "Exec=sh -c 'echo 100%%'",
    "Timezone=local",
    "StopTimeout=10",
    "Sysctl=net.ipv4.x=1",
    "EnvironmentFile=/a.env",
    'Timezone="Europe/Oslo"',
    'IP="10.1.1.5"',
    "IP=10.1.1.%i",
    'Exec="sh" -c "true"',
    "Network=a.network:mac=92:d0:c6:0a:29:33",
    "IP=10.1.1.5\nNetwork=a.network",
    "Label=\nLabel=a=b",
    "HealthInterval=",
    "[Install]\nWantedBy=default.target",
    "[Service]\nExecStartPre=echo ${X}\nEnvironment=A=${X}",
    "Exec=echo ${X}\n[Service]\nEnvironmentFile=/a.env",
    "Exec=echo ${X}\n[Service]\nPassEnvironment=X",
    "Environment=A=1\nEnvironment=\nEnvironment=B=2",
]


@pytest.mark.parametrize("line", GOOD)
def test_good_lines_are_left_alone(line):
    assert lint_unit(container(line), TRIXIE) == []


BAD = [
    ('Environment="A=unterminated', "unterminated quote"),
    ("Environment=A=one two", "the word 'two' is lost"),
    ("Environment=HOME", "without ="),
    ("Label=x", "without ="),
    (r"Exec=sh -c 'grep \d'", "unsupported escape"),
    (r"Secret=a\q", "unsupported escape"),
    ('PodmanArgs="x', "unterminated quote"),
    ("NoNewPrivileges=maybe", "not a boolean"),
    ("ReadOnly=t", "not a boolean"),
    ("StopTimeout=ten", "not a whole number"),
    ("HealthInterval=30", "not a duration"),
    ("ShmSize=lots", "not a size"),
    ("IP=10.1.1.300", "not an IP address"),
    ("IP6=10.1.1.3", "not an IPv6 address"),
    ("DNS=one", "not an IP address"),
    ("Notify=perhaps", "not a boolean"),
    ("Pull=often", "must be one of always, missing, never, newer"),
    ("AutoUpdate=yes", "must be one of registry, local"),
    ("Network=a.network:ip=10.1.1", "not an IP address"),
    ("Network=a.network:ipp=10.1.1.1", "unknown network option 'ipp'"),
    ("Network=a.network:mac=zz", "not a MAC address"),
    ("Network=a.container:alias=b", "options cannot follow"),
    ("PublishPort=99999:80", "between 1 and 65535"),
    ("PublishPort=80:http", "not a port mapping"),
    ("PublishPort=8000-:80", "not a port mapping"),
    ("PublishPort=1.2.3:80:80", "not an IP address"),
    ("Volume=/a:b", "not an absolute path"),
    ("Volume=bad!name:/b", "neither a path nor a volume name"),
    ("Volume=/a:/b:readonly", "unknown volume option 'readonly'"),
    ("Volume=/a:/b:ro:Z", "too many colons"),
    ("UserNS=keepid", "unknown user namespace"),
    ("AddHost=a", "not a hosts entry"),
    ("AddHost=:10.1.1.1", "not a hosts entry"),
    ("AddHost=a:b", "not an IP address"),
    ("AddCapability=NET-RAW", "unknown capability"),
    ("Secret=s,type", "unknown secret option 'type'"),
    ("Secret=s,typ=env", "unknown secret option 'typ'"),
    ("Secret=s,type=file", "mount or env"),
    ("Secret=s,mode=rw", "octal"),
    ("EnvironmentFile=-/etc/x.env", "optional environment files"),
    ("Exec=echo 100%", "not a systemd specifier"),
    ("HostName=50%z", "not a systemd specifier"),
    ("StopTimeout=disable", "not a whole number"),
    ("Network=a.network:alias", "has no value"),
    ("Network=a.network:ip=", "has no value"),
    ("Network=a.network:ip6=10.1.1.5", "not an IPv6 address"),
    ("IP6=fd00::5\nNetwork=a.network\nNetwork=b.network", "single network"),
    ('HostName="half', "cuts double quotes"),
    ('Entrypoint="sh" -c "x"', "cuts double quotes"),
    ('HealthCmd=["CMD","x","$$A"]', "never succeeds"),
    ("image=localhost/b:1", "not a key of [Container]"),
    ("Restart=always", "not a key of [Container]"),
    ("Device=/dev/x", "not a key of [Container]"),
    ("Memmory=1g", "not a key of [Container]"),
    ("Foo Bar=1", "not a key"),
    ("ReloadCmd=x", "needs podman 5.5; this host has 5.4.2"),
    ("HealthInterval=30s", "there is no HealthCmd"),
    ("User=x\nGroup=y\nRootfs=/x", "exclude one another"),
    ("Group=5", "Group needs User"),
    ("HealthOnFailure=restart\nHealthCmd=x", "both restart"),
    ("HealthStartupInterval=3s\nHealthCmd=x", "there is no HealthStartupCmd"),
    ("IP=10.1.1.5\nNetwork=a.network\nNetwork=b.network", "single network"),
    ("Network=a.network\nNetwork=a.network", "named twice"),
    ("Network=host\nNetwork=a.network", "exclude other networks"),
    ("Pod=a.pod\nPublishPort=80:80", "of the pod"),
    ("[Unti]\nDescription=x", "unknown section [Unti]"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_bad_lines_are_found(line, reason):
    errors = [finding for finding in lint_unit(container(line), TRIXIE) if finding.severity == "error"]
    assert [reason in finding.reason for finding in errors] == [True], errors
    assert errors[0].unit == "x.container"
    assert errors[0].line is None or errors[0].line >= 3
    assert errors[0].remedy or "must be one of" in errors[0].reason


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("Memmory=1g", "did you mean Memory?"),
        ("image=x", "did you mean Image?"),
        ("Restart=always", "it belongs to [Service]"),
        ("restart=always", "it is Restart of [Service]"),
        ("Subnet=10.1.1.0/24", "it is a key of [Network]"),
        ("WantedBy=default.target", "it belongs to [Install]"),
        ("Network=a.network:alis=x", "did you mean alias?"),
        ("[Unti]\nA=b", "write [Unit]"),
        ("IP6=banana", "write it like fd00::10"),
    ],
)
def test_the_nearest_right_spelling(line, remedy):
    assert remedy in [finding.remedy for finding in lint_unit(container(line), TRIXIE)]


@pytest.mark.parametrize(
    ("value", "broken"),
    [
        ('"curl x"', [(4, 9, 0), (5, 4, 2)]),
        ('sh -c "test -f /x"', [(5, 4, 2)]),
        ('"a" b "c"', [(4, 9, 0), (5, 4, 2), (5, 8, 2)]),
        ('["CMD","curl"]', [(4, 9, 0), (5, 4, 2)]),
        ("['curl','x']", [(4, 9, 0), (5, 4, 2), (5, 8, 2)]),
        ('["curl",]', [(4, 9, 0), (5, 4, 2), (5, 8, 2)]),
        ("[]", [(4, 9, 0), (5, 4, 2), (5, 8, 2)]),
        ('["curl",1]', [(4, 9, 0), (5, 4, 2), (5, 8, 2)]),
        ('"a" b', [(4, 9, 0), (5, 4, 2)]),
        ('"a" "b" c', [(4, 9, 0), (5, 4, 2)]),
        ('sh "a" "b"', [(5, 4, 2)]),
        ('["curl","x"]', []),
        ('["CMD-SHELL","x y"]', []),
        ("CMD curl x", []),
        ("sh -c 'test -f /x'", []),
    ],
)
def test_health_command_forms_by_podman(value, broken):
    assert [version for version in ((4, 9, 0), (5, 4, 2), (5, 8, 2)) if values.health_command(value, version)] == broken


NOTIFY = ["Notify=healthy", "HealthCmd=x"]


@pytest.mark.parametrize(
    ("lines", "service", "reason"),
    [
        (["Notify=healthy"], [], "without a health check"),
        ([*NOTIFY, "HealthStartPeriod=600s"], [], "gives up after 90 s"),
        ([*NOTIFY, "HealthInterval=2m"], [], "first interval (120 s)"),
        ([*NOTIFY, "HealthInterval=disable"], [], "never runs"),
        ([*NOTIFY, "HealthStartPeriod=600s"], ["TimeoutStartSec=5min"], "gives up after 300 s"),
        (["Notify=healthy", "HealthCmd=none"], [], "without a health check"),
    ],
)
def test_a_start_that_cannot_hold(lines, service, reason):
    assert [reason in finding.reason for finding in lint_unit(container(*lines, service=service), TRIXIE)] == [True]


@pytest.mark.parametrize(
    ("lines", "service"),
    [
        (NOTIFY, []),
        ([*NOTIFY, "HealthStartPeriod=600s"], ["TimeoutStartSec=900"]),
        ([*NOTIFY, "HealthStartPeriod=600s"], ["TimeoutStartSec=infinity"]),
        ([*NOTIFY, "HealthInterval=5m", "HealthStartupCmd=x", "HealthStartupInterval=3s"], []),
        ([*NOTIFY, "HealthStartPeriod=600s"], ["TimeoutSec=900"]),
        ([*NOTIFY, "HealthStartPeriod=${HOME}"], []),
        ([*NOTIFY, "HealthInterval=${HOME}"], []),
        (NOTIFY, ["TimeoutStartSec=${HOME}"]),
        (["Notify=healthy", "PodmanArgs=--health-cmd=x"], []),
    ],
)
def test_a_start_that_holds(lines, service):
    assert lint_unit(container(*lines, service=service), TRIXIE) == []


def test_line_and_drop_in_are_named():
    found = lint_unit(unit("[Container]\nImage=localhost/a:1\n\nNoNewPrivileges=maybe\n", extra="[Container]\nFoo=1\n"), TRIXIE)
    assert [(finding.unit, finding.line, finding.key, finding.value) for finding in found] == [
        ("x.container", 4, "NoNewPrivileges", "maybe"),
        ("x.container.d/extra.conf", 2, "Foo", "1"),
    ]
    assert str(found[0]) == "x.container:4: NoNewPrivileges=maybe: not a boolean; podman takes it as false (write true or false)"


def test_a_continued_value_may_be_indented():
    assert lint_unit(container("Exec=a \\", "  b"), (5, 0, 0)) == []


def test_a_drop_in_counts_for_the_whole():
    text = "[Container]\nImage=localhost/a:1\nNotify=healthy\n"
    assert len(lint_unit(unit(text), TRIXIE)) == 1
    assert lint_unit(unit(text, health="[Container]\nHealthCmd=x\n"), TRIXIE) == []


@pytest.mark.parametrize(
    ("key", "reason", "line", "remedy"),
    [
        ("StartLimitBurst", "Unknown key 'StartLimitBurst' in section [Service], ignoring.", 5, "it belongs to [Unit]"),
        ("Restrt", "Unknown key 'Restrt' in section [Service], ignoring.", 6, "did you mean Restart?"),
        ("MemoryMax", "Invalid memory limit 'lots', ignoring", 7, "see systemd.directives(7)"),
        ("ExecStart", "something about what the generator made", None, "see systemd.directives(7)"),
        (None, "Service has no ExecStart=", None, ""),
    ],
)
def test_what_systemd_says_is_told_of_the_line_it_comes_from(key, reason, line, remedy):
    tested = container(service=["# first", "StartLimitBurst=1", "Restrt=always", "MemoryMax=lots"])
    found = lint_analysis(tested, Finding("x.service", reason, "see systemd.directives(7)" if key else "", None, key, "x" if key else None))
    assert (found.unit, found.line, found.key, found.remedy, found.reason) == ("x.container", line, key, remedy, reason)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.service", "[Unit]\nConditionPathExists=/a%1%y\n; a comment\n [Service]\n Type=oneshot\nExecStart=sh -c \\\n# in between\n true\n[Install]\n"),
        ("x.timer", "[Timer]\nOnCalendar=daily\n[X-Mine]\nWord=1\n"),
        ("x.target", "[Unit]\nDescription=a group\n"),
        ("x.container", "[Container]\nImage=localhost/a:1\n[X-Mine]\nanything=1\n"),
        ("x.build", "[Build]\nImageTag=localhost/a:1\nFile=/a\nSecret=id=x,src=/a\nNetwork=a.network\n"),
        ("x.build", "[Build]\nImageTag=mine\nFile=/a\n"),
        ("x.volume", "[Volume]\nDriver=image\nImage=a.image\n"),
        ("x.kube", "[Kube]\nYaml=/a.yml\nNetwork=a.network\n"),
        ("x.container", "[Container]\nRootfs=/x\n"),
        ("x.container", "[Container]\nImage=localhost/a:1\nHealthCmd=x\nHealthLogDestination=/var/log\n"),
        ("x.container", "[Container]\nImage=localhost/a:1\nGlobalArgs=--transient-store\n"),
        ("x.container", f"[Container]\nImage=localhost/a@sha256:{'a' * 64}\n"),
        ("x.container", "[Container]\nImage=localhost/a:1\nAutoUpdate=registry\nNotify=healthy\nHealthCmd=x\n"),
        ("x.network", "[Network]\nSubnet=10.1.1.0/24\nIPRange=10.1.1.128/25\n"),
        ("x.network", "[Network]\nSubnet=10.1.1.0/24\nIPRange=10.1.1.9-10.1.1.9\n"),
        ("x@.container", "[Container]\nImage=localhost/a:1\n[Install]\nDefaultInstance=a\nWantedBy=default.target\n"),
        ("x@.container", "[Container]\nImage=localhost/a:1\n[Install]\nAlias=y.service\n"),
    ],
)
def test_what_systemd_takes_is_left_alone(name, text):
    assert lint_unit(unit(text, name), (5, 3, 0)) == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("x.service", "[Service]\nExecStart=true\n[Container]\nImage=localhost/a:1\n", "unknown section [Container]"),
        ("x.service", "[Service]\nExecStart=true\n[Quadlet]\nDefaultDependencies=false\n", "unknown section [Quadlet]"),
        ("x.timer", "[Timer]\nOnCalendar=daily\n[Service]\nType=oneshot\n", "unknown section [Service]"),
        ("x.service", "[Unit]\nDescription=nothing to start\n", "there is no [Service] section"),
        ("x.target", "[Timer]\nOnCalendar=daily\n", "unknown section [Timer]"),
        ("x.socket", "[Unit]\nDescription=nothing to listen on\n", "there is no [Socket] section"),
        ("x.container", "[Service]\nRestart=always\n", "there is no [Container] section"),
        ("x.service", "[Service]\nExec Start=true\n", "not a key"),
        ("x.service", "[Service]\nExecStart=echo 100%\n", "specifier"),
        ("x.container", "[Container]\nImage=localhost/a:1\n[Unit]\nDescription=100%\n", "specifier"),
        ("x.container", "[Container]\nExec=true\n", "there is no image"),
        ("x.container", "[Container]\nImage=localhost/a:1\nHealthCmd=x\nHealthLogDestination=var/log\n", "must be one of local"),
        ("x.network", "[Network]\nSubnet=10.1.1.0\n", "without a prefix length"),
        ("x.network", "[Network]\nSubnet=10.1.1.0/24\nIPRange=banana\n", "not a subnet"),
    ],
)
def test_what_systemd_would_not_take_is_told(name, text, told):
    assert [finding.reason for finding in lint_unit(unit(text, name), TRIXIE) if told in finding.reason], lint_unit(unit(text, name), TRIXIE)


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("x.container", "[Container]\nImage=localhost/a:1\nUlimit=core=0:0\n", (4, 9, 0)),
        ("x.network", "[Network]\nOptions=mtu=9000\n", (4, 9, 0)),
        ("x.container", "[Container]\nImage=localhost/a:1\n", (5, 1, 0)),
        ("x@.container", "[Container]\nImage=localhost/a:1\nContainerName=%p-%i\n", (5, 1, 2)),
        ("x.container", "[Container]\nImage=localhost/a:1\nNetwork=a.network\n", (5, 2, 0)),
        ("x.pod", "[Pod]\nPodName=x\n", (5, 5, 0)),
        ("x.container", "[Container]\nImage=localhost/a:1\n", (5, 5, 0)),
    ],
)
def test_what_a_faulty_podman_takes_is_left_alone(name, text, version):
    assert lint_unit(unit(text, name), version) == []


def test_a_drop_in_needs_no_section_of_its_own_and_a_name():
    assert lint_unit(unit("[Container]\nImage=localhost/a:1\n", a="[Service]\nRestart=always\n"), TRIXIE) == []
    assert lint_drop_in("x.container", "[Container]\n", TRIXIE) == []
    assert "not the name of a drop-in" in lint_drop_in("x.container.d/a b.txt", "", TRIXIE)[0].reason


def test_a_drop_in_may_not_take_the_digest_away():
    assert "digest" in lint_unit(unit("[Container]\nImage=localhost/a:1\n", x="[Container]\nLabel=\n"), TRIXIE)[0].reason


def test_a_drop_in_for_a_unit_of_somebody_else():
    assert lint_drop_in("x.container.d/a.conf", "[Container]\nAddHost=a:10.1.1.1\n", TRIXIE) == []
    assert "not a key" in lint_drop_in("x.container.d/a.conf", "[Container]\nAdHost=a:10.1.1.1\n", TRIXIE)[0].reason


@pytest.mark.parametrize(
    ("image", "good"),
    [
        ("localhost", False),
        ("localhost:5000", False),
        ("docker-archive:/srv/a.tar", True),
        ("docker.io/library/nginx:1.27", True),
        ("ghcr.io/immich-app/postgres:14-vectorchord0.4.3-pgvectors0.2.0@sha256:" + "a" * 64, True),
        ("localhost/tiny:1", True),
        ("registry:5000/a/b__c:1", True),
        ("x.image", True),
        ("nginx", False),
        ("library/nginx:1", False),
        ("docker.io/Library/Nginx", False),
    ],
)
def test_images(image, good):
    assert (values.image(image) is None) == good


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1m30s", 90), ("1h", 3600), ("0", 0), ("1.5s", 1.5), ("30", None), ("1 m", None), ("", None)])
def test_durations_of_podman(text, seconds):
    assert values.go_seconds(text) == seconds


@pytest.mark.parametrize(("text", "seconds"), [("900", 900), ("15min", 900), ("1h 30min", 5400), ("infinity", float("inf")), ("2 fortnights", None)])
def test_time_spans_of_systemd(text, seconds):
    assert values.systemd_seconds(text) == seconds


def network(*lines):
    return unit("[Network]\n" + "\n".join(lines), "n.network")


@pytest.mark.parametrize(
    ("address", "lines", "reason"),
    [
        ("10.1.2.5", ["Subnet=10.1.1.0/24"], "outside"),
        ("10.1.1.1", ["Subnet=10.1.1.0/24"], "the gateway"),
        ("10.1.1.254", ["Subnet=10.1.1.0/24", "Gateway=10.1.1.254"], "the gateway"),
        ("10.1.1.0", ["Subnet=10.1.1.0/24"], "the network's own address"),
        ("10.1.1.255", ["Subnet=10.1.1.0/24"], "the broadcast address"),
        ("10.1.1.5", ["Subnet=10.1.1.0/24"], None),
        ("10.1.1.1", ["Subnet=10.1.1.0/24", "Gateway=10.1.1.254"], None),
        ("10.9.9.9", [], None),
        ("fd00::5", ["Subnet=10.1.1.0/24", "Subnet=fd00::/64"], None),
        ("fd00::5", ["Subnet=10.1.1.0/24"], None),
        ("fd01::5", ["Subnet=10.1.1.0/24", "Subnet=fd00::/64"], "outside"),
    ],
)
def test_static_addresses(address, lines, reason):
    units = {"x.container": container(f"Network=n.network:{'ip6' if ':' in address else 'ip'}={address}"), "n.network": network(*lines)}
    found = [finding for finding in lint_addresses(units, units) if finding.severity == "error"]
    assert [(reason in finding.reason, finding.line) for finding in found] == ([(True, 3)] if reason else [])


def test_an_address_given_twice():
    units = {name: container("Network=n.network:ip=10.1.1.5", name=name) for name in ("a.container", "b.container")}
    assert [(finding.unit, "belongs to a.container" in finding.reason) for finding in lint_addresses(units, units) if finding.severity == "error"] == [
        ("b.container", True)
    ]


def test_an_address_that_podman_may_give_away():
    free = {"x.container": container("Network=n.network:ip=10.1.1.5")}
    assert lint_addresses({**free, "n.network": network()}, free) == [], "podman chooses the subnet"
    ranges = ["Subnet=10.1.1.0/24", "Subnet=fd00::/64", "IPRange=fd00::/65"]
    assert [finding.severity for finding in lint_addresses({**free, "n.network": network(*ranges)}, free)] == ["warning"], "a range of the other family"
    template = {"x@.container": container("Network=n.network:ip=10.1.2.5", name="x@.container"), "n.network": network("Subnet=10.1.1.0/24")}
    assert lint_addresses(template, template) == [], "an instance may have a drop-in"


def test_a_network_whose_subnet_podman_chooses():
    units = {"n.network": network("Gateway=10.1.1.1")}
    assert lint_networks(units, units) == []


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ({}, {}, 0),
        ({"ServiceName": "s"}, {"ServiceName": "s"}, 2),  # the container is named for the service
        ({"ContainerName": "c"}, {"ContainerName": "c"}, 1),
        ({"ContainerName": "systemd-b"}, {}, 1),
    ],
)
def test_duplicates(one, other, count):
    units = {name: container(*(f"{key}={value}" for key, value in keys.items()), name=name) for name, keys in (("a.container", one), ("b.container", other))}
    assert len(lint_duplicates(units, units)) == count


def test_a_network_and_a_container_of_one_name_are_no_duplicates():
    units = {"x.container": container(), "x.network": unit("[Network]\n", "x.network")}
    assert lint_duplicates(units, units) == []
    units = {name: unit("[Kube]\nYaml=/a.yml\n", name) for name in ("a.kube", "b.kube")}
    assert lint_duplicates(units, units) == [], "nothing of podman's has their name"
    units = {name: container("ContainerName=one-%i", "ServiceName=one", name=name) for name in ("a@.container", "b@.container")}
    assert lint_duplicates(units, units) == [], "their instances have names"


def test_references():
    units = {"x.container": container("Network=photso.network:ip=10.1.1.5", "Volume=data.volume:/d", "Mount=type=volume,source=m.volume,target=/m")}
    found = lint_references(units, {"photos.network", "data.volume"})
    assert [(finding.key, finding.reason) for finding in found] == [
        ("Network", "there is no unit photso.network"),
        ("Mount", "there is no unit m.volume"),
    ]
    beside = {**units, "photos.network": unit("[Network]\n", "photos.network"), "photo.volume": unit("[Volume]\n", "photo.volume")}
    assert [finding.remedy for finding in lint_references(beside, {"photos.network", "data.volume"})] == [
        "did you mean photos.network?",
        "add it, or deploy the stack that has it first",
    ]


def test_boot():
    plain = container()
    assert [finding.severity for finding in lint_install(plain, True, False)] == ["warning"]
    assert lint_install(plain, True, True) == []
    wrong = unit("[Container]\nImage=localhost/a:1\n[Install]\nWantedBy=multi-user.target\n")
    assert [(finding.severity, finding.line) for finding in lint_install(wrong, True, False)] == [("error", 4)]
    assert lint_install(wrong, False, False) == []
    assert lint_install(unit("[Container]\nImage=localhost/a:1\n[Install]\nWantedBy=multi-user.target default.target\n"), True, False) == []
    for name, text in (("x.network", "[Network]\n"), ("x@.container", ""), ("x.container", "[Service]\nType=oneshot\n"), ("x.service", "[Service]\n")):
        assert lint_install(unit(text, name), True, False) == [], name


def lowered(*lines, version=TRIXIE, name="x.container"):
    text = "\n".join(lines) + "\n"
    return lower(text, unit(text, name), version, {"db.container": "db.service"})[0].splitlines()[: len(lines)]


def test_newer_keys_are_written_in_older_words():
    assert lowered("[Container]", "Memory=1g", "HttpProxy=false", "AppArmor=a b") == [
        "[Container]",
        "PodmanArgs=--memory=1g",
        "PodmanArgs=--http-proxy=false",
        'PodmanArgs="--security-opt=apparmor=a b"',
    ]
    assert lowered("[Container]", "Memory=1g", version=(5, 5, 0)) == ["[Container]", "Memory=1g"]
    assert lowered("[Unit]", "After=db.container x.service") == ["[Unit]", "After=db.service x.service"]
    assert lowered("[Unit]", "After=db.container", version=(5, 5, 0)) == ["[Unit]", "After=db.container"]


def test_each_kind_of_value_is_lowered():
    assert lowered("[Container]", "HttpProxy=on", "AddHost=a:10.1.1.1", "AddHost=b:10.1.1.2", version=(5, 2, 0)) == [
        "[Container]",
        "PodmanArgs=--http-proxy=true",
        "PodmanArgs=--add-host=a:10.1.1.1",
        "PodmanArgs=--add-host=b:10.1.1.2",
    ]
    assert lowered("[Pod]", 'Label="a=one two" b=3', name="x.pod") == ["[Pod]", 'PodmanArgs="--label=a=one two"', "PodmanArgs=--label=b=3"][:2]


def test_what_is_no_key_of_podman_stays():
    for text in ("[Unit]\nDescription=db.container\n", "[Container]\nReloadSignal=HUP\n", "[Service]\nMemory=1g\n"):
        assert lower(text, unit(text), TRIXIE, {"db.container": "db.service"}) == (text, [])
    text = "[Unit]\nAfter=db.container\n[Service]\nExecStart=true\n"
    assert lower(text, unit(text, "x.service"), TRIXIE, {"db.container": "db.service"}) == (text, [])


def test_only_the_line_that_counts_is_lowered():
    assert lowered("[Container]", "Memory=1g", "Memory=2g") == ["[Container]", "PodmanArgs=--memory=2g"]


def test_what_cannot_be_lowered_is_refused():
    assert "needs podman 5.5" in lint_unit(container("ReloadSignal=HUP"), TRIXIE)[0].reason
    assert lint_unit(container("Memory=1g"), TRIXIE) == []
    assert "needs podman 5.5" in lint_unit(container("Retry=3"), (5, 3, 0))[0].reason
    assert lint_unit(container("Retry=3"), TRIXIE) == []


def test_what_a_unit_means():
    built = unit("[Build]\nImageTag=localhost/b:1\n", "b.build")
    user = unit("[Container]\nImage=b.build\n", "t@one.container")
    assert (built.service, user.service) == ("b-build.service", "t@one.service")
    assert image_reference(user, {"b.build": built}) == "localhost/b:1"
    assert image_reference(user, {}) is None
    assert image_reference(unit("[Image]\nImage=docker-archive:/x.tar\n", "i.image"), {}) is None
    assert image_reference(unit("[Image]\nImage=docker-archive:/x.tar\nImageTag=localhost/x:1\n", "i.image"), {}) == "localhost/x:1"
    assert image_reference(unit("[Container]\nImage=registry:5000/x:1\n"), {}) == "registry:5000/x:1"
    assert container_name(user) == "systemd-t_one"
    assert container_name(unit("[Container]\nServiceName=s\n")) == "systemd-s"
    assert unit("[Network]\n", "n.network").resource == "systemd-n"
    assert unit("[Service]\nType=oneshot\n", "j.service").on_demand
    assert not unit("[Service]\nType=oneshot\nRemainAfterExit=yes\n", "j.service").on_demand


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("EnvironmentFile=x.env", "x.env", True),
        ("Volume=./x.env:/e", "x.env", True),
        ("EnvironmentFile=my-x.env", "x.env", False),
        ("EnvironmentFile=x.env.old", "x.env", False),
        ("Volume=./rules:/r", "rules/a.yml", True),
        ("Volume=.:/all", "a.yml", True),
        ("Volume=/rules-x:/r", "rules/a.yml", False),
    ],
)
def test_which_files_belong_to_a_unit(line, name, expected):
    assert container(line).mentions(name) == expected


def test_no_line_break_passes_at_the_end_of_a_value():
    assert values.volume("name:/b") is None
    assert values.volume("name\n:/b") is not None
    assert parse_name("x.container") and parse_name("x.container.d/a.conf")
    assert parse_name("x.container\n") is None
    assert parse_name("x.container\n.d/a.conf") is None
    assert parse_name("x.container.d/a.conf\n") is None
