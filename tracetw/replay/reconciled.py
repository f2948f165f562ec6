# SPDX-License-Identifier: Apache-2.0
"""The counters that a recording has, held against what its ends add up to."""

from __future__ import annotations

from tracetw.event.record import Stat
from tracetw.host.counters import Snapshot
from tracetw.reconcile.compare import Reconciled, reconcile
from tracetw.reconcile.tally import Tally
from tracetw.recording.facts import Sample
from tracetw.recording.reader import Recording

__all__ = ["reconciled"]

_NO_COUNTERS = (
    "the recording has no counters of its {}: it does not have its {} segment, or crashed"
)


def reconciled(
    recording: Recording, tally: Tally
) -> tuple[tuple[Reconciled, ...] | None, str | None]:
    """One row for each counter, or None and why there are none.

    Args:
        recording: where the counters come from.
        tally: of all that is in it, whatever a filter says.
    """
    samples = {sample.moment: sample for sample in recording.samples()}
    attached, ended = samples.get("attached"), samples.get("ended")
    if attached is None or ended is None:
        names = ("start", "first") if attached is None else ("end", "last")
        return None, _NO_COUNTERS.format(*names)
    stopped = samples.get("stopped", ended)
    stats = [stopped.stats.get(stat.name, 0) for stat in Stat if stat is not Stat.MAX]
    rows = reconcile(
        _snapshot(samples.get("before", attached)),
        _snapshot(attached),
        _snapshot(ended),
        tally.result(stats),
        stats,
        stopped=_snapshot(stopped),
        pending=stopped.unfinished,
        events=recording.header.events,
    )
    return tuple(rows), None


def _snapshot(sample: Sample) -> Snapshot:
    return {netns: {**values} for netns, values in sample.counters.items()}
