# SPDX-License-Identifier: Apache-2.0
"""From what went wrong, counted in time, to causes: who, since when, how much more than before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracetw.report.causes.kinds import CRASHES, KINDS, CauseKind
from tracetw.report.causes.onset import Burst, burst
from tracetw.report.count.cube import NEVER, group
from tracetw.report.count.keys import OTHERS, PULSE, SECOND
from tracetw.verdict.taxonomy import CLOSED_BY

_MOST = 2000
_TOGETHER_NS = 5 * SECOND
_SEVERAL = 3
_BEGUN = 20
_CRASHED = [CLOSED_BY.index(name) for name in CRASHES]
KEYS = {
    "peer": ("peer_hi", "peer_lo"),
    "service": ("peer_hi", "peer_lo", "port"),
    "process": ("source", "comm"),
    "host": ("source",),
}
"""What tells one who from another, by ``CauseKind.by``."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """Cells (dtype of the pulse cube) that look like one cause.

    Attributes:
        kind: of the cause.
        cells: those of the stretch that stands out, or all if none does.
        which: their places among those that were given.
        began_ns, ended_ns: first and last end of a connection in it; None if it went on all along.
        before: connections of this cause before it began.
        before_ns: how long that time was.
        silent_since_ns: when the peer was last heard of.
        members: how many different whos were put together.
    """

    kind: CauseKind
    cells: NDArray[Any]
    which: NDArray[np.intp]
    began_ns: int | None
    ended_ns: int | None
    before: int
    before_ns: int
    silent_since_ns: int | None
    members: int = 1

    @property
    def total(self) -> int:
        """Connections."""
        return int(self.cells["count"].sum())


class _Times(NamedTuple):
    """Width of a slot, and what was looked at."""

    width_ns: int
    begin_ns: int
    end_ns: int

    def slots(self, slots: NDArray[np.int64]) -> tuple[int, int]:
        """The first and the last slot that there could be."""
        first, last = self.begin_ns // self.width_ns, self.end_ns // self.width_ns
        return min(first, int(slots.min())), max(last, int(slots.max()))


def suspects(
    cells: NDArray[Any], width_ns: int, begin_ns: int, end_ns: int, *, steady: bool = False
) -> list[Suspect]:
    """All causes by how many connections they took; those that began at some time weigh more.

    Args:
        cells: of dtype ``PULSE`` with its measures.
        width_ns: of their slots.
        begin_ns, end_ns: what was looked at.
        steady: whatever stood out is taken away already.
    """
    crashed = np.isin(cells["closed_by"], _CRASHED)
    found: list[Suspect] = []
    for kind in KINDS:
        chosen = (
            crashed if not kind.verdicts else np.isin(cells["verdict"], kind.numbers) & ~crashed
        )
        if chosen.any():
            which = np.flatnonzero(chosen)
            found += _together(
                list(_apart(kind, cells, which, _Times(width_ns, begin_ns, end_ns), steady=steady))
            )
    return sorted(found, key=lambda one: -one.total * (1 if one.began_ns is None else _BEGUN))


def _apart(
    kind: CauseKind,
    cells: NDArray[Any],
    which: NDArray[np.intp],
    times: _Times,
    *,
    steady: bool,
) -> Iterator[Suspect]:
    """One suspect for each who; those beyond the largest many are one."""
    whose = np.zeros(len(which), PULSE)
    for name in KEYS[kind.by]:
        whose[name] = cells[name][which]
    groups = group(whose)
    sums = np.add.reduceat(cells["count"][which][groups.order], groups.starts)
    ends = groups.starts + groups.sizes
    order = np.argsort(-sums, kind="stable")
    for number in order[:_MOST].tolist():
        mine = which[groups.order[groups.starts[number] : ends[number]]]
        part = cells[mine]
        slots = part["slot"].astype(np.int64)
        low, high = times.slots(slots)
        stretch = None if steady else burst(slots, part["count"], low, high, len(sums))
        # When peers became "others" depends on the flood, not on them: that is no beginning.
        if stretch is None or part["peer_lo"][0] == part["peer_hi"][0] == OTHERS:
            yield Suspect(kind, part, mine, None, None, 0, 0, None)
            continue
        yield _begun(kind, part, mine, stretch, times)
    left = [groups.order[groups.starts[number] : ends[number]] for number in order[_MOST:].tolist()]
    if left:
        rest = which[np.concatenate(left)]
        yield Suspect(kind, cells[rest], rest, None, None, 0, 0, None, len(left))


def _begun(
    kind: CauseKind,
    cells: NDArray[Any],
    which: NDArray[np.intp],
    stretch: Burst,
    times: _Times,
) -> Suspect:
    slots = cells["slot"].astype(np.int64)
    low, _ = times.slots(slots)
    begin_ns = max(times.begin_ns, low * times.width_ns)
    slots -= low
    chosen = (slots >= stretch.first) & (slots <= stretch.last)
    since = None
    if kind.silent:
        since = _silent_since(cells[chosen])
    if since is not None:
        # Each kind of timer gives up in its own time: what was not heard of since then belongs
        # to it as well, however long it took.
        chosen |= (cells["first"] > since) & (cells["heard"] != NEVER) & (cells["heard"] <= since)
    inside = cells[chosen]
    began, ended = int(inside["first"].min()), int(inside["last"].max())
    start = began if since is None else since
    before = int(cells["count"][~chosen & (cells["last"] < start)].sum())
    return Suspect(
        kind, inside, which[chosen], began, ended, before, max(start - begin_ns, 0), since
    )


def _silent_since(cells: NDArray[Any]) -> int | None:
    """When anything was heard last; None if that is not known."""
    heard = cells["heard"][cells["heard"] != NEVER]
    if not len(heard):
        return None
    # A peer that came back is heard of by connections that died later: not the start.
    early = heard[heard <= cells["first"].min()]
    return int(early.max()) if len(early) else int(heard.min())


def _together(apart: Sequence[Suspect]) -> list[Suspect]:
    """Make one cause of the peers that began at about the same moment, and one of those without a beginning."""

    def start(one: Suspect) -> int:
        return one.silent_since_ns or one.began_ns or 0

    steady = [one for one in apart if one.began_ns is None]
    begun = sorted((one for one in apart if one.began_ns is not None), key=start)
    result: list[Suspect] = []
    chain: list[Suspect] = []
    for one in [*begun, None]:
        if one is not None and (not chain or start(one) - start(chain[-1]) <= _TOGETHER_NS):
            chain.append(one)
            continue
        result += [_merged(chain)] if len(chain) >= _SEVERAL else chain
        chain = [] if one is None else [one]
    if len(steady) >= _SEVERAL:
        return [*result, _merged(steady)]
    return [*result, *steady]


def _merged(chain: Sequence[Suspect]) -> Suspect:
    began = [one.began_ns for one in chain if one.began_ns is not None]
    ended = [one.ended_ns for one in chain if one.ended_ns is not None]
    since = [one.silent_since_ns for one in chain if one.silent_since_ns is not None]
    return Suspect(
        kind=chain[0].kind,
        cells=np.concatenate([one.cells for one in chain]),
        which=np.concatenate([one.which for one in chain]),
        began_ns=min(began, default=None),
        ended_ns=max(ended, default=None),
        before=sum(one.before for one in chain),
        before_ns=max(one.before_ns for one in chain),
        silent_since_ns=min(since, default=None),
        members=len(chain),
    )
