# SPDX-License-Identifier: Apache-2.0
"""What stood above TCP."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import MP_CONNECTION, Layer

LAYERS = {
    layer.value: None if layer in (Layer.NONE, Layer.UNKNOWN) else layer.name.lower()
    for layer in Layer
}
"""``layer`` by number."""


def is_connection(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a record is of the socket of MPTCP, not of one of TCP."""
    connection: NDArray[np.bool_] = (rows["mptcp_flags"] & MP_CONNECTION) != 0
    return connection
