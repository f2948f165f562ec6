# SPDX-License-Identifier: Apache-2.0
"""The sink behind the screens: it counts everything and keeps the last of it, in bounded memory.

One thread feeds it, another one looks at it. A look may be missed; what is fed never is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.stream.batch import Closes, Context, Events, Loss, Summary
from tracetw.timewait.carriers import Carriers, carriers
from tracetw.top.groups import FailureGroups, keys_of, marks_of
from tracetw.top.kept import LastRows, Piece
from tracetw.top.slots import VerdictSlots
from tracetw.verdict.taxonomy import VERDICTS

__all__ = ["ABNORMAL", "SECOND", "Board"]

SECOND = 1_000_000_000
ABNORMAL = np.array([verdict.abnormal for verdict in VERDICTS])
"""By verdict: should somebody look?"""

_ABNORMAL_KEPT = 20_000
_ORDINARY_KEPT = 4_000
_LOSSES = 1_000
_CARRIERS, _TOGETHER = 1 << 16, 1 << 10
_MESSAGES = 200


class Board:
    """What a stream was until now.

    Args:
        width_ns: of one stretch of time, the shortest that the screen shows.
        utc: times in UTC; local time else.
        recorded: it is fed from a recording.

    Attributes:
        lock: hold it to look at anything but the numbers.
        contexts: of the streams that were fed, in order.
        slots: ends by verdict and stretch of time.
        groups: what went wrong, by stretch of time.
        abnormal, ordinary: the last connections.
        carriers: those that left a TIME_WAIT here, the last ones.
        counts: ends by verdict since the beginning.
        lost: records.
        losses: the last ones.
        summaries: of the streams that are over.
        messages: what was said meanwhile.
        last_ns: when the last connection ended; 0 none did.
        version: another number when something changed.
        over: nothing more will come.
        ended_ns: wall time when that was, of what is not recorded; 0 before.
    """

    def __init__(
        self, width_ns: int = SECOND, *, utc: bool = False, recorded: bool = False
    ) -> None:
        self.lock = threading.Lock()
        self.utc = utc
        self.recorded = recorded
        self.contexts: list[Context] = []
        self.slots = VerdictSlots(width_ns)
        self.groups = FailureGroups()
        self.abnormal = LastRows(_ABNORMAL_KEPT)
        self.ordinary = LastRows(_ORDINARY_KEPT)
        self.carriers: deque[Carriers] = deque()
        self.counts = np.zeros(len(VERDICTS), np.int64)
        self.lost = 0
        self.losses: deque[Loss] = deque(maxlen=_LOSSES)
        self.summaries: list[Summary] = []
        self.messages: deque[str] = deque(maxlen=_MESSAGES)
        self.last_ns = 0
        self.version = 0
        self.over = False
        self.ended_ns = 0
        self._fed = self._carried = 0

    def sink(self, context: Context) -> Feeder:
        """The sink of one stream."""
        with self.lock:
            self.contexts.append(context)
        return Feeder(self, context)

    def say(self, message: str) -> None:
        """Keep what was said."""
        with self.lock:
            self.messages.append(message)
            self.version += 1

    def end(self) -> None:
        """Nothing more will come."""
        if not self.recorded:
            self.ended_ns = time.time_ns()
        self.over = True
        self.version += 1

    def feed(self, batch: Closes, context: Context) -> None:
        """Count finished connections."""
        at = batch.at - (batch.clock.offset_ns - context.clock.offset_ns)
        keys = keys_of(batch)
        marks = marks_of(keys)
        bad = ABNORMAL[batch.findings.verdict]
        with self.lock:
            slots = self.slots.of(at)
            self.slots.add(slots, batch.findings.verdict)
            self.counts += np.bincount(batch.findings.verdict, minlength=len(VERDICTS))
            if bad.any():
                self.groups.add(slots[bad], keys[bad], marks[bad])
            numbers = np.arange(self._fed, self._fed + len(at))
            for kept, mine in ((self.abnormal, bad), (self.ordinary, ~bad)):
                which = kept.chosen(at, np.flatnonzero(mine))
                if len(which) == len(at):
                    kept.add(Piece(batch, at, marks, numbers, context))
                elif len(which):
                    part = batch.take(which)
                    kept.add(Piece(part, at[which], marks[which], numbers[which], context))
            self._carry(batch, context)
            self._fed += len(at)
            self.last_ns = max(self.last_ns, int(at.max()))
            self.version += 1

    def _carry(self, batch: Closes, context: Context) -> None:
        """Keep who left a TIME_WAIT here."""
        left = carriers(batch.rows, batch.findings, batch.clock, context.names)[-_CARRIERS:]
        if not len(left):
            return
        if self.carriers and len(self.carriers[-1]) + len(left) <= _TOGETHER:
            self.carriers[-1] = np.concatenate([self.carriers[-1], left])
        else:
            self.carriers.append(left)
        self._carried += len(left)
        while self._carried > _CARRIERS:
            self._carried -= len(self.carriers.popleft())

    def pieces(self) -> Sequence[Piece]:
        """Batches of the connections in memory."""
        return (*self.abnormal.pieces(), *self.ordinary.pieces())

    def total(self, since: int, until: int) -> NDArray[Any]:
        """Ends by verdict in these stretches of time, inclusive."""
        counts: NDArray[np.int64] = self.slots.between(since, until).sum(axis=0)
        return counts


class Feeder:
    """The sink of one stream: ``stream.batch.Sink``."""

    def __init__(self, board: Board, context: Context) -> None:
        self._board = board
        self._context = context

    def head(self) -> None:
        """Nothing comes before everything else."""

    def closes(self, batch: Closes) -> None:
        """Count finished connections."""
        if len(batch.rows):
            self._board.feed(batch, self._context)

    def events(self, batch: Events) -> None:
        """No screen shows them."""

    def loss(self, loss: Loss) -> None:
        """Count records lost."""
        board = self._board
        with board.lock:
            board.lost += loss.records
            board.losses.append(loss)
            board.version += 1

    def summary(self, summary: Summary) -> None:
        """The end of this stream."""
        board = self._board
        with board.lock:
            board.summaries.append(summary)
            board.version += 1
