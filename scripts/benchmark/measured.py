# SPDX-License-Identifier: Apache-2.0
"""What was measured, and what follows from it: of a side, of a pair of sides, of a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from scripts.benchmark.account import Account
from scripts.benchmark.bpf import Runs
from scripts.benchmark.interval import Interval, of_ratios, of_values
from scripts.benchmark.storm import Load
from scripts.benchmark.usage import Memory, Thread, Usage


@dataclass(frozen=True, slots=True)
class Plan:
    """What a row goes through: how many pairs, connections of each side.

    ``seconds``: how long the side that nobody traces lasts at least; ``attempts``: so many times ``rounds`` pairs are made at most, where others disturb them or they are too
    short;
    ``settle_s``: how long an idle machine is waited for.
    """

    rounds: int
    connections: int
    seconds: float = 0.0
    attempts: int = 2
    settle_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Side:
    """One run of the load. ``busy_s``: CPU seconds of the whole machine, until all was handled.

    ``noise`` is the share of the CPU that went to others than load and tracer.
    """

    load: Load
    busy_s: float
    noise: float

    @property
    def us(self) -> float:
        """Microseconds of CPU a connection, of all CPUs and everything that they did."""
        return 1e6 * self.busy_s / self.load.connections


@dataclass(frozen=True, slots=True)
class Tracing:
    """What the tracer did in a round: CPU time, threads, readiness, memory afterwards.

    ``backlog``: most records that waited for its output, None if it does not say. ``late_s``: seconds
    that it went on working after the load.
    """

    account: Account
    usage: Usage
    threads: tuple[Thread, ...]
    ready_s: float
    memory: Memory
    backlog: int | None
    late_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """A pair of sides that follow each other."""

    alone: Side
    traced: Side
    tracing: Tracing

    @property
    def noise(self) -> float:
        """Of the side that was disturbed more."""
        return max(self.alone.noise, self.traced.noise)

    @property
    def kept(self) -> float:
        """Throughput with the tracer, as a share of that without."""
        return self.traced.load.rate / self.alone.load.rate

    @property
    def added_us_per_end(self) -> float:
        """CPU time that tracing costs, all together: microseconds a connection end."""
        return (self.traced.us - self.alone.us) / 2

    def user_ns(self) -> float:
        """User time of the tracer, nanoseconds a connection end."""
        return 1e9 * self.tracing.usage.user / self.tracing.account.truth

    def system_ns(self) -> float:
        """Its time in the kernel, likewise."""
        return 1e9 * self.tracing.usage.system / self.tracing.account.truth


@dataclass(frozen=True, slots=True)
class BpfCost:
    """All programs of a tracer in one run of the load: runs, their nanoseconds, connection ends.

    ``floor``: the same of a program that does nothing, which is the counting.
    """

    programs: int
    runs: Runs
    floor: Runs
    ends: int

    @property
    def counted(self) -> float:
        """Nanoseconds a connection end as the kernel counts them."""
        return self.runs.ns / self.ends

    @property
    def net(self) -> float | None:
        """Less the counting itself; None when nothing shows how much that is."""
        if not self.floor.count:
            return None
        return (self.runs.ns - self.runs.count * self.floor.ns / self.floor.count) / self.ends


@dataclass(frozen=True, slots=True)
class Measured:
    """A row under a load; ``failed`` says why there are no rounds, ``wrong`` what did not add up."""

    name: str
    load: str
    plan: Plan
    rounds: tuple[Round, ...] = ()
    cost: BpfCost | None = None
    failed: str | None = None
    wrong: tuple[str, ...] = ()

    def middle(self, value: Callable[[Round], float]) -> float:
        """Median over the rounds."""
        return median(value(one) for one in self.rounds)

    def kept(self) -> Interval:
        """Share of the throughput kept, pair by pair."""
        return of_ratios([one.kept for one in self.rounds])

    def added(self) -> Interval:
        """Microseconds of CPU a connection end that tracing adds, pair by pair."""
        return of_values([one.added_us_per_end for one in self.rounds])

    @property
    def lost(self) -> int | None:
        """Records lost in all rounds; None when that is not known."""
        known = [one.tracing.account.lost for one in self.rounds]
        return None if None in known else sum(one or 0 for one in known)

    @property
    def not_announced(self) -> int:
        """Of the lost ones, ends that the kernel announced to no program."""
        return sum(one.tracing.account.not_announced for one in self.rounds)

    @property
    def backlog(self) -> int | None:
        """Most records that ever waited; None when no round says."""
        said = [one.tracing.backlog for one in self.rounds if one.tracing.backlog is not None]
        return max(said, default=None)
