# SPDX-License-Identifier: Apache-2.0
"""Counts as tables: verdicts, peers, processes, ports, containers, and the timeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.causes.sentences import port_name, process_name
from tracetw.report.count.cube import group
from tracetw.report.count.keys import CELL, address, fill
from tracetw.report.count.scan import Scan
from tracetw.report.count.wrong import ABNORMAL
from tracetw.report.model import Ranked, Timeline, VerdictRow
from tracetw.verdict.taxonomy import VERDICTS

_BINS = 240
_MINUTE = 60_000_000_000
_SECOND = 1_000_000_000
_MOST = 100

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
    abnormal = ABNORMAL[cells["verdict"]]
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
    bad = part[ABNORMAL[part["verdict"]]]
    return Ranked(
        name=name,
        host=hosts[int(part["source"][0])] if of_host else "",
        total=int(sums.sum()),
        abnormal=int(sums[ABNORMAL].sum()),
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


def abnormal(scan: Scan) -> int:
    """Connection ends with an abnormal verdict."""
    ticks = scan.ticks.cells()
    return int(ticks["count"][ABNORMAL[ticks["verdict"]]].sum())


def verdicts(
    scan: Scan, incidents: Sequence[tuple[int, int]], begin_ns: int
) -> tuple[VerdictRow, ...]:
    """Each verdict, and its rate before the first of the incidents and during any of them.

    Args:
        scan: the counts.
        incidents: when each began and ended.
        begin_ns: when the recording began.
    """
    ticks = scan.ticks.cells()
    during = np.zeros(len(ticks), np.bool_)
    lasted = 0
    for began, ended in _united(incidents):
        during |= (ticks["last"] >= began) & (ticks["first"] <= ended)
        lasted += max(ended - began, _SECOND)
    start = min((began for began, _ in incidents), default=0)
    before = (ticks["last"] < start) & ~during
    before_ns = start - begin_ns
    rows = []
    for number in np.unique(ticks["verdict"]).tolist():
        mine = ticks["verdict"] == number
        total = int(ticks["count"][mine].sum())
        rate = earlier = None
        if lasted:
            rate = float(ticks["count"][mine & during].sum()) * _MINUTE / lasted
        if lasted and before_ns >= _SECOND:
            earlier = float(ticks["count"][mine & before].sum()) * _MINUTE / before_ns
        verdict = VERDICTS[number]
        rows.append(
            VerdictRow(verdict.code, verdict.meaning, verdict.abnormal, total, earlier, rate)
        )
    return tuple(sorted(rows, key=lambda row: -row.total))


def _united(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same times without overlaps."""
    united: list[tuple[int, int]] = []
    for began, ended in sorted(stretches):
        if united and began <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], ended))
        else:
            united.append((began, ended))
    return united
