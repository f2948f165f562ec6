# SPDX-License-Identifier: Apache-2.0
"""Both ends of one connection, where both were recorded: joined by the mirrored tuple and time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import F_RST_IN, F_RST_OUT, F_RST_REPLY, End
from tracetw.replay.source import BATCH
from tracetw.replay.window import Window
from tracetw.report.count.keys import SECOND, addresses, is_loopback
from tracetw.report.count.scan import Scan
from tracetw.report.ends.disagreements import classify
from tracetw.stream.batch import Ends
from tracetw.verdict.taxonomy import FORMS, VERDICTS

__all__ = ["ENDPOINT", "Joined", "flows", "join"]

ENDPOINT = np.dtype(
    [
        ("flow", "<u8"),
        ("begin", "<i8"),
        ("end", "<i8"),
        ("place", "<i8"),
        ("source", "<u2"),
        ("verdict", "u1"),
        ("side", "u1"),
        ("reset_in", "?"),
        ("reset_out", "?"),
        ("timeout", "?"),
        ("abnormal", "?"),
    ]
)
"""One end of a connection: ``flow`` is the same for both, ``side`` is not; ``place`` in its recording."""

_MOST = 25_000_000
_SKEW_NS = 2 * SECOND
_TIMEOUT = FORMS.index("timeout")
_ABNORMAL = np.array([verdict.abnormal for verdict in VERDICTS])


@dataclass(frozen=True, slots=True)
class Joined:
    """What joining gave.

    Attributes:
        pairs: connections with both ends.
        here, there: ends of those that do not agree, shape (n,); ``here`` is the end that was
            hurt. A ``there`` with flow 0 was not recorded.
        kind: index in ``disagree.DISAGREEMENTS`` of each.
        complete: False when there were too many ends to hold them all.
    """

    pairs: int
    here: NDArray[Any]
    there: NDArray[Any]
    kind: NDArray[np.uint8]
    complete: bool


def flows(rows: NDArray[Any], host: int) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """A hash of both endpoints that does not depend on their order, and which one is local.

    Loopback addresses are the same in every namespace of every host, so there the namespace and the
    number of the ``host`` are part of it.
    """
    ends = []
    for column, port in (("laddr", "lport"), ("raddr", "rport")):
        high, low = addresses(rows, column)
        ends.append(_mix(high, low, rows[port].astype(np.uint64)))
    local, remote = ends
    whose = np.uint64(host) << np.uint64(32) | rows["netns"].astype(np.uint64)
    whose = np.where(is_loopback(*addresses(rows, "raddr")), whose, np.uint64(0))
    low, high = np.minimum(local, remote), np.maximum(local, remote)
    side: NDArray[np.uint8] = (local > remote).astype(np.uint8)
    return _mix(low, high, whose) | np.uint64(1), side


def _mix(*words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = np.full(len(words[0]), 0x9E3779B97F4A7C15, np.uint64)
    for word in words:
        mixed = (mixed ^ word) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def join(scan: Scan, window: Window) -> Joined | None:
    """Reads the recordings again if one of them has the address of another's peer.

    None when no connection can have two recorded ends. Filters do not apply: the other end of what
    they choose may be one that they leave out.
    """
    mirrored = _mirrored(scan)
    if not len(mirrored):
        return None
    ends, complete = [], True
    count = 0
    for part in _endpoints(scan, window, mirrored):
        ends.append(part)
        count += len(part)
        if count > _MOST:
            complete = False
            break
    every = np.concatenate(ends) if ends else np.zeros(0, ENDPOINT)
    del ends
    covered = np.array([source.last_ns for source in scan.sources], np.int64)
    return _paired(every, covered, complete=complete)


def _mirrored(scan: Scan) -> NDArray[np.uint64]:
    """Hashes of the addresses that are local somewhere and a peer's somewhere."""
    here, peers = scan.locals.cells(), scan.cells.cells()
    mine = np.unique(_mix(here["hi"], here["lo"]))
    return np.intersect1d(mine, _mix(peers["peer_hi"], peers["peer_lo"]))


def _endpoints(scan: Scan, window: Window, mirrored: NDArray[np.uint64]) -> Iterator[NDArray[Any]]:
    for number, source in enumerate(scan.sources):
        host = scan.hosts.index(scan.hosts[number])
        passed = 0
        for batch in source.recording.closes(BATCH):
            part = source.stages.closes(Ends(batch, source.recording.clock))
            near = np.isin(_mix(*addresses(batch, "raddr")), mirrored) & window.mask(part.at)
            which = np.flatnonzero(near)
            passed += len(batch)
            if not len(which):
                continue
            chosen = part.take(which)
            rows = chosen.rows
            ends = np.zeros(len(rows), ENDPOINT)
            ends["place"] = passed - len(batch) + which
            ends["flow"], ends["side"] = flows(rows, host)
            ends["end"] = chosen.at
            first = rows["at"].astype(np.int64)
            born = np.where(first > 0, first, np.iinfo(np.int64).max).min(axis=1)
            begin = source.recording.clock.to_wall_ns(born)
            ends["begin"] = np.where(first.any(axis=1), begin, chosen.at)
            ends["source"] = number
            ends["verdict"] = chosen.findings.verdict
            ends["timeout"] = chosen.findings.form == _TIMEOUT
            ends["abnormal"] = _ABNORMAL[chosen.findings.verdict]
            flags = rows["flags"]
            ends["reset_in"] = ((flags & F_RST_IN) != 0) | (rows["end"] == End.RST)
            late = rows["end"] == End.LATE_DATA
            ends["reset_out"] = ((flags & (F_RST_OUT | F_RST_REPLY)) != 0) | late
            yield ends


def _paired(ends: NDArray[Any], covered: NDArray[np.int64], *, complete: bool) -> Joined:
    """Neighbours in the order of flow and begin that are two sides of one life."""
    ends = ends[np.lexsort((ends["begin"], ends["flow"]))]
    left, right = ends[:-1], ends[1:]
    match = (left["flow"] == right["flow"]) & (left["side"] != right["side"])
    match &= (left["begin"] <= right["end"] + _SKEW_NS) & (right["begin"] <= left["end"] + _SKEW_NS)
    # Of three in a row the middle one belongs to the first: each end has one partner.
    at = np.flatnonzero(match)
    at = at[_every_other(at)]
    alone = np.ones(len(ends), np.bool_)
    alone[at] = alone[at + 1] = False
    single = ends[alone]
    single = single[single["abnormal"]]
    here = np.concatenate([ends[at], ends[at + 1], single])
    there = np.concatenate([ends[at + 1], ends[at], np.zeros(len(single), ENDPOINT)])
    kind = classify(here, there, _vanished(single, covered, len(at)))
    hurt = kind > 0
    return Joined(len(at), here[hurt], there[hurt], kind[hurt], complete)


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
