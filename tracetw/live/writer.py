# SPDX-License-Identifier: Apache-2.0
"""The thread that judges and writes, so that the ring is emptied on time whatever the output does.

It also looks for the owners of records that came out of the ring: that may take long.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from tracetw.host.listeners import Listeners
from tracetw.live.backlog import Backlog, Taken
from tracetw.live.memory import give_memory_back
from tracetw.live.owners import resolve, resolve_events
from tracetw.sink.output import OutputClosed, OutputFailed, OutputStalled
from tracetw.stream.batch import Batch, Events, Loss, Unwritten
from tracetw.stream.stages import Stages
from tracetw.stream.stop import Stop

_TICK_S = 0.05
# After a reader was given up, judge the rest for the summary, but not for long.
_LAST_S = 0.25
# Longer than giving a reader up takes: it is a write that does not return.
_STUCK_S = 0.3
# After so many records their memory is given back, once none has come for a moment: in a storm it is needed again.
_MANY, _REST_S = 1 << 12, 0.2


class Writer:
    """Feeds what waits in the backlog to the stages, until the backlog is closed and empty.

    Start it after privileges were dropped: a thread has those of the thread that starts it.

    Args:
        stages: what to feed.
        backlog: where from.
        stop: says when a reader that stands still is given up.
        look_up: owners may be looked up in ``/proc``: its numbers are those of the kernel side.
        over: called by the thread when the output takes no more.

    Attributes:
        closed: the reader of the output has left.
        failed: why the output cannot be written.
        unjudged: records that were left when the time was up.
    """

    def __init__(
        self,
        stages: Stages,
        backlog: Backlog,
        stop: Stop,
        *,
        look_up: bool = True,
        over: Callable[[], None] = lambda: None,
    ) -> None:
        self._stages = stages
        self._backlog = backlog
        self._stop = stop
        self._bug: BaseException | None = None
        self._tell = over
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listeners = Listeners() if look_up else None
        self._until_s: float | None = None
        self.closed = False
        self.failed: Unwritten | None = None
        self.unjudged = 0

    def over(self) -> bool:
        """The output takes no more. Raises what should never have happened."""
        if self._bug is not None:
            raise self._bug
        return self.closed or self.failed is not None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self, show: Callable[[int], None]) -> None:
        """Wait until everything is written, or nothing more can be. The backlog is complete.

        It calls ``show`` now and then with the number of records that wait.
        """
        self._backlog.close()
        while self._thread.is_alive():
            self._thread.join(_TICK_S)
            show(self._backlog.records)
            since_s = self._stop.waits_since_s
            # A terminal may have room for half a line: its thread ends with the process.
            stuck = since_s is not None and self._stop.gives_up(since_s, _STUCK_S)
            if stuck and not self.over():
                self.failed = OutputStalled(0)
                self.unjudged += self._backlog.drop()
                self._stages.sink = None
                return
        self.over()

    def _run(self) -> None:
        """A thread begins with the priority of the one that starts it, which reads the kernel."""
        try:
            os.setpriority(os.PRIO_PROCESS, 0, self._nice)
            fed = 0
            while (batch := self._backlog.pop()) is not None:
                self._feed(batch)
                fed += 0 if isinstance(batch, Loss) else len(batch.rows)
                # A batch that is still referred to keeps its memory.
                del batch
                if fed > _MANY and self._backlog.rests(_REST_S):
                    give_memory_back()
                    fed = 0
        except BaseException as error:  # noqa: BLE001  raised again in the main thread
            self._bug = error
            self._tell()

    def _feed(self, batch: Batch) -> None:
        if self._until_s is not None and time.monotonic() > self._until_s:
            self.unjudged += 0 if isinstance(batch, Loss) else len(batch.rows)
            return
        if isinstance(batch, Taken):
            batch = replace(batch, rows=resolve(batch.rows, self._listeners))
        elif isinstance(batch, Events):
            batch = Events(resolve_events(batch.rows, self._listeners), batch.clock)
        try:
            self._stages.feed(batch)
        except OutputClosed:
            self.closed = True
            self._stages.sink = None
            self._tell()
        except OutputFailed as error:
            self._give_up(error)

    def _give_up(self, error: OutputFailed) -> None:
        self.failed = error
        self._stages.sink = None
        self._stages.unwritten += error.unwritten
        self._tell()
        if isinstance(error, OutputStalled):
            self._until_s = time.monotonic() + _LAST_S
