# SPDX-License-Identifier: Apache-2.0
"""What a loss weakens: decided here alone, from times, for live output and for recordings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracetw.stream.batch import Loss

__all__ = ["Lossy"]

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
        self._spans: list[tuple[int, int]] = []
        self._since: NDArray[np.int64] = np.zeros(0, np.int64)
        self._until: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, loss: Loss) -> None:
        """One more. Spans that touch are merged, so that a long trace does not pile them up."""
        new = (loss.since_ns, loss.until_ns + _AFTERMATH_NS)
        spans: list[tuple[int, int]] = []
        for since, until in sorted([*self._spans, new]):
            if spans and since <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], until))
            else:
                spans.append((since, until))
        self._spans = spans
        self._since = np.array([since for since, _ in spans], np.int64)
        self._until = np.array([until for _, until in spans], np.int64)

    def weakens(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the ends, by wall time in nanoseconds since 1970."""
        if not self._spans:
            return np.zeros(len(at), np.bool_)
        # The span that begins last before each end; a loss begins where nothing was lost yet.
        place = np.searchsorted(self._since, at, side="left") - 1
        weak: NDArray[np.bool_] = (place >= 0) & (at <= self._until[np.maximum(place, 0)])
        return weak
