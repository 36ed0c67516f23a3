# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory must not ask for."""

from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.plugin_utils import _inventory

TEXTS = {"type": "list", "elements": "str"}
PEOPLE = {"type": "list", "elements": "dict", "options": {"email": {"type": "str"}, "password": {"type": "str", "no_log": True}}}


@pytest.mark.parametrize(
    ("value", "option", "said"),
    [
        ("0.0.0.0/0", TEXTS, "x is a text: write a list, such as [0.0.0.0/0]"),
        ({"a": 1}, TEXTS, "x is names with values: write a list"),
        ("127.0.0.1:9090", {"type": "dict"}, "x is a text: write names with values below it"),
        (["a"], {"type": "dict"}, "x is a list: write names with values below it"),
        ([["a"]], TEXTS, "x[0] is a list: write one value"),
        (["a"], PEOPLE, "x[0] is a text: write names with values below it"),
        ([{"email": ["a"]}], PEOPLE, "x[0].email is a list: write one value"),
        ({"X": "a\nIMMICH_ALLOW_SETUP=true"}, {"type": "dict"}, "x.X has a line break at position 2"),
        ({"a\nb": "c"}, {"type": "dict"}, "x: a name has a character that cannot be seen"),
        ("patriark.org\n", {"type": "str"}, "x has a line break at position 13"),
        (["a\u2028"], TEXTS, "x[0] has a line break"),
        ("a\x1bb", {"type": "str"}, "x has a character that cannot be seen at position 2"),
        ([{"email": "a\r"}], PEOPLE, "x[0].email has a line break"),
    ],
)
def test_a_form_that_is_another(value, option, said):
    (fault,) = _inventory.forms("x", value, option)
    assert fault.startswith(said)


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [
        ("x", ["a"], TEXTS),
        ("x", [], TEXTS),
        ("x", None, TEXTS),
        ("x", {"a": [1, True]}, {"type": "dict"}),
        ("x", "true", {"type": "bool"}),
        ("x", 3, {"type": "str"}),
        ("x", "grüße aus Ås", {"type": "str"}),
        ("x", "two\nlines", {"type": "str", "no_log": True}),
        ("immich_settings", {"theme": {"customCss": "a\nb"}}, {"type": "dict"}),
        ("x", [{"email": "a", "password": "b\n", "other": "c"}], {**PEOPLE, "no_log": True}),
    ],
)
def test_a_form_that_is_right(name, value, option):
    assert _inventory.forms(name, value, option) == []


@pytest.mark.parametrize(
    "ranges",
    [
        ["0.0.0.0/0"],
        ["::/0"],
        ["0.0.0.0/1", "128.0.0.0/1"],
        ["::/1", "8000::/1"],
        [f"{first}.0.0.0/8" for first in (1, 2)],
        ["::ffff:0:0/96"],
        ["2000::/3"],
        ["0.0.0.0/0", "10.0.0.0/8"],
        [f"{first}.{second}.0.0/16" for first in range(20, 23) for second in range(256)],
    ],
)
def test_ranges_that_add_up_to_the_internet(ranges):
    (fault,) = _inventory.trusted(ranges)
    assert "% of all IPv" in fault


@pytest.mark.parametrize(
    "ranges",
    [
        [],
        ["192.0.2.7"],
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "::1"],
        ["10.89.2.0/24", "2001:db8::/32"],
        ["104.16.0.0/13", "172.64.0.0/13", "162.158.0.0/15", "2606:4700::/32", "2400:cb00::/32", "2a06:98c0::/29"],
    ],
)
def test_proxies_that_somebody_can_have(ranges):
    assert _inventory.trusted(ranges) == []


def test_what_is_no_address():
    assert _inventory.trusted(["proxy.example.org", "10.0.0.1\n"]) == [
        "proxy.example.org is neither an address nor a range",
        "10.0.0.1\n is neither an address nor a range",
    ]


def webhook(**config):
    return {"webhook_configs": [{"url_file": "/f", "http_config": config}]}


