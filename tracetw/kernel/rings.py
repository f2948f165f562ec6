# SPDX-License-Identifier: Apache-2.0
"""The rings of one kind of record, read as one.

CPUs that write into one ring wait for each other's cache lines: so there are several, each for some of
the CPUs (``closes_of`` in bpf/prelude.h).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows
from tracetw.kernel.ring import Ring


class Rings:
    """The reader's end of some ring buffers.

    Args:
        rings: of the same records; one at least.
        times: when what each record is about came to its end, in one clock.
    """

    def __init__(self, rings: Sequence[Ring], times: Callable[[Rows], NDArray[np.int64]]) -> None:
        self._rings = tuple(rings)
        self._times = times
        self.capacity = sum(ring.capacity for ring in self._rings)
        """records"""
        self.room = min(ring.capacity for ring in self._rings)
        """records that fit into one of them, at least"""
        self.turns = len(self._rings) * (2 + self.capacity // Ring.AT_ONCE)
        """calls of :meth:`peek` that empty full rings, each of which may begin in its middle"""
        self.held = False
        """the last :meth:`peek` kept something back, for the order of time"""

    def pending(self) -> int:
        """Records that wait to be read, at least."""
        return sum(ring.pending() for ring in self._rings)

    def peek(self, most: int | None = None) -> Rows:
        """What is ready, valid until :meth:`release`; in place and read-only if it is of one ring.

        Up to ``most`` records (None: as many as each ring gives), those of each ring in its order. Where a
        ring has more than is given, no other one gives what came later: sorted, one call continues
        the one before, as nearly as the order of a single ring does.
        """
        share = Ring.AT_ONCE if most is None else max(most // len(self._rings), 1)
        # All at one moment: what comes while we read is for the next call, whichever ring it comes into.
        there = [ring.pending() for ring in self._rings]
        parts = [
            ring.peek(min(count, share)) for ring, count in zip(self._rings, there, strict=True)
        ]
        self.held = False
        if len(parts) > 1:
            self._cut(parts, there)
        some = [part for part in parts if len(part)]
        if len(some) < 2:  # noqa: PLR2004
            return some[0] if some else parts[0]
        rows: Rows = np.concatenate([_opaque(part) for part in some]).view(some[0].dtype)
        return rows

    def _cut(self, parts: list[Rows], there: list[int]) -> None:
        """Leave what is later than the end of a part that has more behind it."""
        ends = {
            at: int(self._times(part[-1:])[0])
            for at, part in enumerate(parts)
            if 0 < len(part) < there[at]
        }
        if not ends:
            return
        first = min(ends, key=ends.__getitem__)
        for at, ring in enumerate(self._rings):
            if at != first and len(parts[at]):
                times = np.maximum.accumulate(self._times(parts[at]))
                kept = int(np.searchsorted(times, ends[first], "right"))
                if kept < len(times):
                    self.held = True
                    parts[at] = parts[at][:kept]
                    ring.keep(kept)

    def release(self) -> None:
        """Give the room of the last :meth:`peek` back to the kernel."""
        for ring in self._rings:
            ring.release()


def _opaque(rows: Rows) -> NDArray[np.void]:
    """Copying field by field takes ten times as long."""
    return rows.view(f"V{rows.dtype.itemsize}")
