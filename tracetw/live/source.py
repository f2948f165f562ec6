# SPDX-License-Identifier: Apache-2.0
"""What comes out of the kernel: records once each, those that wait for too long, and losses."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows
from tracetw.event.record import AT_CLOSED, F_DEAD, End, Owner, Stat
from tracetw.kernel.load.session import Session
from tracetw.stream import loss_places

# A socket that died under its application is reported when the application closes it, which shows
# the owner, but no later than this. A record that only waits for a RST needs no longer than the
# softirq that it is in.
_PATIENCE_NS = 200_000_000
_SOFTIRQ_NS = 50_000_000
_SEARCH_NS = 1_000_000_000
# A timewait socket in FIN_WAIT2 lives max(60 s, what of tcp_fin_timeout or TCP_LINGER2 is above that,
# 3.5 RTO) (tcp_fin_time(), tcp_time_wait()); the timer wheel adds an eighth.
_TIMEWAIT_S = 60
_WHEEL = 1.125
_SLACK_NS = 3_000_000_000
_WHERE = {
    Stat.LOST_CLOSES: loss_places.CLOSES,
    Stat.LOST_EVENTS: loss_places.EVENTS,
    Stat.UNSEEN_ENDS: loss_places.NOT_ANNOUNCED,
}


@dataclass(frozen=True, slots=True)
class LostCount:
    """Records lost in one place since it was last looked at."""

    records: int
    where: str


class Source:
    """Reads a session.

    A record that was taken early comes out of the ring as well, later: its identity (socket
    address and the time when the socket reached CLOSE) is remembered until then.

    Attributes:
        waits: something was in the tables at the last look that will be overdue.
        stale_s: when :meth:`stale` can find something new (``time.monotonic``).
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._given: set[tuple[int, int]] = set()
        self.waits = False
        self.stale_s = 0.0
        self._counted = dict.fromkeys(_WHERE, 0)
        self._misses = session.misses()

    def pending(self) -> bool:
        """Something is in the rings; costs next to nothing."""
        events = self._session.events
        return bool(self._session.closes.pending() or (events is not None and events.pending()))

    def take(self) -> Rows:
        """Finished records that have arrived, none that was given before.

        They lie in the ring, read-only, until :meth:`release`.
        """
        rows = self._session.closes.peek()
        if not len(rows) or not self._given:
            return rows
        again = np.isin(rows["sk"], np.fromiter((sk for sk, _ in self._given), "<u8"))
        for index in np.flatnonzero(again):
            identity = _identity(rows[index])
            if identity in self._given:
                self._given.discard(identity)
            else:
                again[index] = False
        return rows[~again] if again.any() else rows

    def release(self) -> None:
        """The records of the last :meth:`take` have been dealt with."""
        self._session.closes.release()

    def overdue(self, *, everything: bool = False) -> Rows:
        """Records that wait for too long (at the end: all of them), marked so in ``end``."""
        rows = self._session.waiting()
        self.waits = False
        if not len(rows):
            return rows
        age = _age(rows)
        destroyed = rows["end"] == End.DESTROY
        due = np.where(destroyed, age > _SOFTIRQ_NS, age > _PATIENCE_NS) | everything
        self.waits = not due.all()
        for index in np.flatnonzero(due):
            due[index] = _identity(rows[index]) not in self._given
        rows = rows[due]
        # What is in the ring by now comes from there.
        rows["end"] = np.where(rows["end"] == End.DESTROY, End.DESTROY, End.PENDING)
        self._given |= {_identity(row) for row in rows}
        self._session.reported(rows)
        return rows

    def confirmed(self, rows: Rows, *, everything: bool = False) -> Rows:
        """Of overdue records with their owners looked up, those that are as complete as they get.

        Where the search found no owner, the application may have closed the socket meanwhile: then the
        record has left the table with the owner in it, and comes out of the ring as any other. Or the
        application starts a program, and for a moment a child holds the same descriptors: then search
        once more at the next look, but not for long, and not if ``everything`` is wanted.
        """
        unknown = (rows["end"] == End.PENDING) & (rows["owner_from"] == Owner.NONE)
        unknown &= rows["flags"] & F_DEAD == 0
        if not unknown.any():
            return rows
        waiting = {_identity(row) for row in self._session.waiting()}
        age = _age(rows)
        again = (age < _SEARCH_NS) & (not everything)
        for index in np.flatnonzero(unknown):
            identity = _identity(rows[index])
            unknown[index] = again[index] or identity not in waiting
            if unknown[index]:
                self._given.discard(identity)
                self.waits = True
        kept: Rows = rows[~unknown]
        return kept

    def stale(self) -> Rows:
        """Timewait sockets in FIN_WAIT2 that must be gone, though nobody saw how."""
        rows = self._session.timewaits()
        # What begins from now on lives longer than until then.
        self.stale_s = time.monotonic() + _TIMEWAIT_S
        if not len(rows):
            return rows
        left = self._fin_wait2_life_ns(rows) - _age(rows)
        self.stale_s += min(left[left >= 0].min(initial=_TIMEWAIT_S * 10**9) / 1e9 - _TIMEWAIT_S, 0)
        rows = rows[left < 0]
        fresh = [index for index, row in enumerate(rows) if _identity(row) not in self._given]
        rows = rows[fresh]
        self._given |= {_identity(row) for row in rows}
        if len(rows):
            self._session.timewaits_reported(rows)
        rows["end"] = End.STALE
        return rows

    def _fin_wait2_life_ns(self, rows: Rows) -> NDArray[np.int64]:
        """How long the timewait sockets of these records can live."""
        hz = self._session.plan.names.hz
        jiffies = np.maximum(rows["fin_timeout"].astype(np.int64), rows["linger2"])
        jiffies = np.maximum(jiffies, (3.5 * rows["rto"]).astype(np.int64))
        jiffies = np.maximum(jiffies, _TIMEWAIT_S * hz)
        life: NDArray[np.int64] = (jiffies * (_WHEEL * 1e9 / hz)).astype(np.int64) + _SLACK_NS
        return life

    def forget(self) -> None:
        """Let go of the identities of records that can no longer come out of the ring."""
        if not self._given:
            return
        # In this order: what has left the tables meanwhile is in the ring.
        rows = self._session.remembered()
        sockets = np.fromiter((sk for sk, _ in self._given), "<u8")
        kept = {_identity(row) for row in rows[np.isin(rows["sk"], sockets)]}
        if not self._session.closes.pending():
            self._given &= kept

    def unfinished(self) -> int:
        """Connections that are closed here and wait in FIN_WAIT2 for the peer's FIN."""
        rows = self._session.timewaits()
        return sum(_identity(row) not in self._given for row in rows)

    def idle(self) -> bool:
        """The rings are empty, and no record waits for its application."""
        return not self.pending() and all(
            _identity(row) in self._given for row in self._session.waiting()
        )

    def losses(self) -> list[LostCount]:
        """What was lost since the last call."""
        stats = self._session.stats()
        lost = []
        for stat, where in _WHERE.items():
            if stats[stat] > self._counted[stat]:
                lost.append(LostCount(stats[stat] - self._counted[stat], where))
                self._counted[stat] = stats[stat]
        misses = self._session.misses()
        if misses > self._misses:
            lost.append(LostCount(misses - self._misses, loss_places.INTERRUPTED))
            self._misses = misses
        return lost


def _age(rows: Rows) -> NDArray[np.int64]:
    """Nanoseconds since the socket reached CLOSE."""
    closed: NDArray[np.int64] = rows["at"][:, AT_CLOSED].astype(np.int64)
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) - closed


def _identity(row: np.void) -> tuple[int, int]:
    return int(row["sk"]), int(row["at"][AT_CLOSED])
