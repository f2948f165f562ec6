# SPDX-License-Identifier: Apache-2.0
"""Close records from a short trace of our own."""

from __future__ import annotations

import numpy as np

from tracetw.live.request import Request
from tracetw.live.run import run
from tracetw.stream.batch import Closes, Context, Events, Loss, Summary
from tracetw.timewait.carriers import CARRIER, Carriers, carriers

_MOST = 1 << 22  # rows kept: a host cannot have more TIME_WAIT buckets by default
_RECENT_NS = 150_000_000_000


class _Kept:
    """A sink that keeps what left a TIME_WAIT, of the last minutes."""

    def __init__(self, context: Context) -> None:
        self._names = context.names
        self._parts: list[Carriers] = []
        self._count = 0

    def head(self) -> None:
        """Nothing comes before."""

    def closes(self, batch: Closes) -> None:
        """Keep those; let go of the oldest."""
        found = carriers(batch.rows, batch.findings, batch.clock, self._names)
        if not len(found):
            return
        self._parts.append(found)
        self._count += len(found)
        oldest = int(found["ended_ns"].max()) - _RECENT_NS
        while self._count > _MOST or self._parts[0]["ended_ns"].max() < oldest:
            self._count -= len(self._parts.pop(0))

    def events(self, batch: Events) -> None:
        """None were asked for."""

    def loss(self, loss: Loss) -> None:
        """A socket without a record has no owner: nothing else follows."""

    def summary(self, summary: Summary) -> None:
        """The command prints losses on stderr."""

    def rows(self) -> Carriers:
        """The rows in memory."""
        return np.concatenate(self._parts) if self._parts else np.empty(0, CARRIER)


def watched(seconds: float, ready_fd: int | None = None) -> Carriers:
    """Trace all connections for so long, or until Ctrl-C. Raises CannotTrace as a trace does."""
    kept: list[_Kept] = []

    def make(context: Context) -> _Kept:
        kept.append(_Kept(context))
        return kept[0]

    run(Request(duration=seconds, ready_fd=ready_fd), make)
    return kept[0].rows()
