# SPDX-License-Identifier: Apache-2.0
"""A recorder as the sink of a stream."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from tracetw.host.bound import Holders
from tracetw.messages import say, show
from tracetw.recorder import sampler
from tracetw.recorder.describe import Describe
from tracetw.recorder.ended import ended
from tracetw.recorder.recorder import Recorder, TapeLimits, Totals
from tracetw.recorder.sink import RecorderSink
from tracetw.recorder.store import Store
from tracetw.recorder.trigger import Trigger, Triggers
from tracetw.sink.human import amount
from tracetw.stream.batch import Context, MakeSink, Sink

KEEP_SIGNAL = signal.SIGUSR1
"""A trigger named ``signal`` waits for it."""
_NOTHING_KEPT = (
    b"tracetw: SIGUSR1 keeps nothing: the recording has not begun, or has no --trigger signal\n"
)


def records_to(
    folder: Path,
    limits: TapeLimits,
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

    From now on SIGUSR1 does not end this process. Raises what ``Store`` raises, at once.
    """
    store = Store(
        folder, socket.gethostname(), max_bytes=limits.total_bytes, max_age_s=limits.total_s
    )
    watched = Triggers(triggers, limits.keep_s)
    keep = _Keep()
    signal.signal(KEEP_SIGNAL, keep)

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
            max_connections=context.max_connections,
            host_names=context.known.names,
        )
        holders = Holders()
        recorder = Recorder(
            store,
            limits,
            describe,
            lambda moment: sampler.take(
                moment, context.stats(), listeners=holders, ended=ended(context)
            ),
            say,
        )
        if watched.signalled():
            keep.recorder = recorder
        where = f"the recording in {folder}"
        return RecorderSink(recorder, watched, context, _totals(folder), holders, where=where)

    return make


class _Keep:
    """The handler of SIGUSR1, which never ends a recorder: it may come from a script of long ago.

    Attributes:
        recorder: told to keep the last minutes; None: not yet, or not asked for.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.recorder is not None:
            self.recorder.keep("signal")
            return
        # Not through sys.stderr, which may be writing right now.
        with suppress(OSError):
            os.write(2, _NOTHING_KEPT)


def _totals(folder: Path) -> Callable[[Totals], None]:
    def said(totals: Totals) -> None:
        parts = [amount(totals.closes, "connection")]
        if totals.events:
            parts.append(amount(totals.events, "single event"))
        if totals.unwritten:
            parts.append(f"{amount(totals.unwritten, 'record')} could not be written")
        if totals.dropped:
            parts.append(f"{amount(totals.dropped, 'old segment')} dropped")
        show(f"recorded to {folder}: {', '.join(parts)}")

    return said
