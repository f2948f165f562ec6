# SPDX-License-Identifier: Apache-2.0
"""Incidents that the facts of single connections name: idle timeouts, forgetful boxes, readers that stopped, ports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count.keys import SECOND
from tracetw.report.incidents.context import Draft, IncidentContext, episodes

_FEWEST = 3
_MOST = 2000
_LONG_NS = 600 * SECOND


@dataclass(frozen=True, slots=True)
class _Habit:
    """A kind of incident: the signs that its connections have, or their verdict."""

    kind: str
    signs: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()


_HABITS = (
    _Habit("ports-exhausted", verdicts=("connect-failed",)),
    _Habit("slow-consumer", signs=("window-closed",)),
    _Habit("slow-consumer", verdicts=("window-probe-expired",)),
    _Habit("idle-timeout", signs=("keepalive-race",)),
    _Habit("forgotten", signs=("forgotten-on-the-path",)),
)


def habits(context: IncidentContext) -> Iterator[Draft]:
    """Of each service at least three connections."""
    for habit in _HABITS:
        chosen = context.free & (
            context.sign(*habit.signs) if habit.signs else context.verdict(*habit.verdicts)
        )
        for service in np.unique(context.service[chosen]).tolist()[:_MOST]:
            which = np.flatnonzero(chosen & (context.service == service))
            for part in _parts(context, which):
                if context.count(part) >= _FEWEST and not _in_silence(
                    context, habit, service, part
                ):
                    draft = Draft(habit.kind, part, service=context.services[service])
                    draft.actor = _actor(context, habit, part)
                    yield context.claim(draft)


def _actor(context: IncidentContext, habit: _Habit, part: NDArray[np.intp]) -> int | None:
    """The process that ran out of ports, or that closed; of one that did not read this end knows no process."""
    if habit.kind == "ports-exhausted":
        return int(part[0])
    closed = part[context.verdict("abort-late-data")[part]]
    return int(closed[0]) if habit.kind == "idle-timeout" and len(closed) else None


def _parts(context: IncidentContext, which: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    cells = context.cells[which]
    return [which[part] for part in episodes(cells["first"], cells["last"], _LONG_NS)]


def _in_silence(
    context: IncidentContext, habit: _Habit, service: int, part: NDArray[np.intp]
) -> bool:
    """Was the service as a whole not to be reached? Then the idle connections are a part of that."""
    if habit.kind != "forgotten":
        return False
    first, last = context.cells["first"][part].min(), context.cells["last"][part].max()
    tried = context.free & (context.service == service)
    tried &= context.verdict("connect-timeout", "connect-aborted", "unreachable", "connect-refused")
    tried &= (context.cells["first"] >= first - SECOND) & (context.cells["first"] <= last)
    return context.count(np.flatnonzero(tried)) >= _FEWEST
