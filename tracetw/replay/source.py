# SPDX-License-Identifier: Apache-2.0
"""Recordings as judged batches: the one way in which replay, report and query see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.recording.reader import Recording
from tracetw.replay.window import ALWAYS, Window
from tracetw.stream.filter import Filter
from tracetw.verdict.findings import Findings
from tracetw.verdict.judge import judge
from tracetw.verdict.taxonomy import CONFIDENCE

__all__ = ["BATCH", "Judged", "end_wall_ns", "judge_recorded", "judged"]

BATCH = 1 << 17
"""Rows at a time: large enough for arrays, small enough for the cache and for memory."""

_WEAKENED = CONFIDENCE.index("weakened")

Rows = NDArray[Any]
Seen = Callable[[Rows, Findings], None]


@dataclass(frozen=True, slots=True)
class Judged:
    """Some connections of one recording.

    Attributes:
        rows: dtype ``CLOSE``.
        findings: of the same rows.
        at: wall time of each end, nanoseconds since 1970.
    """

    rows: Rows
    findings: Findings
    at: NDArray[np.int64]

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Judged:
        """Some of them, by index or mask."""
        return Judged(self.rows[which], self.findings.take(which), self.at[which])


def end_wall_ns(recording: Recording, rows: Rows) -> NDArray[np.int64]:
    """Wall time of the end of each row; the start of the recording where no time is known."""
    end = fields.end_ns(rows)
    unknown = np.flatnonzero(end < 0)
    if len(unknown):
        end[unknown] = rows["at"][unknown].max(axis=1)
    wall = recording.clock.to_wall_ns(end)
    return np.where(end > 0, wall, recording.header.run_started_ns)


def judge_recorded(recording: Recording, rows: Rows, at: NDArray[np.int64]) -> Findings:
    """Findings by the rules of today; weakened where records were lost at that time."""
    findings = judge(rows, recording.header.names, lossy=False)
    weak = _lossy(recording, at)
    if not weak.any():
        return findings
    confidence = np.where(weak, np.uint8(_WEAKENED), findings.confidence)
    return replace(findings, confidence=confidence)


def _lossy(recording: Recording, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which times are within one of the losses, of which there may be thousands."""
    losses = sorted((lost.since_ns, lost.until_ns) for lost in recording.losses())
    if not losses:
        return np.zeros(len(at), np.bool_)
    since, until = np.array(losses, np.int64).T
    latest = np.maximum.accumulate(until)  # of all that began before
    begun = np.searchsorted(since, at, side="right") - 1
    within: NDArray[np.bool_] = (begun >= 0) & (at <= latest[np.maximum(begun, 0)])
    return within


def judged(
    recording: Recording,
    wanted: Filter,
    window: Window = ALWAYS,
    seen: Seen | None = None,
    batch: int = BATCH,
) -> Iterator[Judged]:
    """The connections of a recording, in the order of recording.

    Args:
        recording: where from.
        wanted: which to give.
        window: the time in which they ended.
        seen: called with every batch before anything is left out.
        batch: rows at a time, at most.
    """
    every = wanted == Filter()
    for rows in recording.closes(batch):
        if not len(rows):
            continue
        at = end_wall_ns(recording, rows)
        part = Judged(rows, judge_recorded(recording, rows, at), at)
        if seen is not None:
            seen(part.rows, part.findings)
        keep = window.mask(at)
        if not every:
            keep &= wanted.mask(rows, part.findings, recording.cgroup_path)
        if not keep.all():
            part = part.take(keep)
        if len(part.rows):
            yield part
