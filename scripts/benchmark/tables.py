# SPDX-License-Identifier: Apache-2.0
"""The measured rows as tables, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tabulate import tabulate

from scripts.benchmark.idle import Idle
from scripts.benchmark.limits import check
from scripts.benchmark.measured import Measured

__all__ = ["MB", "as_text", "by_load", "failures", "idle_table", "limits_table", "load_table"]
__all__ += ["tracer_table"]

MB = 1e6
LOAD_HEADERS = (
    *("tracer", "conn/s alone", "conn/s traced", "kept % (95 %)"),
    *("CPU us/conn alone", "traced", "added us/end (95 %)", "lost"),
)
LATENCY_HEADERS = ("p99 ms alone", "p99 ms traced")
TRACER_HEADERS = (
    *("tracer", "user ns/end", "system ns/end", "BPF ns/end", "net", "runs/end"),
    *("backlog", "late s", "RSS MB", "peak MB", "ready s"),
)
IDLE_HEADERS = (
    *("tracer", "CPU % (95 %)", "wakeups/s"),
    *("first line ms, 50 %", "90 %", "99 %", "RSS MB", "machine busy %"),
)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _latency(row: Measured) -> list[str]:
    return [
        _number(row.middle(lambda one: one.alone.load.p99_ms or 0.0), ".2f"),
        _number(row.middle(lambda one: one.traced.load.p99_ms or 0.0), ".2f"),
    ]


def _has_latency(rows: Sequence[Measured]) -> bool:
    return any(one.alone.load.p99_ms is not None for row in rows for one in row.rounds)


def _load_cells(row: Measured) -> list[str]:
    return [
        row.name,
        _number(row.middle(lambda one: one.alone.load.rate), ",.0f"),
        _number(row.middle(lambda one: one.traced.load.rate), ",.0f"),
        row.kept().scaled(100).text(".1f"),
        _number(row.middle(lambda one: one.alone.us), ".2f"),
        _number(row.middle(lambda one: one.traced.us), ".2f"),
        row.added().text(".2f"),
        _number(row.lost, ",d"),
    ]


def _tracer_cells(row: Measured) -> list[str]:
    cost = row.cost if row.cost and row.cost.runs.count else None
    return [
        row.name,
        _number(row.middle(lambda one: one.user_ns()), ",.0f"),
        _number(row.middle(lambda one: one.system_ns()), ",.0f"),
        _number(cost.counted if cost else None, ",.0f"),
        _number(cost.net if cost else None, ",.0f"),
        _number(cost.runs.count / cost.ends if cost else None, ".2f"),
        _number(row.backlog, ",d"),
        _number(row.middle(lambda one: one.tracing.late_s), ".1f"),
        _number(row.middle(lambda one: one.tracing.memory.resident) / MB, ".1f"),
        _number(row.middle(lambda one: one.tracing.memory.peak) / MB, ".1f"),
        _number(row.middle(lambda one: one.tracing.ready_s), ".2f"),
    ]


def _idle_cells(row: Idle) -> list[str]:
    busy = max(100 * one.machine for one in row.windows)
    return [
        row.name,
        row.cpu_percent().text(".2f"),
        row.wakeups().text(".1f"),
        *(_number(row.first_line_ms(percent), ".2f") for percent in (50, 90, 99)),
        _number(row.memory.resident / MB if row.memory else None, ".1f"),
        _number(busy, ".1f"),
    ]


def _table(headers: Sequence[str], body: list[list[str]], form: str) -> str:
    align = ("left", *["right"] * (len(headers) - 1))
    return tabulate(
        body, headers, tablefmt=form, colalign=align if body else None, disable_numparse=True
    )


def load_table(rows: Sequence[Measured], form: str) -> str:
    """What tracing does to the load."""
    done = [row for row in rows if row.rounds]
    if _has_latency(done):
        headers = (*LOAD_HEADERS, *LATENCY_HEADERS)
        return _table(headers, [_load_cells(row) + _latency(row) for row in done], form)
    return _table(LOAD_HEADERS, [_load_cells(row) for row in done], form)


def tracer_table(rows: Sequence[Measured], form: str) -> str:
    """What the tracer itself uses."""
    return _table(TRACER_HEADERS, [_tracer_cells(row) for row in rows if row.rounds], form)


def idle_table(rows: Sequence[Idle], form: str) -> str:
    """Tracers with nothing to do."""
    return _table(IDLE_HEADERS, [_idle_cells(row) for row in rows if row.windows], form)


def limits_table(rows: Sequence[Measured | Idle], form: str) -> str:
    """Every limit, what was measured, and whether it holds."""
    body = []
    for result in check(rows):
        limit, value = result.limit, result.value
        sign = "at least" if limit.at_least else "at most"
        bound = f"{sign} {limit.bound:{limit.form}} {limit.unit}".rstrip()
        measured = "-" if value is None else f"{value.text(limit.form)} {limit.unit}".rstrip()
        body.append([limit.row, limit.load, limit.what, bound, measured, result.verdict])
    headers = ("row", "load", "value", "limit", "measured (95 %)", "verdict")
    return tabulate(body, headers, tablefmt=form, disable_numparse=True)


def failures(rows: Sequence[Measured | Idle], bullet: str) -> list[str]:
    """Rows without numbers, and rows whose numbers cannot be trusted, each with the reason."""
    wrong = [row for row in rows if isinstance(row, Measured) and row.wrong]
    return [
        *(f"{bullet}{row.name}: not measured: {row.failed}" for row in rows if row.failed),
        *(f"{bullet}{row.name}: FAILED: {'; '.join(row.wrong)}" for row in wrong),
    ]


def by_load(rows: Sequence[Measured | Idle]) -> list[tuple[str, list[Measured | Idle]]]:
    """The rows of each load, in order."""
    names = dict.fromkeys(row.load for row in rows)
    return [(name, [row for row in rows if row.load == name]) for name in names]


def as_text(rows: Sequence[Measured | Idle], titles: Callable[[str], str]) -> str:
    """For the terminal; ``titles`` explains a load."""
    parts = []
    for load, some in by_load(rows):
        parts.append(f"{load}: {titles(load)}")
        if storms := [row for row in some if isinstance(row, Measured)]:
            parts += [load_table(storms, "simple"), "", tracer_table(storms, "simple")]
        if idles := [row for row in some if isinstance(row, Idle)]:
            parts.append(idle_table(idles, "simple"))
        parts += [*failures(some, ""), ""]
    return "\n".join([*parts, limits_table(rows, "simple")])
