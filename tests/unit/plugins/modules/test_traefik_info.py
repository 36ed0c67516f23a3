# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What traefik_info makes of the API's rawdata, as Traefik 3.7.15 gives it."""

from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._traefik_verdict import objects, plugins, read_timeouts, seconds
from ansible_collections.patriark.homelab.plugins.modules.traefik_info import crowdsec_verdict, names, unusable

RAWDATA = {
    "routers": {
        "immich@file": {"rule": "Host(`photos.example.org`)", "service": "immich", "status": "enabled"},
        "guest@file": {"rule": "Host(`x`)", "service": "x", "status": "disabled", "error": ['middleware "nobody@file" does not exist']},
        "ping@internal": {"rule": "PathPrefix(`/ping`)", "status": "enabled"},
    },
    "middlewares": {"limit@file": {"rateLimit": {"burst": 1}, "status": "enabled", "usedBy": ["immich@file"]}},
    "services": {"immich@file": {"loadBalancer": {}, "status": "enabled"}, "spare@file": {"loadBalancer": {}}},
}


def test_what_cannot_be_used_is_told_with_traefiks_words() -> None:
    assert unusable(objects(RAWDATA)) == [{"kind": "routers", "name": "guest", "status": "disabled", "errors": ['middleware "nobody@file" does not exist']}]


def test_a_service_nobody_asks_for_has_no_status_and_is_fine() -> None:
    assert unusable(objects({"services": RAWDATA["services"]})) == []


def test_names_are_those_of_files() -> None:
    assert names(objects(RAWDATA)) == {"routers": ["guest", "immich"], "middlewares": ["limit"], "services": ["immich", "spare"]}


def test_the_local_api_may_answer_refuse_or_be_away() -> None:
    assert crowdsec_verdict(0, "") == "answers"
    assert crowdsec_verdict(1, "wget: server returned error: HTTP/1.1 403 Forbidden\n") == "refuses the key"
    assert crowdsec_verdict(1, "wget: can't connect to remote host (10.89.2.9): Connection refused\n").startswith("does not answer: wget: can't connect")
    assert crowdsec_verdict(1, "") == "does not answer: no reason"


@pytest.mark.parametrize(("text", "found"), [("1m0s", 60), ("2h0m0s", 7200), ("1m30.5s", 90.5), ("500ms", 0.5), ("0s", 0)])
def test_durations_as_go_writes_them(text: str, found: float) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["60", "1 m", "m", "1y"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


def test_how_long_a_request_may_take_and_no_limit_is_left_out_by_the_api() -> None:
    shown = [
        {"name": "websecure", "transport": {"respondingTimeouts": {"readTimeout": "1m0s", "idleTimeout": "3m0s"}}},
        {"name": "slow", "transport": {"respondingTimeouts": {"idleTimeout": "10m0s"}}},
        {"name": "udp"},
    ]
    assert read_timeouts(shown) == {"websecure": 60, "slow": 0, "udp": 0}


def test_routers_that_need_a_plugin() -> None:
    middlewares = {
        "crowdsec@file": {"plugin": {"crowdsec": {"enabled": True}}, "usedBy": ["immich@file", "immich-upload@file"]},
        "spare@file": {"plugin": {"geo": {}}},
        "limit@file": {"rateLimit": {}, "usedBy": ["immich@file"]},
    }
    assert plugins(objects({"middlewares": middlewares})) == {"crowdsec": ["immich", "immich-upload"], "geo": []}
