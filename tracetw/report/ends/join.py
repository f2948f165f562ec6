# SPDX-License-Identifier: Apache-2.0
"""Both ends of one connection, where both were recorded: joined by the mirrored tuple and time.

Then they are one connection, also among what went wrong: that end is counted whose doing it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.replay.source import BATCH, context_of
from tracetw.replay.window import Window
from tracetw.report.count.keys import PULSE, SECOND, addresses, cell_keys
from tracetw.report.count.samples import few
from tracetw.report.count.scan import Scan
from tracetw.report.count.wrong import SIGNS
from tracetw.report.ends.clocks import Offset, ahead_ns, offsets
from tracetw.report.ends.disagreements import classify
from tracetw.report.ends.endpoint import ENDPOINT, endpoints, mixed
from tracetw.stream.batch import Ends, Loss
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages
from tracetw.stream.subflows import own_line

WRONG = np.dtype([("key", PULSE), ("at", "<i8"), ("heard", "<i8")])
"""What went wrong with one end."""

_TOLD = np.dtype([("key", PULSE), ("at", "<i8"), ("here", ENDPOINT), ("there", ENDPOINT)])
_MOST = 12_000_000
_MOST_WRONG = 4_000_000
_SKEW_NS = 2 * SECOND
_CLIENT = 1


@dataclass(frozen=True, slots=True)
class Joined:
    """What joining gave.

    Attributes:
        pairs: connections with both ends.
        tied: pairs of recordings with connections between them.
        here, there: ends of those that do not agree, shape (n,); ``here`` is the end that was
            hurt. A ``there`` with flow 0 was not recorded.
        kind: index in ``disagree.DISAGREEMENTS`` of each.
        told: some of those that went wrong: fields ``key``, ``at``, ``here`` (the end that counts) and ``there``
            (flow 0: not recorded).
        clocks: how far those of the hosts are apart. Times of ``here`` and ``there`` are by the first one's.
        doubtful: pairs that were not joined: ends of several hosts could have been one of the two.
        complete: False when there were too many ends to hold them all.
    """

    pairs: int
    tied: frozenset[tuple[int, int]]
    here: NDArray[Any]
    there: NDArray[Any]
    kind: NDArray[np.uint8]
    told: NDArray[Any]
    clocks: list[Offset]
    complete: bool
    doubtful: int = 0

    def ahead_ns(self, sources: int) -> NDArray[np.int64]:
        """Of each of so many recordings: how far its clock is ahead of the first one's."""
        return ahead_ns(self.clocks, sources)


def join(scan: Scan, wanted: Filter, window: Window) -> Joined | None:
    """Reads the recordings again if one of them has the address of another's peer.

    Then what went wrong is counted anew in ``scan``, a connection with two ends once. None when no
    connection can have two recorded ends. Filters do not apply to what is joined: the other end of
    what they choose may be one that they leave out.
    """
    mirrored = _mirrored(scan)
    if not len(mirrored):
        return None
    scan.start_over()
    gathered = _Gathered([], [])
    complete = True
    for part in _near(scan, wanted, window, mirrored, gathered):
        gathered.ends.append(part)
        if sum(map(len, gathered.ends)) > _MOST or gathered.wrongs > _MOST_WRONG:
            complete = False
            break
    ends = np.concatenate([np.zeros(0, ENDPOINT), *gathered.ends])
    wrong = np.concatenate([np.zeros(0, WRONG), *gathered.wrong])
    return _paired(scan, ends, wrong, complete=complete)


@dataclass(slots=True)
class _Gathered:
    ends: list[NDArray[Any]]
    wrong: list[NDArray[Any]]
    wrongs: int = 0

    def add(self, part: NDArray[Any]) -> None:
        self.wrong.append(part)
        self.wrongs += len(part)


def _mirrored(scan: Scan) -> NDArray[np.uint64]:
    """Hashes of the addresses that are local somewhere and a peer's somewhere."""
    here, peers = scan.locals.cells(), scan.cells.cells()
    mine = np.unique(mixed(here["hi"], here["lo"]))
    return np.intersect1d(mine, mixed(peers["peer_hi"], peers["peer_lo"]))


