# SPDX-License-Identifier: Apache-2.0
"""Hands what the tracing loop gives to the flight recorder: rows, not findings."""

from __future__ import annotations

import time
from collections.abc import Callable

from tracetw.host.bound import Holders
from tracetw.reconcile.reading import Reading
from tracetw.recorder import sampler
from tracetw.recorder.ended import ended
from tracetw.recorder.recorder import Recorder, Totals
from tracetw.recorder.trigger import Triggers
from tracetw.recording.facts import Lost, Sample
from tracetw.sink.human import amount
from tracetw.stream.batch import Closes, Context, Events, Loss, Summary, Unwritten
from tracetw.stream.known import PortListener


class RecorderSink:
    """A sink that records. Findings only decide whether a trigger fires.

    Args:
        recorder: where rows go.
        triggers: asked after every batch.
        context: with the kernel's counters when tracing began.
        said: called with the totals at the end.
        holders: looks up who listens.
        where: what to call the recording in messages.
    """

    def __init__(
        self,
        recorder: Recorder,
        triggers: Triggers,
        context: Context,
        said: Callable[[Totals], None],
        holders: Holders,
        *,
        where: str = "the recording",
    ) -> None:
        self._recorder = recorder
        self._triggers = triggers
        self._context = context
        # Of the last batch.
        self._clock = context.clock
        self._said = said
        self._holders = holders
        self._where = where
        self._told: dict[int, PortListener] = {}
        self._version = 0

    def head(self) -> None:
        """Begin to record."""
        self._recorder.start(
            [
                self._sample("before", self._context.before),
                self._sample("attached", self._context.attached),
            ]
        )

    def closes(self, batch: Closes) -> None:
        """Record finished connections."""
        self._clock = batch.clock
        self._recorder.clock(batch.clock)
        self._hear()
        self._recorder.closes(batch.rows)
        for reason in self._triggers.closes(batch.findings.verdict, time.monotonic()):
            self._recorder.keep(reason)

    def _hear(self) -> None:
        """Who listens, as far as that was not recorded."""
        known = self._context.known
        if known.version == self._version:
            return
        told, self._told, self._version = self._told, dict(known.listeners), known.version
        new = [one for key, one in self._told.items() if told.get(key) != one]
        self._recorder.heard(new)

    def events(self, batch: Events) -> None:
        """Record single events."""
        self._clock = batch.clock
        self._recorder.clock(batch.clock)
        self._recorder.events(batch.rows)

    def loss(self, loss: Loss) -> None:
        """Record that records were lost."""
        self._recorder.lost(Lost(loss.records, loss.where, loss.since_ns, loss.until_ns))

    def summary(self, summary: Summary) -> None:
        """The last samples, then everything to the disk.

        Raises Unwritten when the disk did not take everything.
        """
        self._recorder.sample(self._sample("ended", summary.ended))
        self._recorder.sample(self._sample("stopped", summary.stopped, summary.unfinished))
        totals = self._recorder.finish()
        self._said(totals)
        if totals.unwritten or totals.error:
            what = amount(totals.unwritten, "record") if totals.unwritten else "a part of it"
            raise Unwritten(
                f"{self._where} is not whole, {what} could not be written: {totals.error}",
                "give -o a folder with room",
                totals.unwritten,
            )

    def _sample(self, moment: str, reading: Reading, unfinished: int = 0) -> Sample:
        """Settings and gauges of now, counters and time of the moment that counts."""
        return sampler.take(
            moment,
            reading.stats,
            snapshot=reading.counters,
            listeners=self._holders,
            unfinished=unfinished,
            ended=ended(self._context),
            time_ns=self._clock.to_wall_ns(reading.at_ns),
        )
