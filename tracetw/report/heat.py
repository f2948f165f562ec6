# SPDX-License-Identifier: Apache-2.0
"""What went wrong in time, by peer and by service: bounded rows and columns for a heat map."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.report.count.cube import group
from tracetw.report.count.keys import OTHERS, PULSE, SECOND, address, fill
from tracetw.report.count.scan import Scan
from tracetw.report.figures import Heat, HeatRow
from tracetw.sink.human import endpoint
from tracetw.verdict.taxonomy import VERDICTS

_BINS = 96
_ROWS = 20
_WIDTHS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
)
_ABNORMAL = np.array([verdict.abnormal for verdict in VERDICTS])
_CLIENT, _SERVER = (fields.ROLES.index(role) for role in ("client", "server"))
_WHO = ("peer_hi", "peer_lo", "port", "source", "role")


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cells of abnormal ends (the pulse cube), and the bin of each of them."""

    cells: NDArray[Any]
    at: NDArray[np.int64]
    bins: int

    def binned(self, mine: NDArray[np.bool_]) -> tuple[int, ...]:
        """Connections of some of the cells, by bin."""
        weights = self.cells["count"][mine]
        counts = np.bincount(self.at[mine], weights=weights, minlength=self.bins)
        return tuple(counts.astype(np.int64).tolist())

    def rows(
        self, keys: NDArray[Any], folded: NDArray[np.bool_], text: Callable[..., str]
    ) -> tuple[tuple[HeatRow, ...], int | None, tuple[int, ...]]:
        """The rows with most connections, how many others there are, and their sum.

        Args:
            keys: of each cell, dtype ``PULSE``.
            folded: cells that sum up many peers or processes.
            text: name of a key, from its fields ``_WHO``.
        """
        if not len(keys):
            return (), 0, (0,) * self.bins
        groups = group(keys)
        which = groups.inverse()
        sums = np.bincount(which, weights=self.cells["count"], minlength=len(groups.starts))
        order = np.argsort(-sums, kind="stable")
        order = order[~folded[groups.firsts][order]]
        rows = []
        shown = np.zeros(len(keys), np.bool_)
        for number in order[:_ROWS].tolist():
            mine = which == number
            shown |= mine
            name = text(*(keys[field][groups.firsts[number]].item() for field in _WHO))
            rows.append(HeatRow(name, int(sums[number]), self.binned(mine)))
        others = None if folded.any() else len(order) - len(rows)
        return tuple(rows), others, self.binned(~shown)


def heat(scan: Scan, begin_ns: int, end_ns: int) -> tuple[Heat, ...]:
    """By peer and by service, at most 20 rows and 96 bins each."""
    width = scan.pulse_slots.width_ns
    pulses = scan.pulses.cells()
    pulses = pulses[_ABNORMAL[pulses["verdict"]]]
    first, last = begin_ns // width, max(end_ns // width, begin_ns // width)
    factor = _factor(first, last, width)
    first = first // factor * factor
    bins = (last - first) // factor + 1
    at = np.clip((pulses["slot"].astype(np.int64) - first) // factor, 0, bins - 1)
    cells = _Cells(pulses, at, bins)
    hosts = scan.hosts

    def peer(high: int, low: int, *_: int) -> str:
        return address(high, low)

    def service(high: int, low: int, port: int, source: int, role: int) -> str:
        if role == _CLIENT:
            return endpoint(address(high, low), port)
        of_host = f"port {port} of {hosts[source]}"
        return of_host if role == _SERVER else f"{of_host} or of its peer"

    peers = np.zeros(len(pulses), PULSE)
    for name in ("peer_hi", "peer_lo"):
        peers[name] = pulses[name]
    unknown = (pulses["peer_hi"] == OTHERS) & (pulses["peer_lo"] == OTHERS)
    client = pulses["role"] == _CLIENT
    no_service = (unknown & client) | (pulses["port"] == 0)
    return (
        Heat("peer", first * width, factor * width, *cells.rows(peers, unknown, peer)),
        Heat(
            "service",
            first * width,
            factor * width,
            *cells.rows(_services(pulses, hosts), no_service, service),
        ),
    )


def _factor(first: int, last: int, width_ns: int) -> int:
    """How many slots make a bin: a width that people count in, if it is one of slots."""
    least = math.ceil((last - first + 1) / (_BINS - 1))
    for seconds in _WIDTHS:
        factor, rest = divmod(seconds * SECOND, width_ns)
        if not rest and factor >= least:
            return factor
    return least


def _services(cells: NDArray[Any], hosts: list[str]) -> NDArray[Any]:
    """What was connected to: the peer's address and port or, of a listener here, host and port."""
    keys = fill(PULSE, np.zeros(len(cells), PULSE), port=cells["port"], role=cells["role"])
    client = cells["role"] == _CLIENT
    for name in ("peer_hi", "peer_lo"):
        keys[name] = np.where(client, cells[name], 0)
    # Of several recordings of one host, its first one.
    whose = np.array([hosts.index(host) for host in hosts], np.uint16)
    keys["source"] = np.where(client, 0, whose[cells["source"]])
    return keys
