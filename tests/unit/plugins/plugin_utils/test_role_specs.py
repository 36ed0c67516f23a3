# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.plugin_utils import _role_specs

SPEC = "argument_specs: {main: {options: {%s}}}"


@pytest.fixture(autouse=True)
def roles(tmp_path, monkeypatch):
    for role, options in {"immich": "immich_version: {}, homelab_user: {}", "immich_backup": "immich_backup_dir: {}, homelab_storage: {}"}.items():
        (tmp_path / role / "meta").mkdir(parents=True)
        (tmp_path / role / "meta" / "argument_specs.yml").write_text(SPEC % options)
    monkeypatch.setattr(_role_specs, "ROLES", tmp_path)
    _role_specs.specifications.cache_clear()
    yield
    _role_specs.specifications.cache_clear()


def test_misspelt_variable_is_found_with_the_nearest_name():
    assert _role_specs.unknown("immich", ["immich_verison", "immich_version"]) == {"immich_verison": "immich_version"}


def test_variables_of_a_role_with_a_longer_name_are_not_ours():
    assert _role_specs.unknown("immich", ["immich_backup_dir", "immich_backup_dri"]) == {}
    assert _role_specs.unknown("immich_backup", ["immich_backup_dri"]) == {"immich_backup_dri": "immich_backup_dir"}


def test_shared_variables_of_any_role_and_of_the_playbooks_are_known():
    assert _role_specs.unknown("immich", ["homelab_storage", "homelab_user", "homelab_hosts"]) == {}
    assert _role_specs.unknown("immich", ["homelab_usr"]) == {"homelab_usr": "homelab_user"}


def test_other_peoples_variables_do_not_matter():
    assert _role_specs.unknown("immich", ["ansible_user", "__immich_images", "my_immich_thing"]) == {}
