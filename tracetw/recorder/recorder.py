# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: takes rows without delay, writes them in a thread of its own.

The tracing thread only hands over what it is given. A quarter of a second later at most the writing
thread has it in a file, and a second after that on the disk. A disk that is full or too slow never
stops the trace: what could not be written is counted, and the count is in the recording.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from tracetw.errors import Failed
from tracetw.event.fields import Rows
from tracetw.host import privileges
from tracetw.host.clock import Clock
from tracetw.recorder.describe import Describe
from tracetw.recorder.store import Store
from tracetw.recorder.tape import Item, Tape, TapeLimits, Totals
from tracetw.recording.facts import Lost, Sample
from tracetw.recording.frame import FrameKind
from tracetw.stream.known import PortListener

__all__ = ["Recorder", "TapeLimits", "Totals"]


_WRITE_S = 0.25
_SYNC_S = 1.0
_SAMPLE_S = 10.0
_FRAME_BYTES = 1 << 20
# So much is written at once, however short the time.
_ENOUGH_BYTES = 2 << 20
# What may wait for a slow disk: two seconds and more of the hardest storm.
_WAITING_BYTES = 64 << 20
_ROWS = frozenset({FrameKind.CLOSES, FrameKind.EVENTS})
_KEEP = (*privileges.READ_PROCESSES, *privileges.ENTER_NAMESPACES)


class Recorder:
    """Writes one recording.

    Args:
        store: where to.
        limits: how much.
        describe: makes the header of a segment.
        sample: reads the kernel's numbers, given the name of the moment.
        say: takes one line for the user; called from other threads.
    """

    def __init__(
        self,
        store: Store,
        limits: TapeLimits,
        describe: Describe,
        sample: Callable[[str], Sample],
        say: Callable[[str], None],
    ) -> None:
        self._clock = describe.clock
        # Of the writing thread alone.
        self._tape = Tape(store, limits, describe, self._clock, say)
        self._take_sample = sample
        self._lock = threading.Lock()
        self._pending: list[Item] = []
        self._waiting = 0
        self._too_slow = 0
        self._reasons: deque[str] = deque()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._broken: BaseException | None = None

    # --- called by the tracing thread

    def start(self, first: list[Sample]) -> None:
        """Begin, with the samples so far."""
        for sample in first:
            self.sample(sample)
        for work in (self._write_loop, self._sample_loop):
            thread = threading.Thread(target=self._guarded, args=(work,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def clock(self, clock: Clock) -> None:
        """The clock by which live output tells the times of the rows that follow."""
        if clock.set_since(self._clock):
            self._clock = clock
            self._add(Item(FrameKind.HEADER, [], 0, 0, clock=clock))

    def closes(self, rows: Rows) -> None:
        """Record connection ends, which must not change any more."""
        self._add_rows(FrameKind.CLOSES, rows)

    def events(self, rows: Rows) -> None:
        """Record single events, which must not change any more."""
        self._add_rows(FrameKind.EVENTS, rows)

    def heard(self, heard: Sequence[PortListener]) -> None:
        """Record who listens, before the connections that it was shown with."""
        self._add(Item(FrameKind.NAMES, [], 0, 0, heard=heard))

    def lost(self, lost: Lost) -> None:
        """Record that records were lost."""
        self._add(Item(FrameKind.LOST, [], lost.records, 0, lost=lost))

    def sample(self, sample: Sample) -> None:
        """Record a sample."""
        self._add(Item(FrameKind.SAMPLE, [], 0, 0, sample))

    def keep(self, reason: str) -> None:
        """Keep the last minutes for good. May be called by a signal handler: it takes no lock."""
        self._reasons.append(reason)

    def finish(self) -> Totals:
        """Write everything, close and compact the last segment.

        Raises Failed when recording broke off.
        """
        self._ending.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        self._check()
        return self._tape.totals

    def _add_rows(self, kind: FrameKind, rows: Rows) -> None:
        if not len(rows):
            return
        # As opaque blocks: copying field by field takes ten times as long.
        blocks = np.ascontiguousarray(rows.view(f"V{rows.dtype.itemsize}")).view(np.uint8)
        self._add(Item(kind, [blocks.data], len(rows), blocks.nbytes))

    def _add(self, item: Item) -> None:
        self._check()
        with self._lock:
            if self._waiting + item.bytes > _WAITING_BYTES:
                self._too_slow += item.rows
                return
            self._pending.append(item)
            self._waiting += item.bytes
            wake = self._waiting > _ENOUGH_BYTES
        if wake:
            self._wake.set()

    def _check(self) -> None:
        if self._broken is not None:
            raise Failed(f"recording broke off: {self._broken}") from self._broken

    # --- threads

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            privileges.drop(_KEEP)
            work()
        except BaseException as error:  # noqa: BLE001  raised again in the tracing thread
            self._broken = error
            self._ending.set()

    def _sample_loop(self) -> None:
        while not self._ending.wait(_SAMPLE_S):
            self.sample(self._take_sample("running"))

    def _write_loop(self) -> None:
        next_sync = 0.0
        while True:
            self._wake.wait(_WRITE_S)
            self._wake.clear()
            ending = self._ending.is_set()
            self._write_pending()
            now = time.monotonic()
            if now >= next_sync or ending:
                self._tape.sync()
                self._tape.tidy()
                next_sync = now + _SYNC_S
            if ending:
                self._tape.finish()
                return

    def _write_pending(self) -> None:
        # First: what came before them is in the items.
        reasons = [self._reasons.popleft() for _ in range(len(self._reasons))]
        with self._lock:
            items, self._pending = self._pending, []
            self._waiting = 0
            too_slow, self._too_slow = self._too_slow, 0
        for item in _merged(items):
            self._tape.write(item)
        if too_slow:
            self._tape.not_written(too_slow, OSError(errno.EBUSY, "the disk is too slow"))
        for reason in reasons:
            self._tape.keep(reason)


def _merged(items: list[Item]) -> list[Item]:
    """Neighbours of one kind in one frame, as long as it is not too large."""
    merged: list[Item] = []
    for item in items:
        last = merged[-1] if merged else None
        if (
            last is not None
            and item.kind == last.kind
            and item.kind in _ROWS
            and last.bytes + item.bytes <= _FRAME_BYTES
        ):
            merged[-1] = Item(
                item.kind, last.parts + item.parts, last.rows + item.rows, last.bytes + item.bytes
            )
        else:
            merged.append(item)
    return merged
