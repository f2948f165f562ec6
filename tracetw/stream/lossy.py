# SPDX-License-Identifier: Apache-2.0
"""What a loss weakens: decided here alone, from times, for live output and for recordings."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from tracetw.stream.batch import Loss

# A fact that was lost belongs to a connection that ends then or soon after.
_AFTERMATH_NS = 1_000_000_000


class Lossy:
    """The losses of a stream so far.

    A connection is weakened when it ended after ``since`` of a loss and no later than a second
    after its ``until``. A source reads the ends first and the counters of losses afterwards, and
    gives the loss before those ends: so all that can weaken an end stands before it in the stream
    (docs/adr/0013-rows-wait-for-the-losses-that-weaken-them.md).
    """

    def __init__(self) -> None:
        # Sorted, apart from each other.
        self._since: list[int] = []
        self._until: list[int] = []
        self._arrays: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def add(self, loss: Loss) -> None:
        """One more. Spans that touch are merged, so that a long trace does not pile them up."""
        since, until = loss.since_ns, max(loss.since_ns, loss.until_ns) + _AFTERMATH_NS
        # Those that touch it are neighbours.
        first = bisect_left(self._until, since)
        last = bisect_right(self._since, until)
        if first < last:
            since = min(since, self._since[first])
            until = max(until, self._until[last - 1])
        self._since[first:last] = [since]
        self._until[first:last] = [until]
        self._arrays = None

    def weakens(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the ends, by wall time in nanoseconds since 1970."""
        if not self._since:
            return np.zeros(len(at), np.bool_)
        if self._arrays is None:
            self._arrays = np.array(self._since, np.int64), np.array(self._until, np.int64)
        since, until = self._arrays
        # The span that begins last before each end; a loss begins where nothing was lost yet.
        place = np.searchsorted(since, at, side="left") - 1
        weak: NDArray[np.bool_] = (place >= 0) & (at <= until[np.maximum(place, 0)])
        return weak
