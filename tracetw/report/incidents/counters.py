# SPDX-License-Identifier: Apache-2.0
"""Overflows of accept queues: as single events where they were recorded, else as the kernel's counter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count.scan import Scan

OVERFLOWS = "ListenOverflows"
"""Attempts to connect that met a full accept queue, of a namespace."""

_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Overflows:
    """In one stretch of time.

    Attributes:
        source: number of the recording.
        netns: inode.
        port: of the listener; 0: the counter does not say.
        begin_ns, end_ns: not before, not after.
        count: how many.
    """

    source: int
    netns: int
    port: int
    begin_ns: int
    end_ns: int
    count: int


def overflows(scan: Scan, ahead: NDArray[np.int64]) -> list[Overflows]:
    """All of them, by the clock of the first recording.

    Args:
        scan: the counts.
        ahead: how far the clock of each recording is ahead of the first one's.
    """
    found = [
        Overflows(
            source,
            int(cell["netns"]),
            int(cell["port"]),
            int(cell["first"]),
            int(cell["last"]),
            int(cell["count"]),
        )
        for cell in scan.full.cells()
        for source in [int(cell["source"])]
    ]
    for number in range(len(scan.sources)):
        found += _counted(scan, number, int(ahead[number]))
    return found


def _counted(scan: Scan, number: int, ahead: int) -> list[Overflows]:
    known: dict[int, int] = {}
    found: list[Overflows] = []
    since: int | None = None
    for sample in scan.sources[number].recording.samples():
        at = sample.time_ns - ahead
        for netns in sample.counters if sample.changed is None else sample.changed:
            value = sample.counters.get(netns, {}).get(OVERFLOWS)
            if value is None:
                continue
            grown = value - known.get(netns, value)
            if grown > 0 and since is not None and len(found) < _MOST:
                found.append(Overflows(number, netns, 0, since, at, grown))
            known[netns] = value
        since = at
    return found
