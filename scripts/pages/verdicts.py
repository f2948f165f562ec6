# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/gen-verdicts``."""

from __future__ import annotations

from scripts.checkout.made import ROOT
from scripts.pages import recorded
from scripts.pages.index import files
from scripts.pages.page import shown

__all__ = ["main"]

TARGET = ROOT / "docs" / "verdicts"


def main() -> int:
    """Exit status."""
    return recorded.run(
        "gen-verdicts",
        "Writes docs/verdicts/ from tracetw/verdict/taxonomy.py, tracetw/verdict/handbook and docs/ladders, the "
        "recorded scenarios that the pages show.",
        shown(),
        lambda: {TARGET / name: text for name, text in files().items()},
        TARGET.glob("*.md"),
    )
