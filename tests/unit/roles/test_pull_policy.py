# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One variable says when images are asked for, and every container of every role goes by it; left alone it writes nothing."""

from __future__ import annotations

import pathlib
import re

import jinja2
import pytest
import yaml

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"
TEMPLATES = sorted(ROLES.glob("*/templates/*.container.j2"))


def test_there_are_templates():
    assert len(TEMPLATES) >= 11


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_each_container_has_the_policy(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("Image="))
    image = re.sub(r"\{\{.*?\}\}", "a:1", lines[start])
    template = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True).from_string("\n".join([image, *lines[start + 1 : start + 4], ""]))
    assert template.render() == template.render(homelab_pull_policy="missing") == "Image=a:1\n"
    for policy in ("newer", "always", "never"):
        assert template.render(homelab_pull_policy=policy) == f"Image=a:1\nPull={policy}\n"


@pytest.mark.parametrize("role", sorted({path.parents[1].name for path in TEMPLATES}))
def test_each_role_declares_it(role):
    options = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    assert (options["homelab_pull_policy"]["choices"], options["homelab_pull_policy"]["default"]) == (["missing", "newer", "always", "never"], "missing")
