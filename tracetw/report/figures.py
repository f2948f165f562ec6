# SPDX-License-Identifier: Apache-2.0
"""What a report draws: histograms of lengths of time, and what went wrong in time by peer and service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Histogram:
    """Connections by a length of time, on a logarithmic scale.

    Attributes:
        measure: ``duration_ms`` or ``idle_ms``, as in the object of a close.
        edges_ms: n + 1 edges of n bins, ascending; the first bin also has what is shorter than its
            lower edge, down to 0. No empty bins at either end.
        verdicts: connections in each bin by verdict, the most frequent first.
        unknown: connections by verdict whose time is not known.
    """

    measure: str
    edges_ms: tuple[float, ...]
    verdicts: Mapping[str, tuple[int, ...]]
    unknown: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One peer or service: connections that ended abnormally, in each bin."""

    name: str
    total: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Heat:
    """Connections that ended abnormally, in time.

    Attributes:
        by: ``peer``, or ``service``: what was connected to.
        begin_ns, width_ns: of the first bin, and of each.
        rows: the most frequent ones.
        others: how many more there are; None if there were too many to tell them all apart.
        rest: the sum of those that are not in ``rows``.
    """

    by: str
    begin_ns: int
    width_ns: int
    rows: tuple[HeatRow, ...]
    others: int | None
    rest: tuple[int, ...]
