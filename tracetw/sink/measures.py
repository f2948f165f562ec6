# SPDX-License-Identifier: Apache-2.0
"""The measures of a connection as members of its JSON object.

They differ from row to row, yet the same ones come back: whole texts are remembered by the fields that they are
made from. Round trip times, which hardly ever come back together with the others, have a text of their own.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import measures
from tracetw.event.names import KernelNames
from tracetw.sink.remembered import Remembered
from tracetw.sink.template import Members, Slot

__all__ = ["MEMBERS", "SLOTS", "columns"]

_COUNTS = (
    "idle_ms",
    "since_sent_ms",
    "since_received_ms",
    "bytes_acked",
    "bytes_unsent",
    "segments_received",
    "mss",
    "keepalive",
)
_TIMES = ("rtt_ms", "min_rtt_ms")
MEMBERS = (*_COUNTS, *_TIMES)
"""Names of the members, in order."""
SLOTS = {Members(_COUNTS): Slot("%s", ("counts",)), Members(_TIMES): Slot("%s", ("round_trips",))}
"""Members of the document."""

_NULL = b"null"
_BOOLEANS = {1: b"true", 0: b"false", -1: _NULL}
_KEEP = 1 << 14
_COUNTED, _TIMED = (
    b",".join(b'"%s":%%b' % name.encode() for name in names) for names in (_COUNTS, _TIMES)
)
_NUMBERS = Struct(f"<{len(_COUNTS)}q")
_PAIR = Struct("<2q")


def _counts(key: bytes) -> bytes:
    *numbers, keepalive = _NUMBERS.unpack(key)
    texts = [_NULL if number < 0 else b"%d" % number for number in numbers]
    return _COUNTED % (*texts, _BOOLEANS[keepalive])


def _round_trips(key: bytes) -> bytes:
    times = [_NULL if us < 0 else b"%d.%03d" % divmod(us, 1000) for us in _PAIR.unpack(key)]
    return _TIMED % tuple(times)


_counted: Remembered[bytes, bytes] = Remembered(_counts, _KEEP)
_timed: Remembered[bytes, bytes] = Remembered(_round_trips, _KEEP)


def columns(rows: NDArray[Any], names: KernelNames) -> dict[str, list[bytes]]:
    """The columns of ``SLOTS``: each the text of its members, of each row."""
    counts = (
        measures.idle_ms(rows, names),
        measures.since_sent_ms(rows, names),
        measures.since_received_ms(rows, names),
        measures.bytes_acked(rows),
        measures.bytes_unsent(rows),
        measures.segments_received(rows),
        measures.mss(rows),
        measures.keepalive(rows),
    )
    times = (measures.rtt_us(rows), measures.min_rtt_us(rows))
    return {
        "counts": [_counted[key] for key in _keys(counts)],
        "round_trips": [_timed[key] for key in _keys(times)],
    }


def _keys(parts: tuple[NDArray[Any], ...]) -> list[bytes]:
    table = np.empty((len(parts[0]), len(parts)), "<i8")
    for place, part in enumerate(parts):
        table[:, place] = part
    keys: list[bytes] = table.view(f"V{8 * len(parts)}").reshape(-1).tolist()
    return keys
