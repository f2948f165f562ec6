# SPDX-License-Identifier: Apache-2.0
"""Paired rounds: the load without the tracer and with it; then one round that counts BPF time."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.benchmark import bpf
from scripts.benchmark.account import Account, backlog
from scripts.benchmark.calibrate import MARGIN
from scripts.benchmark.empty import HOOK
from scripts.benchmark.errors import BenchError, NotStarted
from scripts.benchmark.machine import cpu_times, settle
from scripts.benchmark.measured import BpfCost, Measured, Plan, Round, Side, Tracing
from scripts.benchmark.namespace import storm_host
from scripts.benchmark.progress import Progress
from scripts.benchmark.rows import BenchRow
from scripts.benchmark.tracer import QUIET_S, Tracer
from scripts.benchmark.usage import Thread
from scripts.benchmark.work import Run, Work
from tracetw.lab.net.host import Host

__all__ = ["NOISE", "measure"]

MB = 1e6
BYTES_PER_END = 1_300  # a line of JSON, the longest of all outputs
NOISE = 0.05  # share of the CPU that others may take in a round that counts


@dataclass(frozen=True, slots=True)
class Bench:
    """What all rounds of a row share."""

    row: BenchRow
    plan: Plan
    work: Work
    folder: Path
    progress: Progress

    def quiet(self) -> None:
        """Wait for an idle machine, or say that it is not."""
        if not settle(self.plan.settle_s):
            self.progress.warn(
                "the machine is not idle; the numbers will be worse and less certain"
            )

    def alone(self) -> Side:
        """The load that nobody watches."""
        self.quiet()
        with storm_host() as namespace, self.work.ready(namespace) as run:
            before = cpu_times()
            load = run(self.plan.connections)
            noise = cpu_times().others(before, load.cpu_s)
            time.sleep(QUIET_S)  # as long as a tracer is waited for
            return Side(load, cpu_times().busy(before), noise)

    def traced(self) -> tuple[Side, Tracing]:
        """The load with the tracer, until that has caught up. Raises NotStarted."""
        self.quiet()
        with (
            storm_host() as namespace,
            self.work.ready(namespace) as run,
            Tracer(self.row, self.folder) as tracer,
        ):
            side, tracing = self._watched(namespace, run, tracer)
        return side, tracing

    def _watched(self, namespace: Host, run: Run, tracer: Tracer) -> tuple[Side, Tracing]:
        opened = namespace.counters()["ActiveOpens"]
        before, used, threads = cpu_times(), tracer.usage(), tracer.threads()
        load = run(self.plan.connections)
        ended = time.monotonic()
        noise = cpu_times().others(before, load.cpu_s + (tracer.usage() - used).all)
        tracer.catch_up()
        side = Side(load, cpu_times().busy(before), noise)
        late = max(0.0, time.monotonic() - ended - QUIET_S)
        spent, parts = tracer.usage() - used, _parts(threads, tracer.threads())
        opened = namespace.counters()["ActiveOpens"] - opened
        memory = tracer.memory()
        tracer.stop()
        account = Account(2 * opened, None, None)
        if self.row.account is not None:
            account = self.row.account(tracer.output, namespace, opened, self.work.name)
        waited = backlog(tracer.output)
        return side, Tracing(account, spent, parts, tracer.ready_s, memory, waited, late)

    def pair(self, number: int) -> Round:
        """One round. Every second one begins with the tracer, so that a drift cancels."""
        if number % 2:
            traced, tracing = self.traced()
            return Round(self.alone(), traced, tracing)
        alone = self.alone()
        return Round(alone, *self.traced())

    def count(self) -> BpfCost | None:
        """The round that counts BPF time, which the counting itself makes slower; None if refused.

        What the counting adds to a run is what it counts for a program that does nothing.
        """
        self.quiet()
        with (
            storm_host() as namespace,
            self.work.ready(namespace) as run,
            Tracer(self.row, self.folder) as tracer,
        ):
            programs = tracer.programs()
            try:
                with bpf.empty_program(HOOK) as nothing, bpf.counting():
                    before, base = bpf.runs(programs), bpf.runs([nothing])
                    load = run(self.plan.connections)
                    after, floor = bpf.runs(programs), bpf.runs([nothing])
            except OSError as error:
                self.progress.say(f"{self.row.name}: BPF time is not counted: {error}")
                return None
            tracer.catch_up()
            tracer.stop()
        return BpfCost(len(programs), after - before, floor - base, 2 * load.connections)


def _parts(before: dict[int, Thread], after: dict[int, Thread]) -> tuple[Thread, ...]:
    """What each thread used meanwhile, the busiest first."""
    none = Thread("", 0.0, 0.0)
    spent = [
        Thread(now.name, now.user - then.user, now.ran - then.ran)
        for number, now in after.items()
        for then in [before.get(number, none)]
    ]
    return tuple(sorted((one for one in spent if one.ran > 0), key=lambda one: -one.ran))


def measure(row: BenchRow, plan: Plan, work: Work, folder: Path, progress: Progress) -> Measured:
    """All rounds of a row; output of the tracer goes to ``folder`` and is removed.

    A round that others disturbed, or that was too short, is repeated, within reason; the best ones
    count. A row in which rows and losses are not the truth has failed, whatever its numbers.
    """
    bench = Bench(row, plan, work, folder, progress)
    rounds: list[Round] = []
    try:
        _check_room(plan, folder)
        progress.step(f"{work.name} {row.name}: counting BPF time")
        cost = bench.count()
        for number in range(plan.attempts * plan.rounds):
            done = sum(_good(one, plan) for one in rounds)
            if done == plan.rounds:
                break
            progress.step(
                f"{work.name} {row.name}: pair {done + 1} of {plan.rounds}", number == done
            )
            rounds.append(bench.pair(number))
            progress.say(_said(row, work, rounds[-1]))
            if rounds[-1].alone.load.seconds < plan.seconds:
                more = min(work.most, round(bench.plan.connections * MARGIN))
                bench = replace(bench, plan=replace(plan, connections=more))
    except (BenchError, NotStarted) as error:
        progress.say(f"{work.name} {row.name}: {error}")
        return Measured(row.name, work.name, plan, failed=str(error))
    wrong = [text for one in rounds if row.ends and (text := one.tracing.account.wrong())]
    best = sorted(rounds, key=lambda one: (one.alone.load.seconds < plan.seconds, one.noise))
    return Measured(row.name, work.name, plan, tuple(best[: plan.rounds]), cost, wrong=tuple(wrong))


def _good(one: Round, plan: Plan) -> bool:
    return one.noise <= NOISE and one.alone.load.seconds >= plan.seconds


def _check_room(plan: Plan, folder: Path) -> None:
    """Raises BenchError: an output that does not fit is no measurement, and a full disk harms others."""
    needed = 2 * plan.connections * BYTES_PER_END
    if (free := shutil.disk_usage(folder).free) < needed:
        raise BenchError(
            f"{free / MB:,.0f} MB free in {folder.parent}, an output may need {needed / MB:,.0f} MB;"
            " set TMPDIR to a folder with more, or give --connections"
        )


def _said(row: BenchRow, work: Work, one: Round) -> str:
    """A round that is done, in a line."""
    disturbed = f", disturbed: {one.noise:.0%} of the CPU went to others" * (one.noise > NOISE)
    wrong = (one.tracing.account.wrong() if row.ends else None) or ""
    return (
        f"{work.name} {row.name}: {one.alone.load.rate:,.0f} -> {one.traced.load.rate:,.0f}"
        f" connections/s ({one.kept:.1%}), {one.added_us_per_end:+.2f} us an end,"
        f" lost {one.tracing.account.lost}{disturbed}{', WRONG: ' * bool(wrong)}{wrong}"
    )