def _near(
    scan: Scan, wanted: Filter, window: Window, mirrored: NDArray[np.uint64], gathered: _Gathered
) -> Iterator[NDArray[Any]]:
    """Ends whose other end may be recorded; what went wrong with the others is counted at once."""
    for number, source in enumerate(scan.sources):
        host = scan.hosts.index(scan.hosts[number])
        stages = Stages(context_of(source.recording), Filter())
        for lost in source.recording.losses():
            stages.loss(Loss(lost.records, lost.where, lost.since_ns, lost.until_ns))
        passed = 0
        for batch in source.recording.closes(BATCH):
            part = stages.judge(Ends(batch, source.recording.clock))
            places = passed + np.flatnonzero(own_line(batch))
            passed += len(batch)
            inside = window.mask(part.at)
            near = np.isin(mixed(*addresses(part.rows, "raddr")), mirrored) & inside
            chosen = wanted.mask(part.rows, part.findings, stages.context.cgroup_path) & inside
            keys = cell_keys(part.rows, part.findings, number)
            found = scan.wrong(number, part, keys)
            far = found.of(~near[found.which] & chosen[found.which])
            scan.add_wrong(part.rows, far)
            which = np.flatnonzero(near)
            if not len(which):
                continue
            mine = found.of(near[found.which])
            ends = endpoints(part.take(which), number, host)
            ends["place"] = places[which]
            ends["wanted"] = chosen[which]
            ends["wrong"] = -1
            ends["wrong"][np.searchsorted(which, mine.which)] = gathered.wrongs + np.arange(
                len(mine.which)
            )
            some = np.zeros(len(mine.which), WRONG)
            some["key"], some["at"], some["heard"] = mine.keys, mine.at, mine.heard
            gathered.add(some)
            yield ends


def _paired(scan: Scan, ends: NDArray[Any], wrong: NDArray[Any], *, complete: bool) -> Joined:
    """Neighbours in the order of flow and begin that are two sides of one life."""
    clocks = offsets(ends, [source.recording.header.boot for source in scan.sources])
    covered = np.array([source.last_ns for source in scan.sources], np.int64)
    ahead = ahead_ns(clocks, len(scan.sources))
    for name in ("begin", "end"):
        ends[name] -= ahead[ends["source"]]
    ends = ends[np.lexsort((ends["begin"], ends["flow"]))]
    left, right = ends[:-1], ends[1:]
    # Of three in a row the middle one belongs to the first: each end has one partner.
    at = np.flatnonzero(_could_be_one(left, right))
    at = at[_every_other(at)]
    doubtful = _doubtful(ends, at, np.array([scan.hosts.index(name) for name in scan.hosts]))
    at = at[~doubtful]
    alone = np.ones(len(ends), np.bool_)
    alone[at] = alone[at + 1] = False
    one, two = ends[at], ends[at + 1]
    told = _count(scan, (one, two, ends[alone]), wrong, ahead)
    single = ends[alone]
    single = single[single["abnormal"]]
    here = np.concatenate([one, two, single])
    there = np.concatenate([two, one, np.zeros(len(single), ENDPOINT)])
    kind = classify(here, there, _vanished(single, covered - ahead, len(at)))
    hurt = kind > 0
    tied = np.unique(np.stack([one["source"], two["source"]], axis=1), axis=0).tolist()
    return Joined(
        pairs=len(at),
        tied=frozenset((min(pair), max(pair)) for pair in tied),
        here=here[hurt],
        there=there[hurt],
        kind=kind[hurt],
        told=told,
        clocks=clocks,
        complete=complete,
        doubtful=int(doubtful.sum()),
    )


def _could_be_one(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.bool_]:
    """Of two ends each: are they two sides of one flow that lived at the same time?"""
    match: NDArray[np.bool_] = (left["flow"] == right["flow"]) & (left["side"] != right["side"])
    match &= (left["begin"] <= right["end"] + _SKEW_NS) & (right["begin"] <= left["end"] + _SKEW_NS)
    return match


