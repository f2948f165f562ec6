# SPDX-License-Identifier: Apache-2.0
"""Single connections worth telling: a few of every sort, the earliest of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import CLOSE
from tracetw.report.count.cube import group
from tracetw.report.count.keys import PULSE, SECOND, fill

_KEPT = np.dtype([("key", PULSE), ("at", "<i8"), ("row", CLOSE)])
_SORT = np.dtype(
    [
        ("peer_hi", "<u8"),
        ("peer_lo", "<u8"),
        ("slot", "<u4"),
        ("port", "<u2"),
        ("source", "<u2"),
        ("verdict", "u1"),
        ("closed_by", "u1"),
        ("role", "u1"),
        ("pad", "V5"),
    ]
)
_EACH = 4
_MOST = 8192
_PER_BATCH = 1024
_WIDTH, _LONGEST = 16 * SECOND, SECOND << 20


class Kept:
    """Rows by sort: peer, port, verdict, who closed, and about when."""

    def __init__(self) -> None:
        self._rows: list[NDArray[Any]] = []
        self._count = 0
        self._width = _WIDTH

    def add(self, rows: NDArray[Any], keys: NDArray[Any], at: NDArray[np.int64]) -> None:
        """Offer rows (dtype ``CLOSE``) with their keys (dtype ``PULSE``) and times."""
        if not len(rows):
            return
        which = np.flatnonzero(_rank(keys, at, self._width) < _EACH)[:_PER_BATCH]
        part = np.zeros(len(which), _KEPT)
        part["key"], part["at"], part["row"] = keys[which], at[which], rows[which]
        self._rows.append(part)
        self._count += len(part)
        if self._count > 2 * _MOST:
            self._rows = [self.all()]
            self._count = len(self._rows[0])

    def all(self) -> NDArray[Any]:
        """Fields ``key``, ``at`` and ``row``, earliest first."""
        if not self._rows:
            return np.zeros(0, _KEPT)
        every = np.concatenate(self._rows)
        every, self._width = _few(every, self._width)
        return every


def few(told: NDArray[Any]) -> NDArray[Any]:
    """The same choice of rows with fields ``key`` (dtype ``PULSE``) and ``at``, earliest first."""
    return _few(told, _WIDTH)[0]


def _few(every: NDArray[Any], width: int) -> tuple[NDArray[Any], int]:
    every = every[np.argsort(every["at"], kind="stable")]
    every = every[_rank(every["key"], every["at"], width) < _EACH]
    while len(every) > _MOST and width < _LONGEST:
        width *= 2
        every = every[_rank(every["key"], every["at"], width) < _EACH]
    return every[:_MOST], width


def _rank(keys: NDArray[Any], at: NDArray[np.int64], width: int) -> NDArray[np.intp]:
    return group(fill(_SORT, keys, slot=at // width)).rank()
