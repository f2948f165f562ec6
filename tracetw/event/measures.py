# SPDX-License-Identifier: Apache-2.0
"""Measures of a connection beside what decides its verdict: how long it was quiet, round trips, bytes.

Pure functions over batches of records (dtype ``record.CLOSE``): one array of the batch's length each, signed,
-1 where unknown. The kernel counts quiet times in jiffies: they are exact to 1 to 10 ms.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import Rows, State
from tracetw.event.names import KernelNames
from tracetw.event.record import (
    F_CLIENT,
    F_CLOSED,
    F_FIN_ACKED,
    F_MISSED,
    F_SERVER,
    SINCE_UNKNOWN,
    T_KEEPALIVE,
    T_QUIET,
    T_READ,
)

__all__ = [
    "bytes_acked",
    "bytes_unsent",
    "half_closed_ns",
    "idle_ms",
    "keepalive",
    "min_rtt_us",
    "mss",
    "rtt_us",
    "segments_received",
    "since_received_ms",
    "since_sent_ms",
]

Measure = NDArray[np.int64]

_SYN_SENT = int(State.SYN_SENT)
_FIRST_FIN = (State.FIN_WAIT1, State.CLOSE_WAIT)
# After FIN_WAIT1 the peer's FIN leads to one of these; after CLOSE_WAIT ours does.
_SECOND_FIN = (State.CLOSING, State.TIME_WAIT, State.CLOSE, State.LAST_ACK)
_PLACES = 16
_EIGHTH = 3  # srtt_us counts eighths of a microsecond


def idle_ms(rows: Rows, names: KernelNames) -> Measure:
    """Since the last segment of the peer, before the first FIN, RST or time-out.

    Unknown where the peer's FIN was the first: it counts as a segment when the kernel tells of it.
    """
    return _since(rows, "quiet", names)


def since_sent_ms(rows: Rows, names: KernelNames) -> Measure:
    """Since data was last sent, repetitions included, before that moment; -1 if none had been."""
    return _since(rows, "since_sent", names)


def since_received_ms(rows: Rows, names: KernelNames) -> Measure:
    """Since data was last received before that moment; -1 if none had been."""
    return _since(rows, "since_received", names)


def _since(rows: Rows, column: str, names: KernelNames) -> Measure:
    jiffies = rows[column]
    known = ((rows["traits"] & T_QUIET) != 0) & (jiffies != SINCE_UNKNOWN)
    return np.where(known, fields.jiffies_to_ms(jiffies, names), -1)


def rtt_us(rows: Rows) -> Measure:
    """Smoothed round trip time, as the kernel keeps it for its timers."""
    eighths = rows["srtt"].astype(np.int64)
    return np.where(eighths > 0, eighths >> _EIGHTH, -1)


def min_rtt_us(rows: Rows) -> Measure:
    """Least round trip time of the last 300 s (``tcp_min_rtt``)."""
    least = rows["rtt_min"].astype(np.int64)
    return np.where(((rows["traits"] & T_READ) != 0) & (least != SINCE_UNKNOWN), least, -1)


def bytes_acked(rows: Rows) -> Measure:
    """Payload that the peer acknowledged.

    The kernel counts sequence space, in which the SYN of connect() and our FIN are one each. Of a connection
    whose role is not known the SYN is found by what was sent.
    """
    flags, state = rows["flags"], rows["old_state"]
    fin = ((flags & F_FIN_ACKED) != 0) & fields.FIN_SENT[state]
    acked = rows["bytes_acked"].astype(np.int64) - fin
    acked -= (flags & F_CLIENT) != 0
    unknown = np.flatnonzero((flags & (F_CLIENT | F_SERVER)) == 0)
    if len(unknown):
        some = rows[unknown]
        acked[unknown] = np.minimum(
            acked[unknown], fields.bytes_sent(some) - fields.bytes_unacked(some)
        )
    return np.where(_read(rows) & ~fields.past_tcp(rows), np.maximum(acked, 0), -1)


def bytes_unsent(rows: Rows) -> Measure:
    """Payload that the application had written and that was never sent; the FIN behind it is none of it."""
    queued = fields.unsent(rows).astype(np.int64)
    state = rows["old_state"]
    fin = fields.FIN_SENT[state] & (queued > 0)
    unsent = np.where(fields.OPENING[state], 0, np.maximum(queued - fin, 0))
    known = ((rows["flags"] & (F_CLOSED | F_MISSED)) != 0) & ~fields.past_tcp(rows)
    return np.where(known, unsent, -1)


def segments_received(rows: Rows) -> Measure:
    """Segments of the peer that reached this socket, whether it took them or not."""
    return np.where(_read(rows), rows["segs_in"].astype(np.int64), -1)


def mss(rows: Rows) -> Measure:
    """Payload of a full segment to the peer at the end; unknown while connecting."""
    known = _read(rows) & (rows["old_state"] != _SYN_SENT)
    return np.where(known, rows["mss"].astype(np.int64), -1)


def keepalive(rows: Rows) -> NDArray[np.int8]:
    """SO_KEEPALIVE was on (1) or off (0) at the end."""
    on = ((rows["traits"] & T_KEEPALIVE) != 0).astype(np.int8)
    return np.where((rows["traits"] & T_READ) != 0, on, np.int8(-1))


def _read(rows: Rows) -> NDArray[np.bool_]:
    """tcp_disconnect() had not begun to clear them."""
    read: NDArray[np.bool_] = ((rows["traits"] & T_READ) != 0) & ((rows["flags"] & F_MISSED) == 0)
    return read


def half_closed_ns(rows: Rows) -> Measure:
    """From the first FIN to the second one or, without one, to the end; -1 unless a FIN came first."""
    places = fields.by_path(rows["path"], _half_closed)
    if (places < 0).all():
        return np.full(len(rows), -1, np.int64)
    begin, end = np.divmod(np.maximum(places, 0), _PLACES)
    here = np.arange(len(rows))
    began, ended = (rows["at"][here, at].astype(np.int64) for at in (begin, end))
    known = (places >= 0) & (began > 0) & (ended >= began)
    return np.where(known, ended - began, -1)


@lru_cache(maxsize=1024)
def _half_closed(path: int) -> int:
    """Places of the two FINs in a path as one number, ``_PLACES`` to the first; -1 for none."""
    states: tuple[Any, ...] = fields.path_states(path)
    first = next((at for at, state in enumerate(states) if state in _FIRST_FIN), -1)
    rest = range(first + 1, len(states))
    second = next((at for at in rest if states[at] in _SECOND_FIN), -1)
    return _PLACES * first + second if first >= 0 and second >= 0 else -1
