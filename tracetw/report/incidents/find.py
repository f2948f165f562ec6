# SPDX-License-Identifier: Apache-2.0
"""Which incidents there were: from what is recorded most surely to what is only counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.causes.kinds import KINDS as CAUSES
from tracetw.report.causes.suspects import KEYS, Suspect, suspects
from tracetw.report.count.cube import group
from tracetw.report.count.keys import PULSE, SECOND, fill
from tracetw.report.count.wrong import ABNORMAL, CRASHES
from tracetw.report.incidents.context import Draft, IncidentContext, episodes
from tracetw.report.incidents.deaths import deaths, restarts
from tracetw.report.incidents.habits import habits
from tracetw.report.incidents.kinds import OF_CAUSE
from tracetw.report.incidents.same_death import same_death
from tracetw.report.incidents.silence import silences

_FEWEST = 3
_MANY = 20
_HALF = 0.5
_ROUNDS = 8
_NEAR_NS = 5_000_000_000


def find(context: IncidentContext) -> tuple[list[Draft], list[Suspect]]:
    """Incidents in the order of their beginning, and what belongs to none."""
    drafts = [*deaths(context), *habits(context), *restarts(context), *silences(context)]
    drafts = same_death(context, drafts)
    bursts: list[tuple[tuple[object, ...], Draft]] = []
    for _ in range(_ROUNDS):
        new = [each for one, which in _suspects(context) for each in _bursts(context, one, which)]
        if not new:
            break
        for whose, draft in new:
            near = next(
                (old for who, old in bursts if who == whose and _near(context, old, draft)), None
            )
            if near is None:
                bursts.append((whose, draft))
            else:  # the rest of a burst that was found before
                near.cells = np.union1d(near.cells, draft.cells)
    drafts += [_grown(context, whose, draft) for whose, draft in bursts]
    steady: list[Suspect] = []
    for one, which in _suspects(context, steady=True):
        if _most_of_all(context, one):
            draft = context.claim(Draft(OF_CAUSE[one.kind.name], which, actor=int(which[0])))
            draft.running = context.began_ns(draft) <= context.begin_ns + _NEAR_NS
            drafts.append(draft)
        else:
            steady.append(one)
    return sorted(drafts, key=lambda one: (context.began_ns(one), one.service or ())), steady


def counted(cells: NDArray[Any]) -> NDArray[np.bool_]:
    """Cells that somebody should look at in any case: not those of attempts that an application gave up."""
    result: NDArray[np.bool_] = ABNORMAL[cells["verdict"]] | CRASHES[cells["closed_by"]]
    return result


def _suspects(
    context: IncidentContext, *, steady: bool = False
) -> list[tuple[Suspect, NDArray[np.intp]]]:
    """Of the cells that are free, with their places."""
    rest = np.flatnonzero(context.free & counted(context.cells))
    found = suspects(
        context.cells[rest],
        context.scan.pulse_slots.width_ns,
        context.begin_ns,
        context.end_ns,
        steady=steady,
    )
    return [(one, rest[one.which]) for one in found]


def _near(context: IncidentContext, one: Draft, other: Draft) -> bool:
    """Is there no pause between them?"""
    which = np.concatenate([one.cells, other.cells])
    return len(episodes(context.cells["first"][which], context.cells["last"][which])) == 1


def _grown(context: IncidentContext, whose: tuple[object, ...], draft: Draft) -> Draft:
    """With what the same did right before and after, which slots of a second had cut off."""
    kind = next(kind for kind in CAUSES if OF_CAUSE[kind.name] == draft.kind)
    mine = context.free & np.isin(context.cells["verdict"], kind.numbers)
    for name, value in zip(KEYS[kind.by], whose[1:], strict=True):
        mine &= context.cells[name] == value
    first, last = context.cells["first"], context.cells["last"]
    while True:
        begin, end = first[draft.cells].min(), last[draft.cells].max()
        more = np.flatnonzero(mine & (last >= begin - SECOND) & (first <= end + SECOND))
        if not len(more):
            return draft
        mine[more] = False
        draft.cells = np.union1d(draft.cells, more)
        context.claim(draft)


def _bursts(
    context: IncidentContext, suspect: Suspect, which: NDArray[np.intp]
) -> list[tuple[tuple[object, ...], Draft]]:
    """A stretch that stands out, in parts between which nothing happened; and whose each is."""
    if suspect.began_ns is None:
        return []
    cells = context.cells[which]
    made = []
    for part in episodes(cells["first"], cells["last"]):
        mine = which[part]
        if context.count(mine) < _FEWEST:
            continue
        draft = Draft(OF_CAUSE[suspect.kind.name], mine, actor=int(mine[0]))
        if suspect.kind.silent and suspect.silent_since_ns is not None:
            draft.began_ns = draft.silent_since_ns = suspect.silent_since_ns
        services = np.unique(context.service[mine])
        if len(services) == 1:
            draft.service = context.services[services[0]]
        whose = (draft.kind, *(cells[name][0].item() for name in KEYS[suspect.kind.by]))
        made.append((whose, context.claim(draft)))
    return made


def _most_of_all(context: IncidentContext, suspect: Suspect) -> bool:
    """Did most of what these did go wrong? That is no noise, however steady it is."""
    if suspect.total < _MANY:
        return False
    cells = context.scan.cells.cells()
    names = KEYS[suspect.kind.by]
    whose = np.zeros(len(cells) + len(suspect.cells), PULSE)
    for name in names:
        whose[name][: len(cells)] = cells[name]
        whose[name][len(cells) :] = suspect.cells[name]
    numbers = group(fill(PULSE, whose)).inverse()
    mine = np.isin(numbers[: len(cells)], numbers[len(cells) :])
    return suspect.total >= _HALF * int(cells["count"][mine].sum())
