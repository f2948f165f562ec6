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

from tracetw.event.fields import Rows
from tracetw.event.record import CLOSE, EVENT, SINCE_UNKNOWN, Layer

__all__ = ["FORMAT_VERSION", "STEPS", "Conversion", "header_to_current", "rows_to_current"]

FORMAT_VERSION = 3
"""Version that is written."""

Values: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversion:
    """From one version to the next: the header's JSON, rows of closes and rows of events."""

    header: Callable[[Values], Values]
    closes: Callable[[Rows], Rows]
    events: Callable[[Rows], Rows]


def _same(rows: Rows) -> Rows:
    return rows


# Fields that version 3 brought, and what stands there in older rows: unknown.
_CLOSES_3: Mapping[str, int] = {
    **dict.fromkeys(
        ("bytes_acked", "mptcp_conn", "mptcp_token", "icmp_from", "srtt", "segs_in"), 0
    ),
    **dict.fromkeys(("rtt_min", "quiet", "since_sent", "since_received"), SINCE_UNKNOWN),
    **dict.fromkeys(("mss", "mptcp_flags", "ttl", "rst_ttl", "mptcp_local_id"), 0),
    **dict.fromkeys(("mptcp_remote_id", "rto_max", "traits", "mptcp_reset", "bind"), 0),
    **dict.fromkeys(("refused", "refused_reason"), 0),
    "layer": Layer.UNKNOWN,
}
_EVENTS_3: Mapping[str, int] = dict.fromkeys(("backlog", "queued"), 0)
# It became narrower: a wait(2) status has 16 bits.
_EXIT_CODE = "exit_code"


def _closes_to_3(rows: Rows) -> Rows:
    return _longer(rows, CLOSE, _CLOSES_3)


def _events_to_3(rows: Rows) -> Rows:
    return _longer(rows, EVENT, _EVENTS_3)


def _longer(rows: Rows, dtype: np.dtype[np.void], new: Mapping[str, int]) -> Rows:
    """Rows of ``dtype``, whose ``new`` fields have one value. Unchanged if they were not the older ones."""
    kept = {name: dtype[name] for name in dtype.names or () if name not in new}
    found = {name: rows.dtype[name] for name in rows.dtype.names or ()}
    if _EXIT_CODE in kept:
        kept[_EXIT_CODE] = np.dtype("<u4")
    if kept != found:
        return rows
    result = np.empty(len(rows), dtype)
    for name in kept:
        result[name] = rows[name]
    for name, value in new.items():
        result[name] = value
    return result


STEPS: Mapping[int, Conversion] = {
    # 2 tells hosts of one name apart.
    1: Conversion(lambda values: {**values, "machine_id": None}, _same, _same),
    # 3 has longer rows.
    2: Conversion(lambda values: values, _closes_to_3, _events_to_3),
}
"""By the version that a step begins with."""


def header_to_current(
    version: int,
    values: Values,
    *,
    steps: Mapping[int, Conversion] = STEPS,
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
    steps: Mapping[int, Conversion] = STEPS,
    current: int = FORMAT_VERSION,
) -> Rows:
    """Rows of ``kind`` (``closes`` or ``events``) as the current version has them."""
    for number in range(version, current):
        step = steps[number]
        rows = step.closes(rows) if kind == "closes" else step.events(rows)
    return rows
