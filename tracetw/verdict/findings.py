# SPDX-License-Identifier: Apache-2.0
"""The result of judging a batch of close records: columns of equal length, one row a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tracetw.verdict.taxonomy import (
    CLOSED_BY,
    CONFIDENCE,
    FIRST_CLOSE,
    FORMS,
    LIMITS,
    RESET_DIRECTIONS,
    TIME_WAIT,
    VERDICT_INDEX,
)

UNKNOWN = 255
"""Null in the columns ``form`` and ``closed_by``."""

TEXTS: Mapping[str, Sequence[str | None]] = {
    "verdict": tuple(VERDICT_INDEX),
    "form": FORMS,
    "first_close": FIRST_CLOSE,
    "closed_by": CLOSED_BY,
    "time_wait": TIME_WAIT,
    "confidence": CONFIDENCE,
    "reset_direction": RESET_DIRECTIONS,
    "limit": LIMITS,
}
"""The columns of ``Findings`` that are numbers of texts, and those texts; ``UNKNOWN`` is the number of none."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Verdicts of a batch.

    Attributes:
        verdict: index in ``taxonomy.VERDICTS``.
        form: index in ``taxonomy.FORMS``; ``UNKNOWN`` for null.
        first_close: index in ``taxonomy.FIRST_CLOSE``.
        closed_by: index in ``taxonomy.CLOSED_BY``; ``UNKNOWN`` for null.
        time_wait: index in ``taxonomy.TIME_WAIT``.
        confidence: index in ``taxonomy.CONFIDENCE``.
        evidence: bits over ``evidence.EVIDENCE``.
        missing: bits over ``missing.MISSING``: what an undetermined verdict lacked.
        reset_direction: 0 none, 1 sent, 2 received.
        limit: index in ``taxonomy.LIMITS``, 0 none.
        limit_value: in the unit of the limit's own sysctl or socket option; -1 unknown.
        limit_elapsed_ms: time waited until the limit ran out; -1 unknown.
        error: errno that the application saw or will see; 0 none.
        hints: bits over ``hints.HINTS``.
        peer_verdict: of the other end's record, index in ``taxonomy.VERDICTS``; ``UNKNOWN`` if there is none.
    """

    verdict: NDArray[np.uint8]
    form: NDArray[np.uint8]
    first_close: NDArray[np.uint8]
    closed_by: NDArray[np.uint8]
    time_wait: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    evidence: NDArray[np.uint64]
    missing: NDArray[np.uint32]
    reset_direction: NDArray[np.uint8]
    limit: NDArray[np.uint8]
    limit_value: NDArray[np.int64]
    limit_elapsed_ms: NDArray[np.int64]
    error: NDArray[np.uint8]
    hints: NDArray[np.uint32]
    peer_verdict: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.verdict)

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Findings:
        """The findings of some rows, by index or mask; by slice without a copy."""
        return Findings(**{field.name: getattr(self, field.name)[which] for field in fields(self)})

    def joined(self, other: Findings) -> Findings:
        """These findings and, behind them, others."""
        names = [field.name for field in fields(self)]
        both = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return Findings(**{name: np.concatenate(pair) for name, pair in both.items()})
