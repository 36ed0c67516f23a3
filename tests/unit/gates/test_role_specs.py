# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way in which a role's specification, defaults, files and README can part is found, and a good role is left in peace."""

from __future__ import annotations

import pathlib

import pytest
import role_specs
from role_specs import Role, findings, main, render

SPEC = """---
argument_specs:
  main:
    short_description: Serve photos
    description: [Deploys the thing.]
    options:
      homelab_user:
        type: str
        default: homelab
        description: The account.
      photo_memory:
        type: str
        default: 4G
        description: [Memory limit of the server. Restarts the server., See O(photo_ports).]
      photo_ports:
        type: list
        elements: dict
        default: []
        description: Ports | doors. Restarts nothing.
        options:
          port:
            type: int
            required: true
            description: Its number.
      photo_domain:
        type: str
        required: true
        description: Name people type. Restarts the proxy.
  check:
    short_description: Look only
    description: [Changes nothing.]
    options:
      photo_domain:
        type: str
        required: true
        description: Name people type. Restarts the proxy.
"""
DEFAULTS = "---\nphoto_memory: 4G\nphoto_ports: []\n"
TASKS = """---
- name: Deploy
  patriark.homelab.quadlet:
    user: "{{ __photo_user }}"
    memory: "{{ photo_memory }} {{ photo_ports }} {{ photo_domain }}"
"""
INTERNALS = "---\n# homelab_user in a comment\n__photo_user: \"{{ homelab_user | default('homelab') }}\"\n__photo_fix: Correct homelab_user.\n"
FILES = {
    "meta/argument_specs.yml": SPEC,
    "defaults/main.yml": DEFAULTS,
    "tasks/main.yml": TASKS,
    "tasks/check.yml": "---\n- name: Look\n  ansible.builtin.debug:\n    var: photo_domain\n",
    "vars/main.yml": INTERNALS,
}


def write(root: pathlib.Path, files: dict[str, str], name: str = "photo") -> Role:
    for path, text in files.items():
        file = root / "roles" / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return Role(root / "roles" / name)


def test_a_good_role_passes_with_the_readme_that_was_written(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    role = write(tmp_path, FILES)
    assert findings(role, [role]) == []
    assert main(["--write"], tmp_path) == 0
    assert main([], tmp_path) == 0
    assert capsys.readouterr().err == ""


def test_a_stale_or_absent_readme_fails(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, FILES)
    assert main([], tmp_path) == 1
    main(["--write"], tmp_path)
    readme = tmp_path / "roles/photo/README.md"
    readme.write_text(readme.read_text(encoding="utf-8").replace("4G", "5G"), encoding="utf-8")
    assert main([], tmp_path) == 1
    assert "roles/photo: README.md is not what the specification gives" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "old", "new", "finding"),
    [
        ("defaults/main.yml", "photo_memory: 4G\n", "", "photo_memory: has a default in the specification and none"),
        ("defaults/main.yml", "photo_memory: 4G\n", "photo_memory: 5G\n", "photo_memory: is '5G' in defaults/main.yml, and '4G'"),
        ("defaults/main.yml", "photo_ports: []\n", "photo_ports: []\nphoto_extra: 1\n", "photo_extra: in defaults/main.yml, is in no entry point"),
        ("defaults/main.yml", "photo_ports: []\n", "photo_ports: []\nother: 1\n", "other: in defaults/main.yml, begins neither with"),
        ("defaults/main.yml", "photo_ports: []\n", "photo_ports: []\nphoto_domain: x\n", "photo_domain: has a default in defaults/main.yml and none"),
        ("defaults/main.yml", "photo_ports: []\n", "photo_ports: []\nhomelab_user: x\n", "homelab_user: in defaults/main.yml, is shared"),
        ("vars/main.yml", "__photo_user:", "photo_user:", "photo_user: in vars, does not begin with __photo_"),
        ("vars/main.yml", "default('homelab')", "default('lab')", "homelab_user: vars/main.yml reads it without | default('homelab')"),
        ("vars/main.yml", " | default('homelab')", "", "homelab_user: vars/main.yml reads it without | default('homelab')"),
        ("tasks/main.yml", "{{ photo_ports }}", "{{ homelab_domain }} {{ photo_ports }}", "homelab_domain: is read and not in the specification"),
        ("tasks/main.yml", "{{ photo_memory }}", "", "photo_memory: nothing in the role reads it"),
        ("meta/argument_specs.yml", "photo_memory:\n        type: str\n", "photo_memory:\n", "main: photo_memory: has no type"),
        ("meta/argument_specs.yml", "photo_memory:\n        type: str\n", "photo_memory:\n        type: text\n", "main: photo_memory: unknown type text"),
        ("meta/argument_specs.yml", "        elements: dict\n", "", "main: photo_ports: a list needs elements"),
        ("meta/argument_specs.yml", "            type: int\n", "", "main: photo_ports.port: has no type"),
        ("meta/argument_specs.yml", "            description: Its number.\n", "", "main: photo_ports.port: has no description"),
        ("meta/argument_specs.yml", "description: Ports | doors. Restarts nothing.", "description: Restarts nothing.", "main: photo_ports: has no description"),
        ("meta/argument_specs.yml", " Restarts nothing.", "", 'main: photo_ports: no sentence of the description begins with "Restarts"'),
        ("meta/argument_specs.yml", "O(photo_ports)", "O(photo_ports", "main: photo_memory: While parsing"),
        ("meta/argument_specs.yml", "default: 4G\n", "default: 4G\n        choices: [1G]\n", "main: photo_memory: the default '4G' is none of the choices"),
        ("meta/argument_specs.yml", "default: 4G\n", "default: 4G\n        required: true\n", "main: photo_memory: is required and has a default"),
        ("meta/argument_specs.yml", "  check:\n", "  verify:\n", "entry point verify: there is no tasks/verify.yml"),
        ("meta/argument_specs.yml", "short_description: Look only", "short_description: ''", "entry point check: needs a short_description"),
        ("meta/argument_specs.yml", "  main:\n", "  start:\n", "no entry point main"),
        ("meta/argument_specs.yml", "photo_ports:\n", "video_ports:\n", "main: video_ports: the name begins neither with photo_"),
    ],
)
def test_each_defect_is_found(tmp_path: pathlib.Path, file: str, old: str, new: str, finding: str) -> None:
    assert old in FILES[file]
    role = write(tmp_path, {**FILES, file: FILES[file].replace(old, new, 1)})
    assert any(finding in found for found in findings(role, [role])), findings(role, [role])


