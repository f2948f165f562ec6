# SPDX-License-Identifier: Apache-2.0
"""All counters at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tracetw.event.record import Stat
from tracetw.host.counters import Snapshot


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted until a moment.

    Attributes:
        counters: the kernel's, by namespace.
        stats: the tracer's own, all CPUs summed.
        at_ns: monotonic time.
    """

    counters: Snapshot = field(default_factory=dict)
    stats: Mapping[Stat, int] = field(default_factory=dict)
    at_ns: int = 0
