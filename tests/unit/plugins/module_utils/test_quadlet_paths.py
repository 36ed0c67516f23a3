# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths a unit needs when it starts, and nothing else."""

from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_paths import lint_paths
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, parse_name


def unit(name, text):
    return Unit(parse_name(name), text)


def container(*lines, more=""):
    return unit("x.container", "[Container]\nImage=localhost/a:1\n" + "".join(f"{line}\n" for line in lines) + more)


def looked(tested, **others):
    units = {tested.name.text: tested, **{name.replace("_", "."): unit(name.replace("_", "."), text) for name, text in others.items()}}
    found = lint_paths(units, "/units/demo", "/home/me", ["a.env", "rules/x.yml"], lambda path: path in ("/there", "/home/me/x", "/units/demo/theirs"))
    return [[(finding.line, finding.key, finding.reason) for finding in part] for part in found]


@pytest.mark.parametrize(
    "line",
    [
        "EnvironmentFile=a.env",
        "EnvironmentFile=./a.env",
        "EnvironmentFile=/units/demo/a.env",
        "Volume=./rules:/r",
        "Volume=./rules/:/r",
        "Volume=.:/all",
        "Volume=..:/all",
        "Volume=./theirs:/t",
        "Volume=name:/n",
        "Volume=data.volume:/n",
        "Volume=%h/x:/x",
        "Volume=%t/x:/x",
        "Volume=${X}:/x",
        "Volume=/there:/t:ro",
        "Volume=/anonymous",
        "Volume=/gone:/x\nVolume=",
        "Mount=type=bind,source=/there,target=/t",
        "Mount=type=volume,source=gone,target=/t",
        "Mount=type=tmpfs,target=/t",
    ],
)
def test_what_is_there_or_cannot_be_known_is_left_alone(line):
    assert looked(container(line)) == [[], []]


@pytest.mark.parametrize(
    ("line", "beside", "elsewhere"),
    [
        ("EnvironmentFile=b.env", ["there is no b.env beside the unit"], []),
        ("EnvironmentFile=a.env b.env", ["there is no b.env beside the unit"], []),
        ("Volume=./rule:/r", ["there is no ./rule beside the unit"], []),
        ("EnvironmentFile=/gone.env", [], ["/gone.env does not exist"]),
        ("Volume=/gone:/x", [], ["/gone does not exist"]),
        ("Volume=%h/gone:/x", [], ["/home/me/gone does not exist"]),
        ("Mount=type=bind,source=/gone,target=/t", [], ["/gone does not exist"]),
        ("Mount=type=bind,src=./gone,dst=/t", ["there is no ./gone beside the unit"], []),
    ],
)
def test_what_is_not_there_is_found_on_its_line(line, beside, elsewhere):
    assert looked(container(line)) == [[(3, line.partition("=")[0], reason) for reason in reasons] for reasons in (beside, elsewhere)]


def test_other_kinds():
    assert looked(unit("p.pod", "[Pod]\nVolume=/gone:/x\n"))[1] == [(2, "Volume", "/gone does not exist")]
    assert looked(unit("k.kube", "[Kube]\nYaml=k.yml\n"))[0] == [(2, "Yaml", "there is no k.yml beside the unit")]
    assert looked(unit("x@.container", "[Container]\nVolume=/gone:/x\n")) == [[], []]


@pytest.mark.parametrize(
    ("more", "others"),
    [
        ("[Service]\nExecStartPre=/bin/mkdir /gone\n", {}),
        ("[Unit]\nAfter=make.service\n", {"make_service": "[Service]\nExecStart=/bin/mkdir /gone\n"}),
        ("[Unit]\nRequires=make.service\n", {"make_container": "[Container]\nImage=localhost/a:1\n[Service]\nType=oneshot\n"}),
        ("[Unit]\nWants=srv-photos.mount\n", {}),
    ],
)
def test_what_runs_before_may_make_it(more, others):
    assert looked(container("Volume=/gone:/x", more=more), **others) == [[], []]
    assert looked(container("Volume=/gone:/x"), **others)[1] == [(3, "Volume", "/gone does not exist")]
