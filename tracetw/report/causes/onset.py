# SPDX-License-Identifier: Apache-2.0
"""When something began: the stretch of time in which it was far more frequent than outside.

Pure: counts per slot in, one stretch or none out. Memory is that of the slots in which something
happened, not of the time between the first and the last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def burst(
    slots: NDArray[Any], counts: NDArray[Any], begin: int, end: int, among: int = 1
) -> Burst | None:
    """The stretch that stands out most, None when none does (too few, or all the time).

    The stretch is the one with the largest sum of ``count - 2 * mean`` (Kadane): what is above
    twice the mean pays for what is below. It counts when it is at least three times as dense as
    the rest, and when chance is out of the question: the likelihood of these counts, if the rate
    were the same inside and outside, is lower by ``exp(8)`` than with the two rates found, and by
    more the more places there were for chance: slots, and ``among`` how many such rows it looks.

    Args:
        slots: numbers of slots, in any order, each any number of times.
        counts: how many fell into each of them.
        begin, end: the first and the last slot that there could be, inclusive; of more than 4,096 it
            sums up neighbours.
        among: how many such rows there are.
    """
    length = max(end - begin + 1, 1)
    factor = math.ceil(length / _MOST_SLOTS)
    places = slots.astype(np.int64) - begin
    coarse = np.bincount(places // factor, weights=counts, minlength=math.ceil(length / factor))
    found = _burst(coarse.astype(np.int64), among)
    if found is None or factor == 1:
        return found
    last = min((found.last + 1) * factor, length) - 1
    return _measured(places, counts, length, found.first * factor, last)


def _burst(counts: NDArray[np.int64], among: int) -> Burst | None:
    total = int(counts.sum())
    if total < _FEWEST:
        return None
    score = np.cumsum(counts - 2.0 * total / len(counts))
    lowest = np.minimum.accumulate(np.concatenate([[0.0], score[:-1]]))
    last = int(np.argmax(score - lowest))
    first = int(np.argmin(np.concatenate([[0.0], score[:-1]])[: last + 1]))
    found = _measured(np.arange(len(counts)), counts, len(counts), first, last)
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


def _measured(
    places: NDArray[Any], counts: NDArray[Any], length: int, first: int, last: int
) -> Burst:
    """The stretch without empty slots at its ends, and what is outside of it."""
    within = (places >= first) & (places <= last) & (counts > 0)
    first, last = int(places[within].min()), int(places[within].max())
    inside = int(counts[within].sum())
    rest = length - (last - first + 1)
    rate = (int(counts.sum()) - inside) / rest if rest else 0.0
    return Burst(first, last, inside, int(counts[places < first].sum()), rate)
