# SPDX-License-Identifier: Apache-2.0
"""How many connections a round takes to last long enough, however fast the machine is."""

from __future__ import annotations

from collections.abc import Callable

from scripts.benchmark.storm import Load

__all__ = ["MARGIN", "connections_for"]

FIRST = 2_000
FACTOR = 4
TRIAL_S = 0.5  # a shorter trial says too little
MARGIN = 1.25  # a machine speeds up by so much from one storm to the next


def connections_for(seconds: float, most: int, run: Callable[[int], Load]) -> int:
    """Connections that take at least ``seconds``, and no more than ``most``.

    ``run`` makes that many. Trials grow until one is long enough to tell: at most a dozen.
    """
    count = min(FIRST, most)
    while True:
        load = run(count)
        if load.seconds >= min(TRIAL_S, seconds) or count >= most:
            return max(1, min(most, round(load.rate * seconds * MARGIN)))
        count = min(most, count * FACTOR)
