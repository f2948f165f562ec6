# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/gen-passages``."""

from __future__ import annotations

import re
import sys

from scripts.checkout.made import ROOT, parser, settle
from scripts.pages.texts import PASSAGES

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
    arguments = parser(
        "gen-passages",
        "Fills the passages between <!-- generated: NAME --> and <!-- end --> in README.md and docs: numbers and "
        "lists of values that the code has.",
    ).parse_args()
    try:
        texts = {path: filled(path.read_text(encoding="utf-8")) for path in PAGES}
    except KeyError as error:
        print(f"gen-passages: nothing makes {error}", file=sys.stderr)
        return 1
    return settle("gen-passages", texts, check=arguments.check)
