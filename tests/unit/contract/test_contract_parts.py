# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract suite's own parts: what it reads out of logs, metrics and prompts, and how it tells a difference."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "molecule" / "shared" / "files"))

from contract import expected, facts
from contract.client import Answer
from contract.servers import Face, timed_lines


def test_equal_documents_differ_in_nothing() -> None:
    assert expected.differences({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}) == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"a": {"b": 2}}, "/a/b: the original has 1, here is 2"),
        ({"a": {}}, "/a/b: missing, was 1"),
        ({"a": {"b": 1}, "c": 3}, "/c: more than the original has: 3"),
        ({"a": None}, "/a: the original has {'b': 1}, here is None"),
    ],
)
def test_a_difference_names_its_place(found: object, told: str) -> None:
    assert expected.differences({"a": {"b": 1}}, found) == [told]


def test_lists_are_told_by_what_is_gone_or_new_and_order_counts() -> None:
    assert expected.differences(["a", "b"], ["b", "c"]) == [": the original has ['a'], here is ['c']"]
    assert len(expected.differences(["a", "b"], ["b", "a"])) == 1


def test_both_releases_have_an_answer_for_each_claim() -> None:
    for release in ("2.5.5", "3.1.0"):
        assert sorted(expected.read(release)) == sorted(facts.CLAIMS)


def test_what_is_made_up_becomes_a_word() -> None:
    one = facts.plain("9f1f2c51-0a4e-4a52-b5b5-7a3d1d1e3c00 at 2026-01-01T12:00:00.123Z from ::ffff:10.89.0.5 token=abc.def-g")
    assert one == "UUID at TIME from ADDRESS token=TOKEN"


@pytest.mark.parametrize(("text", "good"), [("a" * 43, True), ("A1" * 20, True), ("a" * 44, False), ("a" * 30, False), ("a-" * 20, False)])
def test_a_secret_has_up_to_43_letters_and_digits(text: str, good: bool) -> None:
    assert (facts.secret(text) == "up to 43 letters and digits") == good


def test_labels_of_a_family_are_those_of_all_its_series() -> None:
    text = 'x_total{a="1",b="2"} 3\nx_total{a="1",c="{"} 3\nx_totally{d="1"} 1\ny 1\n'
    assert facts.labels(text, "x_total") == ["a", "b", "c"]
    assert facts.labels(text, "y") == []
    assert facts.labels(text, "z") is None


def test_a_prompt_that_is_drawn_again_is_one_question() -> None:
    given = (0, "Found\n? Please choose (optional) \x1b[3G? Please choose (optional) a\n? Go on? (Y/n) \x1b[2K? Go on? No\nDone.\n")
    assert facts.said(given) == {"status": 0, "says": ["Found", "Done."]}
    assert facts.questions(given) == ["Please choose (optional)", "Go on?"]


def test_a_record_is_the_same_each_time() -> None:
    line = "[Nest] 19  - 11/28/2026, 12:17:56 PM    WARN [Api:AuthService~sfklebba] Failed login attempt from 10.0.0.1"
    assert facts.record(["x", line], "Failed login") == "[Nest] 19  - CLOCK    WARN [Api:AuthService~WORD] Failed login attempt from ADDRESS"
    assert facts.record(["x"], "Failed login") is None


def test_lines_of_podman_have_their_time() -> None:
    lines = timed_lines("2026-11-28T12:00:00.500000000Z one\n2026-11-28T13:00:01+01:00 two words\nnothing\n2026-11-28T12:00:02Z \n")
    assert [text for _seconds, text in lines] == ["one", "two words", ""]
    assert [seconds - lines[0][0] for seconds, _text in lines] == [0.0, 0.5, 1.5]


def test_a_line_that_came_in_two_parts_is_one() -> None:
    line = '2026-11-28T13:40:24.900000000Z {"message":"x",2026-11-28T13:40:24.926221907Z "context":"y"}'
    assert [text for _seconds, text in timed_lines(line)] == ['{"message":"x","context":"y"}']


def test_only_three_parts_of_a_field_error_are_kept() -> None:
    given = Answer(400, {}, b'{"message": "Validation failed", "errors": [{"code": "c", "path": ["p"], "message": "m", "pattern": "long"}]}')
    assert facts.answer(given)["body"]["errors"] == [{"code": "c", "path": ["p"], "message": "m"}]


def test_a_face_has_its_image() -> None:
    assert Face("stand-in", "3.1.0").image == "localhost/homelab-test/immich-server-stand-in:v3.1.0"
    assert Face("real", "2.5.5").image == "localhost/homelab-test/immich-server:v2.5.5"
