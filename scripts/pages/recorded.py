# SPDX-License-Identifier: Apache-2.0
"""The command line of programs that make pages of the runs in docs/ladders."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from scripts.checkout.made import parser, settle
from scripts.pages.ladder_file import FOLDER
from scripts.pages.play import play


def run(
    program: str,
    description: str,
    shown: Sequence[str],
    texts: Callable[[], Mapping[Path, str]],
    among: Iterable[Path] = (),
) -> int:
    """Exit status 1 if a page is out of date or a scenario failed, 2 for bad input.

    Args:
        program: its name.
        description: for ``--help``.
        shown: the scenarios whose runs the pages show.
        texts: makes the pages.
        among: as ``settle`` takes it.
    """
    options = parser(program, f"{description} Needs no root without --play.")
    options.add_argument(
        "--play",
        nargs="*",
        metavar="SCENARIO",
        help="as root: play these scenarios (or all that are shown, 2 minutes) on this kernel first and record them in "
        "docs/ladders",
    )
    arguments = options.parse_args()
    failed = 0
    if arguments.play is not None:
        unknown = set(arguments.play) - set(shown)
        if unknown:
            options.error(f"not shown: {', '.join(sorted(unknown))}")
        if os.geteuid() != 0:
            options.error("--play needs root, for namespaces and for BPF")
        # Write the pages from what passed, whatever else went wrong.
        failed = play(arguments.play or shown, program)
    missing = [name for name in shown if not FOLDER.joinpath(f"{name}.json").exists()]
    if missing:
        print(f"{program}: run it with --play {' '.join(missing)}", file=sys.stderr)
        return 1
    return max(failed, settle(program, texts(), check=arguments.check, among=among))
