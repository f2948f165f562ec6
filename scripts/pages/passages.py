# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/gen-passages``."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from scripts.pages.source import ROOT
from scripts.pages.texts import PASSAGES

__all__ = ["PAGES", "filled", "main"]

PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "hints.md",
    ROOT / "docs" / "how-it-works.md",
    ROOT / "docs" / "json.md",
)
_PASSAGE = re.compile(
    r"(<!-- generated: ([\w-]+) -->\n).*?(^<!-- end -->$)", re.DOTALL | re.MULTILINE
)


def filled(text: str) -> str:
    """A page with its passages as the code has them now. KeyError for one that nothing makes."""

    def fill(found: re.Match[str]) -> str:
        return found[1] + "".join(f"{line}\n" for line in PASSAGES[found[2]]()) + found[3]

    return _PASSAGE.sub(fill, text)


def main() -> int:
    """Exit status 1 if a passage is out of date, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="gen-passages",
        description="Fills the passages between <!-- generated: NAME --> and <!-- end --> in README.md and "
        "docs: numbers and lists of values that the code has.",
    )
    parser.add_argument(
        "--check", action="store_true", help="compare instead of writing; 1 if one differs"
    )
    check = parser.parse_args().check
    return max(_page(path, check=check) for path in PAGES)


def _page(path: Path, *, check: bool) -> int:
    text = path.read_text(encoding="utf-8")
    try:
        wanted = filled(text)
    except KeyError as error:
        print(f"gen-passages: {path.relative_to(ROOT)}: nothing makes {error}", file=sys.stderr)
        return 1
    if wanted == text:
        return 0
    if not check:
        path.write_text(wanted, encoding="utf-8")
        return 0
    print(
        f"gen-passages: {path.relative_to(ROOT)} is out of date: run scripts/gen-passages",
        file=sys.stderr,
    )
    return 1
