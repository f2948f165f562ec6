# SPDX-License-Identifier: Apache-2.0
"""Conditions of the hints that one record shows: see ``hints``. Those of several records are in ``habits``.

Only a few rows of a batch can have any: they are chosen first, by verdict or by how long they were quiet, and no more
than their fields are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields, measures
from tracetw.event.fields import Rows, State
from tracetw.event.names import KernelNames
from tracetw.event.record import (
    F_BORN,
    F_CLIENT,
    F_DEAD,
    F_DONE,
    F_RST_ACK,
    F_RST_ACK_KNOWN,
    F_SERVER,
    F_SOCKET,
    F_TS_OK,
    F_TS_SEEN,
    SINCE_UNKNOWN,
    T_FULL_LOST,
    T_PART_LOST,
    T_SACKED,
    T_URGENT,
)
from tracetw.verdict.findings import Findings
from tracetw.verdict.hints import HINT_BIT
from tracetw.verdict.taxonomy import FIRST_CLOSE, FORMS, VERDICT_INDEX, VERDICTS

__all__ = [
    "LOCAL",
    "QUIET_MS",
    "REMOTE",
    "RST_RECEIVED",
    "Some",
    "hinted",
    "quiet",
    "quiet_for",
    "silent_for",
]

QUIET_MS = 500
"""A pause in which an application waits, and no longer one between two segments."""
_JUST_NOW_MS = 1000
_CLOSE_NOTIFY = (24, 31)
"""TLS 1.3: 5 bytes of header, 2 of alert, 1 of type, 16 of tag; TLS 1.2 has 8 of nonce instead of the type."""

LOCAL, REMOTE = FIRST_CLOSE.index("local"), FIRST_CLOSE.index("remote")
RST_RECEIVED = FORMS.index("rst-received")
_ABNORMAL = np.array([verdict.abnormal for verdict in VERDICTS])
_UNREAD, _LATE = VERDICT_INDEX["abort-unread"], VERDICT_INDEX["abort-late-data"]

Holds = NDArray[np.bool_]


@dataclass(frozen=True)
class Some:
    """Some rows of a batch; each property is computed once, on demand."""

    rows: Rows
    findings: Findings
    names: KernelNames
    which: NDArray[np.intp]

    def of(self, chosen: Holds) -> Some:
        """Some of these."""
        return Some(self.rows, self.findings, self.names, self.which[chosen])

    @cached_property
    def here(self) -> Rows:
        """The rows themselves, copied."""
        return self.rows[self.which]

    @cached_property
    def flags(self) -> NDArray[np.uint32]:
        """``F_``."""
        flags: NDArray[np.uint32] = self.rows["flags"][self.which]
        return flags

    @cached_property
    def sent_ms(self) -> NDArray[np.int64]:
        """Since data was last sent; -1 unknown."""
        return measures.since_sent_ms(self.here, self.names)

    @cached_property
    def received_ms(self) -> NDArray[np.int64]:
        """Since data was last received; -1 unknown."""
        return measures.since_received_ms(self.here, self.names)

    @cached_property
    def first(self) -> NDArray[np.uint8]:
        """Index in ``FIRST_CLOSE``."""
        return self.findings.first_close[self.which]

    @cached_property
    def reset(self) -> Holds:
        """A RST of the peer ended it."""
        result: Holds = self.findings.form[self.which] == RST_RECEIVED
        return result

    @cached_property
    def bare(self) -> Holds:
        """... which answers a segment without a connection, as far as was seen."""
        flags = self.flags
        seen = (flags & F_RST_ACK_KNOWN) != 0
        timed = (flags & (F_TS_OK | F_TS_SEEN)) == F_TS_OK
        result: Holds = self.reset & np.where(seen, (flags & F_RST_ACK) == 0, timed)
        return result


def hinted(rows: Rows, findings: Findings, names: KernelNames) -> NDArray[np.uint32]:
    """Bits over ``HINTS`` for each row, of what the row itself shows."""
    hints = np.zeros(len(rows), np.uint32)
    count = np.bincount(findings.verdict, minlength=len(VERDICTS))

    def some(which: NDArray[np.intp]) -> Some:
        return Some(rows, findings, names, which)

    def mark(code: str, some: Some, holds: Callable[[Some], Holds]) -> None:
        if len(some.which):
            hints[some.which[holds(some)]] |= np.uint32(HINT_BIT[code])

    if count[_UNREAD]:
        unread = some(np.flatnonzero(findings.verdict == _UNREAD))
        mark("after-peer-fin", unread, _after_peer_fin)
        mark("answer-unread-at-the-peer", unread, _answer_unread)
        mark("urgent-byte", unread, _urgent_byte)
    if count[_LATE]:
        late = some(np.flatnonzero(findings.verdict == _LATE))
        mark("keepalive-race", late, _met_our_close)
    mark("reset-before-accept", some(_unaccepted(rows)), _reset_before_accept)
    pause = some(quiet_for(rows, QUIET_MS, names))
    mark("keepalive-race", pause, _met_their_close)
    mark("waited-for-answer", pause, _waited)
    mark("stray-segment-reset", pause, _stray)
    lossy = np.flatnonzero(rows["total_retrans"])
    abnormal = some(lossy[_ABNORMAL[findings.verdict[lossy]]])
    mark("only-full-segments-lost", abnormal, _only_full)
    mark("nothing-ever-acknowledged", abnormal, _nothing_acknowledged)
    mark("connected-to-itself", some(np.flatnonzero(rows["lport"] == rows["rport"])), _itself)
    return hints


def _quiet(rows: Rows) -> NDArray[np.uint32]:
    """Jiffies without data either way before the first FIN, RST or time-out, or ``SINCE_UNKNOWN``."""
    jiffies: NDArray[np.uint32] = np.minimum(rows["since_sent"], rows["since_received"])
    return jiffies


def _longer(jiffies: NDArray[np.uint32], ms: int, names: KernelNames) -> Holds:
    """Which times are known and ``ms`` or longer."""
    # SINCE_UNKNOWN is the highest number, and the next one is 0.
    result: Holds = jiffies + np.uint32(1) > np.uint32(-(-ms * names.hz // 1000))
    return result


def quiet(rows: Rows, names: KernelNames) -> NDArray[np.int64]:
    """Milliseconds without data either way before the first FIN, RST or time-out; -1 unknown."""
    jiffies = _quiet(rows)
    return np.where(jiffies == SINCE_UNKNOWN, -1, fields.jiffies_to_ms(jiffies, names))


def quiet_for(rows: Rows, ms: int, names: KernelNames) -> NDArray[np.intp]:
    """Rows of which :func:`quiet` is ``ms`` or more."""
    return np.flatnonzero(_longer(_quiet(rows), ms, names))


def silent_for(rows: Rows, ms: int, names: KernelNames) -> NDArray[np.intp]:
    """Rows whose peer sent no data for ``ms`` or more."""
    return np.flatnonzero(_longer(rows["since_received"], ms, names))


def _after_peer_fin(some: Some) -> Holds:
    unread = fields.bytes_unread(some.here)
    least, most = _CLOSE_NOTIFY
    result: Holds = ((some.flags & F_DONE) != 0) & (unread >= least) & (unread <= most)
    return result


def _answer_unread(some: Some) -> Holds:
    just_now = (some.sent_ms >= 0) & (some.sent_ms <= _JUST_NOW_MS)
    result: Holds = just_now & ((some.flags & F_DONE) == 0) & (fields.bytes_sent(some.here) > 0)
    return result


def _urgent_byte(some: Some) -> Holds:
    urgent = (some.here["traits"] & T_URGENT) != 0
    result: Holds = urgent & (fields.bytes_unread(some.here) == 1)
    return result


def _unaccepted(rows: Rows) -> NDArray[np.intp]:
    return np.flatnonzero((rows["flags"] & (F_SERVER | F_SOCKET | F_DEAD)) == F_SERVER)


def _reset_before_accept(some: Some) -> Holds:
    state = some.rows["old_state"][some.which]
    result: Holds = some.reset & ((state == State.ESTABLISHED) | (state == State.CLOSE_WAIT))
    return result


def _met_our_close(some: Some) -> Holds:
    """The last data was our answer, and that was a while ago. What a client sends last is a question."""
    answered = (some.received_ms >= some.sent_ms) & (some.sent_ms >= QUIET_MS)
    result: Holds = answered & (some.first == LOCAL) & ((some.flags & F_SERVER) != 0)
    return result


def _met_their_close(some: Some) -> Holds:
    """The last data was the peer's answer; what was sent after its FIN met no reader."""
    answered = (some.sent_ms >= some.received_ms) & (some.received_ms >= QUIET_MS)
    closed = (some.flags & (F_DONE | F_CLIENT)) == (F_DONE | F_CLIENT)
    result: Holds = answered & closed & some.reset & (fields.bytes_unacked(some.here) > 0)
    return result


