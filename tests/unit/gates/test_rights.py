# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists of what containers have, beside their units and their page. What they really have is for a machine to tell."""

from __future__ import annotations

import pathlib
import re
import typing as t

import pytest
import rights

ROLES = rights.ROOT / "roles"
FOUND = rights.lists()
CONTAINERS = {name: listed for role, containers in FOUND.items() if role != rights.EVERY for name, listed in containers.items()}
UNITS = {path.name.partition(".")[0]: path for path in sorted(ROLES.glob("*/templates/*.container.j2"))}
# Here no line depends on anything, and of two there is no binary to look at.
SAME = sorted(FOUND["monitoring"])


def lines(path: pathlib.Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)


def volumes(path: pathlib.Path) -> dict[str, bool]:
    """Place in the container -> whether it is read-only."""
    found = {}
    for line in lines(path, "Volume"):
        parts = re.sub(r"\{\{.*?\}\}", "", line).split(":")
        found[parts[1]] = "ro" in ":".join(parts[2:]).split(",")
    return found


def test_the_page_is_made_from_the_lists() -> None:
    assert rights.main([]) == 0


def test_a_list_that_the_page_does_not_show_is_noticed(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / rights.PAGE
    page.write_text((rights.ROOT / rights.PAGE).read_text(encoding="utf-8"), encoding="utf-8")
    for role, listed in FOUND.items():
        folder = tmp_path / "roles" / role / "vars/main"
        folder.mkdir(parents=True)
        text = (ROLES / role / "vars/main/rights.yml").read_text(encoding="utf-8")
        (folder / "rights.yml").write_text(text.replace("CHOWN:", "NET_RAW:"), encoding="utf-8")
        assert listed
    assert rights.main([], tmp_path) == 1
    assert "make docs" in capsys.readouterr().out
    assert rights.main(["--write"], tmp_path) == 0
    assert rights.main([], tmp_path) == 0
    assert "`NET_RAW`" in page.read_text(encoding="utf-8")


def test_every_container_has_a_list_and_every_list_a_container() -> None:
    assert sorted(UNITS) == sorted(CONTAINERS)


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_what_is_listed_is_in_the_unit(name: str) -> None:
    there = volumes(UNITS[name])
    memory = {line.partition(":")[0] for line in lines(UNITS[name], "Tmpfs")}
    assert {place for place, read_only in there.items() if not read_only} | memory >= set(CONTAINERS[name].get("writes") or {})
    assert {place for place, read_only in there.items() if read_only} >= set(CONTAINERS[name].get("reads") or {})
    assert {word for line in lines(UNITS[name], "AddCapability") for word in line.split()} >= set(CONTAINERS[name].get("capabilities") or {})


@pytest.mark.parametrize("name", SAME)
def test_what_is_in_the_unit_is_listed(name: str) -> None:
    listed: dict[str, t.Any] = {kind: set(CONTAINERS[name].get(kind) or {}) for kind in ("writes", "reads", "secrets")}
    there = volumes(UNITS[name])
    assert {place for place, read_only in there.items() if not read_only} == listed["writes"]
    assert {place for place, read_only in there.items() if read_only} == listed["reads"]
    assert {line.partition(",")[0] for line in lines(UNITS[name], "Secret") if "{{" not in line} == listed["secrets"]
    assert lines(UNITS[name], "AddCapability") + lines(UNITS[name], "AddDevice") == []
    labelled = {"alloy"}  # the journal cannot be given a label of its own
    assert bool(lines(UNITS[name], "SecurityLabelDisable")) == (name in labelled)
