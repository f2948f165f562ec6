# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/gen-verdicts``."""

from __future__ import annotations

import argparse
import os
import sys

from scripts.verdict_pages.kept import FOLDER, ROOT
from scripts.verdict_pages.page import document, shown
from scripts.verdict_pages.play import play

__all__ = ["main"]

TARGET = ROOT / "docs" / "verdicts.md"


def main() -> int:
    """Exit status 1 if the page is out of date or a scenario failed, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="gen-verdicts",
        description="Writes docs/verdicts.md from tracetw/verdict/taxonomy.py, tracetw/verdict/handbook "
        "and docs/ladders, what was seen of the scenarios that it shows. Needs no root without --play.",
    )
    parser.add_argument(
        "--check", action="store_true", help="compare instead of writing; 1 if it differs"
    )
    parser.add_argument(
        "--play",
        nargs="*",
        metavar="SCENARIO",
        help="as root: play these scenarios (or all that the page shows, 2 minutes) on this kernel "
        "first and keep what is seen in docs/ladders",
    )
    arguments = parser.parse_args()
    failed = 0
    if arguments.play is not None:
        unknown = set(arguments.play) - set(shown())
        if unknown:
            parser.error(f"the page does not show {', '.join(sorted(unknown))}")
        if os.geteuid() != 0:
            parser.error("--play needs root, for namespaces and for BPF")
        # What passed is kept, and the page made of it, whatever else went wrong.
        failed = play(arguments.play or shown())
    missing = [name for name in shown() if not FOLDER.joinpath(f"{name}.json").exists()]
    if missing:
        print(f"gen-verdicts: run it with --play {' '.join(missing)}", file=sys.stderr)
        return 1
    text = "\n".join(document()) + "\n"
    if not arguments.check:
        TARGET.write_text(text, encoding="utf-8")
        return failed
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return failed
    print(
        "gen-verdicts: docs/verdicts.md is out of date: run scripts/gen-verdicts", file=sys.stderr
    )
    return 1
