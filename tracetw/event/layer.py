# SPDX-License-Identifier: Apache-2.0
"""What stood above TCP, and which numbers of TCP are those of the application."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import MP_BYTES, MP_CONNECTION, MP_READ, Layer

__all__ = ["LAYERS", "carried", "is_connection", "reading_known"]

LAYERS = {
    layer.value: None if layer in (Layer.NONE, Layer.UNKNOWN) else layer.name.lower()
    for layer in Layer
}
"""``layer`` by number."""

_READING = MP_CONNECTION | MP_READ


def is_connection(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether a record is of the socket of MPTCP, not of one of TCP."""
    connection: NDArray[np.bool_] = (rows["mptcp_flags"] & MP_CONNECTION) != 0
    return connection


def carried(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the numbers of bytes are what the application sent and received.

    A sockmap carries data past TCP. Older kernels do not count those of a connection of MPTCP.
    """
    layer, flags = rows["layer"], rows["mptcp_flags"]
    unknown: NDArray[np.bool_] = layer == Layer.SOCKMAP
    unknown |= (layer == Layer.MPTCP) & (flags & (MP_CONNECTION | MP_BYTES) == MP_CONNECTION)
    return ~unknown


def reading_known(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether it is known what the application has not read of what came."""
    flags = rows["mptcp_flags"]
    layer = rows["layer"]
    unknown: NDArray[np.bool_] = (layer == Layer.SOCKMAP) | (layer == Layer.TLS)
    unknown |= (layer == Layer.MPTCP) & (flags & _READING == MP_CONNECTION)
    return ~unknown
