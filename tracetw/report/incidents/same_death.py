# SPDX-License-Identifier: Apache-2.0
"""A process that served several ports or addresses dies once: what was found of each port is one incident."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracetw.report.count.keys import SECOND
from tracetw.report.count.wrong import CRASHES
from tracetw.report.incidents.context import SERVER, Draft, IncidentContext
from tracetw.verdict.taxonomy import CLOSED_BY

_Process = tuple[int, int]
"""Number of its recording, pid."""

_NEAR_NS = 30 * SECOND
_RANK = ("crash-loop", "oom", "kill", "restart", "deploy", "stop", "service-down")
"""Kinds in which a process that served goes, the one that says most of it first."""
_EXIT = CLOSED_BY.index("process-exit")


def same_death(context: IncidentContext, drafts: Sequence[Draft]) -> list[Draft]:
    """Drafts, those of one process with no pause of half a minute between as one; the others as they are."""
    made: list[Draft] = []
    of_process: dict[_Process, Draft] = {}
    order = sorted((draft for draft in drafts if draft.kind in _RANK), key=_rank)
    for draft in order:
        gone = _gone(context, draft)
        near = (of_process[one] for one in gone if one in of_process)
        first = next(
            (one for one in near if _apart_ns(context, one, draft) <= _NEAR_NS),
            None,
        )
        if first is None:
            made.append(draft)
        else:
            _join(first, draft)
        for one in gone:
            of_process.setdefault(one, first or draft)
    return [*made, *(draft for draft in drafts if draft.kind not in _RANK)]


def _rank(draft: Draft) -> tuple[int, bool]:
    return _RANK.index(draft.kind), draft.actor is None


def _gone(context: IncidentContext, draft: Draft) -> set[_Process]:
    """Processes that served and are gone, as far as it is known which."""
    found: set[_Process] = set()
    if draft.ended is not None:
        found |= {(one.source, one.end.pid) for one in (draft.ended, *draft.again)}
    elif draft.before_pid and draft.service is not None:
        host = context.host_of(context.services.index(draft.service))
        if host is not None:
            found.add((host, draft.before_pid))
    cells = context.cells[draft.cells]
    dead = (cells["role"] == SERVER) & (CRASHES[cells["closed_by"]] | (cells["closed_by"] == _EXIT))
    found |= {*zip(cells["source"][dead].tolist(), cells["pid"][dead].tolist(), strict=True)}
    return {one for one in found if one[1]}


def _apart_ns(context: IncidentContext, one: Draft, other: Draft) -> int:
    """The pause between two."""
    begun = [context.began_ns(each) for each in (one, other)]
    ended = [int(context.cells["last"][each.cells].max()) for each in (one, other)]
    return max(begun[1] - ended[0], begun[0] - ended[1], 0)


def _join(draft: Draft, other: Draft) -> None:
    """What the other one has is of this one."""
    draft.cells = np.union1d(draft.cells, other.cells)
    draft.evidence += [one for one in other.evidence if one not in draft.evidence]
    draft.missing += [one for one in other.missing if one not in draft.missing]
    if draft.ended is None:
        draft.ended, draft.again = other.ended, other.again
    if other.began_ns is not None:
        draft.began_ns = min(other.began_ns, draft.began_ns or other.began_ns)
    if other.service != draft.service:
        draft.service = None
    if draft.back_ns is None or (other.back_ns is not None and other.back_ns < draft.back_ns):
        draft.back_ns, draft.back_pid = other.back_ns, other.back_pid
