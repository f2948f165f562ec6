# SPDX-License-Identifier: Apache-2.0
"""Connection ends by verdict and stretch of time: exact numbers in memory that does not grow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracetw.verdict.taxonomy import VERDICTS

KEPT = 3600
"""Number of stretches of time that the counts reach back."""

_KINDS = len(VERDICTS)


class VerdictSlots:
    """The last ``KEPT`` stretches of time, each with its number of ends by verdict.

    Args:
        width_ns: how long a stretch is.

    Attributes:
        first: number of the oldest stretch that is known; a stretch begins at its number times
            ``width_ns`` since 1970.
        newest: of the newest; -1 before anything is known.
    """

    def __init__(self, width_ns: int) -> None:
        self.width_ns = width_ns
        self.first = 0
        self.newest = -1
        self._counts = np.zeros((KEPT, _KINDS), np.int64)

    def reach(self, number: int) -> None:
        """Time has come to this stretch: the oldest ones are forgotten."""
        if self.newest < 0:
            self.first = number
        elif number <= self.newest:
            return
        ahead = min(number - self.newest, KEPT) if self.newest >= 0 else KEPT
        self._counts[np.arange(number - ahead + 1, number + 1) % KEPT] = 0
        self.newest = number
        self.first = max(self.first, number - KEPT + 1)

    def of(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """The stretch of each wall time (ns), with what is older than the oldest one in that one."""
        numbers = at // self.width_ns
        if len(numbers):
            newest = int(numbers.max())
            if self.newest < 0:
                self.reach(int(numbers.min()))
            self.reach(newest)
            # A row older than the first one seen, as the second of two recordings may have it.
            self.first = min(self.first, max(int(numbers.min()), newest - KEPT + 1))
        known: NDArray[np.int64] = np.maximum(numbers, self.newest - KEPT + 1)
        return known

    def add(self, numbers: NDArray[np.int64], verdict: NDArray[np.uint8]) -> None:
        """Ends with these verdicts in these stretches, as of :meth:`of`."""
        places = numbers % KEPT * _KINDS + verdict
        flat = self._counts.reshape(-1)
        different, counts = np.unique(places, return_counts=True)
        flat[different] += counts

    def between(self, since: int, until: int) -> NDArray[np.int64]:
        """Counts of the stretches ``since`` to ``until``, inclusive: shape (n, verdicts).

        Those that are not known are 0.
        """
        numbers = np.arange(since, until + 1)
        counts: NDArray[np.int64] = self._counts[numbers % KEPT].copy()
        counts[(numbers < self.first) | (numbers > self.newest)] = 0
        return counts
