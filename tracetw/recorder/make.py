# SPDX-License-Identifier: Apache-2.0
"""A recorder as the sink of a stream."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from tracetw.messages import say
from tracetw.recorder import sampler
from tracetw.recorder.describe import Describe
from tracetw.recorder.recorder import Limits, Recorder, Totals
from tracetw.recorder.sink import RecorderSink
from tracetw.recorder.store import Store
from tracetw.recorder.trigger import Trigger, Triggers
from tracetw.stream.batch import Context, MakeSink, Sink

__all__ = ["KEEP_SIGNAL", "records_to"]

KEEP_SIGNAL = signal.SIGUSR1
"""A trigger named ``signal`` waits for it."""


def records_to(
    folder: Path,
    limits: Limits,
    triggers: Sequence[Trigger],
    events: Collection[str],
    filters: Sequence[str],
) -> MakeSink:
    """Makes the sink that records.

    Args:
        folder: where to.
        limits: how much.
        triggers: what makes it keep the last minutes.
        events: kinds of single events that are recorded.
        filters: the conditions of the filter, in words.

    Raises what ``Store`` raises, at once.
    """
    store = Store(
        folder, socket.gethostname(), max_bytes=limits.total_bytes, max_age_s=limits.total_s
    )
    watched = Triggers(triggers, limits.keep_s)

    def make(context: Context) -> Sink:
        describe = Describe(
            names=context.names,
            netns=context.netns,
            hooks=context.hooks,
            absent=context.absent,
            events=frozenset(events),
            command=("tracetw", *sys.argv[1:]),
            filters=tuple(filters),
            scope=context.scope,
            clock=context.clock,
            started_ns=context.started_ns,
        )
        recorder = Recorder(
            store,
            limits,
            describe,
            lambda moment: sampler.take(moment, context.stats()),
            lambda text: say(f"tracetw: {text}"),
        )
        if watched.signalled():
            signal.signal(KEEP_SIGNAL, lambda _number, _frame: recorder.keep("signal"))
        return RecorderSink(recorder, watched, context, _totals(folder))

    return make


def _totals(folder: Path) -> Callable[[Totals], None]:
    def said(totals: Totals) -> None:
        parts = [f"{totals.closes:,} connections"]
        if totals.events:
            parts.append(f"{totals.events:,} single events")
        if totals.unwritten:
            parts.append(f"{totals.unwritten:,} records could not be written")
        if totals.dropped:
            parts.append(f"{totals.dropped:,} old segments dropped")
        say(f"recorded to {folder}: {', '.join(parts)}")

    return said
