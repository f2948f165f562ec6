# SPDX-License-Identifier: Apache-2.0
"""A tracer with nothing to do: CPU time, wakeups, memory; then how soon it tells of an end."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from scripts.benchmark.errors import BenchError, NotStarted
from scripts.benchmark.interval import Interval, of_values
from scripts.benchmark.machine import cpu_times, settle
from scripts.benchmark.measured import Plan
from scripts.benchmark.namespace import storm_host
from scripts.benchmark.progress import Progress
from scripts.benchmark.rows import IDLE, ROOT, BenchRow
from scripts.benchmark.tracer import Tracer
from scripts.benchmark.usage import Memory, sleeps, threads
from tracetw.lab.net.host import Host

__all__ = ["MOST_WINDOWS", "Idle", "Window", "idle"]

WARM_S = 1.0  # what a start leaves to be done
MOST_WINDOWS = 3
ENDS, FEW_ENDS = 200, 20
PAUSE_S = (0.2, 0.4)  # between two ends, by chance: no rhythm of the tracer may hide in it
LINE_LIMIT_S = 5.0
PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Window:
    """So many seconds of nothing: CPU seconds and wakeups of the tracer, busy share of the machine."""

    seconds: float
    cpu_s: float
    wakeups: int
    machine: float


@dataclass(frozen=True, slots=True)
class Idle:
    """A row; ``late_ms``: from the end of a connection to its line, each."""

    name: str
    windows: tuple[Window, ...] = ()
    late_ms: tuple[float, ...] = ()
    memory: Memory | None = None
    failed: str | None = None
    load: str = IDLE

    def cpu_percent(self) -> Interval:
        """Of one CPU."""
        return of_values([100 * one.cpu_s / one.seconds for one in self.windows])

    def wakeups(self) -> Interval:
        """A second, all threads together."""
        return of_values([one.wakeups / one.seconds for one in self.windows])

    def first_line_ms(self, percent: float = 50) -> float:
        """So many per cent of the lines came within this time."""
        return float(np.percentile(self.late_ms, percent))


def idle(row: BenchRow, plan: Plan, seconds: float, folder: Path, progress: Progress) -> Idle:
    """Measure so many windows of so many seconds, and then the lines."""
    windows = min(plan.rounds, MOST_WINDOWS)
    ends = ENDS if windows == MOST_WINDOWS else FEW_ENDS
    if not settle(plan.settle_s):
        progress.say("the machine is not idle; what others do wakes the tracer, too")
    try:
        with storm_host() as namespace, Tracer(row, folder, piped=True) as tracer:
            time.sleep(WARM_S)
            seen = []
            for number in range(windows):
                progress.step(f"{IDLE} {row.name}: window {number + 1} of {windows}")
                seen.append(_window(tracer, seconds))
            memory = tracer.memory()
            progress.step(f"{IDLE} {row.name}: {ends} ends")
            with _ender(namespace) as ender:
                late = tuple(_end(tracer, ender) for _ in range(ends))
            tracer.stop()
    except (BenchError, NotStarted) as error:
        progress.say(f"{IDLE} {row.name}: {error}")
        return Idle(row.name, failed=str(error))
    found = Idle(row.name, tuple(seen), late, memory)
    progress.say(
        f"{IDLE} {row.name}: {found.cpu_percent().mean:.2f} % of a CPU,"
        f" {found.wakeups().mean:.1f} wakeups/s, first line after {found.first_line_ms():.2f} ms,"
        f" {found.first_line_ms(99):.2f} (99 %)"
    )
    return found


def _window(tracer: Tracer, seconds: float) -> Window:
    pids = tracer.pids()
    machine, at = cpu_times(), time.monotonic()
    ran, slept = _ran(pids), sleeps(pids)
    time.sleep(seconds)
    passed = time.monotonic() - at
    now = cpu_times()
    share = now.busy(machine) / (passed * now.cpus)
    return Window(passed, _ran(pids) - ran, sleeps(pids) - slept, share)


def _ran(pids: list[int]) -> float:
    """CPU seconds so far. Raises BenchError where the scheduler does not count them."""
    total = sum(thread.ran for thread in threads(pids).values())
    if not total:
        raise BenchError("this kernel does not fill /proc/PID/schedstat (CONFIG_SCHED_INFO)")
    return total


@contextmanager
def _ender(namespace: Host) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-I", "-m", "scripts.benchmark.ender"]
    process = subprocess.Popen(
        namespace.inside(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.communicate(timeout=LINE_LIMIT_S)


def _end(tracer: Tracer, ender: subprocess.Popen[str]) -> float:
    """Milliseconds from the end of a connection to the first output after it.

    Raises BenchError when there is none.
    """
    time.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - no secret
    assert tracer.stdout is not None  # noqa: S101 - it was started with a pipe
    assert ender.stdin is not None  # noqa: S101 - likewise
    assert ender.stdout is not None  # noqa: S101 - likewise
    _drain(tracer.stdout)
    ender.stdin.write("\n")
    ender.stdin.flush()
    if not select.select([tracer.stdout], [], [], LINE_LIMIT_S)[0]:
        raise BenchError(f"the tracer printed nothing within {LINE_LIMIT_S:.0f} s of an end")
    at = time.monotonic_ns()
    return (at - int(ender.stdout.readline())) / 1e6


def _drain(pipe: IO[bytes]) -> None:
    """What came of the end before, or of somebody else's."""
    while select.select([pipe], [], [], 0)[0] and os.read(pipe.fileno(), PIECE):
        pass
