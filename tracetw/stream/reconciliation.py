# SPDX-License-Identifier: Apache-2.0
"""The kernel's counters against what a stream adds up to: the same for live and recorded ones."""

from __future__ import annotations

from collections.abc import Collection

from tracetw.event.record import Stat
from tracetw.reconcile.compare import Missing, Reconciled, reconcile
from tracetw.reconcile.reading import Reading
from tracetw.stream.stages import Stages

# Not records that were lost, but records that may lack a reset.
_NO_ROOM = (Stat.CLOSING_FULL, Stat.END_FULL)
NOT_COMPARABLE = (
    "the kernel counts by network namespace; this filter is finer, so that its counters cannot be"
    " compared with what was traced"
)


def reconciled(
    stages: Stages,
    attached: Reading,
    ended: Reading,
    stopped: Reading,
    *,
    events: Collection[str],
    pending: int,
    unjudged: int = 0,
) -> tuple[list[Reconciled], str | None]:
    """One row for each counter that can be compared, and why that are not all, if it is so.

    Args:
        stages: everything went through them.
        attached, ended, stopped: after the last hook was attached, before they were detached, after.
        events: kinds of single events that were traced.
        pending: connections in FIN_WAIT2 that were not reported.
        unjudged: records that did not go through the stages.
    """
    scope = stages.context.scope
    lost_events = min(stopped.stats.get(Stat.LOST_EVENTS, 0), stages.lost)
    rows = reconcile(
        attached.counters,
        ended.counters,
        stages.tally.result(stopped.stats),
        stages.tally.edges(attached.stats, ended.stats, stopped.stats),
        Missing(
            closes=stages.lost - lost_events,
            events=lost_events,
            unjudged=unjudged,
            no_room=sum(stopped.stats.get(stat, 0) for stat in _NO_ROOM),
            pending=pending,
        ),
        scope=scope,
        events=events,
    )
    return rows, None if scope.comparable else NOT_COMPARABLE
