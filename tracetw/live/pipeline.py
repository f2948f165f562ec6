# SPDX-License-Identifier: Apache-2.0
"""Records to findings to sinks, and what is counted on the way."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from tracetw.host import netns
from tracetw.host.clock import Clock
from tracetw.host.listeners import Listeners
from tracetw.live.owners import resolve
from tracetw.live.source import Lost, Source
from tracetw.reconcile.tally import Tally
from tracetw.stream.batch import Closes, Events, Loss, Scene, Sink
from tracetw.stream.filter import Filter
from tracetw.verdict.judge import judge
from tracetw.verdict.taxonomy import VERDICTS

__all__ = ["Pipeline"]

Rows = NDArray[np.void]

# A ring that was full is still being worked off.
_AFTERMATH_NS = 1_000_000_000


class Pipeline:
    """Judges what it is given and passes on what is wanted.

    Args:
        scene: what stays the same during the trace.
        wanted: which connections to report.
        sink: where reports go.
        look_up: owners may be looked up in ``/proc``: its numbers are those of the kernel side.
    """

    def __init__(self, scene: Scene, wanted: Filter, sink: Sink, *, look_up: bool = True) -> None:
        self._scene = scene
        self._wanted = wanted
        self._sink = sink
        self._tally = Tally(scene.names)
        self._listeners = Listeners() if look_up else None
        self._counts = np.zeros(len(VERDICTS), np.int64)
        self._clock = Clock.now()
        self._all = wanted == Filter()
        self._quiet_since = time.monotonic_ns()  # wall time may be set meanwhile
        self._lossy = False
        self.lost = 0
        """records"""
        self.traced = 0
        """connections reported or not"""

    @property
    def tally(self) -> Tally:
        """What the kernel should have counted."""
        return self._tally

    def closes(self, rows: Rows, gone: NDArray[np.bool_] | None = None) -> None:
        """Finished connections; ``gone`` says whose network namespace is known to be gone."""
        if len(rows):
            self._report(self._resolved(rows), gone)

    def overdue(self, source: Source, *, everything: bool = False) -> None:
        """Those that waited for their application for too long."""
        rows = source.overdue(everything=everything)
        if len(rows):
            rows = source.confirmed(self._resolved(rows), everything=everything)
        if len(rows):
            self._report(rows, None)

    def _resolved(self, rows: Rows) -> Rows:
        return rows if self._listeners is None else resolve(rows, self._listeners)

    def _report(self, rows: Rows, gone: NDArray[np.bool_] | None) -> None:
        findings = judge(rows, self._scene.names, lossy=self._lossy, gone=gone)
        self._tally.add(rows, findings)
        self.traced += len(rows)
        if not self._all:
            keep = self._wanted.mask(rows, findings, self._scene.cgroup_path)
            if not keep.all():
                rows, findings = rows[keep], findings.take(keep)
        if not len(rows):
            return
        self._counts += np.bincount(findings.verdict, minlength=len(VERDICTS))
        self._sink.closes(Closes(rows, findings, self._clock))

    def stale(self, rows: Rows) -> None:
        """Mini-sockets that vanished without a witness: with their namespace, or who knows how."""
        if len(rows):
            self.closes(rows, ~np.isin(rows["netns"], list(netns.find())))

    def events(self, rows: Rows) -> None:
        """Single events."""
        if not len(rows):
            return
        self._tally.add_events(rows)
        rows = rows[self._wanted.mask_events(rows, self._scene.cgroup_path)]
        if len(rows):
            self._sink.events(Events(rows, self._clock))

    def losses(self, lost: list[Lost]) -> None:
        """What was lost since the last call: weakens what is judged for a second from now."""
        now = time.monotonic_ns()
        if lost:
            self._lossy = True
        elif now - self._quiet_since < _AFTERMATH_NS:
            return
        else:
            self._lossy = False
        # The wall clock may be set while we trace.
        self._clock = Clock.now()
        since, until = map(self._clock.to_wall_ns, (self._quiet_since, now))
        for one in lost:
            self.lost += one.records
            self._sink.loss(Loss(one.records, one.where, since, until))
        self._quiet_since = now

    def by_verdict(self) -> dict[str, int]:
        """Connections reported, by verdict code."""
        return {
            verdict.code: int(count)
            for verdict, count in zip(VERDICTS, self._counts, strict=True)
            if count
        }
