# SPDX-License-Identifier: Apache-2.0
"""Paired rounds: a storm without the tracer, a storm with it, in turn; then one round that counts BPF time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from scripts.benchmark import bpf
from scripts.benchmark.errors import NotStarted
from scripts.benchmark.namespace import Namespace
from scripts.benchmark.process import Memory, cpu_times, settle
from scripts.benchmark.rows import Row
from scripts.benchmark.storm import Storm
from scripts.benchmark.tracer import Tracer

__all__ = ["BpfCost", "Measured", "Plan", "Round", "measure", "say"]

NOISE = 0.05  # share of the CPU that others may take in a round that counts
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What every row goes through: rounds, connections of each storm, how they close."""

    rounds: int
    connections: int
    mode: str


@dataclass(frozen=True, slots=True)
class Round:
    """One pair of storms: rates in connections/s, CPU and readiness of the tracer in seconds.

    ``noise`` is the share of the CPU that went to others than storm and tracer.
    """

    untraced: float
    traced: float
    lost: int | None
    cpu_s: float
    ready_s: float
    memory: Memory
    noise: float

    @property
    def kept(self) -> float:
        """Throughput with the tracer, as a share of that without."""
        return self.traced / self.untraced


@dataclass(frozen=True, slots=True)
class BpfCost:
    """All programs of a tracer in one storm: runs, their nanoseconds, connection ends."""

    programs: int
    runs: bpf.Runs
    ends: int


@dataclass(frozen=True, slots=True)
class Measured:
    """A row of the table; ``failed`` says why there are no rounds."""

    name: str
    plan: Plan
    rounds: tuple[Round, ...] = ()
    cost: BpfCost | None = None
    failed: str | None = None

    def middle(self, value: Callable[[Round], float]) -> float:
        """Median over the rounds."""
        return median(value(one) for one in self.rounds)

    @property
    def lost(self) -> int | None:
        """Records lost in all rounds; None when that is not known."""
        known = [one.lost for one in self.rounds if one.lost is not None]
        return sum(known) if len(known) == len(self.rounds) else None

    @property
    def ns_per_end(self) -> float | None:
        """BPF nanoseconds a connection end, all hooks together; None when not counted."""
        return self.cost.runs.ns / self.cost.ends if self.cost else None


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def quiet() -> None:
    """Wait for an idle machine, or say that it is not."""
    if not settle():
        say("the machine is not idle; the numbers will be worse and less certain")


def untraced(storm: Storm, plan: Plan) -> tuple[float, float]:
    """Rate of a storm that nobody watches, and the share of the CPU that others took meanwhile."""
    quiet()
    with Namespace() as namespace:
        before = cpu_times()
        load = storm.run(namespace, plan.connections, plan.mode)
        return load.rate, cpu_times().others(before, load.cpu_s)


def pair(row: Row, plan: Plan, storm: Storm, folder: Path) -> Round:
    """One round of a row. Raises NotStarted."""
    alone, noise_alone = untraced(storm, plan)
    quiet()
    with Namespace() as namespace, Tracer(row, folder) as tracer:
        before, spent = cpu_times(), tracer.cpu_s()
        load = storm.run(namespace, plan.connections, plan.mode)
        noise = cpu_times().others(before, load.cpu_s + tracer.cpu_s() - spent)
        held = tracer.memory()
        cpu = tracer.stop()
        lost = row.lost(tracer.output, namespace, plan.mode, load.connections)
    noise = max(noise, noise_alone)
    return Round(alone, load.rate, lost, cpu, tracer.ready_s, held, noise)


def count(row: Row, plan: Plan, storm: Storm, folder: Path) -> BpfCost | None:
    """The round that counts BPF time, which the counting itself makes slower; None if refused."""
    quiet()
    with Namespace() as namespace, Tracer(row, folder) as tracer:
        programs = tracer.programs()
        try:
            with bpf.counting():
                before = bpf.runs(programs)
                load = storm.run(namespace, plan.connections, plan.mode)
                after = bpf.runs(programs)
        except OSError as error:
            say(f"{row.name}: BPF time is not counted: {error}")
            return None
        tracer.stop()
    return BpfCost(len(programs), after - before, 2 * load.connections)


def measure(row: Row, plan: Plan, storm: Storm, folder: Path) -> Measured:
    """All rounds of a row; output of the tracer goes to ``folder`` and is removed.

    A round that others disturbed is repeated, within reason; the quietest ones count.
    """
    rounds: list[Round] = []
    try:
        cost = count(row, plan, storm, folder)
        for _ in range(ATTEMPTS * plan.rounds):
            if sum(one.noise <= NOISE for one in rounds) == plan.rounds:
                break
            rounds.append(pair(row, plan, storm, folder))
            report(row, plan, rounds[-1])
    except NotStarted as error:
        say(f"{plan.mode} {row.name}: {error}")
        return Measured(row.name, plan, failed=str(error))
    quietest = sorted(rounds, key=lambda one: one.noise)[: plan.rounds]
    return Measured(row.name, plan, tuple(quietest), cost)


def report(row: Row, plan: Plan, one: Round) -> None:
    """A round that is done."""
    disturbed = f", disturbed: {one.noise:.0%} of the CPU went to others" * (one.noise > NOISE)
    say(
        f"{plan.mode} {row.name}: {one.untraced:,.0f} -> {one.traced:,.0f} connections/s "
        f"({one.kept:.1%}), lost {one.lost}{disturbed}"
    )
