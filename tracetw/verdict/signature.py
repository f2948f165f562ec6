# SPDX-License-Identifier: Apache-2.0
"""The signature of a record: all that decides its verdict, in a word of 64 bits.

A verdict depends on flags, states, the class of an error and on whether numbers are zero, never on
the numbers themselves. So ``signatures`` reduces each record to a word first, a dozen comparisons a batch,
and the rules judge words. A busy host has a few dozen of them.

Layout, lowest bit first: the flags of the record that matter (30 bits), ``_BITS`` (18), state that
CLOSE was entered from (4), ``enum end`` (4), error class (3), class of the kernel's reset reason (3).
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import record
from tracetw.event.fields import Rows, State, depth
from tracetw.event.names import KernelNames
from tracetw.event.record import (
    F_CLOSE_CALLED,
    F_DONE,
    F_KTHREAD,
    F_MISSED,
    F_RST_REASON,
    F_SEGMENT_TIME,
    F_TW,
    F_TW_FIN_WAIT2,
    F_TW_REFUSED,
    MP_CONNECTION,
    MP_NO_SUBFLOW,
    MP_WENT_ON,
    Layer,
    Owner,
)

__all__ = [
    "Error",
    "Gap",
    "Kind",
    "Reason",
    "Signatures",
    "application_error",
    "signatures",
]


class Error(IntEnum):
    """Classes of ``sk_err``."""

    NONE = 0
    RESET = 1
    PIPE = 2
    TIMEOUT = 3
    ABORTED = 4
    REFUSED = 5
    UNREACHABLE = 6
    OTHER = 7


class Reason(IntEnum):
    """Classes of ``enum sk_rst_reason``; NONE also when the kernel gave none."""

    NONE = 0
    CLOSE = 1
    LINGER = 2
    MEMORY = 3
    KEEPALIVE = 4
    DATA = 5
    STATE = 6
    DISCONNECT = 7


class Gap(IntEnum):
    """What made FIN_WAIT2, and a TIME_WAIT directly after it."""

    UNKNOWN = 0
    SAME_SEGMENT = 1
    OTHER_SEGMENT = 2


class Kind(IntEnum):
    """What a record is about."""

    TCP = 0
    CONNECTION = 1  # of MPTCP
    SUBFLOW = 2  # its connection was ending, or that is not known
    LONE_SUBFLOW = 3  # its connection went on


_REASONS = {
    "TCP_ABORT_ON_CLOSE": Reason.CLOSE,
    "TCP_ABORT_ON_LINGER": Reason.LINGER,
    "TCP_ABORT_ON_MEMORY": Reason.MEMORY,
    "TCP_KEEPALIVE_TIMEOUT": Reason.KEEPALIVE,
    "TCP_ABORT_ON_DATA": Reason.DATA,
    "TCP_STATE": Reason.STATE,
    "TCP_DISCONNECT_WITH_DATA": Reason.DISCONNECT,
}

_ERRORS = np.full(256, Error.OTHER, np.uint64)
_ERRORS[0] = Error.NONE
_ERRORS[errno.ECONNRESET] = Error.RESET
_ERRORS[errno.EPIPE] = Error.PIPE
_ERRORS[errno.ETIMEDOUT] = Error.TIMEOUT
_ERRORS[errno.ECONNABORTED] = Error.ABORTED
_ERRORS[errno.ECONNREFUSED] = Error.REFUSED
# What ICMP and ICMPv6 errors become (icmp_err_convert, tab_unreach), but ECONNREFUSED.
for _number in (
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.EHOSTDOWN,
    errno.ENONET,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
    errno.EACCES,
    errno.EPROTO,
):
    _ERRORS[_number] = Error.UNREACHABLE

_CLOSING = np.zeros(256, np.uint8)
_CLOSING[[State.FIN_WAIT1, State.CLOSING, State.LAST_ACK]] = 1

# Flags that no rule reads: without them there are fewer different words.
_UNREAD_FLAGS = (
    record.F_BORN
    | record.F_RST_REASON
    | record.F_SYSCTL
    | record.F_CLOSE_CALLED
    | record.F_CLOSED
    | record.F_ADDR
)
_FLAGS = np.uint32(((1 << 30) - 1) & ~_UNREAD_FLAGS)
# In the places of flags that no rule reads: Kind (2 bits), and that no subflow was left.
_KIND_AT, _NO_SUBFLOW_AT = np.uint64(25), np.uint64(28)

_BITS = (
    "unread",
    "unacked",
    "unacked-data",
    "unsent",
    "window-zero",
    "probes",
    "retransmitted",
    "user-timeout",
    "linger2-negative",
    "shut-by-close",
    "gap-0",
    "gap-1",
    "time-wait-refused",
    "signalled",
    "soft",
    "no-port",
    "netns-gone",
    "close-seen",
)
_BIT = {name: at for at, name in enumerate(_BITS)}
_GAP = ("gap-0", "gap-1")
"""Bits of :class:`Gap`, lowest first."""
_BITS_AT, _STATE_AT, _END_AT, _ERROR_AT, _REASON_AT = (
    np.uint64(shift) for shift in (30, 48, 52, 56, 59)
)

# Without SHUT_FILE_HELD: close() did it, or nothing shows who did (some states, sockets of the kernel's own).
_SHUT_BY_CLOSE = record.SHUT_RECEIVE | record.SHUT_SEND
# Rows whose columns and comparisons stay in the processor's cache.
_AT_ONCE = 4096
_FW2_TW = State.FIN_WAIT2 << 4 | State.TIME_WAIT

_reasons: tuple[KernelNames, NDArray[np.uint64]] | None = None


def _reason_classes(names: KernelNames) -> NDArray[np.uint64]:
    """Class of each reset reason of this kernel, already in place for the word."""
    global _reasons  # noqa: PLW0603 - one kernel a process, but for tests
    if _reasons is None or _reasons[0] is not names:
        table = np.zeros(256, np.uint64)
        for number, name in names.reset_reasons.items():
            table[number & 255] = _REASONS.get(name, Reason.NONE)
        _reasons = names, table << _REASON_AT
    return _reasons[1]


def _column(rows: Rows, name: str) -> NDArray[Any]:
    """A copy whose values lie side by side: comparisons of strided values take several times as long."""
    column: NDArray[Any] = np.ascontiguousarray(rows[name])
    return column


def _states(rows: Rows, flags: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """States that CLOSE was entered from; where the program missed that event, from the path."""
    states: NDArray[np.uint8] = _column(rows, "old_state")
    missed = np.flatnonzero((flags & F_MISSED) != 0)
    if len(missed):
        path = rows["path"][missed]
        newest = path & 15
        final = (newest == State.CLOSE) | (newest == State.TIME_WAIT)
        known = states[missed]
        guess = np.where(final, path >> 4 & 15, newest)
        states = states.copy()
        states[missed] = np.where((known == 0) | (known == State.CLOSE), guess, known)
    return states


def _fin_wait2_gap(
    rows: Rows, path: NDArray[np.uint32], flags: NDArray[np.uint32], which: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """``gap`` of some rows: did one segment make FIN_WAIT2 and the TIME_WAIT directly after it?

    The times are those of the segments (``packet_time`` in bpf/sock.h): equal to the ns for one segment
    with ACK and FIN.
    """
    last = depth(path[which]) - 1
    at = rows["at"]
    closed, acked = at[which, last], at[which, last - 1]
    gap: NDArray[np.uint8] = np.where(
        closed == acked, np.uint8(Gap.SAME_SEGMENT), np.uint8(Gap.OTHER_SEGMENT)
    )
    unknown = (flags[which] & F_SEGMENT_TIME) == 0
    unknown |= closed < acked
    unknown |= acked == 0
    gap[unknown] = Gap.UNKNOWN
    return gap


def _close_seen(path: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether FIN_WAIT1 or LAST_ACK is in the path: only close() and shutdown() lead there."""
    seen = np.zeros(len(path), np.bool_)
    for state in (State.FIN_WAIT1, State.LAST_ACK):
        # A nibble is zero where the state was; the classic test for a zero in a word.
        zero = path ^ np.uint32(state * 0x11111111)
        seen |= ((zero - np.uint32(0x11111111)) & ~zero & np.uint32(0x88888888)) != 0
    return seen


