# SPDX-License-Identifier: Apache-2.0
"""Counts as tables: verdicts, peers, processes, ports, containers, and the timeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.causes.sentences import port_name, process_name
from tracetw.report.causes.suspects import Suspect
from tracetw.report.count.cube import group
from tracetw.report.count.keys import CELL, address, fill
from tracetw.report.count.scan import Scan
from tracetw.report.model import Incident, Ranked, Timeline, VerdictRow
from tracetw.verdict.taxonomy import VERDICTS

__all__ = ["incident", "ranked", "sizes", "timeline", "verdicts"]

_BINS = 240
_MINUTE = 60_000_000_000
_SECOND = 1_000_000_000
_MOST = 100
# A cause with this part of the connections of the largest one is part of the incident.
_HEAVY = 0.1
_ABNORMAL = np.array([verdict.abnormal for verdict in VERDICTS])

# Table: fields of a cell that make its key, and what they are called.
_TABLES: dict[str, tuple[tuple[str, ...], Callable[..., str]]] = {
    "peers": (("peer_hi", "peer_lo"), address),
    "processes": (("source", "comm", "pid"), lambda _, comm, pid: process_name(comm, pid)),
    "ports": (("port",), port_name),
    "containers": (("source", "cgroup"), lambda *_: ""),
}


def ranked(scan: Scan, table: str) -> tuple[Ranked, ...]:
    """One of ``peers``, ``processes``, ``ports``, ``containers``; most abnormal ones first."""
    cells = scan.cells.cells()
    names, text = _TABLES[table]
    if table == "containers":
        cells = cells[cells["cgroup"] != 0]
    whose = np.zeros(len(cells), CELL)
    for name in names:
        whose[name] = cells[name]
    groups = group(fill(CELL, whose))
    which = groups.inverse()
    count = len(groups.starts)
    abnormal = _ABNORMAL[cells["verdict"]]
    totals = np.bincount(which, weights=cells["count"], minlength=count)
    bad = np.bincount(which, weights=cells["count"] * abnormal, minlength=count)
    order = np.lexsort((-totals, -bad))[:_MOST]
    ends = groups.starts + groups.sizes
    rows = []
    for number in order.tolist():
        part = cells[groups.order[groups.starts[number] : ends[number]]]
        values = [part[name][0].item() for name in names]
        name = text(*values)
        if table == "containers":
            name = scan.container(*values) or f"cgroup {values[1]}"
        rows.append(_ranked(part, name, scan.hosts, of_host="source" in names))
    return tuple(rows)


def sizes(scan: Scan) -> dict[str, int]:
    """How many rows each table of ``ranked`` would have without its limit."""
    cells = scan.cells.cells()
    found = {}
    for table, (names, _) in _TABLES.items():
        whose = np.zeros(len(cells), CELL)
        for name in names:
            whose[name] = cells[name]
        if table == "containers":
            whose = whose[cells["cgroup"] != 0]
        found[table] = len(group(whose).starts)
    return found


def _ranked(part: NDArray[Any], name: str, hosts: Sequence[str], *, of_host: bool) -> Ranked:
    sums = np.bincount(part["verdict"], weights=part["count"], minlength=len(VERDICTS))
    bad = part[_ABNORMAL[part["verdict"]]]
    return Ranked(
        name=name,
        host=hosts[int(part["source"][0])] if of_host else "",
        total=int(sums.sum()),
        abnormal=int(sums[_ABNORMAL].sum()),
        first_abnormal_ns=int(bad["first"].min()) if len(bad) else None,
        verdicts={
            VERDICTS[number].code: int(sums[number])
            for number in np.argsort(-sums, kind="stable").tolist()
            if sums[number]
        },
    )


def timeline(scan: Scan, begin_ns: int, end_ns: int) -> Timeline:
    """At most 240 bins."""
    ticks, width = scan.ticks.cells(), scan.tick_slots.width_ns
    first, last = begin_ns // width, max(end_ns // width, begin_ns // width)
    factor = math.ceil((last - first + 1) / _BINS)
    bins = math.ceil((last - first + 1) / factor)
    at = np.clip((ticks["slot"].astype(np.int64) - first) // factor, 0, bins - 1)
    rows = {}
    for number in np.unique(ticks["verdict"]).tolist():
        mine = ticks["verdict"] == number
        sums = np.bincount(at[mine], weights=ticks["count"][mine], minlength=bins)
        rows[VERDICTS[number].code] = tuple(sums.astype(np.int64).tolist())
    order = sorted(rows, key=lambda code: -sum(rows[code]))
    return Timeline(first * width, factor * width, {code: rows[code] for code in order})


def incident(scan: Scan, found: Sequence[Suspect], begin_ns: int) -> Incident | None:
    """From the first beginning to the last end of the causes that weigh; None when none began."""
    begun = [one for one in found if one.began_ns is not None and one.ended_ns is not None]
    most = max((one.total for one in begun), default=0)
    heavy = [one for one in begun if one.total >= most * _HEAVY]
    if not heavy:
        return None
    starts = [one.began_ns if one.silent_since_ns is None else one.silent_since_ns for one in heavy]
    start = min(at for at in starts if at is not None)
    end = max(one.ended_ns for one in heavy if one.ended_ns is not None)
    ticks = scan.ticks.cells()
    wrong = _ABNORMAL[ticks["verdict"]]
    before = ticks["last"] < start
    inside = ~before & (ticks["first"] <= end)

    def count(which: NDArray[np.bool_]) -> int:
        return int(ticks["count"][which].sum())

    return Incident(
        begin_ns=start,
        end_ns=end,
        abnormal=count(inside & wrong),
        closes=count(inside),
        before_abnormal=count(before & wrong),
        before_closes=count(before),
        before_s=max(start - begin_ns, 0) / _SECOND,
    )


def verdicts(scan: Scan, found: Incident | None) -> tuple[VerdictRow, ...]:
    """Each verdict, and its rate before and during the incident."""
    ticks = scan.ticks.cells()
    rows = []
    for number in np.unique(ticks["verdict"]).tolist():
        mine = ticks[ticks["verdict"] == number]
        before = during = None
        if found is not None:
            inside = (mine["last"] >= found.begin_ns) & (mine["first"] <= found.end_ns)
            lasted = max(found.end_ns - found.begin_ns, _SECOND)
            during = float(mine["count"][inside].sum()) * _MINUTE / lasted
            if found.before_s >= 1:
                earlier = mine["count"][mine["last"] < found.begin_ns].sum()
                before = float(earlier) * 60 / found.before_s
        verdict = VERDICTS[number]
        total = int(mine["count"].sum())
        rows.append(
            VerdictRow(verdict.code, verdict.meaning, verdict.abnormal, total, before, during)
        )
    return tuple(sorted(rows, key=lambda row: -row.total))
