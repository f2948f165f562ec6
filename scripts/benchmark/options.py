# SPDX-License-Identifier: Apache-2.0
"""The command line of ``scripts/bench``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.measured import Plan
from scripts.benchmark.rows import IDLE, LOADS, ROWS, BenchRow
from scripts.benchmark.storm import LONGEST_S
from scripts.benchmark.work import MOST_AT_ONCE

__all__ = ["Settings", "parse"]

ROUNDS, SECONDS, IDLE_SECONDS = 5, 4.0, 20.0
QUICK_SETTLE_S = 1.0
QUICK_ROUNDS, QUICK_SECONDS, QUICK_IDLE_SECONDS = 1, 0.5, 3.0
MOST_ROUNDS = 100
LONGEST_ROUND_S = LONGEST_S / 10  # a tracer may slow the load down by as much


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for. ``connections``: of a side; None: as many as take ``seconds``."""

    loads: tuple[str, ...]
    only: frozenset[str]
    rounds: int
    seconds: float
    idle_seconds: float
    connections: int | None
    json: Path | None
    write: bool
    quick: bool = False

    def plan(self, connections: int) -> Plan:
        """For a load with so many connections a side."""
        if self.quick:
            return Plan(self.rounds, connections, attempts=1, settle_s=QUICK_SETTLE_S)
        return Plan(self.rounds, connections, 0.0 if self.connections else self.seconds)

    def rows(self, load: str) -> list[BenchRow]:
        """The chosen rows of a load."""
        return [row for row in ROWS if row.name in self.only and load in row.loads]


def _whole(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text}: give a number from {low} to {high}")
        return value

    return number


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= LONGEST_ROUND_S:  # noqa: PLR2004 - shorter is no measurement
        raise argparse.ArgumentTypeError(f"{text}: give seconds from 0.1 to {LONGEST_ROUND_S:.0f}")
    return value


def _epilog() -> str:
    width = max(len(row.name) for row in ROWS)
    rows = [f"  {row.name:{width}}  {row.what}" for row in ROWS]
    return "\n".join(
        [
            "Rows, each under the loads in which it means something:",
            *rows,
            "",
            "Loads:",
            "  rst       storm.c: connections that end with a reset, as fast as the machine makes them",
            "  timewait  storm.c: orderly closes that leave TIME_WAIT",
            "  nginx     nginx and ab, a connection for each request; unpacked into a temporary folder",
            "            from the distribution's packages where they are not installed",
            f"  {IDLE}      nothing to trace: CPU time, wakeups, time from an end to its line",
            "",
            "A row fails when rows + lost records are not the ends that there were.",
            "Needs root, gcc and a quiet machine. All traffic stays in network namespaces of its own.",
            "",
            "Examples:",
            "  sudo scripts/bench --quick                          does everything work? (minutes)",
            "  sudo scripts/bench --only tracetw-json --load rst   one row",
            "  sudo scripts/bench --write                          docs/performance.md (an hour; less with --rounds)",
        ]
    )


def parse(arguments: Sequence[str]) -> Settings:
    """The settings; ends with exit status 2 for bad input."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures what tracing costs: a load alone and traced, in turn, with each tracer.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", action="append", choices=names, metavar="ROW", help="this row; may be repeated")
    add("--load", action="append", choices=LOADS, help="under this load; may be repeated")
    add(
        "--rounds",
        type=_whole(1, MOST_ROUNDS),
        metavar="N",
        help=f"pairs for each row (default {ROUNDS})",
    )
    add(
        "--seconds",
        type=_seconds,
        metavar="S",
        help=f"how long a side lasts at least, when nobody traces (default {SECONDS:.0f})",
    )
    add(
        "--connections",
        type=_whole(1, MOST_AT_ONCE),
        metavar="N",
        help="so many in each side, instead of by time",
    )
    add("--quick", action="store_true", help="one short pair each, to see that everything works")
    add("--json", type=Path, metavar="FILE", help="write every round as JSON")
    add(
        "--write",
        action="store_true",
        help="write docs/performance.md; takes all rows and loads, and rounds of full length",
    )
    given = parser.parse_args(arguments)
    short = given.quick
    chosen = (given.only, given.load, given.seconds, given.connections)
    if given.write and (short or any(value is not None for value in chosen)):
        parser.error("--write takes all rows in rounds of full length: only --rounds goes with it")
    return Settings(
        tuple(name for name in LOADS if given.load is None or name in given.load),
        frozenset(given.only or names),
        given.rounds or (QUICK_ROUNDS if short else ROUNDS),
        given.seconds or (QUICK_SECONDS if short else SECONDS),
        QUICK_IDLE_SECONDS if short else IDLE_SECONDS,
        given.connections,
        given.json,
        given.write,
        short,
    )
