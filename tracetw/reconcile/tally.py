# SPDX-License-Identifier: Apache-2.0
"""What the kernel must have counted, if what tracetw says of every connection is right.

The first half of the reconciliation: records and findings in, expected counters out. Where each
counter is bumped (``net/ipv4/``):

============================  ====================================================================
TCPAbortOnData                ``__tcp_close``: SO_LINGER 0, in any state but CLOSE.
                              ``tcp_rcv_state_process``: data for a socket that was closed; the ACK
                              of the FIN with TCP_LINGER2 < 0
TCPAbortOnClose               ``__tcp_close``: data unread
TCPAbortOnLinger              ``__tcp_close``: in FIN_WAIT2 with TCP_LINGER2 < 0
TCPAbortOnMemory              ``__tcp_close``, ``tcp_out_of_resources``
TCPAbortOnTimeout             ``tcp_write_err``: every retransmission, probe and keepalive limit, of
                              connection attempts too
EstabResets                   ``tcp_set_state``: ESTABLISHED or CLOSE_WAIT to CLOSE, whatever for
TW, TWKilled                  ``__inet_twsk_schedule``: a timewait socket is made (since 6.0; before,
                              ``tw_timer_handler``: it ends by its timer); TWKilled when it is to
                              live 4 s or less, as a FIN_WAIT2 one may
TCPTimeWaitOverflow           ``tcp_time_wait``: the kernel refused the timewait socket
OutRsts                       ``tcp_send_active_reset``, ``tcp_v4_send_reset``, ``tcp_v6_send_...``
TWRecycled                    ``__inet_check_established``: connect() took a TIME_WAIT over
PAWSEstab, PAWSTimewait       ``tcp_validate_incoming``, ``tcp_timewait_state_process``
PAWSActive                    ``tcp_rcv_synsent_state_process``
TCPSYNChallenge               ``tcp_validate_incoming``: a SYN on a live connection
TCPChallengeACK               ``tcp_send_challenge_ack``: after the rate limits
ListenOverflows, ListenDrops   ``tcp_conn_request``: a SYN met a full accept queue;
                              ``tcp_v4_syn_recv_sock``: the ACK of the handshake did. ListenDrops counts
                              what listeners drop for another reason, too
TCPReqQFullDrop                ``tcp_syn_flood_action``: too many requests, and no SYN cookies
SyncookiesSent                 ``cookie_init_sequence``
EmbryonicRsts                  ``tcp_check_req``: a segment ended a request
TCPMD5NotFound, ...           ``tcp_inbound_md5_hash``: a signature missing, unexpected, wrong
============================  ====================================================================

A reset that only a timewait socket sent or received, a disconnect, an administrator and a namespace's
end have no counter of their own (OutRsts and EstabResets aside).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields, record
from tracetw.event.fields import State
from tracetw.event.record import Drop, End, EventKind, Layer, Stat, Timewait
from tracetw.verdict.taxonomy import TIME_WAIT, VERDICT_INDEX, verdict_numbers

if TYPE_CHECKING:
    from tracetw.event.names import KernelNames
    from tracetw.verdict.findings import Findings

__all__ = ["HOST", "UNCLEAR", "Explained", "Tally"]

Explained = dict[int, dict[str, int]]
"""Namespace inode (or :data:`HOST`) to counter to expected value. No entry means 0."""

HOST = 0
"""Key of what is only known for the whole host: no namespace has inode 0."""

UNCLEAR = "undetermined"
"""Pseudo-counter: connections that may have bumped a counter, but have no verdict."""

_COUNTERS = (
    "TCPAbortOnData",
    "TCPAbortOnClose",
    "TCPAbortOnTimeout",
    "TCPAbortOnLinger",
    "TCPAbortOnMemory",
    "EstabResets",
    "TW",
    "TWKilled",
    "TCPTimeWaitOverflow",
    "MPFastcloseTx",
    "MPFastcloseRx",
    UNCLEAR,
)
_BIT = {name: 1 << position for position, name in enumerate(_COUNTERS)}
_CODES = 1 << len(_COUNTERS)
_BITS = (np.arange(_CODES)[:, None] >> np.arange(len(_COUNTERS)) & 1).astype(np.int64)

# Verdicts that always mean one counter ...
_ALWAYS = {
    "abort-unread": "TCPAbortOnClose",
    "abort-memory": "TCPAbortOnMemory",
    "retransmit-exhausted": "TCPAbortOnTimeout",
    "fin-exhausted": "TCPAbortOnTimeout",
    "user-timeout": "TCPAbortOnTimeout",
    "keepalive-expired": "TCPAbortOnTimeout",
    "window-probe-expired": "TCPAbortOnTimeout",
    "output-blocked": "TCPAbortOnTimeout",
    "undetermined": UNCLEAR,
}
# ... and those that need a look at the facts (_sometimes).
_SOMETIMES = (
    "abort-linger",
    "abort-late-data",
    "unreachable",
    "connect-timeout",
    "connect-aborted",
    "accept-aborted",
)

_TWKILLED_MAX_S = 4  # __inet_twsk_schedule
_TIMEWAIT_LEN_S = 60  # TCP_TIMEWAIT_LEN
_ETIMEDOUT = 110
_SHUT_BOTH = record.SHUT_RECEIVE | record.SHUT_SEND
_CONNECTING = (State.SYN_SENT, State.SYN_RECV)
# With a member of an enum a comparison takes five times as long.
_MPTCP, _LATE_DATA = int(Layer.MPTCP), int(End.LATE_DATA)

# Longer than any timewait socket lives in FIN_WAIT2.
_LONGEST_NS = 200_000_000_000
_NEVER = np.iinfo(np.int64).max

Stats: TypeAlias = Mapping[Stat, int]
_U16 = NDArray[np.uint16]
_Bool = NDArray[np.bool_]


class Tally:
    """Expected counters, added up batch by batch. Give it every record, before any filter.

    Attributes:
        since_ns, until_ns: monotonic times of the first snapshot of the kernel's counters (when it was
            complete) and of the last (when it began). What ended before or after is explained as
            well, and counted apart: see :meth:`edges`.
    """

    def __init__(self, names: KernelNames, since_ns: int = 0, until_ns: int = _NEVER) -> None:
        self.since_ns, self.until_ns = since_ns, until_ns
        self._hz = names.hz
        self._syn_drop = names.drop_reason("TCP_INVALID_SYN")
        self._signatures = {
            f"TCPMD5{what}": names.drop_reason(f"TCP_MD5{what.upper()}")
            for what in ("NotFound", "Unexpected", "Failure")
        }
        self._by_verdict = np.zeros(256, dtype=np.uint16)
        for code, counter in _ALWAYS.items():
            self._by_verdict[VERDICT_INDEX[code]] = _BIT[counter]
        self._look = fields.among(*verdict_numbers(*_SOMETIMES))
        self._by_state = np.zeros(256, dtype=np.uint16)
        self._by_state[[State.ESTABLISHED, State.CLOSE_WAIT]] = _BIT["EstabResets"]
        self._by_time_wait = np.zeros(256, dtype=np.uint16)
        self._by_time_wait[TIME_WAIT.index("skipped")] = _BIT["TCPTimeWaitOverflow"]
        self._closes: dict[int, NDArray[np.int64]] = {}
        self._edge_closes: dict[int, NDArray[np.int64]] = {}
        self._events: Explained = {}
        self._edge_events: Explained = {}

    def add(
        self, rows: NDArray[np.void], findings: Findings, end: NDArray[np.int64] | None = None
    ) -> None:
        """Counts a batch of close records and what was found of them.

        ``end``: of ``fields.end_ns``, where it is known already.
        """
        if len(rows) == 0:
            return
        masks = self._masks(rows, findings)
        netns = np.ascontiguousarray(rows["netns"])
        _count(self._closes, netns, masks)
        edge = self._edge(rows, fields.end_ns(rows) if end is None else end)
        if len(edge):
            _count(self._edge_closes, netns[edge], masks[edge])

    def _edge(self, rows: NDArray[np.void], counted: NDArray[np.int64]) -> NDArray[np.intp]:
        """Those that the kernel may have counted before or after the snapshots; ``counted``: when each ended."""
        first, last = counted.min(), counted.max()
        if first < self.since_ns + _LONGEST_NS or last > self.until_ns:
            # TW is counted when the timewait socket is made, with FIN_WAIT2.
            waited = rows["flags"] & record.F_TW_FIN_WAIT2 != 0
            if waited.any():
                counted = np.where(waited, fields.time_in(rows, State.FIN_WAIT2), counted)
                first, last = counted.min(), counted.max()
        if first >= self.since_ns and last <= self.until_ns:
            return np.zeros(0, np.intp)
        return np.flatnonzero((counted < self.since_ns) | (counted > self.until_ns))

    def add_events(self, events: NDArray[np.void]) -> None:
        """Counts a batch of single events (time-wait and drop events; others are passed over)."""
        self._add_events(self._events, events)
        edge = (events["at"] < self.since_ns) | (events["at"] > self.until_ns)
        if edge.any():
            self._add_events(self._edge_events, events[edge])

    def _add_events(self, counts: Explained, events: NDArray[np.void]) -> None:
        kind, code = events["kind"], events["code"]
        drop = kind == EventKind.DROP
        paws = drop & (code == Drop.PAWS)
        connecting = events["from"] == State.SYN_SENT
        challenge = drop & (code == Drop.CHALLENGE_ACK)
        overflow = drop & (code == Drop.ACCEPT_QUEUE_FULL)
        requests = drop & (code == Drop.REQUEST_QUEUE_FULL)
        recycled = (kind == EventKind.TIMEWAIT) & (code == Timewait.REUSED_BY_CONNECT)
        for counter, which in (
            ("TWRecycled", recycled),
            ("PAWSEstab", paws & ~connecting),
            ("PAWSActive", paws & connecting),
            ("PAWSTimewait", drop & (code == Drop.PAWS_TIMEWAIT)),
            ("TCPChallengeACK", challenge),
            ("TCPSYNChallenge", challenge & (events["reason"] == self._syn_drop)),
            ("ListenOverflows", overflow),
            ("ListenDrops", overflow | requests),
            ("TCPReqQFullDrop", requests),
            ("SyncookiesSent", drop & (code == Drop.SYN_COOKIE)),
            ("EmbryonicRsts", drop & (code == Drop.EMBRYONIC_RESET)),
            *(
                (counter, drop & (events["reason"] == reason))
                for counter, reason in self._signatures.items()
            ),
        ):
            inodes, numbers = np.unique(events["netns"][which], return_counts=True)
            for inode, count in zip(inodes.tolist(), numbers.tolist(), strict=True):
                values = counts.setdefault(inode, {})
                values[counter] = values.get(counter, 0) + count

    def result(self, stats: Stats) -> Explained:
        """What was counted so far; ``stats`` (the tracer's own, all CPUs summed) adds OutRsts.

        Resets are counted where they are sent, with or without a connection, so that they are
        known for the whole host only (:data:`HOST`). Another thread may add meanwhile.
        """
        return _result(self._closes, self._events, _resets(stats))

    def edges(self, attached: Stats, ended: Stats, stopped: Stats) -> Explained:
        """The part of :meth:`result` that the kernel may have counted before or after its snapshots.

        Args:
            attached: the tracer's counters after the first snapshot was complete.
            ended: before the last snapshot.
            stopped: after the hooks were detached.
        """
        resets = _resets(attached) + _resets(stopped) - _resets(ended)
        return _result(self._edge_closes, self._edge_events, resets)

    def _masks(self, rows: NDArray[np.void], findings: Findings) -> _U16:
        """One bit for each counter that the end of a connection must have bumped, shape (n,)."""
        verdict = findings.verdict
        flags = np.ascontiguousarray(rows["flags"])
        masks: _U16 = self._by_verdict.take(verdict)
        masks |= self._by_state.take(rows["old_state"])
        masks |= self._by_time_wait.take(findings.time_wait)
        of_any = np.bitwise_or.reduce(flags)
        if of_any & record.F_TW:
            masks |= (flags & record.F_TW != 0) * np.uint16(_BIT["TW"])
        if of_any & (record.F_MISSED | record.F_TW_FIN_WAIT2):
            masks[flags & record.F_MISSED != 0] |= _BIT[UNCLEAR]
            waiting = np.flatnonzero(flags & record.F_TW_FIN_WAIT2)
            short = waiting[self._short_lived(rows, waiting)]
            masks[short] ^= _BIT["TW"] | _BIT["TWKilled"]
        open_cases = np.flatnonzero(self._look.take(verdict))
        if len(open_cases):
            masks[open_cases] |= self._sometimes(rows, open_cases, verdict[open_cases])
        mptcp = np.flatnonzero(rows["layer"] == _MPTCP)
        if len(mptcp):
            masks[mptcp] = _of_mptcp(rows["mptcp_flags"][mptcp], flags[mptcp], masks[mptcp])
        return masks

    def _short_lived(self, rows: NDArray[np.void], which: NDArray[np.intp]) -> _Bool:
        """Timewait sockets in FIN_WAIT2 that were to live 4 s at most (``tcp_fin_time``).

        Without the sysctl's value it is taken for the default, 60 s.
        """
        hz = self._hz
        linger2 = rows["linger2"][which].astype(np.int64)
        sysctl = rows["fin_timeout"][which].astype(np.int64)
        known = rows["flags"][which] & record.F_SYSCTL != 0
        asked = np.where(linger2 > 0, linger2, np.where(known, sysctl, _TIMEWAIT_LEN_S * hz))
        rto = rows["rto"][which].astype(np.int64)
        least = (rto << 2) - (rto >> 1)
        time = np.maximum(asked, least)
        # What exceeds TCP_TIMEWAIT_LEN was waited for on the full socket.
        time = np.maximum(
            np.where(time > _TIMEWAIT_LEN_S * hz, time - _TIMEWAIT_LEN_S * hz, time), least
        )
        short: _Bool = time <= _TWKILLED_MAX_S * hz
        return short

    def _sometimes(
        self, rows: NDArray[np.void], which: NDArray[np.intp], verdict: NDArray[np.uint8]
    ) -> _U16:
        """The counters of verdicts that stand for several code paths, of the rows ``which``."""
        flags, err = rows["flags"][which], rows["err"][which]
        # close() in FIN_WAIT2 sends an active reset; the FIN's ACK is answered by a reply.
        in_close = flags & (record.F_LINGER0 | record.F_RST_OUT) == record.F_RST_OUT
        linger = verdict == VERDICT_INDEX["abort-linger"]
        late = verdict == VERDICT_INDEX["abort-late-data"]
        late &= rows["end"][which] != _LATE_DATA
        on_data = (linger & ~in_close) | late
        timeout = np.zeros(len(which), dtype=np.bool_)
        connecting = ~(linger | late)
        if connecting.any():
            # ICMP ends a connection attempt on the spot, without tcp_write_err.
            gave_up = (err == _ETIMEDOUT) | ((err != 0) & (err == rows["err_soft"][which]))
            live = ~np.isin(rows["old_state"][which], _CONNECTING)
            timeout = (gave_up | live) & (verdict == VERDICT_INDEX["unreachable"])
            for code in ("connect-timeout", "accept-aborted"):
                timeout |= gave_up & (verdict == VERDICT_INDEX[code])
            closed = flags & (record.F_LINGER0 | record.F_RST_IN) == record.F_LINGER0
            closed &= rows["shutdown"][which] & _SHUT_BOTH == _SHUT_BOTH
            on_data |= closed & (verdict == VERDICT_INDEX["connect-aborted"])
        masks: _U16 = on_data * np.uint16(_BIT["TCPAbortOnData"])
        masks |= (linger & in_close) * np.uint16(_BIT["TCPAbortOnLinger"])
        masks |= timeout * np.uint16(_BIT["TCPAbortOnTimeout"])
        return masks


def _of_mptcp(mptcp: _U16, flags: NDArray[np.uint32], masks: _U16) -> _U16:
    """Subflows count in TCP as any connection, and MPTCP counts each RST with MP_FASTCLOSE.

    The connection itself is no socket of TCP, and counts in nothing (mptcp_set_state, mptcp_do_fastclose).
    """
    sent = (mptcp & record.MP_FASTCLOSE_OUT != 0) & (flags & record.F_RST_OUT != 0)
    received = (mptcp & record.MP_FASTCLOSE_IN != 0) & (flags & record.F_RST_IN != 0)
    masks = masks | np.where(sent, _BIT["MPFastcloseTx"], 0).astype(np.uint16)
    masks |= np.where(received, _BIT["MPFastcloseRx"], 0).astype(np.uint16)
    masks[mptcp & record.MP_CONNECTION != 0] = 0
    return masks


def _count(known: dict[int, NDArray[np.int64]], netns: NDArray[np.uint32], masks: _U16) -> None:
    """Add what the masks mean to the counts of each namespace."""
    if (netns == netns[0]).all():
        counts = np.bincount(masks)
        present = np.flatnonzero(counts)
        _add(known, int(netns[0]), counts[present] @ _BITS[present])
        return
    inodes, which = np.unique(netns, return_inverse=True)
    counts = np.bincount(which * _CODES + masks)
    present = np.flatnonzero(counts)
    sums = np.zeros((len(inodes), len(_COUNTERS)), dtype=np.int64)
    np.add.at(sums, present // _CODES, counts[present, None] * _BITS[present % _CODES])
    for inode, values in zip(inodes.tolist(), sums, strict=True):
        _add(known, inode, values)


def _add(known: dict[int, NDArray[np.int64]], inode: int, values: NDArray[np.int64]) -> None:
    before = known.get(inode)
    known[inode] = values if before is None else before + values


def _result(closes: Mapping[int, NDArray[np.int64]], events: Explained, resets: int) -> Explained:
    explained: Explained = {
        inode: {
            name: count for name, count in zip(_COUNTERS, counts.tolist(), strict=True) if count
        }
        for inode, counts in dict(closes).items()
    }
    for inode, values in dict(events).items():
        explained.setdefault(inode, {}).update(dict(values))
    explained[HOST] = {**explained.get(HOST, {}), "OutRsts": resets}
    return explained


def _resets(stats: Stats) -> int:
    return sum(
        stats.get(stat, 0) for stat in (Stat.RST_NO_SOCKET, Stat.RST_TIMEWAIT, Stat.RST_SOCKET)
    )
