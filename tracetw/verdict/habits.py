# SPDX-License-Identifier: Apache-2.0
"""Hints that only several connections show: one idle time several times, one forgotten while others go on.

The state depends on the rows and their order alone, not on how they come in batches: a live trace, its replay and a
report of the same rows find the same. It is bounded, and what was not seen for longest is forgotten first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracetw.event import measures
from tracetw.event.fields import Rows, among
from tracetw.event.names import KernelNames
from tracetw.event.record import F_CLIENT, F_DONE, F_SERVER
from tracetw.verdict.findings import Findings
from tracetw.verdict.hint_text import before_ms
from tracetw.verdict.hinted import LOCAL, REMOTE, RST_RECEIVED, Some, quiet, quiet_for, silent_for
from tracetw.verdict.hints import HINT_BIT
from tracetw.verdict.latest import Latest
from tracetw.verdict.other_end import OtherEnds
from tracetw.verdict.taxonomy import CLOSED_BY, VERDICT_INDEX, verdict_numbers

_KEPT = 4096
_IDLE_MS = 1000
_TIMES = 3
_SHARE, _LEAST_MS = 0.03, 60
"""Two idle times are the same: a share of the longer one, or what timers and jiffies add."""
_FORGOTTEN_MS = 2000
_TICK_NS, _EACH_TICK = 10_000_000, 16
"""Remember so many orderly connections in each tick, whatever the rate."""
_ORDERLY = VERDICT_INDEX["orderly"]
_SILENCE = among(*verdict_numbers("retransmit-exhausted", "user-timeout"))
_APP = CLOSED_BY.index("app")


class Habits:
    """Remembers what it needs of the connections that came before."""

    def __init__(self, names: KernelNames) -> None:
        self._names = names
        # Of a service and who closes: the idle time, and how often in a row.
        self._idle: Latest[tuple[int, int, int, bytes], tuple[int, int]] = Latest(_KEPT)
        # Of a peer: when a connection with it ended in order.
        self._fine: Latest[tuple[int, bytes], int] = Latest(_KEPT)
        self._tick, self._in_tick = -1, 0
        self._other_ends = OtherEnds()

    def add(self, rows: Rows, findings: Findings, ended: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Bits over ``HINTS`` for each row; each end once, in the order of the stream.

        Args:
            rows: records.
            findings: of these.
            ended: when each ended, ns of CLOCK_MONOTONIC.
        """
        hints = np.zeros(len(rows), np.uint32)
        self._idle_timeouts(rows, findings, hints)
        self._forgotten(rows, findings, ended, hints)
        self._other_ends.add(rows, findings, ended, hints)
        return hints

    def _idle_timeouts(self, rows: Rows, findings: Findings, hints: NDArray[np.uint32]) -> None:
        some = Some(rows, findings, self._names, quiet_for(rows, _IDLE_MS, self._names))
        if not len(some.which):
            return
        here, by = some.here, findings.closed_by[some.which]
        idle = quiet(here, self._names)
        # A RST after our FIN answers our own timeout.
        reset = some.reset & ((some.flags & F_DONE) == 0) & (some.first == REMOTE)
        local = ~reset & (some.first == LOCAL) & (by == _APP)
        remote = ~reset & (some.first == REMOTE)
        client = (some.flags & F_CLIENT) != 0
        server = (some.flags & F_SERVER) != 0
        known = (reset | local | remote) & (client | server)
        # A client that gives up waiting for an answer has a timeout, but the connection was not idle.
        ours, theirs = _last(some.sent_ms, some.received_ms), _last(some.received_ms, some.sent_ms)
        known &= ~(local & client & ours) & ~((reset | remote) & server & theirs)
        kinds = (reset * 2 + local) * 2 + client
        services = np.where(client, here["rport"], here["lport"])
        # A server's service is its port; a client's is the port of one peer.
        peers = np.where(client[:, None], here["raddr"], 0).astype(np.uint8)
        for at in np.flatnonzero(known).tolist():
            key = (int(here["netns"][at]), int(kinds[at]), int(services[at]), peers[at].tobytes())
            if self._again(key, int(idle[at])):
                hints[some.which[at]] |= np.uint32(HINT_BIT["idle-timeout"])

    def _again(self, key: tuple[int, int, int, bytes], idle_ms: int) -> bool:
        before, times = self._idle.get(key, (idle_ms, 0))
        same = abs(idle_ms - before) <= max(_SHARE * max(idle_ms, before), _LEAST_MS)
        times = times + 1 if same else 1
        self._idle.put(key, (before if same else idle_ms, times))
        return times >= _TIMES

    def _forgotten(
        self,
        rows: Rows,
        findings: Findings,
        ended: NDArray[np.int64],
        hints: NDArray[np.uint32],
    ) -> None:
        fine = self._sampled(np.flatnonzero(findings.verdict == _ORDERLY), ended)
        lost = silent_for(rows, _FORGOTTEN_MS, self._names)
        lost = lost[_SILENCE[findings.verdict[lost]] | (findings.form[lost] == RST_RECEIVED)]
        some = Some(rows, findings, self._names, lost)
        if len(lost):
            before = before_ms(rows[lost], findings.take(lost), self._names)
            silent = _SILENCE[findings.verdict[lost]] | some.bare
            some = some.of(silent & (before >= _FORGOTTEN_MS))
        if not len(fine) and not len(some.which):
            return
        since = measures.idle_ms(some.here, self._names) * 1_000_000
        places = dict(zip(some.which.tolist(), since.tolist(), strict=True))
        # In order: a connection is fine for those that end after it.
        for at in sorted([*fine.tolist(), *places]):
            peer = (int(rows["netns"][at]), rows["raddr"][at].tobytes())
            if at not in places:
                self._fine.put(peer, int(ended[at]))
            elif (fine_ns := self._fine.get(peer)) and fine_ns > int(ended[at]) - places[at]:
                hints[at] |= np.uint32(HINT_BIT["forgotten-on-the-path"])

    def _sampled(self, which: NDArray[np.intp], ended: NDArray[np.int64]) -> NDArray[np.intp]:
        """The first few of these in each tick of time; time does not go back."""
        if not len(which):
            return which
        ticks = np.maximum.accumulate(np.maximum(ended[which] // _TICK_NS, self._tick))
        rank = np.arange(len(ticks)) - np.searchsorted(ticks, ticks)
        rank += np.where(ticks == self._tick, self._in_tick, 0)
        self._tick, self._in_tick = int(ticks[-1]), int(rank[-1]) + 1
        kept: NDArray[np.intp] = which[rank < _EACH_TICK]
        return kept


def _last(one_ms: NDArray[np.int64], other_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the one was later than the other, both before the end; -1 never."""
    result: NDArray[np.bool_] = (one_ms >= 0) & ((other_ms < 0) | (other_ms > one_ms))
    return result
