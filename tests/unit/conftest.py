# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes ansible_collections.patriark.homelab importable: this very checkout, wherever it lies and whatever its folder is called."""

from __future__ import annotations

import pathlib
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]


def package(name: str, *paths: pathlib.Path) -> None:
    """A package without a file of its own, made of these folders."""
    module = types.ModuleType(name)
    module.__path__ = [str(path) for path in paths]
    sys.modules[name] = module


package("ansible_collections")
package("ansible_collections.patriark")
package("ansible_collections.patriark.homelab", ROOT)
