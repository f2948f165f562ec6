# SPDX-License-Identifier: Apache-2.0
"""The thread that feeds the board: a trace, or a recording."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence

from tracetw.live.request import Request
from tracetw.live.run import run
from tracetw.recording.reader import Recording
from tracetw.replay.pace import Pace
from tracetw.replay.replay import replay
from tracetw.replay.window import Window
from tracetw.sink.output import OutputClosed
from tracetw.stream.batch import Closes, Context, Events, Loss, MakeSink, Sink, Summary
from tracetw.stream.filter import Filter
from tracetw.stream.stop import Stop
from tracetw.top.board import SECOND, Board
from tracetw.top.slots import KEPT

_TICK_S = 0.1


class Feed:
    """Feeds a board in a thread of its own.

    Args:
        board: what to feed.
        work: does it, with the sink and what asks it to end.

    Attributes:
        failed: why it ended before it should.
        status: exit code of the work.
    """

    def __init__(self, board: Board, work: Callable[[MakeSink, Stop], int]) -> None:
        self._board = board
        self._work = work
        self._stop = Stop()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracetw-feed", daemon=True)
        self.failed: BaseException | None = None
        self.status = 0

    def start(self) -> None:
        """Begin, and return when something is to be seen. Raises what keeps it from that."""
        self._thread.start()
        try:
            while not self._begun.wait(_TICK_S):
                pass
        except KeyboardInterrupt:
            self._stop(signal.SIGINT, None)
            raise
        if self.failed is not None:
            raise self.failed

    def running(self) -> bool:
        """More may come."""
        return self._thread.is_alive()

    def finish(self) -> int:
        """Ask it to end, wait for that; the exit code. Raises what made it fail."""
        self._stop(0, None)
        while self._thread.is_alive():
            self._thread.join(_TICK_S)
        if self.failed is not None:
            raise self.failed
        return self.status

    def wait(self) -> int:
        """Until it has ended by itself. Raises what made it fail."""
        try:
            while self._thread.is_alive():
                self._thread.join(_TICK_S)
        except KeyboardInterrupt:
            self._stop(signal.SIGINT, None)
        return self.finish()

    def _run(self) -> None:
        try:
            self.status = self._work(self._sink, self._stop)
        except BaseException as error:  # noqa: BLE001  raised again in the main thread
            self.failed = error
        finally:
            self._board.end()
            self._begun.set()

    def _sink(self, context: Context) -> Sink:
        self._begun.set()
        return self._board.sink(context)


def live(board: Board, request: Request) -> Feed:
    """A trace of this host."""
    return Feed(board, lambda make_sink, stop: run(request, make_sink, stop))


def recorded(
    board: Board,
    recordings: Sequence[Recording],
    wanted: Filter,
    window: Window,
    speed: float | None,
) -> Feed:
    """Recordings, one after the other, as fast as possible or ``speed`` times as fast as it happened."""

    def work(make_sink: MakeSink, stop: Stop) -> int:
        for recording in recordings:
            known = [*recording.damage]
            for damage in known:
                board.say(str(damage))

            def stoppable(context: Context) -> Sink:
                return _Stoppable(make_sink(context), stop)

            try:
                replay(recording, wanted, frozenset(), stoppable, Pace(speed), window=window)
            except OutputClosed:
                return 0
            for damage in recording.damage[len(known) :]:
                board.say(str(damage))
        return 0

    return Feed(board, work)


class _Stoppable:
    """A ``stream.batch.Sink`` that raises OutputClosed at the first batch after ``stop``."""

    def __init__(self, sink: Sink, stop: Stop) -> None:
        self._sink = sink
        self._stop = stop

    def head(self) -> None:
        """As the sink does."""
        self._sink.head()

    def closes(self, batch: Closes) -> None:
        """As the sink does."""
        if self._stop.times:
            raise OutputClosed
        self._sink.closes(batch)

    def events(self, batch: Events) -> None:
        """As the sink does."""
        self._sink.events(batch)

    def loss(self, loss: Loss) -> None:
        """As the sink does."""
        self._sink.loss(loss)

    def summary(self, summary: Summary) -> None:
        """As the sink does."""
        self._sink.summary(summary)


def slot_width(recordings: Sequence[Recording], window: Window) -> int:
    """Nanoseconds of one stretch of time, whole seconds: the least with which ``KEPT`` of them span the recordings."""
    first = min(one.header.run_started_ns for one in recordings)
    last = max(one.header.ended_ns or one.header.started_ns for one in recordings)
    first, last = max(first, window.since_ns), min(last, window.until_ns)
    return max(-(-(last - first) // ((KEPT - 1) * SECOND)), 1) * SECOND
