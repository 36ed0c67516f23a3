# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images have to be here before a stack is touched, and as what they are pulled."""

from __future__ import annotations

import pytest
from ansible_collections.patriark.homelab.plugins.module_utils._pull_plan import Pull, wanted
from ansible_collections.patriark.homelab.plugins.module_utils._quadlet_unit import Unit, parse_name

A = "ghcr.io/a/a:1"


def units(**texts):
    found = {}
    for key, text in texts.items():
        stem, dummy, kind = key.partition("_")
        section = (kind or "container").capitalize()
        name = f"{stem}.{kind or 'container'}"
        found[name] = Unit(parse_name(name), f"[{section}]\n{text}\n")
    return found


def judged(made, here=(), acting=None):
    chosen = [unit for name, unit in made.items() if acting is None or name in acting]
    return wanted(chosen, made, dict.fromkeys(here, "i1"), {"%h": "/srv/x", "%t": "/run/user/1", "%%": "%"})


@pytest.mark.parametrize(
    ("policy", "here", "asked"),
    [
        ("", False, "missing"),
        ("", True, None),
        ("missing", False, "missing"),
        ("missing", True, None),
        ("newer", False, "newer"),
        ("newer", True, "newer"),
        ("always", True, "always"),
        ("never", True, None),
        ("never", False, "refused"),
    ],
)
@pytest.mark.parametrize("written", ["Pull={}", "PodmanArgs=--pull={}", "PodmanArgs=--pull {} --rm"])
def test_the_policy_of_the_unit_decides(policy, here, asked, written):
    pulls, findings = judged(units(web=f"Image={A}\n" + (written.format(policy) if policy else "")), [A] if here else [])
    assert ([pull.policy for pull in pulls], [finding.severity for finding in findings]) == (
        ([asked], []) if asked in ("missing", "newer", "always") else ([], ["error"] if asked else [])
    )
    assert all(pull.present is here and pull.reference == A for pull in pulls)


def test_what_is_made_here_is_never_asked_for():
    pulls, findings = judged(units(web="Image=localhost/web:1", other="Image=localhost/other:1\nPull=always"), ["localhost/other:1"])
    assert pulls == []
    assert [(finding.unit, finding.key, finding.line) for finding in findings] == [("web.container", "Image", 2)]
    assert "localhost/web:1 is not here" in findings[0].reason and "podman load" in findings[0].remedy
    assert judged(units(web="Image=localhost/web:1", web_build="ImageTag=localhost/web:1")) == ([], [])
    assert judged(units(web="Image=0123456789ab"))[1], "an image's id names what is here"


def test_an_image_that_another_unit_pulls_may_be_never():
    assert judged(units(one=f"Image={A}\nPull=never", two=f"Image={A}")) == ([Pull("two.container", A)], [])
    assert len(judged(units(one=f"Image={A}\nPull=never", two=f"Image={A}"), acting=["one.container"])[1]) == 1


def test_each_image_once_and_only_for_what_starts():
    assert judged(units(one=f"Image={A}", two=f"Image={A}", three="Image=b.test/b:1"), acting=["one.container", "two.container"]) == (
        [Pull("one.container", A)],
        [],
    )


@pytest.mark.parametrize(
    "text", ["Image=%h/x", "Image=docker-archive:/x.tar", "Image=other.build", "Image=other.image", "Image=$X", f"Image={A}\nGlobalArgs=--x=%i"]
)
def test_what_only_the_start_can_tell_is_left_to_it(text):
    assert judged(units(web=text)) == ([], [])


def test_a_template_has_no_image_of_its_own():
    name = parse_name("web@.container")
    assert judged({"web@.container": Unit(name, f"[Container]\nImage={A}\n")}) == ([], [])


def test_an_image_unit_asks_each_time_with_all_it_has():
    text = f"Image={A}\nAuthFile=%h/auth.json\nTLSVerify=false\nArch=arm64\nContainersConfModule=/m.conf\nGlobalArgs=--log-level=error\nImageTag=localhost/a:1"
    pulls, findings = judged(units(a_image=text, web="Image=a.image"), [A])
    assert findings == []
    assert pulls == [
        Pull("a.image", A, "always", True, ("--arch=arm64", "--authfile=/srv/x/auth.json", "--tls-verify=false"), ("--module=/m.conf", "--log-level=error"))
    ]


def test_what_a_container_says_about_its_registry_counts():
    text = f"Image={A}\nRetry=5\nPodmanArgs=--authfile /a.json --tls-verify=false --cpus 1 --creds=a:b --tls-verify\nPodmanArgs=--arch"
    assert judged(units(web=text))[0][0].options == ("--retry=5", "--authfile=/a.json", "--tls-verify=false", "--creds=a:b", "--tls-verify=true", "--arch=")
