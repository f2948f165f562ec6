# SPDX-License-Identifier: Apache-2.0
"""The counters that a recording has, held against what its ends add up to."""

from __future__ import annotations

from tracetw.event.record import Stat
from tracetw.reconcile.compare import Reconciled
from tracetw.reconcile.reading import Reading
from tracetw.recording.reader import Recording
from tracetw.stream import reconciliation
from tracetw.stream.stages import Stages

ONLY_A_PART = "only a stretch of time was read"
"""Why a part of a recording is not compared with the counters of all of it."""

_NO_COUNTERS = (
    "the recording has no counters of its {}: it does not have its {} segment, or crashed"
)


def reconciled(
    recording: Recording, stages: Stages
) -> tuple[tuple[Reconciled, ...] | None, str | None]:
    """One row for each counter, or None, and why there are none or not all.

    Args:
        recording: where the counters come from.
        stages: that all of it went through.
    """
    attached, ended = (reading(recording, moment) for moment in ("attached", "ended"))
    if attached is None or ended is None:
        names = ("start", "first") if attached is None else ("end", "last")
        return None, _NO_COUNTERS.format(*names)
    stopped = recording.moments().get("stopped")
    rows, why = reconciliation.reconciled(
        stages,
        attached,
        ended,
        reading(recording, "stopped") or ended,
        events=recording.header.events,
        pending=0 if stopped is None else stopped.unfinished,
    )
    return tuple(rows), why


def reading(recording: Recording, moment: str) -> Reading | None:
    """What was counted until that moment, if it is in the recording."""
    sample = recording.moments().get(moment)
    if sample is None:
        return None
    return Reading(
        {netns: {**values} for netns, values in sample.counters.items()},
        {stat: sample.stats.get(stat.name, 0) for stat in Stat if stat is not Stat.MAX},
        sample.time_ns - recording.clock.offset_ns,
    )