@pytest.mark.parametrize(
    ("receiver", "place"),
    [
        (
            {"webhook_configs": [{"url_file": "/f", "http_config": {"oauth2": {"client_id": "a", "client_secret": "s"}}}]},
            "webhook_configs[0].http_config.oauth2.client_secret",
        ),
        (webhook(bearer_token="s"), "webhook_configs[0].http_config.bearer_token"),
        ({"sns_configs": [{"sigv4": {"access_key": "a", "secret_key": "s"}}]}, "sns_configs[0].sigv4.secret_key"),
        ({"wechat_configs": [{"api_secret": "s"}]}, "wechat_configs[0].api_secret"),
        ({"email_configs": [{"auth_secret": "s"}]}, "email_configs[0].auth_secret"),
        ({"discord_configs": [{"webhook_url": "https://x/y"}]}, "discord_configs[0].webhook_url"),
        (
            {"webhook_configs": [{"url_file": "/f", "http_config": {"http_headers": {"X-Token": {"secrets": ["s"]}}}}]},
            "webhook_configs[0].http_config.http_headers.X-Token.secrets",
        ),
        ({"email_configs": [{"to": "a", "smarthost": "smtp://u:p@mail"}]}, "email_configs[0].smarthost (a password in an address)"),
        ({"email_configs": [{"tls_config": {"key": "-----BEGIN"}}]}, "email_configs[0].tls_config.key"),
    ],
)
def test_a_secret_in_plain_text(receiver, place):
    assert _inventory.plain_secrets([{"name": "r", **receiver}]) == [f"r: {place}"]


def test_secrets_by_reference():
    config = {"client_secret_file": "/s", "client_id": "a", "token_url": "https://x"}
    assert _inventory.plain_secrets([{"name": "r", **webhook(oauth2=config, authorization={"credentials_file": "/c"})}]) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/mnt/pool/../../etc", "write /etc"),
        ("/mnt/pool/", "write /mnt/pool"),
        ("//mnt/pool", "write /mnt/pool"),
        ("/etc", "belongs to the system"),
        ("/etc/immich", "belongs to the system"),
        ("/", "belongs to the system"),
        ("/home", "belongs to the system"),
        ("/home/homelab", "belongs to the system"),
        ("/var/lib", "belongs to the system"),
        ("/usr/local/photos", "belongs to the system"),
        ("photos", "does not begin with /"),
        ("~/photos", "has a character"),
        ("/srv/my photos", "has a character"),
        ("/srv/a:b", "has a character"),
        ("/srv/%h", "has a character"),
        ("/srv/it's", "has a character"),
        ('/srv/"x"', "has a character"),
        ("/srv/$HOME", "has a character"),
        ("/srv/photos\n", "has a character"),
    ],
)
def test_directories_that_are_none(path, said):
    (fault,) = _inventory.paths({"immich_library": path})
    assert fault.startswith("immich_library: ") and said in fault


def test_directories_that_are():
    assert (
        _inventory.paths(
            {
                "a": "/mnt/btrfs-pool/subvol3-opptak/immich",
                "b": "/srv/photos",
                "c": "/home/homelab/containers",
                "d": None,
                "e": "/var/lib/immich",
                "f": "/srv/bilder-ås",
            }
        )
        == []
    )


def test_directories_in_one_another():
    assert _inventory.nested({"a": "/srv/photos", "b": "/srv/photos/db", "c": "/srv/photos-2"}) == ["b lies inside a: /srv/photos/db"]
    assert _inventory.nested({"b": "/srv/photos/db", "a": "/srv/photos"}) == ["b lies inside a: /srv/photos/db"]
    assert _inventory.nested({"a": "/srv/photos", "b": "/srv/photos/"}) == ["a and b are both /srv/photos"]
    assert _inventory.nested({"a": "/mnt/pool", "b": "/srv/db"}, "/mnt/pool/") == ["a is the pool itself: /mnt/pool"]


def test_names_of_variables():
    assert _inventory.variables(["TZ", "_a1", "A-B", "1A", "A=B", "A\n", "A B"]) == ["A-B", "1A", "A=B", "A\n", "A B"]


def test_a_wrong_directory_is_told_once():
    assert _inventory.paths({"homelab_storage.containers": "/srv/c/", "a": "/srv/c/", "b": "/srv/c//db"}) == [
        "homelab_storage.containers: write /srv/c, not /srv/c/"
    ]


def test_external_libraries():
    own = {"immich_library": "/srv/photos", "immich_database_directory": "/srv/db"}

    def found(path, **options):
        return _inventory.external([{"name": "old", "path": path}], own, **options)

    assert found("/mnt/nas/photos") == [] and found("/srv/anna/Pictures") == []
    assert "belongs to the system" in found("/")[0] and len(found("/")) == 3
    assert len(found("/", anywhere=True)) == 2, "the database is never shown"
    assert found("/etc", anywhere=True) == [] and len(found("/etc")) == 1
    assert found("/srv/photos/library") == ["immich_external_libraries old lies inside immich_library: /srv/photos/library"]


@pytest.mark.parametrize(("path", "anywhere", "faults"), [("/usr/local/lib/bouncer", True, 0), ("/usr/local/lib/bouncer", False, 1), ("usr/bouncer", True, 1)])
def test_what_is_only_read_may_be_a_directory_of_the_system(path, anywhere, faults):
    assert len(_inventory.paths({"traefik_crowdsec.plugin_directory": path}, anywhere)) == faults
