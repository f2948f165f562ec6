# SPDX-License-Identifier: Apache-2.0
"""How fast a recording goes by."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECOND = 1_000_000_000


class Pace:
    """Waits until recorded time has come, at ``speed`` times its own speed; None: never waits."""

    def __init__(
        self,
        speed: float | None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._speed = speed
        self._now = now
        self._sleep = sleep
        self._start: tuple[int, float] | None = None

    @property
    def waits(self) -> bool:
        """Recorded time matters."""
        return self._speed is not None

    def until(self, wall_ns: int) -> None:
        """Return when it is this time of the recording."""
        if self._speed is None:
            return
        if self._start is None:
            self._start = wall_ns, self._now()
        first, began = self._start
        left = began + (wall_ns - first) / _SECOND / self._speed - self._now()
        if left > 0:
            self._sleep(left)
