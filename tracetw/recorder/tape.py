# SPDX-License-Identifier: Apache-2.0
"""The segments of one recording, one after the other, on a disk that may refuse.

For one thread. What cannot be written is counted; when there is room again, the count is written.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from tracetw.host.clock import Clock
from tracetw.recorder.compaction import Compaction
from tracetw.recorder.describe import Describe
from tracetw.recorder.names import Names
from tracetw.recorder.store import Store
from tracetw.recorder.writer import SegmentWriter, to_json
from tracetw.recording.facts import Lost, Sample
from tracetw.recording.frame import Chunk, Kind

__all__ = ["Item", "Limits", "Tape", "Totals"]

# Room on the disk before we try again: no back and forth at the last byte.
_ROOM_BYTES = 8 << 20
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Limits:
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
    """What was written and what was not."""

    closes: int
    events: int
    unwritten: int
    segments: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Item:
    """A frame to be: rows in ``parts``, a sample, which is written as changes, or a loss.

    With a ``clock`` it is the header of a new segment: the clock of the host was set.
    """

    kind: Kind
    parts: list[Chunk]
    rows: int
    bytes: int
    sample: Sample | None = None
    lost: Lost | None = None
    clock: Clock | None = None


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
        limits: Limits,
        describe: Describe,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._limits = limits
        self._describe = describe
        self._clock = clock
        self._say = say
        self._names = Names()
        self._compaction = Compaction(store.copies, store.compacted, say)
        self._file: SegmentWriter | None = None
        self._number = 0
        self._began_s = 0.0
        self._hour = 0
        self._known: Sample | None = None
        self._gap = 0
        self._gap_since = 0
        self._synced_ns = time.time_ns()
        self._counts = {Kind.CLOSES: 0, Kind.EVENTS: 0}
        self._unwritten = 0
        self._dropped = 0
        for path in store.raw():
            self._compaction.add(path)

    @property
    def totals(self) -> Totals:
        """So far."""
        return Totals(
            self._counts[Kind.CLOSES],
            self._counts[Kind.EVENTS],
            self._unwritten + self._gap,
            self._number,
            self._dropped,
        )

    def write(self, item: Item) -> None:
        """Write one frame, in the segment where it belongs."""
        if item.clock is not None:
            self._close()
            self._clock = item.clock
            return
        try:
            if item.sample is not None:
                self._write_sample(item.sample)
            elif item.lost is not None:
                _write_lost(self._segment(0), item.lost)
            else:
                self._write(item)
        except OSError as error:
            self.not_written(item.rows, error)

    def not_written(self, rows: int, error: OSError) -> None:
        """Count records that could not be written; the first time, say so."""
        if not self._gap_since:
            self._gap_since = self._synced_ns
            self._say(
                f"cannot write the recording: {error.strerror}; tracing goes on, what is not"
                " written is counted"
            )
        self._gap += rows

    def sync(self) -> None:
        """What was written so far, through to the disk."""
        if self._file is None:
            return
        try:
            self._file.sync()
            self._synced_ns = time.time_ns()
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
        self._dropped += self._store.enforce(reserved, time.time(), self._compaction.forget)

    def keep(self, reason: str) -> None:
        """Keep what the last minutes brought, for good."""
        self._close()
        now = time.time()
        try:
            folder = self._store.keep(reason, now - self._limits.keep_s, now)
        except OSError as error:
            self._say(f"{reason}: cannot keep what came before: {error.strerror}")
            return
        if folder is None:
            self._say(f"{reason}: kept/ is full, nothing more is kept; move something away")
        else:
            self._say(f"{reason}: what came before is kept in {folder}")

    def finish(self) -> None:
        """Close the last segment and compact everything."""
        self._close()
        self._compaction.finish()
        self._make_room()

    def _write(self, item: Item) -> None:
        file = self._segment(item.bytes)
        names = self._names.new(item.kind, item.parts)
        if names.found:
            file.add(Kind.NAMES, [to_json(names.found)])
            self._names.written(names)
        file.add(item.kind, item.parts, item.rows)
        if item.kind in self._counts:
            self._counts[item.kind] += item.rows

    def _write_sample(self, sample: Sample) -> None:
        """As what changed since the sample before, or since the header."""
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
        file.add(Kind.SAMPLE, [to_json(document)])
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
        if self._file is None:
            if self._known is None:
                raise ValueError("a recording begins with a sample")
            self._make_room()
            path = self._store.path(self._describe.run, self._number, time.time())
            self._file = SegmentWriter(
                path, self._describe.header(self._number, self._known, self._clock)
            )
            self._number += 1
            self._began_s, self._hour = now_s, hour
            self._names.forget()
        if self._gap_since:
            self._close_gap(self._file)
        return self._file

    def _close(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.finish()
        except OSError as error:
            self.not_written(0, error)
        self._store.add(file.path)
        self._compaction.add(file.path)

    def _room(self) -> bool:
        try:
            return self._store.free_bytes() >= _ROOM_BYTES
        except OSError:
            return False

    def _close_gap(self, file: SegmentWriter) -> None:
        """There is room again: say so, here and in the recording. Raises OSError."""
        now = time.time_ns()
        lost = Lost(self._gap, "the disk of the recorder", self._gap_since, now)
        _write_lost(file, lost)
        self._say(f"the recording goes on; {self._gap:,} records could not be written")
        self._unwritten += self._gap
        self._gap = self._gap_since = 0


def _write_lost(file: SegmentWriter, lost: Lost) -> None:
    """With its place among the rows of the segment."""
    document = {**asdict(lost), "closes": file.rows[Kind.CLOSES]}
    file.add(Kind.LOST, [to_json(document)])


def _changed(before: Mapping[int, Any], now: Mapping[int, Any]) -> dict[int, Any]:
    return {key: value for key, value in now.items() if before.get(key) != value}
