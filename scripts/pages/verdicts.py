# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/gen-verdicts``."""

from __future__ import annotations

import argparse
import os
import sys

from scripts.pages.index import files
from scripts.pages.ladder_file import FOLDER, ROOT
from scripts.pages.page import shown
from scripts.pages.play import play

__all__ = ["main"]

TARGET = ROOT / "docs" / "verdicts"


def main() -> int:
    """Exit status 1 if a page is out of date or a scenario failed, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="gen-verdicts",
        description="Writes docs/verdicts/ from tracetw/verdict/taxonomy.py, tracetw/verdict/handbook "
        "and docs/ladders, the recorded scenarios that the pages show. Needs no root without --play.",
    )
    parser.add_argument(
        "--check", action="store_true", help="compare instead of writing; 1 if it differs"
    )
    parser.add_argument(
        "--play",
        nargs="*",
        metavar="SCENARIO",
        help="as root: play these scenarios (or all that the pages show, 2 minutes) on this kernel "
        "first and record them in docs/ladders",
    )
    arguments = parser.parse_args()
    failed = 0
    if arguments.play is not None:
        unknown = set(arguments.play) - set(shown())
        if unknown:
            parser.error(f"no page shows {', '.join(sorted(unknown))}")
        if os.geteuid() != 0:
            parser.error("--play needs root, for namespaces and for BPF")
        # Write the pages from what passed, whatever else went wrong.
        failed = play(arguments.play or shown(), parser.prog)
    missing = [name for name in shown() if not FOLDER.joinpath(f"{name}.json").exists()]
    if missing:
        print(f"gen-verdicts: run it with --play {' '.join(missing)}", file=sys.stderr)
        return 1
    wrong = _check() if arguments.check else _write()
    return max(failed, wrong)


def _write() -> int:
    """Write every page, and remove those of verdicts and events that are no more."""
    TARGET.mkdir(exist_ok=True)
    texts = files()
    for path in TARGET.glob("*.md"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        TARGET.joinpath(name).write_text(text, encoding="utf-8")
    return 0


def _check() -> int:
    there = {path.name: path.read_text(encoding="utf-8") for path in TARGET.glob("*.md")}
    texts = files()
    differ = sorted(name for name in {*there, *texts} if there.get(name) != texts.get(name))
    if not differ:
        return 0
    print(
        f"gen-verdicts: out of date in docs/verdicts: {', '.join(differ)}; run scripts/gen-verdicts",
        file=sys.stderr,
    )
    return 1