def test_entry_points_agree_on_an_option(tmp_path: pathlib.Path) -> None:
    head, tail = SPEC.rsplit("required: true", 1)
    role = write(tmp_path, {**FILES, "meta/argument_specs.yml": f"{head}required: false{tail}"})
    assert "check: photo_domain: differs from the same option of another entry point" in findings(role)


def test_roles_agree_on_shared_variables(tmp_path: pathlib.Path) -> None:
    one = write(tmp_path, FILES)
    two = write(tmp_path, {**FILES, "meta/argument_specs.yml": SPEC.replace("default: homelab", "default: lab")}, "other")
    assert "homelab_user: differs from the same variable of the role other" in findings(one, [one, two])


def test_a_truth_value_is_no_number(tmp_path: pathlib.Path) -> None:
    spec = SPEC.replace("type: str\n        default: 4G", "type: bool\n        default: true")
    role = write(tmp_path, {**FILES, "meta/argument_specs.yml": spec, "defaults/main.yml": DEFAULTS.replace("4G", "1")})
    assert "photo_memory: is 1 in defaults/main.yml, and True in the specification" in findings(role)


def test_the_readme_tells_everything_in_the_specification(tmp_path: pathlib.Path) -> None:
    text = render(write(tmp_path, FILES))
    assert "| `photo_memory` | str | `4G` | Memory limit of the server. See `photo_ports`. | the server |" in text
    assert "| `photo_ports` | list of dict | `[]` | Ports \\| doors. | nothing |" in text
    assert "| `photo_domain` | str | **required** | Name people type. | the proxy |" in text
    assert "In `photo_ports`, each item has:" in text
    assert "| `port` | int | **required** | Its number. |" in text
    assert "## Entry point `check`" in text
    assert "    tasks_from: check\n  vars:\n    photo_domain: ..." in text


def test_a_long_default_is_shown_as_yaml_below_the_table(tmp_path: pathlib.Path) -> None:
    values = [f"value-{number:02}" for number in range(9)]
    spec = SPEC.replace("elements: dict\n        default: []", f"elements: dict\n        default: {values}")
    text = render(write(tmp_path, {**FILES, "meta/argument_specs.yml": spec}))
    assert "| `photo_ports` | list of dict | see below |" in text
    assert "```yaml\nphoto_ports:\n- value-00\n" in text


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("V(true) and C(a b)", "`true` and `a b`"),
        ("see M(patriark.homelab.quadlet)", "see `patriark.homelab.quadlet`"),
        ("L(docs,https://example.org) B(bold) I(soft) E(HOME)", "[docs](https://example.org) **bold** *soft* `HOME`"),
        ("a <b> *c*", "a \\<b\\> \\*c\\*"),
    ],
)
def test_markup_becomes_markdown(markup: str, expected: str) -> None:
    assert role_specs.markdown(markup) == expected
