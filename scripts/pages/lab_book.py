# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/gen-lab-book``."""

from __future__ import annotations

import argparse
import os
import sys

from scripts.pages.experiment import page
from scripts.pages.ladder_file import FOLDER, ROOT
from scripts.pages.play import play
from tracetw.lab.book.contents import scenarios

__all__ = ["TARGET", "main", "text"]

TARGET = ROOT / "docs" / "lab-book.md"


def text() -> str:
    """The page as it must be."""
    return "\n".join(page()) + "\n"


def main() -> int:
    """Exit status 1 if the page is out of date or a scenario failed, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="gen-lab-book",
        description="Writes docs/lab-book.md from tracetw/lab/book and docs/ladders, the recorded scenarios that it "
        "shows. Needs no root without --play.",
    )
    parser.add_argument(
        "--check", action="store_true", help="compare instead of writing; 1 if it differs"
    )
    parser.add_argument(
        "--play",
        nargs="*",
        metavar="SCENARIO",
        help="as root: play these scenarios (or all that the book shows, 2 minutes) on this kernel first and record "
        "them in docs/ladders",
    )
    arguments = parser.parse_args()
    failed = 0
    if arguments.play is not None:
        unknown = set(arguments.play) - set(scenarios())
        if unknown:
            parser.error(f"the book does not show {', '.join(sorted(unknown))}")
        if os.geteuid() != 0:
            parser.error("--play needs root, for namespaces and for BPF")
        failed = play(arguments.play or scenarios(), parser.prog)
    missing = [name for name in scenarios() if not FOLDER.joinpath(f"{name}.json").exists()]
    if missing:
        print(f"gen-lab-book: run it with --play {' '.join(missing)}", file=sys.stderr)
        return 1
    if not arguments.check:
        TARGET.write_text(text(), encoding="utf-8")
    elif not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text():
        print(
            "gen-lab-book: docs/lab-book.md is out of date: run scripts/gen-lab-book",
            file=sys.stderr,
        )
        return 1
    return failed
