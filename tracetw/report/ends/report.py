# SPDX-License-Identifier: Apache-2.0
"""Connections whose two ends do not agree, in sentences, and some of them in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.recording.reader import Recording
from tracetw.replay.source import BATCH, end_wall_ns
from tracetw.report.count.scan import Scan
from tracetw.report.ends.disagreements import DISAGREEMENTS
from tracetw.report.ends.join import Joined, flows
from tracetw.report.ends.ladder import steps
from tracetw.report.ends.stories import documents
from tracetw.report.model import Both, Story
from tracetw.sink.human import amount

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
    wanted = {
        int(joined.here["flow"][at]): int(joined.here["begin"][at])
        for _, which in groups
        for at in which[:_EACH]
    }
    told = _told([source.recording for source in scan.sources], wanted)
    both: list[Both] = []
    stories: list[Story] = []
    for (kind, here, there), which in groups:
        text = DISAGREEMENTS[kind].text.format(here=here, there=there)
        numbers = []
        for at in which[:_EACH]:
            story = _story(joined, at, told, scan.hosts, first_number + len(stories))
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


def _told(
    recordings: Sequence[Recording], wanted: Mapping[int, int]
) -> dict[tuple[int, int], list[tuple[int, Mapping[str, Any]]]]:
    """Objects of the wanted flows by flow and side, each with the time of its end."""
    told: dict[tuple[int, int], list[tuple[int, Mapping[str, Any]]]] = {}
    if not wanted:
        return told
    keys = np.array(sorted(wanted), np.uint64)
    hosts = [recording.header.host for recording in recordings]
    for recording in recordings:
        host = hosts.index(recording.header.host)
        for rows in recording.closes(BATCH):
            flow, side = flows(rows, host)
            which = np.flatnonzero(np.isin(flow, keys))
            if not len(which):
                continue
            chosen = rows[which]
            at = end_wall_ns(recording, chosen)
            for place, index in enumerate(which.tolist()):
                close = documents(recording, chosen[place : place + 1])[0]
                key = (int(flow[index]), int(side[index]))
                told.setdefault(key, []).append((int(at[place]), close))
    return told


def _story(
    joined: Joined,
    at: int,
    told: Mapping[tuple[int, int], list[tuple[int, Mapping[str, Any]]]],
    hosts: Sequence[str],
    number: int,
) -> Story | None:
    """One pair in full."""
    found = []
    for ends in (joined.here, joined.there):
        end = ends[at]
        same = [
            close
            for time, close in told.get((int(end["flow"]), int(end["side"])), [])
            if time == int(end["end"]) and close["host"] == hosts[int(end["source"])]
        ]
        found.append(same[0] if same and end["flow"] else None)
    close, other = found
    if close is None:
        return None
    return Story(number, None, close, other, None, None, steps(close))
