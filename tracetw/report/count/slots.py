# SPDX-License-Identifier: Apache-2.0
"""Times as numbers of slots, whose width doubles when there are too many of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LAST = (1 << 32) - 1


class Slots:
    """Slots of equal width since 1970.

    Attributes:
        width_ns: of each.
    """

    def __init__(self, width_ns: int) -> None:
        self.width_ns = width_ns

    def of(self, at: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The slot of each time. Times before 1970 are in the first, those after 2106 in the last."""
        return np.clip(at // self.width_ns, 0, _LAST).astype(np.uint32)

    def coarsen(self, cells: NDArray[Any]) -> None:
        """Makes slots twice as wide, and those of ``cells`` (field ``slot``) with them."""
        self.width_ns *= 2
        cells["slot"] //= 2
