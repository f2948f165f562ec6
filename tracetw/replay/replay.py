# SPDX-License-Identifier: Apache-2.0
"""A recording through the stages and a sink of the live trace, as fast as possible or as it happened."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tracetw.recording.reader import Recording
from tracetw.replay.pace import Pace
from tracetw.replay.reconciled import reconciled
from tracetw.replay.source import context_of, end_of_trace, ends
from tracetw.stream.batch import Batch, Ends, Events, Loss, MakeSink, Summary, ended_ns
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages

__all__ = ["replay"]

_BATCH = 1 << 14
_SLICE_NS = 100_000_000
_SECOND = 1_000_000_000


def replay(
    recording: Recording,
    wanted: Filter,
    kinds: frozenset[str],
    make_sink: MakeSink,
    pace: Pace,
) -> Summary:
    """Report everything that is wanted to a sink, in the order of recording, then the summary.

    Args:
        recording: where from.
        wanted: which connections.
        kinds: single events to report, of those that were recorded.
        make_sink: where to.
        pace: how fast.

    Returns the summary that the sink was given. Sinks raise as they do live.
    """
    context = context_of(recording)
    sink = make_sink(context)
    stages = Stages(context, wanted, sink, kinds)
    end_of_trace(recording, stages)
    sink.head()
    last = context.started_ns
    for at, batch in _merged(recording, sliced=pace.waits):
        pace.until(at)
        stages.feed(batch)
        last = max(last, at)
    last = _ended_ns(recording) or max(last, recording.header.ended_ns or 0)
    rows, why = reconciled(recording, stages)
    summary = Summary(
        time_ns=last,
        duration_s=max(last - context.started_ns, 0) / _SECOND,
        closes=stages.by_verdict(),
        lost=stages.lost,
        reconciliation=rows or (),
        not_reconciled=why,
    )
    sink.summary(summary)
    return summary


def _ended_ns(recording: Recording) -> int | None:
    """When tracing was over, if the recording tells."""
    moments = {sample.moment: sample.time_ns for sample in recording.samples()}
    return moments.get("stopped")


def _merged(recording: Recording, *, sliced: bool) -> Iterator[tuple[int, Batch]]:
    """Ends and losses, and the events between them by time, each with its time."""
    events = _events(recording, sliced=sliced)
    event = next(events, None)
    for at, batch in _ends(recording, sliced=sliced):
        while event is not None and event[0] < at:
            yield event
            event = next(events, None)
        yield at, batch
    while event is not None:
        yield event
        event = next(events, None)


def _ends(recording: Recording, *, sliced: bool) -> Iterator[tuple[int, Ends | Loss]]:
    for one in ends(recording, _BATCH):
        if isinstance(one, Loss):
            yield one.until_ns, one
            continue
        at = one.clock.to_wall_ns(ended_ns(one.rows))
        for which in _slices(at, sliced=sliced):
            yield int(at[which][-1]), Ends(one.rows[which], one.clock)


def _events(recording: Recording, *, sliced: bool) -> Iterator[tuple[int, Events]]:
    for rows in recording.events(_BATCH):
        at = recording.clock.to_wall_ns(rows["at"].astype(np.int64))
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
