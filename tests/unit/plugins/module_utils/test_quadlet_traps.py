# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every trap of podman's unit files that its generator lets pass, one row each: what is told, or why it cannot happen here.

The rows follow the facts this collection was built from: the grammar of files, how keys are read, what a writer must do, health checks,
names and search paths, and podman's known bugs.
"""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_lint import (
    lint_addresses,
    lint_duplicates,
    lint_install,
    lint_networks,
    lint_references,
    lint_unit,
)
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_paths import lint_paths
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, parse_name

TRIXIE, NEWER = (5, 4, 2), (5, 8, 6)
HEAD = "[Container]\nImage=localhost/a:1\n"


class Trap(t.NamedTuple):
    """text is a whole unit; told is a part of the finding, with the podman that has the trap and the severity. mended: podman without it."""

    what: str
    text: str
    told: str
    version: tuple[int, int, int] = TRIXIE
    name: str = "x.container"
    severity: str = "error"
    mended: tuple[int, int, int] | None = None


def container(*lines: str) -> str:
    return HEAD + "".join(f"{line}\n" for line in lines)


HEALTHY = 'HealthCmd=["x","y"]'
FOUND = [
    # the grammar of a file
    Trap("a byte order mark", "\ufeff" + HEAD, "byte order mark"),
    Trap("a line that is nothing", container("rubbish"), "neither key=value"),
    Trap("a section header that is none", "[Container\nImage=localhost/a:1\n", "not a section header"),
    Trap("an assignment before any section", "A=b\n" + HEAD, "before the first section"),
    Trap("line ends of another system", HEAD.replace("\n", "\r\n"), "carriage return"),
    Trap("a line that starts with a blank", container(" Exec=true"), "blank at the start", (5, 3, 0), mended=TRIXIE),
    Trap("a comment with a semicolon", container("; Exec=true"), "podman takes from 5.4 on", (5, 3, 0), mended=TRIXIE),
    Trap("a control character", container("Exec=a\x00b"), "control character"),
    Trap("a comment inside a continued value", container("Exec=a \\", "# b", "c"), "comment or blank line inside"),
    Trap("a value that is continued without a blank", container("Environment=A=x\\", "  B=y"), "without a blank"),
    Trap("a value that is continued into nothing", container("Exec=a \\"), "ends with a backslash"),
    Trap("a key in other letters", container("image=x"), "did you mean Image?"),
    Trap("a key that is none", container("Memmory=1g"), "not a key of [Container]"),
    Trap("a key of [Quadlet] that is none", container("[Quadlet]", "DefaultDependency=false"), "did you mean DefaultDependencies?", NEWER),
    Trap("a section that is none", container("[Contaner]", "A=b"), "unknown section"),
    Trap("a key in the wrong section", container("Restart=always"), "it belongs to [Service]"),
    Trap("a key too new", container("ReloadCmd=x"), "needs podman 5.5; this host has 5.4.2"),
    Trap("a kind of unit too new", "[Artifact]\nArtifact=docker.io/a/b:1\n", "needs podman 5.7; this host has 5.4.2", name="x.artifact"),
    Trap("a key of [Install] too new", container("[Install]", "UpheldBy=x.target"), "UpheldBy needs podman 5.5", mended=NEWER),
    Trap("[Quadlet] too new", container("[Quadlet]", "DefaultDependencies=false"), "needs podman 5.3", (5, 2, 0)),
    Trap("the network of a container too new", container("Network=y.container"), "needs podman 5.3", (5, 2, 0), mended=TRIXIE),
    Trap("a template too new", container(), "templates need podman 5.0", (4, 9, 0), "x@.container", mended=TRIXIE),
    Trap("an instance too new", container(), "templates need podman 5.0", (4, 9, 0), "x@a.container", mended=TRIXIE),
    Trap("an instance without a name of its own", container(), "a name with @", (5, 1, 2), "x@a.container", mended=TRIXIE),
    Trap("a template's container without a name of its own", container(), "a name with @", (5, 1, 2), "x@.container", mended=TRIXIE),
    Trap("healthy too new", container(HEALTHY, "Notify=healthy"), "needs podman 5.0", (4, 9, 0), mended=TRIXIE),
    Trap("several limits, too new", container("Ulimit=core=0:0", "Ulimit=nofile=9:9"), "only the last", (4, 9, 0), mended=TRIXIE),
    Trap("several options, too new", "[Network]\nOptions=mtu=9000\nOptions=metric=5\n", "only the last", (4, 9, 0), "x.network", mended=TRIXIE),
    # how keys are read
    Trap("a boolean that is none", container("NoNewPrivileges=maybe"), "podman takes it as false"),
    Trap("a key with one value, given twice", container("IP=10.1.1.5", "IP=10.1.1.6"), "only the last of these lines", severity="warning"),
    Trap("quotes that podman keeps", container("Timezone='Europe/Oslo'"), "a part of the value"),
    Trap("quotes that an older podman keeps", container('Timezone="Europe/Oslo"'), "a part of the value", (4, 9, 0), mended=TRIXIE),
    Trap("quotes that podman cuts", container('Entrypoint=sh -c "true"'), "matched or not", mended=(5, 8, 2)),
    Trap("quotes at the start that every podman cuts", container('HostName="half'), "matched or not", NEWER),
    Trap("quotes around a value that is not split", container('Tmpfs="/run"'), "a part of the value"),
    Trap("a log driver that is empty", container("LogDriver="), "the option that follows"),
    Trap("an entry point that is not cleared", container("Entrypoint="), "keeps the image's", severity="warning", mended=(5, 8, 2)),
    Trap("a word without = in Environment", container("Environment=HOME"), "dropped before podman 5.6", mended=NEWER),
    Trap("a word without = beside others in Environment", container("Environment=A=1 HOME"), "the word 'HOME' is lost", NEWER),
    Trap("a word without = in Label", container("Label=x"), "without =", NEWER),
    Trap("a value of two words in Environment", container("Environment=A=one two"), "the word 'two' is lost"),
    Trap("a value of two words in Label", container("Label=a=one two"), "the word 'two' is lost"),
    Trap("a value of two words in Annotation", container("Annotation=a=one two"), "the word 'two' is lost"),
    Trap("a quote that does not end in Environment", container('Environment="A=b'), "unterminated quote"),
    Trap("a quote that does not end in PodmanArgs", container('PodmanArgs="x'), "unterminated quote"),
    Trap("a quote that does not end in Sysctl", container('Sysctl="a=b'), "unterminated quote"),
    Trap("a quote that does not end in Exec", container("Exec=sh -c 'x"), "unterminated quote"),
    *(
        Trap(f"an escape podman does not know in {key}", container(f"{key}={value}\\q"), "unsupported escape")
        for key, value in (
            ("Environment", "A="),
            ("Label", "a="),
            ("Annotation", "a="),
            ("Exec", "sh "),
            ("PodmanArgs", "--x="),
            ("GlobalArgs", "--x="),
            ("Secret", "a"),
            ("Mount", "type=tmpfs,target=/"),
            ("EnvironmentFile", "/a"),
            ("Mask", "/a"),
            ("Unmask", "/a"),
        )
    ),
    Trap("a % that systemd expands or refuses", container("Exec=echo 100%"), "not a systemd specifier"),
    Trap("a variable only the container has", container("Exec=pg_isready -U ${PGUSER}"), "systemd puts nothing in for PGUSER", severity="warning"),
    Trap("a variable only the container has, as a word", container("Exec=pg_isready -U $PGUSER"), "nothing in for PGUSER", severity="warning"),
    Trap("an optional environment file", container("EnvironmentFile=-/a"), "no optional environment files"),
    Trap("an option of Secret that is none", container("Secret=s,typ=env"), "unknown secret option"),
    Trap("an owner of a Secret that is none", container("Secret=s,uid=root"), "is a number"),
    Trap("rights of a Secret that are none", container("Secret=s,mode=rw"), "octal"),
    Trap("a device that may be there too late", container("AddDevice=-/dev/dri"), "maybe before it is there", severity="warning"),
    Trap("a type of Secret that is none", container("Secret=s,type=file"), "mount or env"),
    # values nobody looks at before the start
    Trap("an address that is none", container("IP=999.1.2.3"), "not an IP address"),
    Trap("an address of a network that is none", container("Network=n.network:ip=banana"), "not an IP address"),
    Trap("an option of a network that is none", container("Network=n.network:bogus=1"), "unknown network option"),
    Trap("a subnet that is none", "[Network]\nSubnet=not-a-subnet\n", "not a subnet", name="x.network"),
    Trap("a range that is none", "[Network]\nSubnet=10.1.1.0/24\nIPRange=10.1.1.9-10.1.1.3\n", "not a range", name="x.network"),
    Trap("a duration that is none", container(HEALTHY, "HealthInterval=banana"), "not a duration"),
    Trap("a number that is none", container("StopTimeout=banana"), "not a whole number"),
    Trap("a size that is none", container("ShmSize=lots"), "not a size"),
    Trap("a notification that is none", container("Notify=perhaps"), "not a boolean"),
    Trap("a port that is none", container("PublishPort=80:http"), "not a port mapping"),
    Trap("an image without a registry", "[Container]\nImage=nginx\n", "no registry"),
    Trap("another account for podman itself", container("[Service]", "User=me"), "run as another account"),
    Trap("a network named twice", container("Network=n.network", "Network=n.network"), "named twice"),
    Trap("one address for two networks", container("IP=10.1.1.5", "Network=a.network", "Network=b.network"), "single network"),
    Trap("options after another container's network", container("Network=y.container:alias=x"), "options cannot follow"),
    *(
        Trap(f"{line} on a member of a pod", container("Pod=p.pod", line), "of the pod")
        for line in ("PublishPort=80:80", "Network=n.network", "AddHost=a:10.1.1.1", "HostName=x", "UserNS=keep-id", "UIDMap=0:0:10")
    ),
    Trap("deprecated keys", container("VolatileTmp=true"), "deprecated", severity="warning"),
    # health checks
    Trap("quotes around a check, kept", container('HealthCmd="curl x"'), "whole name", (4, 9, 0)),
    Trap("quotes around a check, cut", container('HealthCmd=sh -c "test -f /x"'), "cuts every double quote"),
    Trap("quotes around a check, one pair cut", container('HealthCmd="a" b "c"'), "do not belong together", NEWER),
    Trap("a check as an array with CMD", container('HealthCmd=["CMD","curl"]'), "never succeeds", mended=NEWER),
    Trap("a start-up check as an array with CMD", container(HEALTHY, 'HealthStartupCmd=["CMD","x"]'), "never succeeds", mended=NEWER),
    Trap("a check as an array that is none", container("HealthCmd=['curl','x']"), "is none", NEWER),
    Trap("an interval without a check", container("HealthInterval=3s"), "there is no HealthCmd"),
    Trap("a start-up interval without a start-up check", container(HEALTHY, "HealthStartupInterval=3s"), "there is no HealthStartupCmd"),
    Trap("a start-up check without a check", container("HealthStartupCmd=x"), "needs a health check"),
    Trap("an action that is none", container(HEALTHY, "HealthOnFailure=explode"), "must be one of"),
    Trap("two that restart", container(HEALTHY, "HealthOnFailure=restart"), "both restart"),
    Trap("healthy without a check", container("Notify=healthy"), "status 125"),
    Trap("healthy that comes too late", container("Notify=healthy", HEALTHY, "HealthStartPeriod=600s"), "TimeoutStartSec=690"),
    Trap("healthy that may come too late", container("Notify=healthy", HEALTHY, "HealthRetries=9"), "may take 270 s", severity="warning"),
    Trap("healthy that never comes", container("Notify=healthy", HEALTHY, "HealthInterval=disable"), "never gets healthy"),
    Trap("checks that look into the wrong store", container(HEALTHY, "GlobalArgs=--transient-store"), "transient store"),
    Trap("checks of podman 5.1.0", container(HEALTHY), "wrong intervals", (5, 1, 0), severity="warning", mended=(5, 1, 1)),
    # names
    Trap("a name that nothing can refer to", "[Network]\nNetworkName=%i-x\n", "breaks what refers", name="x.network", severity="warning"),
    Trap("[Install] of a template", container("[Install]", "WantedBy=default.target"), "template itself", name="x@.container", severity="warning"),
    Trap("a pod of podman 5.5.0", "[Pod]\n", "wrong name", (5, 5, 0), "x.pod", mended=(5, 5, 1)),
    # habits
    Trap("an update that is never taken back", container("AutoUpdate=registry"), "back only when", severity="warning"),
    Trap("an update of a digest", "[Container]\nAutoUpdate=registry\nImage=a.io/b@sha256:" + "a" * 64 + "\n", "never updated", severity="warning"),
]


def told_of(trap, version):
    found = lint_unit(Unit(parse_name(trap.name), trap.text), version)
    return [finding for finding in found if trap.told in f"{finding.reason} {finding.remedy}"], found


@pytest.mark.parametrize("trap", FOUND, ids=lambda trap: trap.what)
def test_it_is_told(trap):
    told, found = told_of(trap, trap.version)
    assert told, found
    assert {finding.severity for finding in told} == {trap.severity}
    assert all(finding.remedy or "must be one of" in finding.reason for finding in told)
    of_a_line = [finding for finding in told if finding.value is not None or (finding.key is None and "@" not in trap.name)]
    assert all(finding.line for finding in of_a_line), "the line is known where there is one"
    if trap.mended:
        assert told_of(trap, trap.mended)[0] == [], "and not to those whose podman is without it"


def units(**texts):
    return {name.replace("_", "."): Unit(parse_name(name.replace("_", ".")), text) for name, text in texts.items()}


NET = "[Network]\nSubnet=10.1.1.0/24\nIPRange=10.1.1.128/25\n"


@pytest.mark.parametrize(
    ("judge", "texts", "told", "severity"),
    [
        (lint_duplicates, {"a_container": container("ServiceName=one"), "b_container": container("ServiceName=one")}, "service one.service", "error"),
        (lint_duplicates, {"a_container": container("ContainerName=one"), "b_container": container("ContainerName=one")}, "container one is made", "error"),
        (lint_duplicates, {"a_container": container("ContainerName=one"), "b_pod": "[Pod]\nPodName=one\n"}, "pod one is made by a.container", "error"),
        (lint_networks, {"a_network": NET, "b_network": "[Network]\nSubnet=10.1.0.0/16\n"}, "overlaps with 10.1.1.0/24 of a.network", "error"),
        (lint_networks, {"b_network": "[Network]\nSubnet=10.1.1.0/24\nGateway=10.1.2.1\n"}, "outside 10.1.1.0/24", "error"),
        (lint_networks, {"b_network": "[Network]\nSubnet=10.1.1.0/24\nIPRange=10.1.2.0/25\n"}, "outside 10.1.1.0/24", "error"),
        (lint_networks, {"b_network": "[Network]\nSubnet=10.1.1.0/24\nIPRange=10.1.1.9-10.1.2.9\n"}, "10.1.2.9 is outside", "error"),
        (lint_addresses, {"n_network": NET, "b_container": container("Network=n.network:ip=10.1.2.5")}, "outside n.network", "error"),
        (lint_addresses, {"n_network": NET, "b_container": container("Network=n.network", "IP=10.1.1.1")}, "the gateway", "error"),
        (lint_addresses, {"n_network": NET, "b_container": container("Network=n.network:ip=10.1.1.200")}, "comes first without", "warning"),
        (lint_addresses, {"n_network": NET[:29], "b_container": container("Network=n.network:ip=10.1.1.5")}, "comes first without", "warning"),
        (
            lint_addresses,
            {"a_container": container("Network=n.network:ip=10.1.1.5"), "b_container": container("Network=n.network", "IP=10.1.1.5")},
            "belongs to a.container already",
            "error",
        ),
    ],
)
def test_two_units_that_do_not_fit_together(judge, texts, told, severity):
    found = judge(units(**texts), units(**texts))
    assert [(finding.unit[0], told in finding.reason, finding.severity) for finding in found][:1] == [("b", True, severity)]
    assert found[0].line and found[0].remedy
    assert judge(units(**texts), {}) == [], "what is not ours is not blamed on us"


def test_units_that_fit_together():
    fitting = units(n_network=NET, m_network=NET.replace("10.1.1", "10.1.2"), a_container=container("Network=n.network:ip=10.1.1.5"), n_pod="[Pod]\n")
    assert [judge(fitting, fitting) for judge in (lint_duplicates, lint_networks, lint_addresses)] == [[], [], []]


@pytest.mark.parametrize(
    "line",
    [
        "Network=no.network",
        "Volume=no.volume:/x",
        "Pod=no.pod",
        "Image=no.image",
        "Image=no.build",
        "Mount=type=volume,source=no.volume,target=/x",
        "[Unit]\nAfter=x.service no.container",
        "[Unit]\nBindsTo=no.pod",
    ],
)
def test_a_unit_that_is_nowhere(line):
    found = lint_references(units(x_container=container(line)), {"x.container"})
    assert [(finding.key, bool(finding.line)) for finding in found] == [(line.rpartition("\n")[2].partition("=")[0], True)]


def test_a_drop_in_too_new():
    unit = Unit(parse_name("x.container"), container(), {"x.container.d/a.conf": "[Container]\nReadOnly=true\n"})
    assert "drop-ins need podman 5.0" in lint_unit(unit, (4, 9, 0))[0].reason
    assert lint_unit(unit, TRIXIE) == []


def test_the_line_of_a_drop_in_is_known():
    unit = Unit(
        parse_name("x.container"),
        container(),
        {f"x.container.d/{name}.conf": "[Container]\n" for name in "ac"} | {"x.container.d/b.conf": "# b\n[Container]\nGroup=5\n"},
    )
    assert [(finding.unit, finding.line) for finding in lint_unit(unit, TRIXIE)] == [("x.container.d/b.conf", 3)]


def test_paths_that_are_nowhere():
    beside, elsewhere = lint_paths(units(x_container=container("EnvironmentFile=no.env", "Volume=/no:/x")), "/u", "/h", [], lambda path: False)
    assert (len(beside), len(elsewhere)) == (1, 1)


def test_a_boot_that_starts_nothing():
    install = container("[Install]", "WantedBy=multi-user.target")
    assert "not started at boot" in lint_install(units(x_container=install)["x.container"], True, False)[0].reason


# Traps that no unit of a stack can fall into, and what keeps them away. The second is where that is tested.
ELSEWHERE = {
    "one broken file hides its whole directory": ("a stack has a directory of its own, and such a file is refused", "ownership.yml"),
    "the generator ends with 0 and has made nothing": ("each expected service must be in what it printed", "test_quadlet_planner.py"),
    "keys systemd does not know are dropped": ("systemd-analyze verify judges the generated units", "test_quadlet_reading.py"),
    "dependencies on x.container before podman 5.5": ("they are written as x.service", "test_quadlet_lint.py"),
    "the order of options changes with each run": ("digests are of unit texts; commands are compared without order", "test_commands.py"),
    "a network or volume that exists is never changed": ("quadlet_network recreates; a volume that differs is refused", "kinds.yml"),
    "nothing restarts by itself for a new image, secret or file": ("each is compared with the running container", "drift.yml"),
    "a unit whose file is gone has no way to be stopped": ("services are stopped before their files go", "ownership.yml"),
    "two files of one name, of which one counts": ("a name that is taken anywhere is refused", "test_quadlet_planner.py"),
    "a unit that hides one of the system": ("a service systemd has from elsewhere is refused", "test_quadlet_planner.py"),
    "health checks stand still without a lingering account": ("the account is made to linger before anything else", "_session.py"),
    "a wait for a network that nobody tells of": ("it is a warning, with what to enable", "test_quadlet_planner.py"),
    "units torn by two reloads at once": ("one lock for each account", "concurrency.yml"),
    "restarts one by one restart leaves several times": ("one call to systemctl for all restarts", "drift.yml"),
    "a healthy start that systemd times out (podman 5.7.1)": ("the module waits and judges by itself", "failures.yml"),
    "logs are gone with the container": ("failures are told from the journal", "failures.yml"),
    "addresses that are taken, reserved or outside": ("compared with the units of all networks", "test_quadlet_lint.py"),
    "podman quadlet install and rm": ("never called", "_transaction.py"),
    "a pod that ends with its last container": ("it is restarted with them", "kinds.yml"),
}


@pytest.mark.parametrize("trap", sorted(ELSEWHERE))
def test_it_cannot_happen(trap, request):
    reason, place = ELSEWHERE[trap]
    root = request.config.rootpath
    assert reason
    assert [path for folder in ("tests/unit", "molecule", "plugins/module_utils") for path in (root / folder).rglob(place)], f"{place} is gone"
