# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Immich's settings file."""

from __future__ import annotations

import copy
import json
import pathlib

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.patriark.homelab.plugins.filter.immich_settings import immich_settings

ROOT = pathlib.Path(__file__).resolve().parents[4]
DATA = yaml.safe_load((ROOT / "roles/immich/vars/main/settings.yml").read_text(encoding="utf-8"))
KNOWN, RELEASES, SECRETS = DATA["__immich_known_settings"], DATA["__immich_settings_releases"], DATA["__immich_secret_settings"]


def compose(settings, version="v2.5.5", **more):
    return immich_settings(settings, KNOWN, version, RELEASES, secret_names=SECRETS, **more)


def test_a_persons_settings_win_over_the_roles():
    made = compose({"trash": {"days": 7}, "ffmpeg": {"accel": "qsv"}}, base={"ffmpeg": {"accel": "vaapi"}, "machineLearning": {"enabled": False}})
    assert made["document"] == {"trash": {"days": 7}, "ffmpeg": {"accel": "qsv"}, "machineLearning": {"enabled": False}}
    assert made["unknown"] == made["misplaced"] == []
    assert made["shown"] == made["document"]


def test_all_known_settings_are_accepted():
    assert compose(copy.deepcopy(KNOWN))["unknown"] == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trash": {"day": 7}}, "trash.day is not a setting (did you mean trash.days?)"),
        ({"trahs": {"days": 7}}, "trahs.days is not a setting (did you mean trash.days?)"),
        ({"wibble": 1}, "wibble is not a setting"),
        ({"trash": {"days": "7"}}, "trash.days must be a number"),
        ({"trash": {"enabled": 1}}, "trash.enabled must be true or false"),
        ({"trash": 7}, "trash must be a group"),
        ({"machineLearning": {"urls": "http://ml:3003"}}, "machineLearning.urls must be a list"),
    ],
)
def test_what_the_release_does_not_know(settings, said):
    assert compose(settings)["unknown"] == [said]


def test_other_releases_are_only_held_to_slips():
    assert compose({"integrityChecks": {"enabled": True}}, "v3.2.0")["unknown"] == []
    assert compose({"integrityChecks": {"enabled": True}}, "v2.5.5")["unknown"] != []
    assert compose({"trash": {"dayss": 7}}, "v3.2.0")["unknown"] == ["trash.dayss is not a setting (did you mean trash.days?)"]


def test_secrets_are_in_the_document_and_never_shown():
    made = compose({"oauth": {"enabled": True}}, secrets={"oauth.clientSecret": "very-secret", "notifications.smtp.transport.password": "also"})
    assert made["document"]["oauth"] == {"enabled": True, "clientSecret": "very-secret"}
    assert made["document"]["notifications"]["smtp"]["transport"]["password"] == "also"
    assert "very-secret" not in json.dumps(made["shown"])
    assert made["unknown"] == []
    assert compose({}, secrets={"oauth.clientSecrt": "x"})["unknown"] == ["oauth.clientSecrt is not a setting (did you mean oauth.clientSecret?)"]
    assert compose({"oauth": {"clientSecret": 3}}, secrets={"oauth.clientSecret.x": "y"})["unknown"][-1].endswith("is a value, not a group")


def test_a_plain_secret_is_misplaced():
    assert compose({"oauth": {"clientSecret": "x"}})["misplaced"] == ["oauth.clientSecret"]
    assert compose({"oauth": {"clientSecret": ""}})["misplaced"] == []
    assert set(SECRETS) <= {"oauth.clientSecret", "notifications.smtp.transport.password"}


def test_not_a_dictionary():
    with pytest.raises(AnsibleFilterError):
        compose([])
