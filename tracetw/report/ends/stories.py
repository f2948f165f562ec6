# SPDX-License-Identifier: Apache-2.0
"""Records as stories: the JSON object of each connection, its incident, its other end, its ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.causes.suspects import Suspect
from tracetw.report.count.scan import ScannedRecording
from tracetw.report.ends.ladder import steps
from tracetw.report.incidents.context import Draft, IncidentContext
from tracetw.report.model import Story
from tracetw.sink.json import close_objects
from tracetw.stream.batch import Ends

__all__ = ["documents", "objects", "tell_stories"]

_EACH = 6
_WITHOUT = 24
_MOST = 400
_BY = ("peer_hi", "peer_lo", "port", "source", "role", "verdict", "closed_by")
_NOWHERE = (-1, -1)

Place = tuple[int, int]
"""Number of the recording, and which of its connection ends."""


@dataclass(frozen=True, slots=True)
class _Told:
    """One connection to tell: whose it is, and where its ends are."""

    incident: int | None
    cause: int | None
    kept: int
    here: Place
    there: Place


def documents(source: ScannedRecording, rows: NDArray[Any]) -> list[Mapping[str, Any]]:
    """The object of each row, as ``trace -o json`` would have written it."""
    closes = source.stages.closes(Ends(rows, source.recording.clock))
    return close_objects(closes, source.stages.context)


def objects(
    sources: Sequence[ScannedRecording], ends: NDArray[Any]
) -> dict[Place, Mapping[str, Any]]:
    """Objects of ends (dtype ``ENDPOINT``), by their place; only the segments that hold them are read."""
    told: dict[Place, Mapping[str, Any]] = {}
    for number, source in enumerate(sources):
        mine = ends[(ends["source"] == number) & (ends["flow"] != 0)]
        for places, rows in source.recording.closes_at(np.unique(mine["place"])):
            found = documents(source, rows)
            told |= dict(zip(((number, place) for place in places.tolist()), found, strict=True))
    return told


def tell_stories(
    context: IncidentContext, drafts: Sequence[Draft], causes: Sequence[Suspect]
) -> tuple[Story, ...]:
    """Some connections of each incident and of each cause, and some that belong to none."""
    owners = _owners(context, drafts, causes)
    chosen: list[_Told] = []
    room: dict[tuple[int | None, int | None], int] = {}
    joined = context.joined
    if joined is not None:
        ahead = joined.ahead_ns(len(context.scan.sources))
        pairs = joined.told
        at = pairs["at"] - ahead[pairs["key"]["source"]]
        for index, whose in enumerate(_whose(pairs["key"], at, owners)):
            if _takes(room, whose):
                ends = (pairs["here"][index], pairs["there"][index])
                chosen.append(_Told(*whose, -1, *map(_place, ends)))
    else:
        ahead = np.zeros(len(context.scan.sources), np.int64)
    kept = context.scan.kept.all()
    at = kept["at"] - ahead[kept["key"]["source"]]
    for index, whose in enumerate(_whose(kept["key"], at, owners)):
        if _takes(room, whose):
            chosen.append(_Told(*whose, index, _NOWHERE, _NOWHERE))
    chosen.sort(
        key=lambda one: (one.incident is None, one.incident or 0, one.cause is None, one.cause or 0)
    )
    return tuple(_stories(context, kept, chosen[:_MOST]))


def _place(end: NDArray[Any]) -> Place:
    return (int(end["source"]), int(end["place"])) if end["flow"] else _NOWHERE


_Owner = tuple[int | None, int | None]
_Owners = dict[tuple[int, ...], list[tuple[int, int, _Owner]]]


def _owners(
    context: IncidentContext, drafts: Sequence[Draft], causes: Sequence[Suspect]
) -> _Owners:
    """Who has what ended so, from when to when: incidents before causes."""
    owners: _Owners = {}
    parts: list[tuple[_Owner, NDArray[Any]]] = [
        ((number, None), context.cells[draft.cells]) for number, draft in enumerate(drafts, 1)
    ]
    parts += [((None, number), cause.cells) for number, cause in enumerate(causes, 1)]
    for owner, cells in parts:
        columns = [cells[name].tolist() for name in (*_BY, "first", "last")]
        for *key, first, last in zip(*columns, strict=True):
            owners.setdefault(tuple(key), []).append((first, last, owner))
    return owners


def _whose(keys: NDArray[Any], at: NDArray[np.int64], owners: _Owners) -> list[_Owner]:
    columns = [keys[name].tolist() for name in _BY]
    found = []
    for *key, when in zip(*columns, at.tolist(), strict=True):
        mine = (owner for first, last, owner in owners.get(tuple(key), ()) if first <= when <= last)
        found.append(next(mine, (None, None)))
    return found


def _takes(room: dict[_Owner, int], whose: _Owner) -> bool:
    """Is there room for one more of them?"""
    room[whose] = room.get(whose, 0) + 1
    return room[whose] <= (_WITHOUT if whose == (None, None) else _EACH)


def _stories(context: IncidentContext, kept: NDArray[Any], chosen: Sequence[_Told]) -> list[Story]:
    sources = context.scan.sources
    alone: dict[int, Mapping[str, Any]] = {}
    for number, source in enumerate(sources):
        mine = [
            one.kept
            for one in chosen
            if one.kept >= 0 and kept["key"]["source"][one.kept] == number
        ]
        if mine:
            rows = np.ascontiguousarray(kept["row"][mine])
            alone |= dict(zip(mine, documents(source, rows), strict=True))
    wanted = {place for one in chosen for place in (one.here, one.there) if place != _NOWHERE}
    paired: dict[Place, Mapping[str, Any]] = {}
    if context.joined is not None and wanted:
        told = context.joined.told
        ends = np.concatenate([told["here"], told["there"]])
        places = list(zip(ends["source"].tolist(), ends["place"].tolist(), strict=True))
        some = np.array([place in wanted for place in places], np.bool_)
        paired = objects(sources, ends[some])
    stories: list[Story] = []
    for one in chosen:
        close = alone.get(one.kept) if one.kept >= 0 else paired.get(one.here)
        if close is not None:
            other = paired.get(one.there)
            number = len(stories) + 1
            stories.append(
                Story(number, one.cause, one.incident, close, other, None, None, steps(close))
            )
    return stories
