# SPDX-License-Identifier: Apache-2.0
"""Single connections worth telling: a few of every sort, the earliest of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import CLOSE
from tracetw.report.count.cube import group
from tracetw.report.count.keys import CELL, fill

__all__ = ["Kept"]

_KEPT = np.dtype([("key", CELL), ("at", "<i8"), ("row", CLOSE)])
_SORT = np.dtype(
    [("peer_hi", "<u8"), ("peer_lo", "<u8"), ("verdict", "u1"), ("closed_by", "u1"), ("pad", "V6")]
)
_EACH = 4
_MOST = 8192
_PER_BATCH = 1024


class Kept:
    """Rows by sort: peer, verdict and who closed."""

    def __init__(self) -> None:
        self._rows: list[NDArray[Any]] = []
        self._count = 0

    def add(self, rows: NDArray[Any], keys: NDArray[Any], at: NDArray[np.int64]) -> None:
        """Offer rows (dtype ``CLOSE``) with their keys (dtype ``CELL``) and times."""
        if not len(rows):
            return
        which = np.flatnonzero(group(fill(_SORT, keys)).rank() < _EACH)[:_PER_BATCH]
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
        every = every[np.argsort(every["at"], kind="stable")]
        return every[group(fill(_SORT, every["key"])).rank() < _EACH][:_MOST]
