# SPDX-License-Identifier: Apache-2.0
"""Hands what the tracing loop gives to the flight recorder: rows, not findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from tracetw.event.record import Stat
from tracetw.recorder import sampler
from tracetw.recorder.recorder import Recorder, Totals
from tracetw.recorder.trigger import Triggers
from tracetw.recording.facts import Lost, Sample
from tracetw.stream.batch import Closes, Events, Loss, Summary, Unwritten

__all__ = ["RecorderSink"]


class RecorderSink:
    """A sink that records. Findings only decide whether a trigger fires.

    Args:
        recorder: where rows go.
        triggers: asked after every batch.
        before: sample from before the first hook was attached.
        stats: the tracer's own counters.
        said: called with the totals at the end.
        where: what to call the recording in messages.
    """

    def __init__(
        self,
        recorder: Recorder,
        triggers: Triggers,
        before: Sample,
        stats: Callable[[], Mapping[Stat, int]],
        said: Callable[[Totals], None],
        *,
        where: str = "the recording",
    ) -> None:
        self._recorder = recorder
        self._triggers = triggers
        self._samples = [before, sampler.take("attached", stats())]
        self._stats = stats
        self._said = said
        self._where = where

    def head(self) -> None:
        """Begin to record."""
        self._recorder.start(self._samples)

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
        """The last samples, then everything to the disk.

        Raises Unwritten when the disk did not take everything.
        """
        stats = self._stats()
        for moment, snapshot, unfinished in (
            ("ended", summary.ended, 0),
            ("stopped", summary.stopped, summary.unfinished),
        ):
            sample = sampler.take(moment, stats, snapshot=snapshot, unfinished=unfinished)
            self._recorder.sample(sample)
        totals = self._recorder.finish()
        self._said(totals)
        if totals.unwritten or totals.error:
            what = f"{totals.unwritten:,} records" if totals.unwritten else "a part of it"
            raise Unwritten(
                f"{self._where} is not whole, {what} could not be written: {totals.error}",
                "give -o a folder with room",
                totals.unwritten,
            )
