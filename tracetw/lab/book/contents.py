# SPDX-License-Identifier: Apache-2.0
"""The experiments in the order in which one asks."""

from __future__ import annotations

from tracetw.lab.book.closing import LOST, SEGMENTS
from tracetw.lab.book.experiment import Experiment
from tracetw.lab.book.hosts import DEAD, REBOOTED, RECONNECTS
from tracetw.lab.book.programs import CRASHED, IDLE
from tracetw.lab.book.sharing import BUCKETS_FULL, CLOSE_FIRST, RECYCLE
from tracetw.lab.book.waiting import REUSE, TIME_WAIT

BOOK: tuple[Experiment, ...] = (
    SEGMENTS,
    LOST,
    DEAD,
    REBOOTED,
    RECONNECTS,
    IDLE,
    CRASHED,
    TIME_WAIT,
    REUSE,
    RECYCLE,
    BUCKETS_FULL,
    CLOSE_FIRST,
)
"""Number 1 is the first."""


def scenarios() -> tuple[str, ...]:
    """Names of all that the book plays, each once, in its order."""
    return tuple(dict.fromkeys(name for each in BOOK for name in each.scenarios()))
