# SPDX-License-Identifier: Apache-2.0
"""What tracetw must hold, as limits on what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from scripts.benchmark.idle import Idle
from scripts.benchmark.interval import Interval, of_values
from scripts.benchmark.measured import Measured, Round
from scripts.benchmark.usage import Memory

__all__ = ["LIMITS", "Limit", "Result", "check"]

Value: TypeAlias = Interval | None
Kind = TypeVar("Kind", Measured, Idle)
PREFIX = "tracetw-"


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound on one value of a row under a load; ``form`` shows a number, ``unit`` follows it."""

    row: str
    load: str
    what: str
    value: Callable[[Measured | Idle], Value]
    bound: float
    form: str
    unit: str
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether a measured value is within the limit."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True, slots=True)
class Result:
    """A limit and what was measured; None: not measured. ``broken``: the account of the row is wrong."""

    limit: Limit
    value: Value
    broken: bool = False

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.value is None:
            return "not measured"
        if self.broken:
            return "FAIL, the row does not add up"
        held = "pass" if self.limit.holds(self.value.mean) else "FAIL"
        return f"{held}, not certain" if self.value.spans(self.limit.bound) else held


def _of(kind: type[Kind], value: Callable[[Kind], Value]) -> Callable[[Measured | Idle], Value]:
    """The value of rows of a kind; None of others."""
    return lambda row: value(row) if isinstance(row, kind) else None


def _rounds(value: Callable[[Round], float]) -> Callable[[Measured | Idle], Value]:
    return _of(Measured, lambda row: of_values([value(one) for one in row.rounds]))


def _each(
    value: Callable[[Memory], float], total: Callable[[Iterable[float]], float]
) -> Callable[[Measured | Idle], Value]:
    """Of the memory: ``total`` over the rounds."""

    def read(row: Measured | Idle) -> Value:
        if isinstance(row, Measured):
            return Interval(total(value(one.tracing.memory) for one in row.rounds))
        return None if row.memory is None else Interval(value(row.memory))

    return read


_kept = _of(Measured, lambda row: row.kept().scaled(100))
_added = _of(Measured, Measured.added)
# What the kernel announced to no program, no program can hold.
_lost = _of(
    Measured, lambda row: None if row.lost is None else Interval(row.lost - row.not_announced)
)
_wrong = _of(Measured, lambda row: Interval(len(row.wrong)))
_bpf = _of(
    Measured, lambda row: Interval(row.cost.net) if row.cost and row.cost.net is not None else None
)
_resident = _each(lambda memory: memory.resident / 1e6, max)
_compiler = _each(lambda memory: memory.compiler, sum)
_cpu = _of(Idle, Idle.cpu_percent)
_first_line = _of(Idle, lambda row: Interval(row.first_line_ms()))
_user = _rounds(Round.user_ns)
_ready = _rounds(lambda one: one.tracing.ready_s)
PRINTING = ("json", "table", "wide", "record")

LIMITS = (
    Limit("judge", "rst", "throughput kept", _kept, 88, ".1f", "%", at_least=True),
    Limit("judge", "rst", "the same: what we aim for", _kept, 92, ".1f", "%", at_least=True),
    Limit("json", "rst", "throughput kept", _kept, 65, ".1f", "%", at_least=True),
    Limit("table", "rst", "throughput kept", _kept, 60, ".1f", "%", at_least=True),
    Limit("judge", "nginx", "requests/s kept", _kept, 98, ".1f", "%", at_least=True),
    Limit("judge", "rst", "CPU an end, all together", _added, 1.0, ".2f", "us"),
    Limit("judge", "rst", "user time an end", _user, 300, ",.0f", "ns"),
    Limit("json", "rst", "user time an end", _user, 3000, ",.0f", "ns"),
    Limit("table", "rst", "user time an end", _user, 4000, ",.0f", "ns"),
    Limit("wide", "rst", "user time an end", _user, 6000, ",.0f", "ns"),
    Limit("judge", "rst", "BPF time an end, net", _bpf, 530, ",.0f", "ns"),
    *(
        Limit(name, load, what, value, 0, ",.0f", "")
        for load in ("rst", "timewait")
        for name in ("judge", *PRINTING)
        for what, value in (("records lost", _lost), ("rounds not accounted for", _wrong))
        if name != "judge" or value is not _wrong
    ),
    Limit("json", "idle", "CPU, idle", _cpu, 0.15, ".2f", "%"),
    *(
        Limit(name, "idle", "first line after an end", _first_line, 1.0, ".2f", "ms")
        for name in ("json", "table")
    ),
    Limit("json", "idle", "resident memory, idle", _resident, 60, ".1f", "MB"),
    Limit("judge", "rst", "resident memory, no backlog", _resident, 60, ".1f", "MB"),
    Limit("judge", "rst", "rounds with a compiler mapped", _compiler, 0, ".0f", ""),
    Limit("json", "idle", "a compiler mapped", _compiler, 0, ".0f", ""),
    Limit("judge", "rst", "time to ready", _ready, 0.8, ".2f", "s"),
)


def check(rows: Iterable[Measured | Idle]) -> list[Result]:
    """Every limit against what was measured."""
    measured = {(row.name, row.load): row for row in rows if row.failed is None}
    found = [(limit, measured.get((PREFIX + limit.row, limit.load))) for limit in LIMITS]
    return [
        Result(limit, None if row is None else limit.value(row), _broken(row))
        for limit, row in found
    ]


def _broken(row: Measured | Idle | None) -> bool:
    return isinstance(row, Measured) and bool(row.wrong)
