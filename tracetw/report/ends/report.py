# SPDX-License-Identifier: Apache-2.0
"""Connections whose two ends do not agree, in sentences, and some of them in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count.scan import Scan, Source
from tracetw.report.ends.disagreements import DISAGREEMENTS
from tracetw.report.ends.join import Joined
from tracetw.report.ends.ladder import steps
from tracetw.report.model import Both, Story
from tracetw.sink.human import amount
from tracetw.sink.json import close_objects
from tracetw.stream.batch import Ends

__all__ = ["both_ends"]

_EACH = 4


def both_ends(
    scan: Scan, joined: Joined, first_number: int
) -> tuple[tuple[Both, ...], tuple[Story, ...]]:
    """Disagreements by kind and hosts, the most frequent first, with stories to each.

    Args:
        scan: the counts.
        joined: pairs that do not agree.
        first_number: of the first story.
    """
    groups = _groups(scan, joined)
    chosen = [at for _, which in groups for at in which[:_EACH]]
    told = _objects(scan.sources, np.concatenate([joined.here[chosen], joined.there[chosen]]))
    both: list[Both] = []
    stories: list[Story] = []
    for (kind, here, there), which in groups:
        text = DISAGREEMENTS[kind].text.format(here=here, there=there)
        numbers = []
        for at in which[:_EACH]:
            story = _story(joined, at, told, first_number + len(stories))
            if story is not None:
                name = DISAGREEMENTS[kind].name
                stories.append(replace(story, kind=name, disagreement=text))
                numbers.append(story.number)
        both.append(
            Both(
                kind=DISAGREEMENTS[kind].name,
                sentence=f"{text} ({amount(len(which), 'connection')})",
                here=here,
                there=there,
                count=len(which),
                first_ns=int(joined.here["end"][which].min()),
                stories=tuple(numbers),
            )
        )
    return tuple(both), tuple(stories)


_Group = tuple[tuple[int, str, str], NDArray[np.intp]]


def _groups(scan: Scan, joined: Joined) -> list[_Group]:
    """Indexes in ``joined`` by kind and the names of both hosts, earliest first in each."""
    hosts = scan.hosts
    order = np.argsort(joined.here["end"], kind="stable")
    found: list[_Group] = []
    unknown = joined.there["flow"] == 0
    places = joined.kind.astype(np.int64) << 32 | joined.here["source"].astype(np.int64) << 16
    places |= np.where(unknown, 0xFFFF, joined.there["source"])
    for place in np.unique(places).tolist():
        which = order[places[order] == place]
        source, other = place >> 16 & 0xFFFF, place & 0xFFFF
        here = hosts[source]
        there = hosts[other] if other != 0xFFFF else _missing(scan, source)  # noqa: PLR2004
        if there == here and source != other:
            there = f"{there} (another recording)"
        found.append(((place >> 32, here, there), which))
    return sorted(found, key=lambda pair: -len(pair[1]))


def _missing(scan: Scan, source: int) -> str:
    """The host whose recording stopped first, of all but one."""
    others = [one for number, one in enumerate(scan.sources) if number != source]
    if not others:
        return "the other end"
    return min(others, key=lambda one: one.last_ns).recording.header.host


_Place = tuple[int, int]


def _objects(sources: Sequence[Source], ends: NDArray[Any]) -> dict[_Place, Mapping[str, Any]]:
    """Objects of these ends, by source and place; only the segments that hold them are read."""
    told: dict[_Place, Mapping[str, Any]] = {}
    for number, source in enumerate(sources):
        mine = ends[(ends["source"] == number) & (ends["flow"] != 0)]
        for places, rows in source.recording.closes_at(np.unique(mine["place"])):
            closes = source.stages.closes(Ends(rows, source.recording.clock))
            objects = close_objects(closes, source.stages.context)
            told |= dict(zip(((number, place) for place in places.tolist()), objects, strict=True))
    return told


def _story(
    joined: Joined, at: int, told: Mapping[_Place, Mapping[str, Any]], number: int
) -> Story | None:
    """One pair in full."""
    close, other = (
        told.get((int(end["source"]), int(end["place"]))) if end["flow"] else None
        for end in (joined.here[at], joined.there[at])
    )
    if close is None:
        return None
    return Story(number, None, close, other, None, None, steps(close))
