# SPDX-License-Identifier: Apache-2.0
"""How sure a mean of a few rounds is: Student's t, since five rounds are no normal distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

__all__ = ["Interval", "of_ratios", "of_values"]

# The 97.5 % point of Student's t for 1, 2, ... degrees of freedom; beyond the last it hardly falls.
POINTS = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, and the bounds that hold the true one with 95 %; without bounds after a single round."""

    mean: float
    low: float | None = None
    high: float | None = None

    def spans(self, limit: float) -> bool:
        """Whether the rounds do not tell on which side of the limit the true value is."""
        return self.low is not None and self.high is not None and self.low <= limit <= self.high

    def scaled(self, factor: float) -> Interval:
        """In another unit; the factor is positive."""
        low = None if self.low is None else self.low * factor
        high = None if self.high is None else self.high * factor
        return Interval(self.mean * factor, low, high)

    def text(self, form: str) -> str:
        """``87.5 (86.9..88.1)``, each number by ``form`` (".1f")."""
        if self.low is None or self.high is None:
            return format(self.mean, form)
        return f"{self.mean:{form}} ({self.low:{form}}..{self.high:{form}})"


def of_values(values: Sequence[float]) -> Interval:
    """Of at least one value."""
    mean = fmean(values)
    if len(values) < 2:  # noqa: PLR2004 - one value says nothing of its spread
        return Interval(mean)
    point = POINTS[min(len(values) - 1, len(POINTS)) - 1]
    half = point * stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def of_ratios(values: Sequence[float]) -> Interval:
    """Of positive ratios: their geometric mean, so that 1/2 and 2 cancel."""
    logs = of_values([math.log(value) for value in values])
    if logs.low is None or logs.high is None:
        return Interval(math.exp(logs.mean))
    return Interval(math.exp(logs.mean), math.exp(logs.low), math.exp(logs.high))
