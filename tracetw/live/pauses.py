# SPDX-License-Identifier: Apache-2.0
"""How long the rings may fill before the reader looks again."""

from __future__ import annotations

# Seconds. After a few records: their lines are to come soon. More wait for their like anyway (backlog.py).
_PAUSE = 0.025
_ROUND_LEAST = 0.005
_ROUND_MOST = 0.035
# What a round costs beside its records is the same for one and for thousands. So many make it little, and are no
# more than a part of one ring, since all may come into one.
_WANTED = 4096
_PART = 3
FEW = 64
"""Records of one look: so many are single ends, each of which is shown as soon as it can be; more are handled together."""


class Pauses:
    """Chooses them so that a round of a storm brings about as many records as are best judged at once.

    Args:
        room: records that one ring holds.
        now_s: ``time.monotonic``.
    """

    def __init__(self, room: int, now_s: float) -> None:
        self._wanted = min(_WANTED, room // _PART)
        self._looked_s = now_s

    def after(self, now_s: float, count: int) -> float:
        """Seconds to wait after a round that began now and found so many records; 0: wait for the next record."""
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        if not count:
            return 0.0
        if count <= FEW:
            return _PAUSE
        return min(max(passed_s * self._wanted / count, _ROUND_LEAST), _ROUND_MOST)
