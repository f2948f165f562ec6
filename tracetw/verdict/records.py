# SPDX-License-Identifier: Apache-2.0
"""What the facts of ``facts`` are read from: columns of a few thousand records.

Every column is worked out once, when the first fact asks for it, and its values lie side by side.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import FIN_ON_ITS_WAY, Rows, State, depth, zero_nibbles
from tracetw.event.record import (
    F_DONE,
    F_MISSED,
    F_RST_REASON,
    F_SEGMENT_TIME,
    F_TW,
    F_TW_FIN_WAIT2,
    MP_CONNECTION,
    MP_NO_SUBFLOW,
    Layer,
)

# As plain numbers: to compare an array with a member of an enum takes five times as long.
_FW2_TW = State.FIN_WAIT2 << 4 | State.TIME_WAIT
_SYN_SENT, _FIN_WAIT1, _LAST_ACK = map(int, (State.SYN_SENT, State.FIN_WAIT1, State.LAST_ACK))
_MPTCP = int(Layer.MPTCP)
# Every nibble of a path; where one of them was, the difference has a zero.
_ALL_FIN_WAIT1, _ALL_LAST_ACK = (np.uint32(s * 0x11111111) for s in (_FIN_WAIT1, _LAST_ACK))


class Kind(IntEnum):
    """What a record is about."""

    TCP = 0
    CONNECTION = 1  # of MPTCP
    NO_SUBFLOW = 2  # a connection of MPTCP that no subflow was left of
    SUBFLOW = 3


def _signed(difference: NDArray[np.uint32]) -> NDArray[np.int32]:
    """Of sequence numbers, which wrap."""
    return difference.view(np.int32)


def application_error(rows: Rows | Records) -> NDArray[np.uint8]:
    """``sk_err``; in SYN_SENT, where that is 0, the ICMP error that SO_ERROR returns (``sk_err_soft``)."""
    error: NDArray[np.uint8] = rows["err"].copy()
    opening = np.flatnonzero(rows["old_state"] == _SYN_SENT)
    if len(opening):
        told = opening[error[opening] == 0]
        error[told] = rows["err_soft"][told]
    return error


class Records:
    """Columns of some records.

    Args:
        rows: dtype ``record.CLOSE``; a few thousand, so that the columns stay in the processor's cache.
        gone: whether the network namespace of each is known to be gone; None unknown.
    """

    def __init__(self, rows: Rows, gone: NDArray[np.bool_] | None) -> None:
        self.rows = rows
        self.gone = np.zeros(len(rows), np.bool_) if gone is None else gone
        self._columns: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A field as a copy whose values lie side by side: to compare strided values takes several times as long."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = np.ascontiguousarray(self.rows[name])
        return column

    @cached_property
    def _flags_of_any(self) -> int:
        return int(np.bitwise_or.reduce(self["flags"]))

    def flag(self, flag: int) -> NDArray[np.bool_]:
        """Whether a flag of the record is set."""
        # Many are set nowhere: then one look at all of them is enough.
        if not self._flags_of_any & flag:
            return np.zeros(len(self.rows), np.bool_)
        holds: NDArray[np.bool_] = (self["flags"] & np.uint32(flag)) != 0
        return holds

    @cached_property
    def error(self) -> NDArray[np.uint8]:
        """What the application got, an errno."""
        return application_error(self)

    @property
    def end(self) -> NDArray[np.uint8]:
        """``enum end``."""
        return self["end"]

    @cached_property
    def reason(self) -> NDArray[np.uint8]:
        """``enum sk_rst_reason`` of this kernel; 0, SK_RST_REASON_NOT_SPECIFIED, also where it gave none."""
        reason: NDArray[np.uint8] = self["reset_reason"] * self.flag(F_RST_REASON)
        return reason

    @cached_property
    def state(self) -> NDArray[np.uint8]:
        """States that CLOSE was entered from; where the program missed that event, from the path."""
        states = self["old_state"]
        if self._flags_of_any & F_MISSED:
            missed = np.flatnonzero(self.flag(F_MISSED))
            path = self["path"][missed]
            newest = path & 15
            final = (newest == State.CLOSE) | (newest == State.TIME_WAIT)
            known = states[missed]
            guess = np.where(final, path >> 4 & 15, newest)
            states = states.copy()
            states[missed] = np.where((known == 0) | (known == State.CLOSE), guess, known)
        return states

    @cached_property
    def kind(self) -> NDArray[np.uint8]:
        """Values of :class:`Kind`."""
        kinds = np.zeros(len(self.rows), np.uint8)
        mptcp = np.flatnonzero(self.rows["layer"] == _MPTCP)
        if len(mptcp):
            flags = self.rows["mptcp_flags"][mptcp]
            whole = np.where(flags & MP_NO_SUBFLOW, Kind.NO_SUBFLOW, Kind.CONNECTION)
            kinds[mptcp] = np.where(flags & MP_CONNECTION, whole, Kind.SUBFLOW)
        return kinds

    @cached_property
    def ahead(self) -> NDArray[np.int32]:
        """Sequence numbers sent and not acknowledged."""
        return _signed(self["snd_nxt"] - self["snd_una"])

    @cached_property
    def queued(self) -> NDArray[np.int32]:
        """Sequence numbers not sent yet."""
        return _signed(self["write_seq"] - self["snd_nxt"])

    @cached_property
    def unread(self) -> NDArray[np.bool_]:
        """Whether more came than was read, the FIN apart."""
        return np.asarray(_signed(self["rcv_nxt"] - self["copied_seq"]) > self.flag(F_DONE))

    @cached_property
    def unacked_data(self) -> NDArray[np.bool_]:
        """Whether data was sent and not acknowledged, the FIN apart."""
        # With a FIN on its way and nothing unsent one of the sequence numbers is no data.
        return np.asarray(self.ahead > (FIN_ON_ITS_WAY.take(self.state) & (self.queued == 0)))

    @cached_property
    def close_seen(self) -> NDArray[np.bool_]:
        """Whether FIN_WAIT1 or LAST_ACK is in the path: only close() and shutdown() lead there."""
        path = self["path"]
        seen = zero_nibbles(path ^ _ALL_FIN_WAIT1) | zero_nibbles(path ^ _ALL_LAST_ACK)
        return np.asarray(seen != 0)

    @cached_property
    def segments(self) -> NDArray[np.uint8]:
        """How many segments made FIN_WAIT2 and the TIME_WAIT directly after it: 1 or 2; 0 unknown, or no such path.

        The times are those of the segments (``packet_time`` in bpf/sock.h): equal to the ns for one segment
        with ACK and FIN.
        """
        flags, path = self["flags"], self["path"]
        segments = np.zeros(len(flags), np.uint8)
        if not self._flags_of_any & F_TW:
            return segments
        direct = (flags & np.uint32(F_TW | F_TW_FIN_WAIT2)) == F_TW
        which = np.flatnonzero(direct & ((path & np.uint32(255)) == _FW2_TW))
        if len(which):
            last = depth(path[which]) - 1
            at = self.rows["at"]
            closed, acked = at[which, last], at[which, last - 1]
            known = ((flags[which] & np.uint32(F_SEGMENT_TIME)) != 0) & (closed >= acked)
            known &= acked != 0
            segments[which] = known * (np.uint8(1) + (closed != acked))
        return segments
