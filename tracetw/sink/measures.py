# SPDX-License-Identifier: Apache-2.0
"""The measures of a connection as members of its JSON object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import measures
from tracetw.event.names import KernelNames
from tracetw.sink.coded import Coded
from tracetw.sink.template import Slot, millis, number_or_null, text

__all__ = ["MEMBERS", "columns"]

_COUNTS = (
    "idle_ms",
    "since_sent_ms",
    "since_received_ms",
    "bytes_acked",
    "bytes_unsent",
    "segments_received",
    "mss",
)
_TIMES = ("rtt_ms", "min_rtt_ms")
MEMBERS: dict[str, Slot] = {
    **{name: number_or_null(name) for name in _COUNTS},
    "keepalive": text("keepalive"),
    **{name: millis(name) for name in _TIMES},
}
"""Members of the document, in order."""

_BOOLEANS = np.array([b"false", b"true", b"null"], object)


def columns(rows: NDArray[Any], names: KernelNames) -> dict[str, Any]:
    """The columns of ``MEMBERS``."""
    return {
        "idle_ms": measures.idle_ms(rows, names),
        "since_sent_ms": measures.since_sent_ms(rows, names),
        "since_received_ms": measures.since_received_ms(rows, names),
        "bytes_acked": measures.bytes_acked(rows),
        "bytes_unsent": measures.bytes_unsent(rows),
        "segments_received": measures.segments_received(rows),
        "mss": measures.mss(rows),
        "keepalive": Coded(measures.keepalive(rows), _BOOLEANS),
        "rtt_ms": measures.rtt_us(rows) * 1000,
        "min_rtt_ms": measures.min_rtt_us(rows) * 1000,
    }
