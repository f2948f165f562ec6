# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/gen-lab-book``."""

from __future__ import annotations

from scripts.checkout.made import ROOT
from scripts.pages import recorded
from scripts.pages.experiment import page
from tracetw.lab.book.contents import scenarios

__all__ = ["main"]

TARGET = ROOT / "docs" / "lab-book.md"


def main() -> int:
    """Exit status."""
    return recorded.run(
        "gen-lab-book",
        "Writes docs/lab-book.md from tracetw/lab/book and docs/ladders, the recorded scenarios that it shows.",
        scenarios(),
        lambda: {TARGET: "\n".join(page()) + "\n"},
    )
