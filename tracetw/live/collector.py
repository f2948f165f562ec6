# SPDX-License-Identifier: Apache-2.0
"""Empties the rings and looks after what waits in the kernel's tables; all of it for the backlog."""

from __future__ import annotations

import math
import select
import time

import numpy as np

from tracetw.event.fields import Rows
from tracetw.host import netns
from tracetw.host.clock import Clock
from tracetw.host.listeners import Listeners
from tracetw.kernel.load.session import SOON_MS, Session
from tracetw.kernel.rings import Rings
from tracetw.live.backlog import Backlog, Taken
from tracetw.live.owners import resolve
from tracetw.live.pauses import FEW, Pauses
from tracetw.live.source import Source
from tracetw.messages import say
from tracetw.stream.batch import Ends, Events, Loss

# Seconds. Nothing is read while the backlog is full.
_FULL_PAUSE = 0.025
# While records wait in tables: how often to look. The first one wakes us (Session.sleep).
_SWEEP = 0.1
_FIRST_SWEEP = 0.05
_SWEEP_LATEST = 2.0
_AUDIT = 1.0


class Collector:
    """Reads a session.

    What it reads in one round was there before it reads the counters of losses, and a loss goes into
    the backlog first: see ``stream.lossy``.

    Args:
        session: attached.
        backlog: where to.
        clock: by which the trace began.
        look_up: owners may be looked up in ``/proc``: its numbers are those of the kernel side.

    Attributes:
        clock: the latest: wall time may have been set.
    """

    def __init__(
        self, session: Session, backlog: Backlog, clock: Clock, *, look_up: bool = True
    ) -> None:
        self._session = session
        self._source = Source(session)
        self._backlog = backlog
        self._listeners = Listeners() if look_up else None
        self.clock = clock
        self._checked_ns = time.monotonic_ns()
        self._next_sweep = self._next_audit = 0.0
        self._sweeps = True
        self._pauses = Pauses(session.closes.room, time.monotonic())
        self._pause = 0.0
        self._said = False
        self._poll = select.poll()
        for ring in session.rings():
            self._poll.register(ring, select.POLLIN)

    def watch(self, fd: int) -> None:
        """One more descriptor that ends :meth:`wait` when it is readable."""
        self._poll.register(fd, select.POLLIN)

    def wait(self, until_s: float = math.inf) -> None:
        """Until something came or it is time to look, but not after ``until_s`` (``time.monotonic``)."""
        # Not before the round: the line of a single end would wait for it.
        self._heard()
        if self._pause:
            time.sleep(self._pause)
            if self._source.pending():
                # A system call and a wakeup less in a storm.
                return
        until_s = min(until_s, self._next_audit, self._next_sweep if self._sweeps else math.inf)
        # Not a millisecond too early, or it would be done twice.
        left_ms = max(math.ceil(1000 * (until_s - time.monotonic())), 0)
        self._session.listen()
        if not self._poll.poll(min(left_ms, SOON_MS)) and left_ms > SOON_MS:
            self._poll.poll(left_ms - SOON_MS)
        self._session.rest()

    def _heard(self) -> None:
        """If a record has begun to wait, look at the tables soon."""
        if self._session.heard():
            self._sweeps = True
            self._next_sweep = max(self._next_sweep, time.monotonic() + _FIRST_SWEEP)

    def drained(self) -> bool:
        """The rings are empty, and no record waits for its application or for the peer's FIN."""
        return self._source.idle() and not self._source.unfinished()

    def unfinished(self) -> int:
        """Connections in FIN_WAIT2 that are not reported."""
        return self._source.unfinished()

    def round(self) -> None:
        """Everything that is there and has room."""
        now = time.monotonic()
        audit = now >= self._next_audit
        batches: list[Ends | Events] = []
        if self._backlog.full():
            self._pause = _FULL_PAUSE
            self._say_that_it_is_full()
        else:
            if self._source.pending():
                batches += self._rings()
            count = sum(len(batch.rows) for batch in batches)
            self._pause = self._pauses.after(now, count)
            if audit or (self._sweeps and now >= self._next_sweep):
                batches += self._sweep(now)
            if audit:
                batches += self._stale()
        # The losses alone take a system call a program: not for nothing.
        if batches or audit:
            self._give(batches)
        if audit:
            self._next_audit = now + _AUDIT

    def rest(self) -> None:
        """Everything, once tracing is over, even if it is too much."""
        batches: list[Ends | Events] = []
        while self._source.pending():
            batches += self._rings()
        batches += self._late(time.monotonic(), everything=True)
        self._give(batches)

    def _give(self, batches: list[Ends | Events]) -> None:
        """Losses first, those of the time until now."""
        lost = self._source.losses()
        now_ns = time.monotonic_ns()
        since_ns, until_ns = map(self.clock.to_wall_ns, (self._checked_ns, now_ns))
        for one in lost:
            self._backlog.put(Loss(one.records, one.where, since_ns, until_ns))
        self._checked_ns = now_ns
        for batch in batches:
            self._backlog.put(batch)

    def _rings(self) -> list[Ends | Events]:
        """What is in the rings now, once through each at most, but for the few that came meanwhile."""
        session, source = self._session, self._source
        batches: list[Ends | Events] = []
        for _ in range(session.closes.turns):
            rows = _copied(source.take())
            source.release()
            if len(rows):
                batches.append(Taken(rows, self.clock))
            if _enough(session.closes, len(rows)):
                break
        if session.events is not None:
            rows = _copied(session.events.peek())
            session.events.release()
            if len(rows):
                batches.append(Events(rows, self.clock))
        return batches

    def _sweep(self, now: float) -> list[Ends | Events]:
        """Look at what waits; when nothing will be overdue, not again until the kernel side says so."""
        self._session.sleep()
        found: list[Ends | Events] = []
        if self._session.any_waiting():
            found = self._late(now, everything=False)
        else:
            self._source.waits = False
        self._sweeps = self._source.waits
        if self._sweeps:
            self._session.wake()
        return found

    def _late(self, now: float, *, everything: bool) -> list[Ends | Events]:
        """What waits for its application for too long."""
        source = self._source
        late = source.overdue(everything=everything)
        if len(late):
            late = source.confirmed(resolve(late, self._listeners), everything=everything)
        # It may have to look through the descriptors of every process: a twentieth of the time at
        # most, and still often enough for the slots in the kernel.
        spent = time.monotonic() - now
        self._next_sweep = now + min(max(_SWEEP, 20 * spent), _SWEEP_LATEST)
        return [Ends(late, self.clock)] if len(late) else []

    def _stale(self) -> list[Ends | Events]:
        """What must be gone, though nobody saw how."""
        self._look_at_the_clock()
        self._source.forget()
        if time.monotonic() < self._source.stale_s:
            return []
        stale = self._source.stale()
        if not len(stale):
            return []
        gone = ~np.isin(stale["netns"], list(netns.find()))
        return [Ends(resolve(stale, self._listeners), self.clock, gone)]

    def _say_that_it_is_full(self) -> None:
        if not self._said:
            self._said = True
            say(
                f"{self._backlog.records:,} records wait for the output, which is too slow:"
                " more are lost and counted; give more --buffer, a filter, or use tracetw record"
            )

    def _look_at_the_clock(self) -> None:
        """A new one only where wall time was set: all times of one run are by one clock."""
        clock = Clock.now()
        if clock.set_since(self.clock):
            self.clock = clock


def _enough(closes: Rings, given: int) -> bool:
    """After a look that gave so many records: is what waits now for the next round?

    After a small one it is not: the line of a single end must not wait for the next, nor go behind a later one of
    another ring that was looked at later. Nor is what was kept back.
    """
    return given == 0 or (given > FEW >= closes.pending() and not closes.held)


def _copied(rows: Rows) -> Rows:
    """Out of the ring. As opaque blocks: copying field by field takes ten times as long."""
    if rows.flags.writeable:
        return rows
    return np.array(rows.view(f"V{rows.dtype.itemsize}"), order="C").view(rows.dtype)