def _kinds(flags: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """``Kind`` of records of MPTCP, in place for the word."""
    kinds = np.where(flags & MP_WENT_ON, Kind.LONE_SUBFLOW, Kind.SUBFLOW)
    kinds = np.where(flags & MP_CONNECTION, Kind.CONNECTION, kinds).astype(np.uint64)
    lost = ((flags & MP_NO_SUBFLOW) != 0).astype(np.uint64)
    words: NDArray[np.uint64] = kinds << _KIND_AT | lost << _NO_SUBFLOW_AT
    return words


def application_error(rows: Rows) -> NDArray[np.uint8]:
    """``sk_err``; while connecting, where that has none, the ICMP error that the application was told of."""
    told = (rows["err"] == 0) & (rows["old_state"] == State.SYN_SENT)
    return np.where(told, rows["err_soft"], rows["err"])


def signatures(
    rows: Rows, names: KernelNames, gone: NDArray[np.bool_] | None
) -> NDArray[np.uint64]:
    """One word for each record; ``gone``: its network namespace is known to be gone."""
    words = np.empty(len(rows), np.uint64)
    for first in range(0, len(rows), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        words[part] = _words(rows[part], names, None if gone is None else gone[part])
    return words


def _words(rows: Rows, names: KernelNames, gone: NDArray[np.bool_] | None) -> NDArray[np.uint64]:
    """Of rows that stay in the processor's cache."""
    flags = _column(rows, "flags")
    path = _column(rows, "path")
    bits = np.zeros((len(_BITS), len(rows)), np.uint8)

    def bit(name: str) -> NDArray[np.uint8]:
        row: NDArray[np.uint8] = bits[_BIT[name]]
        return row

    states = _states(rows, flags)

    # Sequence numbers wrap: differences are signed 32-bit.
    nxt = _column(rows, "snd_nxt")
    ahead = (nxt - _column(rows, "snd_una")).view(np.int32)
    queued = (_column(rows, "write_seq") - nxt).view(np.int32)
    unread = (_column(rows, "rcv_nxt") - _column(rows, "copied_seq")).view(np.int32)
    fin = ((flags & F_DONE) != 0).view(np.uint8)
    np.greater(unread, fin, out=bit("unread"), casting="unsafe")
    np.greater(ahead, 0, out=bit("unacked"), casting="unsafe")
    # With a FIN on its way (FIN_WAIT1, CLOSING, LAST_ACK and nothing unsent) one of them is no data.
    closing = (_CLOSING[states] != 0) & (queued == 0)
    np.greater(ahead, closing, out=bit("unacked-data"), casting="unsafe")
    np.greater(queued, 0, out=bit("unsent"), casting="unsafe")
    np.equal(rows["snd_wnd"], 0, out=bit("window-zero"), casting="unsafe")
    np.not_equal(rows["probes_out"], 0, out=bit("probes"), casting="unsafe")
    np.not_equal(rows["retransmits"], 0, out=bit("retransmitted"), casting="unsafe")
    np.not_equal(rows["user_timeout"], 0, out=bit("user-timeout"), casting="unsafe")
    np.less(rows["linger2"], 0, out=bit("linger2-negative"), casting="unsafe")
    shut = rows["shutdown"] & ~np.uint8(record.SHUT_READ_FINAL)
    np.equal(shut, _SHUT_BY_CLOSE, out=bit("shut-by-close"), casting="unsafe")
    np.not_equal(rows["exit_code"] & np.uint32(127), 0, out=bit("signalled"), casting="unsafe")
    error = _column(rows, "err")
    np.logical_and(error == rows["err_soft"], error, out=bit("soft"), casting="unsafe")
    np.equal(rows["lport"], 0, out=bit("no-port"), casting="unsafe")
    if gone is not None:
        bit("netns-gone")[:] = gone
    bit("close-seen")[:] = _close_seen(path) | ((flags & F_CLOSE_CALLED) != 0)
    bit("time-wait-refused")[:] = (flags & F_TW_REFUSED) != 0
    direct = np.flatnonzero(
        ((flags & (F_TW | F_TW_FIN_WAIT2)) == F_TW) & (path & np.uint32(255) == _FW2_TW)
    )
    if len(direct):
        gap = _fin_wait2_gap(rows, path, flags, direct)
        for at, name in enumerate(_GAP):
            bit(name)[direct] = gap >> at & 1

    # A kernel thread may close what its owner has shut down: then the owner is who closed.
    known = np.where(rows["owner_from"] == Owner.CLOSE, _FLAGS & ~np.uint32(F_KTHREAD), _FLAGS)
    words: NDArray[np.uint64] = (flags & known).astype(np.uint64)
    words |= _packed(bits) << _BITS_AT
    words |= states.astype(np.uint64) << _STATE_AT
    words |= rows["end"].astype(np.uint64) << _END_AT
    words |= _ERRORS[application_error(rows)] << _ERROR_AT
    mptcp = np.flatnonzero(rows["layer"] == Layer.MPTCP)
    if len(mptcp):
        words[mptcp] |= _kinds(rows["mptcp_flags"][mptcp])
    reasons = _reason_classes(names)[rows["reset_reason"]]
    words |= np.where((flags & F_RST_REASON) != 0, reasons, np.uint64(0))
    return words


def _packed(bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The rows of a matrix of 0 and 1 as the bits of numbers, the first one lowest."""
    words = np.zeros(bits.shape[1], np.uint64)
    for first in range(0, len(bits), 8):
        # Doubling: shifts take ten times as long.
        byte = np.zeros(bits.shape[1], np.uint8)
        for bit in bits[first : first + 8][::-1]:
            np.add(byte, byte, out=byte)
            np.bitwise_or(byte, bit, out=byte)
        words |= byte.astype(np.uint64) << np.uint64(first)
    return words


class Signatures:
    """Signatures, decoded: one boolean column for each question."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self.words = words
        self.state = words >> _STATE_AT & np.uint64(15)
        self.end = words >> _END_AT & np.uint64(15)
        self.error = words >> _ERROR_AT & np.uint64(7)
        self.reason = words >> _REASON_AT & np.uint64(7)
        self.kind = words >> _KIND_AT & np.uint64(3)
        self.no_subflow = (words >> _NO_SUBFLOW_AT & np.uint64(1)) != 0

    def flag(self, flag: int) -> NDArray[np.bool_]:
        """Whether a flag of the record is set. KeyError for one that is not in the word."""
        if not flag & int(_FLAGS):
            raise KeyError(flag)
        holds: NDArray[np.bool_] = (self.words & np.uint64(flag)) != 0
        return holds

    @property
    def gap(self) -> NDArray[np.uint8]:
        """Values of :class:`Gap`."""
        gap = np.zeros(len(self.words), np.uint8)
        for at, name in enumerate(_GAP):
            gap |= self.bit(name).astype(np.uint8) << at
        return gap

    def bit(self, name: str) -> NDArray[np.bool_]:
        """Whether a comparison of ``_BITS`` held."""
        holds: NDArray[np.bool_] = (
            self.words >> _BITS_AT >> np.uint64(_BIT[name]) & np.uint64(1)
        ) != 0
        return holds
