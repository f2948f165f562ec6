# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/bench``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.errors import BenchError
from scripts.benchmark.measure import Measured, Plan, measure, say
from scripts.benchmark.report import as_json, as_markdown, as_table, this_machine
from scripts.benchmark.rows import ROOT, ROWS
from scripts.benchmark.storm import MODES, Storm
from tracetw.lab.net.reaper import guarded

__all__ = ["Settings", "main", "parse"]

DOCUMENT = ROOT / "docs" / "performance.md"
QUICK_ROUNDS, QUICK_CONNECTIONS = 1, 20_000
ROUNDS, CONNECTIONS = 5, 120_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for. ``whole``: nothing was left out, so the document is written."""

    plans: tuple[Plan, ...]
    only: frozenset[str]
    json: Path | None
    whole: bool


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 10_000_000:  # noqa: PLR2004 - the limit of storm.c
        raise argparse.ArgumentTypeError(f"{text}: give a number from 1 to 10000000")
    return value


def parse(arguments: Sequence[str]) -> Settings:
    """The settings; ends with exit status 2 for bad input."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures what tracing costs: paired storms of connections on loopback, with and "
        "without each tracer. Prints a table; a whole run also writes docs/performance.md.",
    )
    add = parser.add_argument
    add("--rounds", type=_positive, help=f"pairs of storms for each row (default {ROUNDS})")
    add("--connections", type=_positive, help=f"in each storm (default {CONNECTIONS})")
    add("--mode", choices=(*MODES, "both"), default="both", help="how connections are closed")
    add("--only", action="append", choices=names, metavar="ROW", help=", ".join(names))
    add("--quick", action="store_true", help="one short round, to see that everything works")
    add("--json", type=Path, metavar="FILE", help="write every round as JSON")
    given = parser.parse_args(arguments)
    rounds = given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS)
    connections = given.connections or (QUICK_CONNECTIONS if given.quick else CONNECTIONS)
    modes = MODES if given.mode == "both" else (given.mode,)
    return Settings(
        tuple(Plan(rounds, connections, mode) for mode in modes),
        frozenset(given.only or names),
        given.json,
        not (given.only or given.quick) and given.mode == "both",
    )


def run(settings: Settings) -> list[Measured]:
    """Measure. Raises BenchError."""
    if os.geteuid() != 0:
        raise BenchError("tracing needs root: sudo scripts/bench")
    rows = []
    with guarded(), tempfile.TemporaryDirectory(prefix="tracetw-bench-") as name:
        folder = Path(name)
        storm = Storm(folder)
        for plan in settings.plans:
            chosen = [row for row in ROWS if row.name in settings.only]
            rows += [measure(row, plan, storm, folder) for row in chosen]
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 measured, 1 not, 2 bad input."""
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        rows = run(settings)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    machine = this_machine(time.strftime("%Y-%m-%d", time.gmtime()), os.cpu_count() or 1)
    print(as_table(rows))
    if settings.json is not None:
        settings.json.write_text(as_json(rows, machine) + "\n")
    if settings.whole:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(as_markdown(rows, machine))
    else:
        say(f"{DOCUMENT.relative_to(ROOT)} is left as it is: this was not a whole run")
    return int(any(row.failed and row.name.startswith("tracetw") for row in rows))
