# SPDX-License-Identifier: Apache-2.0
"""How late the kernel's timers fire, and so between which bounds a sequence of them ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

_SLOTS, _STEP = 64, 8  # LVL_SIZE, LVL_CLK_DIV in kernel/time/timer.c
_PHASES = 32
_STRIDE = (
    1_283  # jiffies between the starts that are tried; a prime: all phases of the first levels
)


class Wait(NamedTuple):
    """A time in seconds, between two bounds: it depends on the moment at which the wait begins."""

    least_s: float
    most_s: float

    @property
    def typical_s(self) -> float:
        """The middle."""
        return (self.least_s + self.most_s) / 2


class TimerRun:
    """The clock of one run through a sequence of timers. ``now_s`` begins at 0."""

    def __init__(self, hz: int | None, start: int = 0) -> None:
        self._hz = hz
        self._start = self._now = start
        self.now_s = 0.0

    def sleep(self, wait_s: float) -> None:
        """A timer of ``wait_s`` fires: at the next edge of its level of the wheel (calc_wheel_index).

        Up to an eighth late, never early. Without ``hz`` it fires on time.
        """
        if self._hz is None or math.isinf(wait_s):
            self.now_s += wait_s
            return
        wait = math.ceil(wait_s * self._hz - 1e-6)
        granule = 1
        while wait >= (_SLOTS - 1) * granule:
            granule *= _STEP
        self._now = ((self._now + wait) // granule + 1) * granule
        self.now_s = (self._now - self._start) / self._hz

    def until(self, left_s: float) -> None:
        """A timer that runs already and fires after ``left_s``: how late it is has been decided."""
        if self._hz is not None:
            self._now += round(left_s * self._hz)
        self.now_s += left_s


def span(hz: int | None, play: Callable[[TimerRun], None]) -> Wait:
    """Between what bounds the sequence ends that ``play`` sleeps through, over all moments of its start."""
    ends = []
    for phase in range(1 if hz is None else _PHASES):
        run = TimerRun(hz, phase * _STRIDE)
        play(run)
        ends.append(run.now_s)
    return Wait(min(ends), max(ends))
