# SPDX-License-Identifier: Apache-2.0
"""A recording through the sinks of the live trace, as fast as possible or as it happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import EventKind
from tracetw.reconcile.tally import Tally
from tracetw.recording.facts import Lost
from tracetw.recording.reader import Recording
from tracetw.replay.source import judged
from tracetw.replay.window import ALWAYS, Window
from tracetw.report.count.scan import Scan, Source
from tracetw.report.ends.stories import scene_of
from tracetw.report.quality import hosts
from tracetw.report.render.phrases import Words
from tracetw.stream.batch import Closes, Events, Loss, Scene, Sink, Summary
from tracetw.stream.filter import Filter
from tracetw.verdict.findings import Findings
from tracetw.verdict.taxonomy import VERDICTS

__all__ = ["Pace", "replay"]

_BATCH = 1 << 14
_SLICE_NS = 100_000_000
_SECOND = 1_000_000_000

Part: TypeAlias = "Closes | Events | Loss"


class Pace:
    """Waits until recorded time has come, at ``speed`` times its own speed; None: never waits."""

    def __init__(
        self,
        speed: float | None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._speed = speed
        self._now = now
        self._sleep = sleep
        self._start: tuple[int, float] | None = None

    @property
    def waits(self) -> bool:
        """Recorded time matters."""
        return self._speed is not None

    def until(self, wall_ns: int) -> None:
        """Return when it is this time of the recording."""
        if self._speed is None:
            return
        if self._start is None:
            self._start = wall_ns, self._now()
        first, began = self._start
        left = began + (wall_ns - first) / _SECOND / self._speed - self._now()
        if left > 0:
            self._sleep(left)


def replay(
    recording: Recording,
    wanted: Filter,
    kinds: frozenset[str],
    make_sink: Callable[[Scene], Sink],
    pace: Pace,
    *,
    window: Window = ALWAYS,
) -> Summary:
    """Report everything that is wanted to a sink, in the order of time, then the summary.

    Args:
        recording: where from.
        wanted: which connections.
        kinds: single events to report, of those that were recorded.
        make_sink: where to.
        pace: how fast.
        window: the time in which they ended or happened.

    Returns the summary that the sink was given. Sinks raise as they do live.
    """
    source = Source(recording, Tally(recording.header.names))
    sink = make_sink(scene_of(recording))
    counts = np.zeros(len(VERDICTS), np.int64)
    sink.head()
    first = last = recording.header.run_started_ns
    for at, part in _merged(source, wanted, kinds, window, sliced=pace.waits):
        pace.until(at)
        if isinstance(part, Closes):
            counts += np.bincount(part.findings.verdict, minlength=len(VERDICTS))
            sink.closes(part)
        elif isinstance(part, Events):
            sink.events(part)
        else:
            sink.loss(part)
        last = max(last, at)
    ended = recording.header.ended_ns or 0
    # Where the clock was set back, times before that are no later than the end.
    last = ended if recording.clock_set_ns and ended else max(last, ended)
    traced_ns = _traced_ns(recording, last, window)
    first = max(first, window.since_ns)
    last = max(first, min(last, window.until_ns))
    (host,) = hosts(Scan([source]), Words(utc=True), part=window != ALWAYS)
    summary = Summary(
        time_ns=last,
        duration_s=traced_ns / _SECOND,
        closes={
            verdict.code: int(count)
            for verdict, count in zip(VERDICTS, counts, strict=True)
            if count
        },
        lost=sum(
            lost.records
            for lost in recording.losses()
            if window.touches(lost.since_ns, lost.until_ns)
        ),
        reconciliation=host.reconciliation or (),
    )
    sink.summary(summary)
    return summary


def _traced_ns(recording: Recording, last_ns: int, window: Window) -> int:
    """How long the recording traced inside the window, though the clock was set meanwhile.

    Args:
        last_ns: wall time of its end.
    """
    since, traced = recording.header.run_started_ns, 0
    if window == ALWAYS:
        return max(last_ns - since - recording.clock_set_ns, 0)
    headers = [segment.header for segment in recording.segments]
    for header, after in zip_longest(headers, headers[1:]):
        until = last_ns
        if after is not None:  # by the clock of this segment
            until = after.started_ns - after.clock.offset_ns + header.clock.offset_ns
        traced += max(min(until, window.until_ns) - max(since, window.since_ns), 0)
        since = 0 if after is None else after.started_ns
    return traced


def _merged(
    source: Source, wanted: Filter, kinds: frozenset[str], window: Window, *, sliced: bool
) -> Iterator[tuple[int, Part]]:
    """Closes, events and losses with their times; whichever is next in time comes next."""
    streams: list[Iterator[tuple[int, Part]]] = [
        _closes(source, wanted, window, sliced=sliced),
        _losses(
            lost
            for lost in source.recording.losses()
            if window.touches(lost.since_ns, lost.until_ns)
        ),
        _events(source, wanted, kinds, window, sliced=sliced),
    ]
    heads = [(next(stream, None), stream) for stream in streams]
    waiting = [(head, stream) for head, stream in heads if head is not None]
    while waiting:
        place = min(range(len(waiting)), key=lambda number: waiting[number][0][0])
        head, stream = waiting[place]
        yield head
        following = next(stream, None)
        if following is None:
            del waiting[place]
        else:
            waiting[place] = following, stream


def _closes(
    source: Source, wanted: Filter, window: Window, *, sliced: bool
) -> Iterator[tuple[int, Part]]:
    def seen(rows: NDArray[np.void], findings: Findings) -> None:
        source.tally.add(rows, findings)
        source.closes += len(rows)

    for part in judged(source.recording, wanted, window, seen=seen, batch=_BATCH):
        for which in _slices(part.at, sliced=sliced):
            some = part if which is None else part.take(which)
            clock = source.recording.clock
            yield int(some.at[-1]), Closes(some.rows, some.findings, clock)


def _events(
    source: Source, wanted: Filter, kinds: frozenset[str], window: Window, *, sliced: bool
) -> Iterator[tuple[int, Part]]:
    recording = source.recording
    chosen = [kind.value for kind in EventKind if kind.name.lower() in kinds]
    for rows in recording.events(_BATCH):
        source.tally.add_events(rows)
        keep = wanted.mask_events(rows, recording.cgroup_path) & np.isin(rows["kind"], chosen)
        some = rows[keep]
        at = recording.clock.to_wall_ns(some["at"].astype(np.int64))
        inside = window.mask(at)
        some, at = some[inside], at[inside]
        for which in _slices(at, sliced=sliced):
            part = some if which is None else some[which]
            if len(part):
                time_ns = recording.clock.to_wall_ns(int(part["at"][-1]))
                yield time_ns, Events(part, recording.clock)


def _slices(at: NDArray[np.int64], *, sliced: bool) -> Iterator[NDArray[np.intp] | None]:
    """Everything (None), or for a replay in time what happened within 0.1 s of each other."""
    if not sliced:
        yield None
        return
    edges = np.flatnonzero(np.diff(at // _SLICE_NS)) + 1
    yield from np.split(np.arange(len(at)), edges)


def _losses(losses: Iterable[Lost]) -> Iterator[tuple[int, Part]]:
    for lost in sorted(losses, key=lambda one: one.until_ns):
        yield lost.until_ns, Loss(lost.records, lost.where, lost.since_ns, lost.until_ns)
