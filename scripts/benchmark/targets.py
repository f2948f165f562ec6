# SPDX-License-Identifier: Apache-2.0
"""What tracetw must hold, as limits on measured rows of the storm with RST closes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scripts.benchmark.measure import Measured

__all__ = ["TARGETS", "Result", "Target", "check"]

MODE = "rst"


@dataclass(frozen=True, slots=True)
class Target:
    """One limit: the row, what is measured there, and the value it must not fall below or exceed."""

    row: str
    what: str
    value: Callable[[Measured], float | None]
    limit: float
    at_least: bool
    form: str

    def holds(self, value: float) -> bool:
        """Whether a measured value is within the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Result:
    """A target and what was measured; None: not measured."""

    target: Target
    value: float | None

    @property
    def verdict(self) -> str:
        """In one word or two."""
        if self.value is None:
            return "not measured"
        return "pass" if self.target.holds(self.value) else "FAIL"


def _kept(row: Measured) -> float:
    return 100 * row.middle(lambda one: one.kept)


def _lost(row: Measured) -> float | None:
    return row.lost


def _ready(row: Measured) -> float:
    return row.middle(lambda one: one.ready_s)


def _resident(row: Measured) -> float:
    return max(one.memory.resident for one in row.rounds) / 1e6


def _compiler(row: Measured) -> float:
    return sum(one.memory.compiler for one in row.rounds)


def _bpf(row: Measured) -> float | None:
    return row.ns_per_end


JUDGE, JSON = "tracetw-judge", "tracetw-json"

TARGETS = (
    Target(JUDGE, "throughput kept, all judged, none printed", _kept, 92, True, "{:.1f} %"),
    Target(JUDGE, "the same: what we aim for", _kept, 97, True, "{:.1f} %"),
    Target(JSON, "throughput kept, full JSON to a file", _kept, 70, True, "{:.1f} %"),
    Target(JUDGE, "records lost, none printed", _lost, 0, False, "{:.0f}"),
    Target(JSON, "records lost, full JSON", _lost, 0, False, "{:.0f}"),
    Target(JUDGE, "BPF time a connection end", _bpf, 1200, False, "{:.0f} ns"),
    Target(JUDGE, "time to ready", _ready, 0.8, False, "{:.2f} s"),
    Target(JSON, "resident memory", _resident, 60, False, "{:.1f} MB"),
    Target(JSON, "rounds with a compiler mapped", _compiler, 0, False, "{:.0f}"),
)


def check(rows: Iterable[Measured]) -> list[Result]:
    """Every target against what was measured."""
    measured = {row.name: row for row in rows if row.plan.mode == MODE and row.rounds}
    return [
        Result(target, target.value(measured[target.row]) if target.row in measured else None)
        for target in TARGETS
    ]
