# SPDX-License-Identifier: Apache-2.0
"""From the format of an older recording to ours, one version at a time.

The format is the header's JSON, the dtypes of the rows and the meaning of their fields. Whoever
changes one of them raises ``FORMAT_VERSION``, adds the step from the version before, and a recording
of the new version to ``tests/data/recordings``. A step is never changed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["FORMAT_VERSION", "STEPS", "Step", "header_to_current", "rows_to_current"]

FORMAT_VERSION = 2
"""Version that is written."""

Rows: TypeAlias = NDArray[np.void]
Values: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """From one version to the next: the header's JSON, rows of closes and rows of events."""

    header: Callable[[Values], Values]
    closes: Callable[[Rows], Rows]
    events: Callable[[Rows], Rows]


def _same(rows: Rows) -> Rows:
    return rows


STEPS: Mapping[int, Step] = {
    # 2 tells hosts of one name apart.
    1: Step(lambda values: {**values, "machine_id": None}, _same, _same),
}
"""By the version that a step begins with."""


def header_to_current(
    version: int,
    values: Values,
    *,
    steps: Mapping[int, Step] = STEPS,
    current: int = FORMAT_VERSION,
) -> Values:
    """JSON of a header as the current version has it."""
    for number in range(version, current):
        values = steps[number].header(values)
    return values


def rows_to_current(
    version: int,
    rows: Rows,
    kind: str,
    *,
    steps: Mapping[int, Step] = STEPS,
    current: int = FORMAT_VERSION,
) -> Rows:
    """Rows of ``kind`` (``closes`` or ``events``) as the current version has them."""
    for number in range(version, current):
        step = steps[number]
        rows = step.closes(rows) if kind == "closes" else step.events(rows)
    return rows
