# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_every_surprising_case_names_a_test_that_exists() -> None:
    page = (ROOT / "docs/nocow.md").read_text(encoding="utf-8")
    written = {
        name for file in (ROOT / "tests/btrfs").glob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    rows = [line.split("|")[1:5] for line in page.partition("## Cases that surprise")[2].partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 25
    for case, _what, _does, test in rows:
        named = re.findall(r"`(test_\w+)`", test)
        assert named or "the same" in test, case
        assert set(named) <= written, case
