# SPDX-License-Identifier: Apache-2.0
"""Connections whose two ends do not agree, in sentences, and some of them in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count.scan import Scan
from tracetw.report.ends.disagreements import DISAGREEMENTS
from tracetw.report.ends.join import Joined
from tracetw.report.ends.ladder import steps
from tracetw.report.ends.stories import Place, objects
from tracetw.report.model import Both, ClockOffset, Story
from tracetw.sink.human import amount, span

_EACH = 4
_TOLD = 50
"""Kinds and pairs of hosts with stories; a hundred hosts have thousands of pairs."""
_MS = 1_000_000


def both_ends(
    scan: Scan, joined: Joined, stories: Sequence[Story]
) -> tuple[tuple[Both, ...], tuple[Story, ...]]:
    """Disagreements by kind and hosts, the most frequent first, and all stories with some of the first.

    A connection that has a story gets no second one: what its ends do not agree on is added to it.

    Args:
        scan: the counts.
        joined: pairs that do not agree.
        stories: those that exist.
    """
    groups = _groups(scan, joined)
    chosen = [at for _, which in groups[:_TOLD] for at in which[:_EACH]]
    told = objects(scan.sources, np.concatenate([joined.here[chosen], joined.there[chosen]]))
    all_ = [*stories]
    known = {
        _identity(close): at
        for at, one in enumerate(all_)
        for close in (one.close, one.other)
        if close
    }
    both: list[Both] = []
    for number, ((kind, here, there), which) in enumerate(groups):
        text = DISAGREEMENTS[kind].text.format(here=here, there=there)
        name = DISAGREEMENTS[kind].name
        numbers = []
        for at in which[: _EACH if number < _TOLD else 0]:
            close, other = (_object(end[at], told) for end in (joined.here, joined.there))
            if close is None:
                continue
            place = known.get(_identity(close))
            if place is None:
                place = known[_identity(close)] = len(all_)
                all_.append(Story(place + 1, None, None, close, other, None, None, steps(close)))
            all_[place] = replace(all_[place], kind=name, disagreement=text)
            numbers.append(all_[place].number)
        both.append(
            Both(
                kind=name,
                sentence=f"{text} ({amount(len(which), 'connection')})",
                here=here,
                there=there,
                count=len(which),
                first_ns=int(joined.here["end"][which].min()),
                stories=tuple(numbers),
            )
        )
    return tuple(both), tuple(all_)


def _identity(close: Mapping[str, Any]) -> tuple[object, ...]:
    return close["host"], close["time"], str(close["local"]), str(close["remote"])


def _object(end: NDArray[Any], told: Mapping[Place, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return told.get((int(end["source"]), int(end["place"]))) if end["flow"] else None


def clock_offsets(scan: Scan, joined: Joined) -> tuple[ClockOffset, ...]:
    """How far the clocks of the hosts are apart, in words."""
    found = []
    for one in joined.clocks:
        host, other = scan.hosts[one.source], scan.hosts[one.other]
        ahead = one.ahead_ns / _MS
        error = None if one.error_ns is None else one.error_ns / _MS
        where = "ahead of" if ahead >= 0 else "behind"
        exact = "" if error is None else f", exact to {span(max(one.error_ns or 0, 1000))}"
        text = f"the clock of {host} is {span(abs(one.ahead_ns))} {where} that of {other}"
        text += f" ({amount(one.pairs, 'connection')} between them say so{exact})"
        text += f"; times of incidents are by the clock of {scan.hosts[0]}"
        found.append(ClockOffset(host, other, ahead, error, one.pairs, text))
    return tuple(found)


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
