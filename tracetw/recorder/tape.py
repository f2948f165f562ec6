# SPDX-License-Identifier: Apache-2.0
"""The segments of one recording, one after the other, on a disk that may refuse.

For one thread. What cannot be written is counted; when there is room again, the count is written.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from tracetw.host.clock import Clock
from tracetw.recorder.compaction import Compaction
from tracetw.recorder.describe import Describe
from tracetw.recorder.fit import fitted
from tracetw.recorder.names import NewNames
from tracetw.recorder.store import Place, Store
from tracetw.recorder.writer import SegmentWriter, to_json
from tracetw.recording.facts import Lost, Sample
from tracetw.recording.frame import Chunk, FrameKind
from tracetw.stream.known import PortListener

# Room on the disk before we try again: no back and forth at the last byte.
_ROOM_BYTES = 8 << 20
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class TapeLimits:
    """How much a recorder uses.

    Attributes:
        total_bytes: of all segments; ``kept/`` may use as much again.
        total_s: age of the oldest segment.
        segment_bytes: of one segment.
        segment_s: time that one segment spans.
        keep_s: how far back a trigger keeps.
    """

    total_bytes: int = 1 << 30
    total_s: float = 86_400.0
    segment_bytes: int = 64 << 20
    segment_s: float = 3_600.0
    keep_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Totals:
    """What was written and what was not.

    Attributes:
        closes: connection ends written.
        events: single events written.
        unwritten: records of either kind that were not.
        segments: files begun.
        dropped: old segments removed.
        error: what the disk said when it took something else than records not; "" nothing.
    """

    closes: int
    events: int
    unwritten: int
    segments: int
    dropped: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A frame to be: rows in ``parts``, a sample, which is written as changes, a loss, or who listens.

    With a ``clock`` it is the header of a new segment: the clock of the host was set.
    """

    kind: FrameKind
    parts: list[Chunk]
    rows: int
    bytes: int
    sample: Sample | None = None
    lost: Lost | None = None
    clock: Clock | None = None
    heard: Sequence[PortListener] | None = None