def _doubtful(
    ends: NDArray[Any], at: NDArray[np.intp], hosts: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Which pairs have a third end beside them, of another host, that could be in the place of one of the two?

    Hosts with the same private address have connections that look like one another's.
    """
    found = np.zeros(len(at), np.bool_)
    for step in (-1, 2):
        place = at + step
        there = (place >= 0) & (place < len(ends))
        third = ends[np.clip(place, 0, len(ends) - 1)]
        for mine, other in ((ends[at], ends[at + 1]), (ends[at + 1], ends[at])):
            rival = _could_be_one(mine, third)
            rival &= hosts[third["source"]] != hosts[other["source"]]
            found |= there & rival
    return found


@dataclass(frozen=True, slots=True)
class _Side:
    """One end of each pair: 2 it went wrong by its own doing, 1 by the peer's, 0 it did not; and when."""

    score: NDArray[np.int64]
    at: NDArray[np.int64]

    @classmethod
    def of(cls, ends: NDArray[Any], wrong: NDArray[Any], ahead: NDArray[np.int64]) -> _Side:
        went = ends["wrong"] >= 0
        at = np.zeros(len(ends), np.int64)
        at[went] = wrong["at"][ends["wrong"][went]] - ahead[ends["source"][went]]
        return cls(np.where(went, np.minimum(ends["acted"], 1).astype(np.int64) + 1, 0), at)


def _count(
    scan: Scan,
    found: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    wrong: NDArray[Any],
    ahead: NDArray[np.int64],
) -> NDArray[Any]:
    """Count what went wrong, once for each pair: at the end that did it. Returns some of them, for stories.

    Of two that acted it is the one that did first; where both waited in vain, the client's end.

    Args:
        scan: where to.
        found: both ends of each pair, and those without another.
        wrong: what went wrong, by the places that ends name.
        ahead: how far the clock of each recording is ahead of the first one's.
    """
    one, two, single = found
    late = one["timeout"] & two["timeout"]
    sides = [_Side.of(side, wrong, ahead) for side in (one, two)]
    score = [side.score for side in sides]
    earlier = np.where(late, one["role"] == _CLIENT, sides[0].at <= sides[1].at)
    first = (score[0] > score[1]) | ((score[0] == score[1]) & earlier)
    wanted = (one["wanted"] | two["wanted"]) & (np.maximum(*score) > 0)
    both_late = late[wanted]
    here = np.where(first, one, two)[wanted]
    there = np.where(first, two, one)[wanted]
    single = single[single["wanted"] & (single["wrong"] >= 0)]
    keys = wrong[np.concatenate([here["wrong"], single["wrong"]])]
    signs = keys["key"]["signs"]
    signs[: len(here)] |= np.uint16(SIGNS["both-ends"])
    signs[: len(here)][both_late] |= np.uint16(SIGNS["both-timed-out"])
    scan.pulses.add(np.ascontiguousarray(keys["key"]), keys["at"], keys["heard"])
    told = np.zeros(len(keys), _TOLD)
    told["key"], told["at"] = keys["key"], keys["at"]
    told["here"] = np.concatenate([here, single])
    told["there"][: len(here)] = there
    return few(told)


def _every_other(at: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Of runs of consecutive numbers the first, third, fifth, ..."""
    if not len(at):
        return np.zeros(0, np.bool_)
    fresh = np.ones(len(at), np.bool_)
    fresh[1:] = np.diff(at) != 1
    starts = np.maximum.accumulate(np.where(fresh, np.arange(len(at)), 0))
    odd: NDArray[np.bool_] = (np.arange(len(at)) - starts) % 2 == 0
    return odd


def _vanished(single: NDArray[Any], covered: NDArray[np.int64], pairs: int) -> NDArray[np.bool_]:
    """Of the pairs (never) and the single ends: had the other recording ended by then?

    The other recording is not known from a single end: it is one that is not its own and that
    stopped first.
    """
    result = np.zeros(2 * pairs + len(single), np.bool_)
    for number in range(len(covered)):
        rest = np.delete(covered, number)
        if len(rest):
            mine = single["source"] == number
            result[2 * pairs :] |= mine & (single["end"] > rest.min() + _SKEW_NS)
    return result
