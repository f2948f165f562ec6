# SPDX-License-Identifier: Apache-2.0
"""Why a side closes first, told from how long its connections lived, were idle, and what they carried."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracetw.timewait.carriers import Carried, Carriers
from tracetw.verdict.taxonomy import FIRST_CLOSE

_FEW = 10
_SHORT_NS = 1_000_000_000
_IDLE_MS = 1000
_ALIKE = 0.1


def cause(carried: Carried | None, which: NDArray[np.intp], what: str) -> str:
    """One sentence about the connections whose TIME_WAIT sockets are at ``which``.

    Says that it is not known where no recording tells, or none of the patterns is there.
    """
    if carried is None:
        return (
            f"Why connections of {what} end here first is not known without a trace: give --recording DIR, or"
            " --watch 10s."
        )
    record = carried.record[which]
    rows = carried.rows[record[record >= 0]]
    if len(rows) < _FEW:
        return f"Why connections of {what} end here first is not known: {carried.source} has {len(rows)} of them."
    first = rows["first_close"] == FIRST_CLOSE.index("local")
    if first.mean() < 1 - _ALIKE:
        return (
            f"Of {len(rows):,} connections of {what} that {carried.source} has, {int(first.sum()):,} were closed by"
            " this side first."
        )
    return f"{_pattern(rows)} (of {len(rows):,} connections of {what} in {carried.source})."


def _pattern(rows: Carriers) -> str:
    lived = rows["duration_ns"][rows["duration_ns"] >= 0]
    idle = rows["idle_ms"][rows["idle_ms"] >= 0]
    middle = float(np.median(idle)) if len(idle) else 0.0
    if middle >= _IDLE_MS and _alike(idle):
        return f"They look like an idle timeout: closed after {middle / 1000:.1f} s without a segment from the peer"
    if not len(lived):
        return "How long they lived is not known, so neither is why they were closed"
    typical = float(np.median(lived))
    if typical < _SHORT_NS:
        return (
            f"They are short connections without keep-alive: half of them lived less than {_time(typical)}, with"
            f" {int(np.median(rows['received'])):,} bytes received and {int(np.median(rows['sent'])):,} sent"
        )
    if _alike(lived):
        return (
            f"They look like a limit of age: closed after about {_time(typical)}, though not idle"
        )
    if _alike(rows["received"]) and float(np.median(rows["received"])) > 0:
        return (
            "They look like a limit of requests: closed after about"
            f" {int(np.median(rows['received'])):,} bytes received, whatever their age"
        )
    return (
        "Durations, idle times and bytes show no common limit: half of them lived less than"
        f" {_time(typical)}"
    )


def _alike(values: NDArray[np.int64]) -> bool:
    """Do nine of ten lie within a tenth of the middle?"""
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95))
    return bool(high - low <= _ALIKE * middle)


def _time(ns: float) -> str:
    return f"{ns / 1e6:.1f} ms" if ns < 1e9 else f"{ns / 1e9:.1f} s"  # noqa: PLR2004
