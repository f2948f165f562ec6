# SPDX-License-Identifier: Apache-2.0
"""When something began: the stretch of time in which it was far more frequent than outside.

Pure: counts per slot in, one stretch or none out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Burst", "burst", "dense"]

_FEWEST = 3
_UNLIKELY = 8.0
_TIMES = 3.0
_MOST_SLOTS = 4096


@dataclass(frozen=True, slots=True)
class Burst:
    """Slots ``first`` to ``last``, inclusive.

    Attributes:
        first, last: indexes of slots.
        inside: how many fell into it.
        before: how many came in the slots before it.
        outside_rate: per slot outside of it; 0 when it fills all the time there is.
    """

    first: int
    last: int
    inside: int
    before: int
    outside_rate: float


def dense(slots: NDArray[Any], counts: NDArray[Any], begin: int, end: int) -> NDArray[np.int64]:
    """Counts per slot from ``begin`` to ``end``, inclusive, slots without any being 0."""
    length = max(end - begin + 1, 1)
    filled = np.bincount(slots.astype(np.int64) - begin, weights=counts, minlength=length)
    return filled.astype(np.int64)


def burst(counts: NDArray[np.int64], among: int = 1) -> Burst | None:
    """The stretch that stands out most, None when none does (too few, or all the time).

    The stretch is the one with the largest sum of ``count - 2 * mean`` (Kadane): what is above
    twice the mean pays for what is below. It counts when it is at least three times as dense as
    the rest, and when chance is out of the question: the likelihood of these counts, if the rate
    were the same inside and outside, is lower by ``exp(8)`` than with the two rates found, and by
    more the more places there were for chance: slots, and ``among`` how many such rows it looks.
    """
    factor = math.ceil(len(counts) / _MOST_SLOTS)
    if factor > 1:
        coarse = burst(np.add.reduceat(counts, np.arange(0, len(counts), factor)), among)
        if coarse is None:
            return None
        last = min((coarse.last + 1) * factor, len(counts)) - 1
        return _measured(counts, coarse.first * factor, last)
    total = int(counts.sum())
    if total < _FEWEST:
        return None
    score = np.cumsum(counts - 2.0 * total / len(counts))
    lowest = np.minimum.accumulate(np.concatenate([[0.0], score[:-1]]))
    last = int(np.argmax(score - lowest))
    first = int(np.argmin(np.concatenate([[0.0], score[:-1]])[: last + 1]))
    found = _measured(counts, first, last)
    if found.inside < _FEWEST:
        return None
    expected = found.outside_rate * (found.last - found.first + 1)
    chance = _likelihood_ratio(found.inside, total, found.last - found.first + 1, len(counts))
    unlikely = _UNLIKELY + math.log(len(counts)) + math.log(among)
    return found if chance >= unlikely and found.inside >= _TIMES * expected else None


def _likelihood_ratio(inside: int, total: int, length: int, slots: int) -> float:
    """Logarithm: two rates against one, for ``inside`` of ``total`` in ``length`` of ``slots``."""

    def part(count: int, share: float) -> float:
        return count * math.log(count / total / share) if count else 0.0

    share = length / slots
    return part(inside, share) + part(total - inside, 1 - share)


def _measured(counts: NDArray[np.int64], first: int, last: int) -> Burst:
    """The stretch without empty slots at its ends, and what is outside of it."""
    filled = np.flatnonzero(counts[first : last + 1])
    first, last = first + int(filled[0]), first + int(filled[-1])
    inside = int(counts[first : last + 1].sum())
    rest = len(counts) - (last - first + 1)
    rate = (int(counts.sum()) - inside) / rest if rest else 0.0
    return Burst(first, last, inside, int(counts[:first].sum()), rate)