def _waited(some: Some) -> Holds:
    rows, sent, received = some.here, some.sent_ms, some.received_ms
    last = (sent >= 0) & ((received < 0) | (received > sent)) & (fields.bytes_sent(rows) > 0)
    delivered = (fields.bytes_unacked(rows) == 0) & (fields.unsent(rows) <= 0)
    result: Holds = last & delivered & (some.first == LOCAL) & ((some.flags & F_CLIENT) != 0)
    return result


def _stray(some: Some) -> Holds:
    rows = some.here
    nothing = (fields.outstanding(rows) == 0) & (rows["probes_out"] == 0)
    result: Holds = some.bare & nothing & (rows["old_state"] == State.ESTABLISHED)
    return result


def _only_full(some: Some) -> Holds:
    rows = some.here
    traits, acked, mss = rows["traits"], measures.bytes_acked(rows), measures.mss(rows)
    unacked = fields.bytes_unacked(rows)
    # What is behind the full ones was acknowledged (SACK), or what was before them and nothing smaller was lost.
    tail = ((traits & T_SACKED) != 0) & (unacked % np.maximum(mss, 1) != 0)
    # That no smaller one was lost is known of those that were followed from their beginning.
    before = ((traits & T_PART_LOST) == 0) & (acked > 0) & ((some.flags & F_BORN) != 0)
    none = (acked >= 0) & (acked < mss) & (unacked >= mss)
    again = ((traits & T_FULL_LOST) != 0) & (rows["total_retrans"] > 1)
    result: Holds = again & none & (tail | before)
    return result


def _nothing_acknowledged(some: Some) -> Holds:
    """Not of a server: whoever completed a handshake that it answered had the connection."""
    rows = some.here
    connected = (rows["old_state"] != State.SYN_SENT) & (rows["old_state"] != State.SYN_RECV)
    nothing = (measures.bytes_acked(rows) == 0) & (_received(rows) == 0)
    sent = (fields.bytes_sent(rows) > 0) & (fields.bytes_unacked(rows) > 0)
    result: Holds = connected & nothing & sent & ((some.flags & F_SERVER) == 0)
    return result


def _received(rows: Rows) -> NDArray[np.int64]:
    fin = (rows["flags"] & F_DONE) != 0
    result: NDArray[np.int64] = rows["bytes_received"].astype(np.int64) - fin
    return result


def _itself(some: Some) -> Holds:
    rows = some.here
    result: Holds = (rows["laddr"] == rows["raddr"]).all(axis=1) & (rows["lport"] != 0)
    return result
