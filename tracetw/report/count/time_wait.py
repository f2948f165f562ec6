# SPDX-License-Identifier: Apache-2.0
"""TIME_WAIT and local ports: how many were held at a time, and where they ran out.

A socket in TIME_WAIT lives 60 s (TCP_TIMEWAIT_LEN). Connections that this side opened and closed
first hold a local port towards one address and port for that long; all of them take a bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count.cube import Cube, group
from tracetw.report.count.keys import OTHERS, SECOND, fill
from tracetw.report.count.slots import Slots
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.findings import Findings
from tracetw.verdict.taxonomy import TIME_WAIT

PORT, BUCKET, SKIPPED, NO_PORT = range(4)
"""Kinds: holds a local port; only a bucket; TIME_WAIT was skipped; connect() found no port."""

_PLACE = [
    ("peer_hi", "<u8"),
    ("peer_lo", "<u8"),
    ("netns", "<u4"),
    ("kind", "<u4"),
    ("port", "<u2"),
    ("source", "<u2"),
]
_WHERE = np.dtype([*_PLACE, ("pad", "<u4")])
_WAIT = np.dtype([*_PLACE, ("slot", "<u4")])
_LIMIT = 400_000
_WIDTH = 5 * SECOND
_LASTS = 60 * SECOND
_LOCAL, _SKIPPED = TIME_WAIT.index("local"), TIME_WAIT.index("skipped")
_NO_PORT = np.uint64(1 << list(EVIDENCE).index("no-port"))
_CLIENT = 1


@dataclass(frozen=True, slots=True)
class Peak:
    """The most sockets of one kind in one place at a time.

    Attributes:
        source: number of the recording.
        netns: inode.
        kind: ``PORT`` (towards one address and port) or ``BUCKET`` (all of the namespace).
        peer: both words of the address; 0 for ``BUCKET``.
        port: of the peer; 0 for ``BUCKET``.
        held: sockets in TIME_WAIT at once, within the width of a slot.
        at_ns: when.
        total: sockets over the whole time.
    """

    source: int
    netns: int
    kind: int
    peer: tuple[int, int]
    port: int
    held: int
    at_ns: int
    total: int


def _forget_peers(cells: NDArray[Any]) -> None:
    cells["peer_hi"] = cells["peer_lo"] = OTHERS
    cells["port"] = 0


class Waits:
    """Counts sockets that went to TIME_WAIT, that skipped it, and connects without a port."""

    def __init__(self) -> None:
        self.slots = Slots(_WIDTH)
        folds = [self.slots.coarsen, self.slots.coarsen, self.slots.coarsen, _forget_peers]
        self.cube = Cube(_WAIT, _LIMIT, [*folds, self.slots.coarsen], once=3)

    def add(
        self, rows: NDArray[Any], findings: Findings, keys: NDArray[Any], at: NDArray[np.int64]
    ) -> None:
        """Count a batch with its keys (dtype ``CELL``) and times."""
        waits = findings.time_wait == _LOCAL
        none = (findings.evidence & _NO_PORT) != 0
        which = np.flatnonzero(waits | (findings.time_wait == _SKIPPED) | none)
        if not len(which):
            return
        holds = keys["role"][which] == _CLIENT
        kind = np.where(waits[which], np.where(holds, PORT, BUCKET), SKIPPED)
        kind = np.where(none[which], NO_PORT, kind)
        part = fill(_WAIT, keys[which], slot=self.slots.of(at[which]), kind=kind)
        part["port"] = rows["rport"][which]
        other = kind == BUCKET  # a server's are as many as its clients: only their sum matters
        for name in ("peer_hi", "peer_lo", "port"):
            part[name][other] = 0
        self.cube.add(part, at[which])

    def counts(self, kind: int) -> NDArray[Any]:
        """The cells of one kind."""
        cells = self.cube.cells()
        chosen: NDArray[Any] = cells[cells["kind"] == kind]
        return chosen

    def peaks(self, least: int = 1000, most: int = 50) -> list[Peak]:
        """Places where more than ``least`` were held at a time, the fullest first."""
        cells = self.cube.cells()
        ports = cells[cells["kind"] == PORT]
        every = cells[cells["kind"] <= BUCKET].copy()
        for name in ("peer_hi", "peer_lo", "port"):
            every[name] = 0
        every["kind"] = BUCKET
        found = [*self._held(ports, least), *self._held(every, least)]
        return sorted(found, key=lambda peak: -peak.held)[:most]

    def _held(self, cells: NDArray[Any], least: int) -> list[Peak]:
        found = []
        groups = group(fill(_WHERE, cells))
        totals = np.add.reduceat(cells["count"][groups.order], groups.starts) if len(cells) else ()
        ends = [*groups.starts[1:], len(cells)]
        for number in np.flatnonzero(np.asarray(totals) >= least).tolist():
            part = cells[groups.order[groups.starts[number] : ends[number]]]
            part = part[np.argsort(part["slot"], kind="stable")]
            slots, sums = part["slot"].astype(np.int64), np.cumsum(part["count"])
            wide = max(_LASTS // self.slots.width_ns, 1)
            before = np.searchsorted(slots, slots - wide, side="right")
            held = sums - np.where(before > 0, sums[np.maximum(before - 1, 0)], 0)
            top = int(np.argmax(held))
            if held[top] >= least:
                one = part[top]
                found.append(
                    Peak(
                        source=int(one["source"]),
                        netns=int(one["netns"]),
                        kind=int(one["kind"]),
                        peer=(int(one["peer_hi"]), int(one["peer_lo"])),
                        port=int(one["port"]),
                        held=int(held[top]),
                        at_ns=int(one["last"]),
                        total=int(sums[-1]),
                    )
                )
        return found
