# SPDX-License-Identifier: Apache-2.0
"""The measured rows as a table for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

from scripts.benchmark.measure import Measured
from scripts.benchmark.rows import ROWS
from scripts.benchmark.targets import check

__all__ = ["Machine", "as_json", "as_markdown", "as_table", "this_machine"]

MB = 1e6
HEADERS = (
    "tracer",
    "conn/s alone",
    "conn/s traced",
    "kept %",
    "lost",
    "CPU s",
    "RSS MB",
    "peak MB",
    "ready s",
    "BPF ns/run",
    "runs/end",
    "BPF ns/end",
)
CLOSES = {
    "rst": "one end closes with SO_LINGER 0, the other notices and closes",
    "timewait": "orderly: the client closes first and carries TIME_WAIT",
}

PREFACE = """\
# Performance

Written by `sudo scripts/bench`, which repeats it. Every number here was measured.

- {machine.date}, Linux {machine.kernel}, {machine.architecture}, {machine.model}, {machine.cpus} CPUs.
- Work: `scripts/storm.c` on loopback in a network namespace of its own, one worker a CPU,
  {plan.connections:,} connections a round, as fast as they go. A connection has two ends.
- Each round is a pair: a storm alone, then a storm traced, on a machine found idle before each.
  Rounds: {plan.rounds}. Rates, CPU, memory and readiness are medians; losses are summed. Rounds in
  which others took more than 5 % of the CPU were repeated (at most {noise:.0%} in those counted).
- CPU s: user and system time of the tracer from ready to its end. RSS, peak: of its processes, right
  after the storm. ready: from its start until attached.
- BPF time is what the kernel counts (`kernel.bpf_stats_enabled`), all hooks together, in a round of
  its own. It includes the counting itself: see the empty program.
- tracetw reports each connection end as one object; lost is what its summary says or what is missing
  in its output. The peers' loss is what they say or what is missing in theirs.

## Targets

For the storm with RST closes.
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured, without names: date (YYYY-MM-DD), kernel release, CPUs."""

    date: str
    kernel: str
    architecture: str
    model: str
    cpus: int


def this_machine(date: str, cpus: int) -> Machine:
    """This one. The release is cut to its numbers: what follows names a build."""
    numbers = re.match(r"[\d.]+", platform.release())
    models = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    kernel = numbers[0] if numbers else platform.release()
    return Machine(date, kernel, platform.machine(), models[0] if models else "unnamed", cpus)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def cells(row: Measured) -> list[str]:
    """A row under HEADERS; "-" for what is not known."""
    if row.failed is not None:
        return [row.name, *["-"] * (len(HEADERS) - 1)]
    cost = row.cost
    ran = cost if cost and cost.runs.count else None
    return [
        row.name,
        _number(row.middle(lambda one: one.untraced), ",.0f"),
        _number(row.middle(lambda one: one.traced), ",.0f"),
        _number(100 * row.middle(lambda one: one.kept), ".1f"),
        _number(row.lost, ",d"),
        _number(row.middle(lambda one: one.cpu_s), ".2f"),
        _number(row.middle(lambda one: one.memory.resident) / MB, ".1f"),
        _number(row.middle(lambda one: one.memory.peak) / MB, ".1f"),
        _number(row.middle(lambda one: one.ready_s), ".2f"),
        _number(ran.runs.ns / ran.runs.count if ran else None, ".0f"),
        _number(ran.runs.count / ran.ends if ran else None, ".2f"),
        _number(row.ns_per_end, ".0f"),
    ]


def _table(rows: Sequence[Measured], form: str) -> str:
    body = [cells(row) for row in rows]
    align = ("left", *["right"] * (len(HEADERS) - 1))
    return tabulate(body, HEADERS, tablefmt=form, colalign=align, disable_numparse=True)


def _failures(rows: Sequence[Measured], bullet: str) -> list[str]:
    return [f"{bullet}{row.name}: {row.failed}" for row in rows if row.failed is not None]


def _targets(rows: Sequence[Measured], form: str) -> str:
    body = []
    for result in check(rows):
        target, value = result.target, result.value
        sign = "at least" if target.at_least else "at most"
        measured = "-" if value is None else target.form.format(value)
        limit = target.form.format(target.limit)
        body.append([target.row, target.what, f"{sign} {limit}", measured, result.verdict])
    headers = ("row", "target", "limit", "measured", "")
    return tabulate(body, headers, tablefmt=form, disable_numparse=True)


def modes(rows: Sequence[Measured]) -> list[tuple[str, list[Measured]]]:
    """The rows of each way to close, in order."""
    names = dict.fromkeys(row.plan.mode for row in rows)
    return [(name, [row for row in rows if row.plan.mode == name]) for name in names]


def as_table(rows: Sequence[Measured]) -> str:
    """For the terminal."""
    parts = []
    for mode, some in modes(rows):
        parts += [f"{mode}: {CLOSES[mode]}", _table(some, "simple"), *_failures(some, ""), ""]
    return "\n".join([*parts, _targets(rows, "simple")])


def as_markdown(rows: Sequence[Measured], machine: Machine) -> str:
    """docs/performance.md."""
    plan = rows[0].plan
    noise = max((one.noise for row in rows for one in row.rounds), default=0)
    parts = [
        PREFACE.format(plan=plan, machine=machine, noise=noise),
        _targets(rows, "github"),
    ]
    for mode, some in modes(rows):
        failures = _failures(some, "- ")
        parts += [
            "",
            f"## Storm: {mode}",
            "",
            f"{CLOSES[mode].capitalize()}.",
            "",
            _table(some, "github"),
        ]
        parts += ["", "Not measured:", "", *failures] if failures else []
    parts += ["", "## Rows", "", *[f"- `{row.name}`: {row.what}." for row in ROWS], ""]
    return "\n".join(parts)


def as_json(rows: Sequence[Measured], machine: Machine) -> str:
    """Everything, every round."""
    return json.dumps({"machine": asdict(machine), "rows": [asdict(row) for row in rows]}, indent=1)
