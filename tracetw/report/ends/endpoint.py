# SPDX-License-Identifier: Apache-2.0
"""One end of a connection, as far as joining it with the other takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import State
from tracetw.event.record import AT_CLOSED, F_RST_IN, F_RST_OUT, F_RST_REPLY, End
from tracetw.report.count.keys import addresses, is_loopback
from tracetw.report.count.wrong import ABNORMAL, CRASHES
from tracetw.stream.batch import Closes
from tracetw.verdict.taxonomy import CLOSED_BY, FORMS

ENDPOINT = np.dtype(
    [
        ("flow", "<u8"),
        ("begin", "<i8"),
        ("end", "<i8"),
        ("place", "<i8"),
        ("up", "<i8"),
        ("sent", "<i8"),
        ("got", "<i8"),
        ("wrong", "<i4"),
        ("source", "<u2"),
        ("verdict", "u1"),
        ("side", "u1"),
        ("role", "u1"),
        ("acted", "u1"),
        ("reset_in", "?"),
        ("reset_out", "?"),
        ("timeout", "?"),
        ("abnormal", "?"),
        ("wanted", "?"),
        ("pad", "u1"),
    ]
)
"""``flow`` is the same for both ends, ``side`` is not; ``place`` in its recording. Times are nanoseconds since 1970 by
the clock of its host, 0 unknown: ``up`` when it was established, ``sent`` and ``got`` of the first FIN or RST of each
direction. ``wrong`` is the place of its key among those of what went wrong, -1 none. ``acted``: how much it was the
doing of this end, from 0 (the peer's) to 3 (its process died)."""

_TIMEOUT = FORMS.index("timeout")
_ACTED = np.zeros(256, np.uint8)
for _by in ("app", "process-exit", "admin", "kernel-memory", "netns-exit"):
    _ACTED[CLOSED_BY.index(_by)] = 2
_ACTED[CLOSED_BY.index("kernel-timer")] = 1
_ACTED[CRASHES] = 3


def mixed(*words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of each row of words."""
    result = np.full(len(words[0]), 0x9E3779B97F4A7C15, np.uint64)
    for word in words:
        result = (result ^ word) * np.uint64(0xBF58476D1CE4E5B9)
        result ^= result >> np.uint64(31)
    return result


def flows(rows: NDArray[Any], host: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """A hash of both endpoints that does not depend on their order, and which one is local.

    Loopback addresses are the same in every namespace of every host, so there the namespace and the
    number of the ``host`` are part of it.
    """
    ends = []
    for column, port in (("laddr", "lport"), ("raddr", "rport")):
        high, low = addresses(rows, column)
        ends.append(mixed(high, low, rows[port].astype(np.uint64)))
    local, remote = ends
    whose = np.uint64(host) << np.uint64(32) | rows["netns"].astype(np.uint64)
    whose = np.where(is_loopback(*addresses(rows, "raddr")), whose, np.uint64(0))
    low, high = np.minimum(local, remote), np.maximum(local, remote)
    side: NDArray[np.uint8] = (local > remote).astype(np.uint8)
    return mixed(low, high, whose) | np.uint64(1), side


def endpoints(part: Closes, source: int, host: int) -> NDArray[Any]:
    """Ends of a batch, dtype ``ENDPOINT``, in which the caller sets ``place``, ``wrong`` and ``wanted``.

    Args:
        part: the batch.
        source: number of its recording.
        host: number of its host.
    """
    rows, findings = part.rows, part.findings
    ends = np.zeros(len(rows), ENDPOINT)
    ends["flow"], ends["side"] = flows(rows, host)
    ends["end"] = part.at
    first = rows["at"].astype(np.int64)
    born = np.where(first > 0, first, np.iinfo(np.int64).max).min(axis=1)
    ends["begin"] = np.where(first.any(axis=1), part.clock.to_wall_ns(born), part.at)
    ends["source"], ends["verdict"] = source, findings.verdict
    ends["role"] = fields.role(rows)
    ends["timeout"] = findings.form == _TIMEOUT
    ends["abnormal"] = ABNORMAL[findings.verdict]
    ends["acted"] = _ACTED[findings.closed_by]
    flags = rows["flags"]
    ends["reset_in"] = ((flags & F_RST_IN) != 0) | (rows["end"] == End.RST)
    late = rows["end"] == End.LATE_DATA
    ends["reset_out"] = ((flags & (F_RST_OUT | F_RST_REPLY)) != 0) | late
    closed = rows["at"][:, AT_CLOSED].astype(np.int64)
    sent = _first(rows, State.FIN_WAIT1, State.LAST_ACK)
    got = _first(rows, State.CLOSE_WAIT, State.CLOSING, State.TIME_WAIT)
    sent = np.where((sent < 0) & ends["reset_out"] & ~late, closed, sent)
    got = np.where((got < 0) & ends["reset_in"] & ~ends["reset_out"], closed, got)
    for name, times in (
        ("up", fields.time_in(rows, State.ESTABLISHED)),
        ("sent", sent),
        ("got", got),
    ):
        ends[name] = np.where(times > 0, part.clock.to_wall_ns(times), 0)
    return ends


def _first(rows: NDArray[Any], *states: State) -> NDArray[np.int64]:
    """When the first of these states that was entered was; -1 none."""
    times = np.full(len(rows), -1, np.int64)
    for state in states:
        times = np.where(times < 0, fields.time_in(rows, state), times)
    return times
