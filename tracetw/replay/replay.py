# SPDX-License-Identifier: Apache-2.0
"""A recording through the stages and a sink of the live trace, as fast as possible or as it happened."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from tracetw.recording.reader import Recording
from tracetw.replay.pace import Pace
from tracetw.replay.reconciled import ONLY_A_PART, reading, reconciled
from tracetw.replay.source import context_of, end_of_trace, ends
from tracetw.replay.window import ALWAYS, Window
from tracetw.stream.batch import (
    Batch,
    Ends,
    Events,
    Loss,
    MakeSink,
    NewListeners,
    NoRoom,
    Summary,
    ended_ns,
)
from tracetw.stream.filter import Filter
from tracetw.stream.known import Ask
from tracetw.stream.stages import Stages

_BATCH = 1 << 14
_SLICE_NS = 100_000_000
_SECOND = 1_000_000_000


def replay(
    recording: Recording,
    wanted: Filter,
    kinds: frozenset[str],
    make_sink: MakeSink,
    pace: Pace,
    *,
    window: Window = ALWAYS,
    ask: Ask | None = None,
) -> Summary:
    """Report everything that is wanted to a sink, in the order of recording, then the summary.

    Args:
        recording: where from.
        wanted: which connections.
        kinds: single events to report, of those that were recorded.
        make_sink: where to.
        pace: how fast.
        window: the time in which they ended or happened.
        ask: for names of addresses that the recording does not have.

    Returns the summary that the sink was given. Sinks raise as they do live.
    """
    context = context_of(recording, ask)
    sink = make_sink(context)
    stages = Stages(context, wanted, sink, kinds)
    end_of_trace(recording, stages)
    sink.head()
    last = context.started_ns
    for at, batch in _merged(recording, window, sliced=pace.waits):
        if isinstance(batch, Loss) and not window.touches(batch.since_ns, batch.until_ns):
            stages.loss(batch, counted=False)
            continue
        pace.until(at)
        stages.feed(batch)
        last = max(last, at)
    last = _ended_ns(recording, last)
    first = max(context.started_ns, window.since_ns)
    rows, why = reconciled(recording, stages) if window == ALWAYS else (None, ONLY_A_PART)
    summary = Summary(
        time_ns=max(first, min(last, window.until_ns)),
        duration_s=_traced_ns(recording, last, window) / _SECOND,
        closes=stages.by_verdict(),
        lost=stages.lost,
        lost_at=stages.lost_at,
        filtered=not stages.wants_all or bool(recording.header.filters),
        reconciliation=rows or (),
        not_reconciled=why,
        no_room=_no_room(recording) if window == ALWAYS else None,
    )
    sink.summary(summary)
    return summary


def _no_room(recording: Recording) -> NoRoom | None:
    """As it was counted at the end of the recording, if that is there."""
    end = reading(recording, "stopped")
    return None if end is None else NoRoom.of(end.stats, recording.header.max_connections)


def _ended_ns(recording: Recording, last_ns: int) -> int:
    """When tracing was over; where the recording does not tell, not before ``last_ns``."""
    stopped = recording.moments().get("stopped")
    if stopped is not None:
        return stopped.time_ns
    ended = recording.header.ended_ns or 0
    # Where the clock was set back, times before that are no later than the end.
    return ended if recording.clock_set_ns and ended else max(last_ns, ended)


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
    recording: Recording, window: Window, *, sliced: bool
) -> Iterator[tuple[int, Batch | NewListeners]]:
    """Ends and losses, and the events between them by time, each with its time."""
    events = _events(recording, window, sliced=sliced)
    event = next(events, None)
    for at, batch in _ends(recording, window, sliced=sliced):
        while event is not None and event[0] < at:
            yield event
            event = next(events, None)
        yield at, batch
    while event is not None:
        yield event
        event = next(events, None)


def _ends(
    recording: Recording, window: Window, *, sliced: bool
) -> Iterator[tuple[int, Ends | Loss | NewListeners]]:
    last = 0
    for one in ends(recording, _BATCH):
        if isinstance(one, Loss):
            yield one.until_ns, one
            continue
        if isinstance(one, NewListeners):
            yield last, one
            continue
        mono = ended_ns(one.rows)
        at = np.where(mono > 0, one.clock.to_wall_ns(mono), recording.header.run_started_ns)
        inside = window.mask(at)
        rows, at = (one.rows, at) if inside.all() else (one.rows[inside], at[inside])
        for which in _slices(at, sliced=sliced):
            last = int(at[which][-1])
            yield last, Ends(rows[which], one.clock)


def _events(recording: Recording, window: Window, *, sliced: bool) -> Iterator[tuple[int, Events]]:
    for part in recording.events(_BATCH):
        rows = part
        at = recording.clock.to_wall_ns(rows["at"].astype(np.int64))
        inside = window.mask(at)
        rows, at = (rows, at) if inside.all() else (rows[inside], at[inside])
        for which in _slices(at, sliced=sliced):
            yield int(at[which][-1]), Events(rows[which], recording.clock)


def _slices(at: NDArray[np.int64], *, sliced: bool) -> Iterator[slice]:
    """All at once, or what happened in the same tenth of a second."""
    if not len(at):
        return
    edges = (np.flatnonzero(np.diff(at // _SLICE_NS)) + 1).tolist() if sliced else []
    first = 0
    for edge in (*edges, len(at)):
        yield slice(first, edge)
        first = edge
