# SPDX-License-Identifier: Apache-2.0
"""How long connections lived and how long they had been quiet: counted on a logarithmic scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields, measures
from tracetw.event.names import KernelNames
from tracetw.report.figures import Histogram
from tracetw.stream.batch import Closes
from tracetw.verdict.taxonomy import VERDICTS

BINS_PER_DECADE = 20
"""Neighbouring edges differ by 12 %: 350 s and 300 s fall into two bins, 60 s and 61 s into one."""

_LEAST_MS = 0.1
_DECADES = 11
_BINS = BINS_PER_DECADE * _DECADES
_MS = 1_000_000


class Histograms:
    """Counts of both measures, batch by batch, in memory of constant size."""

    def __init__(self) -> None:
        self._counts = {
            name: np.zeros((len(VERDICTS), _BINS + 1), np.int64)
            for name in ("duration_ms", "idle_ms")
        }

    def add(self, part: Closes, names: KernelNames) -> None:
        """Count connections.

        Args:
            part: judged.
            names: of the kernel that they were recorded on.
        """
        lived = fields.duration_ns(part.rows)
        self._add("duration_ms", np.where(lived < 0, -1.0, lived / _MS), part.findings.verdict)
        idle = measures.idle_ms(part.rows, names).astype(np.float64)
        self._add("idle_ms", idle, part.findings.verdict)

    def _add(self, name: str, ms: NDArray[np.float64], verdict: NDArray[np.uint8]) -> None:
        """``ms`` below 0 is unknown: it is counted in the last column."""
        decades = np.log10(np.maximum(ms, _LEAST_MS) / _LEAST_MS)
        bins = np.minimum((decades * BINS_PER_DECADE).astype(np.int64), _BINS - 1)
        bins[ms < 0] = _BINS
        counts = self._counts[name]
        flat = verdict.astype(np.int64) * (_BINS + 1) + bins
        counts += np.bincount(flat, minlength=counts.size).reshape(counts.shape)

    def tell(self) -> tuple[Histogram, ...]:
        """Both, as they are reported."""
        return tuple(_histogram(name, counts) for name, counts in self._counts.items())


def _histogram(name: str, counts: NDArray[np.int64]) -> Histogram:
    known, unknown = counts[:, :_BINS], counts[:, _BINS]
    used = np.flatnonzero(known.any(axis=0))
    first, after = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
    edges = _LEAST_MS * 10 ** (np.arange(first, after + 1) / BINS_PER_DECADE)
    sums = known.sum(axis=1)
    order = [number for number in np.argsort(-sums, kind="stable").tolist() if sums[number]]
    return Histogram(
        measure=name,
        edges_ms=tuple(float(f"{edge:.4g}") for edge in edges) if len(used) else (),
        verdicts={
            VERDICTS[number].code: tuple(known[number, first:after].tolist()) for number in order
        },
        unknown={
            VERDICTS[number].code: int(unknown[number])
            for number in np.argsort(-unknown, kind="stable").tolist()
            if unknown[number]
        },
    )