def _halves(item: Item) -> Iterator[Item]:
    """Of at least two rows, which lie one after the other."""
    rows = memoryview(b"".join(item.parts))
    first = item.rows // 2
    at = first * (len(rows) // item.rows)
    yield replace(item, parts=[rows[:at]], rows=first, bytes=at)
    yield replace(item, parts=[rows[at:]], rows=item.rows - first, bytes=len(rows) - at)


class Tape:
    """Writes items in order.

    Args:
        store: where to.
        limits: how much.
        describe: makes the header of a segment.
        clock: by which live output tells the times of rows.
        say: takes one line for the user.
    """

    def __init__(
        self,
        store: Store,
        limits: TapeLimits,
        describe: Describe,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._limits = limits
        self._describe = describe
        self._clock = clock
        self._say = say
        self._names = NewNames()
        self._compaction = Compaction(store, say)
        self._file: SegmentWriter | None = None
        self._place: Place | None = None
        self._number = 0
        self._began_s = 0.0
        self._hour = 0
        self._known: Sample | None = None
        self._told_left_out = False
        self._gap = 0
        # CLOCK_MONOTONIC, nanoseconds.
        self._gap_since = 0
        self._synced_ns = time.monotonic_ns()
        self._counts = {FrameKind.CLOSES: 0, FrameKind.EVENTS: 0}
        self._unwritten = 0
        self._dropped = 0
        self._error = ""

    @property
    def totals(self) -> Totals:
        """So far."""
        return Totals(
            self._counts[FrameKind.CLOSES],
            self._counts[FrameKind.EVENTS],
            self._unwritten,
            self._number,
            self._dropped,
            self._error,
        )

    def write(self, item: Item) -> None:
        """Write one frame, in the segment where it belongs."""
        if item.clock is not None:
            self._close()
            self._clock = item.clock
            return
        if item.heard is not None:
            self._names.hear(item.heard)
            return
        try:
            try:
                self._put(item)
            except OSError as error:
                if error.errno != errno.EFBIG:
                    raise
                self._close()  # setrlimit(2) or the file system: the next file is as large again
                self._put_whole_or_halves(item)
        except OSError as error:
            self.not_written(item.rows, error, counted=item.kind is FrameKind.LOST)

    def _put_whole_or_halves(self, item: Item) -> None:
        """Into a new file: what is too large for a whole one goes into several."""
        try:
            self._put(item)
        except OSError as error:
            if error.errno != errno.EFBIG or not item.parts or item.rows < 2:  # noqa: PLR2004
                raise
            for half in _halves(item):
                self.write(half)

    def not_written(self, rows: int, error: OSError, *, counted: bool = False) -> None:
        """Count records that could not be written; the first time, say so.

        Lost records whose number could not be written are ``counted`` as lost by the tracing loop.
        """
        self._error = error.strerror or str(error)
        if not self._gap_since:
            self._gap_since = self._synced_ns
            self._say(
                f"cannot write the recording: {error.strerror}; tracing goes on, what is not"
                " written is counted"
            )
        self._gap += rows
        self._unwritten += 0 if counted else rows

    def sync(self) -> None:
        """What was written so far, through to the disk."""
        if self._file is None:
            return
        try:
            self._file.sync()
            self._synced_ns = time.monotonic_ns()
        except OSError as error:
            self.not_written(0, error)

    def tidy(self) -> None:
        """Now and then: end a gap, see to compaction, drop what is too much."""
        if self._gap_since:
            with suppress(OSError):
                self._segment(0)
        self._make_room()

    def _make_room(self) -> None:
        self._compaction.poll()
        # The open segment to its full size, and what a compaction needs beside it at most.
        reserved = self._limits.segment_bytes * 3 // 2
        self._dropped += self._store.enforce(reserved, self._compaction.forget, self._say)

    def keep(self, reason: str) -> None:
        """Keep what the last minutes brought, for good."""
        self._close()
        try:
            folder = self._store.keep(reason, self._limits.keep_s, time.time())
        except OSError as error:
            self._say(f"{reason}: cannot keep what came before: {error.strerror}")
            return
        if folder is None:
            self._say(f"{reason}: cannot keep what came before: kept/ is full; move something away")
        else:
            self._say(f"{reason}: kept what came before in {folder}")

    def finish(self) -> None:
        """Close the last segment and compact everything."""
        if self._gap_since and self._file is None:
            with suppress(OSError):  # room for a header is enough now
                self._open()
        self._close()
        self._compaction.finish()
        self._make_room()

    def _put(self, item: Item) -> None:
        if item.sample is not None:
            self._write_sample(item.sample)
        elif item.lost is not None:
            _write_lost(self._segment(0), item.lost)
        else:
            self._write(item)

    def _write(self, item: Item) -> None:
        file = self._segment(item.bytes)
        names = self._names.new(item.kind, item.parts)
        for part in names.parts(file.rows[FrameKind.CLOSES]):
            file.add(FrameKind.NAMES, [to_json(part)])
        self._names.written(names)
        file.add(item.kind, item.parts, item.rows)
        if item.kind in self._counts:
            self._counts[item.kind] += item.rows

    def _write_sample(self, sample: Sample) -> None:
        """As what changed since the sample before, or since the header."""
        sample, left_out = fitted(sample)
        if left_out and not self._told_left_out:
            self._told_left_out = True
            self._say(f"too much for a recording, omitted from now on: {', '.join(left_out)}")
        known = self._known or sample
        self._known = known
        file = self._segment(0)
        gone = sorted({*known.counters, *known.sysctls} - {*sample.counters, *sample.sysctls})
        document = {
            "moment": sample.moment,
            "time_ns": sample.time_ns,
            "clock": [sample.clock.offset_ns, sample.clock.error_ns],
            "counters": _changed(known.counters, sample.counters),
            "sysctls": _changed(known.sysctls, sample.sysctls),
            "netns_names": _changed(known.netns_names, sample.netns_names),
            "gone": gone,
            "stats": sample.stats,
            "unfinished": sample.unfinished,
        }
        if sample.listeners != known.listeners:
            document["listeners"] = [one._asdict() for one in sample.listeners]
        if sample.ended:
            document["ended"] = [one._asdict() for one in sample.ended]
        file.add(FrameKind.SAMPLE, [to_json(document)])
        self._known = sample

    def _segment(self, more: int) -> SegmentWriter:
        """The open segment, a new one where it is time. Raises OSError."""
        if self._gap_since and not self._room():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        now_s, hour = time.monotonic(), int(time.time()) // _HOUR_S
        if self._file is not None:
            full = self._file.size + more > self._limits.segment_bytes
            old = now_s - self._began_s >= self._limits.segment_s or hour != self._hour
            if full or old:
                self._close()
        file = self._file or self._open()
        if self._gap_since:
            gap = self._gap
            self._close_gap(file)
            self._say(f"the recording goes on; {gap:,} records could not be written")
        return file

    def _open(self) -> SegmentWriter:
        if self._known is None:
            raise ValueError("a recording begins with a sample")
        self._make_room()
        now_s = time.time()
        place = self._store.place(self._describe.run, self._number, now_s)
        header = self._describe.header(self._number, self._known, self._clock)
        try:
            with self._store.enter(place, make=True) as folder:
                self._file = SegmentWriter(folder, place.name, header)
        except OSError:
            self._store.discard(place)
            raise
        self._place = place
        self._number += 1
        self._began_s, self._hour = time.monotonic(), int(now_s) // _HOUR_S
        self._names.forget()
        return self._file

    def _close(self) -> None:
        if self._file is None or self._place is None:
            return
        file, self._file = self._file, None
        try:
            if self._gap_since:
                self._close_gap(file, last=True)
        except OSError:
            pass  # told in the next segment, if there is one
        try:
            file.finish()
        except OSError as error:
            self.not_written(0, error)
        try:
            self._store.add(self._place)
        except OSError as error:
            self.not_written(0, error)
            return
        self._compaction.add(self._place)

    def _room(self) -> bool:
        try:
            return self._store.free_bytes() >= _ROOM_BYTES
        except OSError:
            return False

    def _close_gap(self, file: SegmentWriter, *, last: bool = False) -> None:
        """Say in the recording what is not there. Raises OSError."""
        since, until = map(self._clock.to_wall_ns, (self._gap_since, time.monotonic_ns()))
        lost = Lost(self._gap, "the disk of the recorder", since, until)
        if self._gap:
            _write_lost(file, lost, last=last)
        self._gap = self._gap_since = 0


def _write_lost(file: SegmentWriter, lost: Lost, *, last: bool = False) -> None:
    """With its place among the rows of the segment."""
    document = {**asdict(lost), "closes": file.rows[FrameKind.CLOSES]}
    file.add(FrameKind.LOST, [to_json(document)], last=last)


def _changed(before: Mapping[int, Any], now: Mapping[int, Any]) -> dict[int, Any]:
    return {key: value for key, value in now.items() if before.get(key) != value}
