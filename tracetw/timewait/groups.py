# SPDX-License-Identifier: Apache-2.0
"""Counting sockets that have some columns in common, without Python for each socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.host.socktable import Sockets
from tracetw.timewait.snapshot import Snapshot, SocketKind, seconds_left

_LOCAL, _REMOTE = ("l_hi", "l_lo"), ("r_hi", "r_lo")
BY: dict[str, tuple[str, ...]] = {
    "port": ("netns", "lport"),
    "peer": ("netns", *_REMOTE),
    "pair": ("netns", *_LOCAL, *_REMOTE),
    "destination": ("netns", *_LOCAL, *_REMOTE, "rport"),
    "namespace": ("netns",),
}
"""What :func:`groups` can count by, and the columns of it."""

COUNTED = (
    SocketKind.TIME_WAIT,
    SocketKind.FIN_WAIT2_ORPHAN,
    SocketKind.FIN_WAIT2_OWNED,
    SocketKind.FIN_WAIT1_ORPHAN,
    SocketKind.CLOSING_ORPHAN,
    SocketKind.LAST_ACK_ORPHAN,
)
"""What closing has left behind."""


@dataclass(frozen=True, slots=True)
class SocketGroups:
    """SocketGroups of sockets, those with the most first.

    Attributes:
        first: a row of ``snapshot.sockets`` of each, shape (g,).
        counts: sockets by :data:`COUNTED`, shape (g, 6).
        left_s: seconds until the last timewait socket of each ends; NaN when it has none, shape (g,).
        omitted: groups that are not here, for ``most`` was reached.
    """

    first: NDArray[np.intp]
    counts: NDArray[np.intp]
    left_s: NDArray[np.float64]
    omitted: int


def codes(
    rows: Sockets, columns: tuple[str, ...], which: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.intp], int]:
    """A number for each row, the same for rows that agree in all ``columns``, and how many there are.

    Of the rows ``which`` alone, where that is given: one column of a million rows is copied, not all.
    """
    size = len(rows) if which is None else len(which)
    code: NDArray[np.intp] = np.zeros(size, np.intp)
    count = 1 if size else 0
    for name in columns:
        values, place = _ranked(rows[name] if which is None else rows[name][which])
        if values <= 1:
            continue
        if count > 1:
            place += code * values
            values, place = _ranked(place)
        code, count = place, values
    return code, count


def groups(snapshot: Snapshot, by: str, most: int = 20) -> SocketGroups:
    """What closing left behind, by a key of :data:`BY`; at most ``most`` groups."""
    kind = snapshot.kinds
    which = np.flatnonzero(np.isin(kind, COUNTED))
    code, count = codes(snapshot.sockets, BY[by], which)
    totals = np.bincount(code, minlength=count)
    chosen = np.argsort(-totals, kind="stable")[:most]
    place = np.full(count, -1, np.intp)
    place[chosen] = np.arange(len(chosen))
    place = place[code]
    inside = np.flatnonzero(place >= 0)
    place, which = place[inside], which[inside]
    first = np.zeros(len(chosen), np.intp)
    first[place[::-1]] = which[::-1]
    counts = np.zeros((len(chosen), len(COUNTED)), np.intp)
    for column, wanted in enumerate(COUNTED):
        counts[:, column] = np.bincount(place[kind[which] == wanted], minlength=len(chosen))
    left = np.full(len(chosen), np.nan)
    np.fmax.at(left, place, seconds_left(snapshot.sockets, which))
    return SocketGroups(first, counts, left, max(count - len(chosen), 0))


def _ranked(values: NDArray[Any]) -> tuple[int, NDArray[np.intp]]:
    """How many different values there are, and the place of each among them."""
    if len(values) and (values == values[0]).all():
        return 1, np.zeros(len(values), np.intp)
    found, which = np.unique(values, return_inverse=True)
    return len(found), which
