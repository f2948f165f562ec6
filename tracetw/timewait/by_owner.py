# SPDX-License-Identifier: Apache-2.0
"""What closing left behind, by the process whose connections they were."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.timewait.carriers import Carried
from tracetw.timewait.groups import COUNTED
from tracetw.timewait.owners import TimewaitOwner, TimewaitOwners
from tracetw.timewait.snapshot import Snapshot, SocketKind, seconds_left


@dataclass(frozen=True, slots=True)
class Owned:
    """Sockets of one owner in one namespace.

    Attributes:
        netns: inode.
        owner: None for all whose owner is not known.
        counts: by ``groups.COUNTED``.
        left_s: until the last timewait socket ends; NaN when there is none.
    """

    netns: int
    owner: TimewaitOwner | None
    counts: NDArray[np.intp]
    left_s: float


class _Known:
    """Owners by number; 0 is nobody."""

    def __init__(self) -> None:
        self.owners: list[TimewaitOwner | None] = [None]
        self._numbers: dict[TimewaitOwner | None, int] = {None: 0}

    def number(self, owner: TimewaitOwner | None) -> int:
        number = self._numbers.setdefault(owner, len(self.owners))
        if number == len(self.owners):
            self.owners.append(owner)
        return number


def by_owner(snapshot: Snapshot, owners: TimewaitOwners, carried: Carried | None) -> list[Owned]:
    """Groups by namespace and owner, those with the most first.

    A record of the end of a connection is believed before the listener that is there now.
    """
    kind = snapshot.kinds
    which = np.flatnonzero((kind > SocketKind.LIVE) & (kind < SocketKind.LISTEN))
    rows = snapshot.sockets
    known = _Known()
    number = np.zeros(len(which), np.uint64)
    served = np.flatnonzero(snapshot.listening[which])
    ports, code = np.unique(rows[["netns", "lport"]][which[served]], return_inverse=True)
    if len(ports):
        found = [known.number(owners.of_port(netns, port)) for netns, port in ports.tolist()]
        number[served] = np.array(found, np.uint64)[code]
    for at in np.flatnonzero(kind[which] == SocketKind.FIN_WAIT2_OWNED).tolist():
        number[at] = known.number(owners.of_inode(int(rows["inode"][which[at]])))
    if carried is not None:
        _by_record(carried, carried.record[which], known, number)
    pairs, group = np.unique(
        rows["netns"][which].astype(np.uint64) << np.uint64(32) | number, return_inverse=True
    )
    counts = np.zeros((len(pairs), len(COUNTED)), np.intp)
    np.add.at(counts, (group, kind[which].astype(np.intp) - COUNTED[0]), 1)
    left = np.full(len(pairs), np.nan)
    np.fmax.at(left, group, seconds_left(rows, which))
    result = [
        Owned(pair >> 32, known.owners[pair & 0xFFFFFFFF], counts[at], float(left[at]))
        for at, pair in enumerate(pairs.tolist())
    ]
    return sorted(result, key=lambda each: (each.owner is None, -int(each.counts.sum())))


def _by_record(
    carried: Carried, record: NDArray[np.intp], known: _Known, number: NDArray[np.uint64]
) -> None:
    told = np.flatnonzero(record >= 0)
    if not len(told):
        return
    names = carried.rows[["pid", "uid", "comm", "owner_from"]][record[told]]
    _, first, code = np.unique(names, return_index=True, return_inverse=True)
    found = np.array([known.number(carried.owner(names[at])) for at in first.tolist()], np.uint64)[
        code
    ]
    number[told] = np.where(found > 0, found, number[told])
