# SPDX-License-Identifier: Apache-2.0
"""Hands what the tracing loop gives to the flight recorder: rows, not findings."""

from __future__ import annotations

import time
from collections.abc import Callable

from tracetw.recorder import sampler
from tracetw.recorder.recorder import Recorder, Totals
from tracetw.recorder.trigger import Triggers
from tracetw.recording.facts import Lost
from tracetw.stream.batch import Closes, Context, Events, Loss, Summary

__all__ = ["RecorderSink"]


class RecorderSink:
    """A sink that records. Findings only decide whether a trigger fires.

    Args:
        recorder: where rows go.
        triggers: asked after every batch.
        context: with the kernel's counters when tracing began.
        said: called with the totals at the end.
    """

    def __init__(
        self,
        recorder: Recorder,
        triggers: Triggers,
        context: Context,
        said: Callable[[Totals], None],
    ) -> None:
        self._recorder = recorder
        self._triggers = triggers
        self._context = context
        self._said = said

    def head(self) -> None:
        """Begin to record."""
        stats = self._context.stats()
        self._recorder.start(
            [
                sampler.take("before", snapshot=self._context.before),
                sampler.take("attached", stats, snapshot=self._context.attached),
            ]
        )

    def closes(self, batch: Closes) -> None:
        """Record finished connections."""
        self._recorder.clock(batch.clock)
        self._recorder.closes(batch.rows)
        for reason in self._triggers.closes(batch.findings.verdict, time.monotonic()):
            self._recorder.keep(reason)

    def events(self, batch: Events) -> None:
        """Record single events."""
        self._recorder.clock(batch.clock)
        self._recorder.events(batch.rows)

    def loss(self, loss: Loss) -> None:
        """Record that records were lost."""
        self._recorder.lost(Lost(loss.records, loss.where, loss.since_ns, loss.until_ns))

    def summary(self, summary: Summary) -> None:
        """The last samples, then everything to the disk."""
        stats = self._context.stats()
        for moment, snapshot, unfinished in (
            ("ended", summary.ended, 0),
            ("stopped", summary.stopped, summary.unfinished),
        ):
            sample = sampler.take(
                moment,
                stats,
                snapshot=snapshot,
                unfinished=unfinished,
                time_ns=summary.time_ns,
            )
            self._recorder.sample(sample)
        self._said(self._recorder.finish())
