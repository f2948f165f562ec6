# SPDX-License-Identifier: Apache-2.0
"""docs/performance.md, and the JSON with every round."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from scripts.benchmark.digest import MEASURED, mark
from scripts.benchmark.errors import BenchError
from scripts.benchmark.idle import Idle
from scripts.benchmark.machine import Machine
from scripts.benchmark.measured import Measured
from scripts.benchmark.rows import ROWS
from scripts.benchmark.tables import (
    by_load,
    failures,
    idle_table,
    limits_table,
    load_table,
    tracer_table,
)

__all__ = ["as_json", "as_page", "commit"]

PREFACE = """\
# Performance

Written by `sudo scripts/bench --write`, which repeats it. Every number here was measured, on commit
{commit}.

{mark}

- {machine.date}, Linux {machine.kernel}, {machine.architecture}, {machine.model}, {machine.cpus} CPUs.
- While the other CPUs compute, a loop that touches no memory takes {machine.slowed:.2f} times the CPU time that it takes while
  they rest (CPUs may be threads of one core). All times below are of a machine whose CPUs all work.
- A round is a pair: the load alone and the load traced, on a machine found idle before each, in a network
  namespace of its own. Every second pair begins with the traced side, so that a drift cancels.
  {rounds} pairs a row; a side alone took {shortest:.1f} s or more. Rounds in which others took more than
  5 % of the CPU were repeated (at most {noise:.0%} in those shown).
- kept: throughput with the tracer as a share of that without, pair by pair (geometric mean).
- CPU us/conn: time in which the CPUs of the whole machine were not idle, from the start of the load until
  the tracer had handled and written everything, divided by the connections. added: the difference, an
  end; a connection has two.
- (95 %): the interval that holds the true mean with 95 % probability, by Student's t over the pairs.
  The other numbers are medians; losses are summed.
- user, system: CPU time of the tracer's processes, an end. late: how long it went on working after the
  load. RSS, peak: of its processes, then. ready: from its start until attached.
- BPF ns/end: what the kernel counts (`kernel.bpf_stats_enabled`), all hooks together, in a round of its
  own. net: less the counting itself, which a program that does nothing shows in the same round.
- lost: what the tracer says. For tracetw, rows + lost must be the ends that there were, in every round;
  the row fails otherwise. Ends that the kernel announced to no program (README, Limits) are counted among them,
  and named below each table; the limit is about the others. For peers it is what they say or what is
  missing in their output.

## Limits

What tracetw must hold. "Not certain": the limit is within the interval.
"""


def commit(root: Path) -> str:
    """The commit of the checkout. Raises BenchError when the measured code is not what it holds."""
    git = ["git", "-c", f"safe.directory={root}", "-C", str(root)]
    try:
        asked = [*git, "status", "--porcelain", "--", *MEASURED]
        changed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        if changed.strip():
            name = changed.splitlines()[0][3:]
            raise BenchError(f"{name} differs from the last commit; commit it, then measure")
        asked = [*git, "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchError(f"--write names the commit, and git does not tell it: {error}") from error


def as_page(
    rows: Sequence[Measured | Idle],
    machine: Machine,
    root: Path,
    named: str,
    titles: dict[str, str],
) -> str:
    """docs/performance.md of the commit ``named``; ``titles`` explains each load."""
    rounds = [one for row in rows if isinstance(row, Measured) for one in row.rounds]
    preface = PREFACE.format(
        commit=named,
        mark=mark(root),
        machine=machine,
        rounds=max((row.plan.rounds for row in rows if isinstance(row, Measured)), default=0),
        shortest=min((one.alone.load.seconds for one in rounds), default=0),
        noise=max((one.noise for one in rounds), default=0),
    )
    parts = [preface, limits_table(rows, "github")]
    for load, some in by_load(rows):
        parts += ["", f"## Load: {load}", "", titles[load], ""]
        if storms := [row for row in some if isinstance(row, Measured)]:
            parts += [load_table(storms, "github"), "", tracer_table(storms, "github")]
            parts += [*_not_announced(storms), *_threads(storms)]
        if idles := [row for row in some if isinstance(row, Idle)]:
            parts.append(idle_table(idles, "github"))
        said = failures(some, "- ")
        parts += ["", *said] if said else []
    parts += ["", "## Rows", "", *[f"- `{row.name}`: {row.what}." for row in ROWS], ""]
    return "\n".join(parts)


def _not_announced(rows: Sequence[Measured]) -> list[str]:
    """How many of the lost ends no program could see."""
    found = [
        f"- {row.name}: {row.not_announced:,} of {row.lost:,}" for row in rows if row.not_announced
    ]
    return ["", "Lost ends that the kernel announced to no program:", "", *found] if found else []


def _threads(rows: Sequence[Measured]) -> list[str]:
    """Where the CPU time of a tracer of several threads goes, by the last round."""
    found = []
    for row in rows:
        if row.rounds and len(parts := row.rounds[-1].tracing.threads) > 1:
            ends = row.rounds[-1].tracing.account.truth
            spent = ", ".join(f"{one.name} {1e9 * one.ran / ends:,.0f}" for one in parts)
            found.append(f"- {row.name}: {spent}")
    return ["", "CPU time of each thread, ns/end:", "", *found] if found else []


def as_json(rows: Sequence[Measured | Idle], machine: Machine) -> str:
    """Everything, every round."""
    return json.dumps({"machine": asdict(machine), "rows": [asdict(row) for row in rows]}, indent=1)
