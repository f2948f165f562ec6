# SPDX-License-Identifier: Apache-2.0
"""From batches to a sink: judge, weaken, tally, filter, count. The same for every source."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import end_ns
from tracetw.event.record import EventKind
from tracetw.reconcile.tally import Tally
from tracetw.stream.batch import (
    Batch,
    Closes,
    Context,
    Ends,
    Events,
    Loss,
    NewListeners,
    Sink,
    ended_ns,
)
from tracetw.stream.filter import Filter
from tracetw.stream.lossy import Lossy
from tracetw.stream.subflows import Subflows
from tracetw.verdict.habits import Habits
from tracetw.verdict.judge import judge
from tracetw.verdict.taxonomy import VERDICTS

_PLACES, _ELSEWHERE = 8, "elsewhere"


class Stages:
    """Judges batches and passes the rows that pass the filter to the sink.

    Args:
        context: host, namespace and names of the kernel's enums.
        wanted: which connections to pass on.
        sink: where to; None: nowhere.
        kinds: single events to pass on, of those that come; None: all.

    Attributes:
        context: as given.
        sink: may be taken away when it fails; what would have gone there is ``unwritten`` then.
        tally: what the kernel should have counted.
        judged: connections that came, wanted or not.
        lost: records.
        lost_at: the same by place; those of many places in one.
        wants_all: no connection is left out.
        unwritten: connections and events that were wanted and had no sink.
    """

    def __init__(
        self,
        context: Context,
        wanted: Filter,
        sink: Sink | None = None,
        kinds: Collection[str] | None = None,
    ) -> None:
        self.context = context
        self._wanted = wanted
        self.wants_all = wanted == Filter()
        self._kinds = (
            None
            if kinds is None
            else [kind.value for kind in EventKind if kind.name.lower() in kinds]
        )
        self._lossy = Lossy()
        self._subflows = Subflows()
        self._habits = Habits(context.names)
        self._counts = np.zeros(len(VERDICTS), np.int64)
        self.sink = sink
        self.tally = Tally(context.names, context.attached.at_ns)
        self.judged = 0
        self.lost = 0
        self.lost_at: dict[str, int] = {}
        self.unwritten = 0

    def feed(self, batch: Batch | NewListeners) -> None:
        """Run one batch through all stages."""
        if isinstance(batch, Ends):
            self._report(self.wanted(self.judge(batch)))
        elif isinstance(batch, Events):
            self._report_events(self.events(batch))
        elif isinstance(batch, NewListeners):
            self.context.known.tell(batch.heard)
        else:
            self.loss(batch)
            if self.sink is not None:
                self.sink.loss(batch)

    def judge(self, ends: Ends) -> Closes:
        """Judge, weaken and tally: each end once."""
        end = end_ns(ends.rows) if ends.end is None else ends.end
        ended = ended_ns(ends.rows, end)
        closes = self._judge(ends, ended)
        closes.findings.hints[:] |= self._habits.add(closes.rows, closes.findings, ended)
        self.tally.add(closes.rows, closes.findings, end)
        self.judged += len(closes.rows)
        return self._subflows.together(closes)

    def closes(self, ends: Ends) -> Closes:
        """Judge and weaken; without the hints that several connections show."""
        return self._subflows.together(self._judge(ends, ended_ns(ends.rows, ends.end)))

    def _judge(self, ends: Ends, ended: NDArray[np.int64]) -> Closes:
        rows = ends.rows
        at: NDArray[np.int64] = ends.clock.to_wall_ns(ended)
        if not ended.all():
            at = np.where(ended > 0, at, self.context.started_ns)
        findings = judge(rows, self.context.names, lossy=self._lossy.weakens(at), gone=ends.gone)
        return Closes(rows, findings, ends.clock, at)

    def wanted(self, closes: Closes) -> Closes:
        """The connections that pass the filter."""
        if self.wants_all:
            return closes
        keep = self._wanted.mask(closes.rows, closes.findings, self.context.cgroup_path)
        if keep.all():
            return closes
        # Mostly a filter wants few.
        return closes.take(keep if keep.any() else slice(0))

    def events(self, events: Events) -> Events:
        """Tally the events; returns those that pass the filter."""
        rows = events.rows
        self.tally.add_events(rows)
        keep = self._wanted.mask_events(rows, self.context.cgroup_path)
        if self._kinds is not None:
            keep &= np.isin(rows["kind"], self._kinds)
        return events if keep.all() else Events(rows[keep], events.clock)

    def loss(self, loss: Loss, *, counted: bool = True) -> None:
        """Weakens ends that come later; ``counted`` unless it is outside of what is reported."""
        self._lossy.add(loss)
        if not counted:
            return
        self.lost += loss.records
        # A recording may name any number of places.
        known = loss.where in self.lost_at or len(self.lost_at) < _PLACES
        where = loss.where if known else _ELSEWHERE
        self.lost_at[where] = self.lost_at.get(where, 0) + loss.records

    def by_verdict(self) -> dict[str, int]:
        """Connections passed on, by verdict code."""
        return {
            verdict.code: int(count)
            for verdict, count in zip(VERDICTS, self._counts, strict=True)
            if count
        }

    def _report(self, closes: Closes) -> None:
        if not len(closes.rows):
            return
        self._counts += np.bincount(closes.findings.verdict, minlength=len(VERDICTS))
        if self.sink is None:
            self.unwritten += len(closes.rows)
        else:
            self.context.known.look(closes.rows)
            self.sink.closes(closes)

    def _report_events(self, events: Events) -> None:
        if not len(events.rows):
            return
        if self.sink is None:
            self.unwritten += len(events.rows)
        else:
            self.sink.events(events)
