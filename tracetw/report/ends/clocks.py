# SPDX-License-Identifier: Apache-2.0
"""How far the clocks of recorded hosts are apart, from connections of which both ends were recorded.

The peer receives a segment after this end sent it: each FIN, RST or ACK of a handshake bounds the difference of
their clocks from one side, and both directions bound it from both (as in NTP, RFC 5905, without its requests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CLIENT, _SERVER = 1, 2
_MANY = 100
_EDGE = 0.02


@dataclass(frozen=True, slots=True)
class Offset:
    """The clock of recording ``source`` against that of ``other``.

    Attributes:
        source, other: numbers of recordings.
        ahead_ns: how far the clock of ``source`` is ahead.
        error_ns: half the distance of both bounds; None where there was only one.
        pairs: connections that it was taken from.
    """

    source: int
    other: int
    ahead_ns: int
    error_ns: int | None
    pairs: int


def offsets(ends: NDArray[Any], clocks: Sequence[str]) -> list[Offset]:
    """One for each recording that connections tie to the first one of its group.

    Args:
        ends: of dtype ``ENDPOINT``.
        clocks: what each recording's clock is: the same text, the same clock (a boot of a host).
    """
    left, right = _in_order(ends)
    known: dict[int, tuple[int, int | None, int]] = {0: (0, 0, 0)}
    found: list[Offset] = []
    asked = set(range(1, len(clocks)))
    while asked:
        reached = None
        for source in sorted(asked):
            for other in sorted(known):
                bound = (
                    (0, 0, 0)
                    if clocks[source] == clocks[other]
                    else _between(left, right, other, source)
                )
                if bound is not None:
                    reached = source, other, bound
                    break
            if reached:
                break
        if reached is None:  # no connection ties it: another group, with a clock of its own
            source = min(asked)
            known[source] = (0, 0, 0)
            asked.discard(source)
            continue
        source, other, (ahead, error, pairs) = reached
        known[source] = (known[other][0] + ahead, error, pairs)
        asked.discard(source)
        if pairs:
            found.append(Offset(source, other, ahead, error, pairs))
    return found


def ahead_ns(known: Sequence[Offset], sources: int) -> NDArray[np.int64]:
    """Of each of so many recordings: how far its clock is ahead of the first one's."""
    ahead = np.zeros(sources, np.int64)
    for one in known:
        ahead[one.source] = ahead[one.other] + one.ahead_ns
    return ahead


def _in_order(ends: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ends of flows that have as many on both sides, the first with the first: their times need not agree."""
    ends = ends[np.lexsort((ends["begin"], ends["side"], ends["flow"]))]
    flow = ends["flow"]
    fresh = np.ones(len(flow), np.bool_)
    fresh[1:] = flow[1:] != flow[:-1]
    starts = np.flatnonzero(fresh)
    sizes = np.diff(starts, append=len(flow))
    sides = np.add.reduceat(ends["side"].astype(np.int64), starts) if len(starts) else starts
    even = sides * 2 == sizes
    half = sizes[even] // 2
    # Of each flow the places of its first side, then those of its second.
    first = np.repeat(starts[even], half) + (
        np.arange(half.sum()) - np.repeat(np.cumsum(half) - half, half)
    )
    left, right = ends[first], ends[first + np.repeat(half, half)]
    match = left["source"] != right["source"]
    return left[match], right[match]


def _between(
    left: NDArray[Any], right: NDArray[Any], one: int, two: int
) -> tuple[int, int | None, int] | None:
    """How far ``two`` is ahead of ``one``, its error and the pairs; None if nothing tells."""
    straight = (left["source"] == one) & (right["source"] == two)
    turned = (left["source"] == two) & (right["source"] == one)
    here = np.concatenate([left[straight], right[turned]])
    there = np.concatenate([right[straight], left[turned]])
    if not len(here):
        return None
    upper = _delays(here, there)
    lower = -_delays(there, here)
    if not len(upper) and not len(lower):
        return None
    if not len(upper) or not len(lower):
        only = _low(upper) if len(upper) else -_low(-lower)
        return only, None, len(here)
    most, least = _low(upper), -_low(-lower)
    return (most + least) // 2, abs(most - least) // 2, len(here)


def _delays(sender: NDArray[Any], getter: NDArray[Any]) -> NDArray[np.int64]:
    """Time by the getter's clock minus time by the sender's, of each segment that both saw."""
    fin = (sender["sent"] > 0) & (getter["got"] > 0)
    ack = (sender["role"] == _CLIENT) & (getter["role"] == _SERVER)
    ack &= (sender["up"] > 0) & (getter["up"] > 0)
    return np.concatenate(
        [(getter["got"] - sender["sent"])[fin], (getter["up"] - sender["up"])[ack]]
    ).astype(np.int64)


def _low(values: NDArray[np.int64]) -> int:
    """The least, apart from a few that may be of connections paired wrongly."""
    return int(
        values.min()
        if len(values) < _MANY
        else np.partition(values, int(len(values) * _EDGE))[int(len(values) * _EDGE)]
    )
