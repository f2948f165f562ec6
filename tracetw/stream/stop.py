# SPDX-License-Identifier: Apache-2.0
"""Asked to end: by whom, how often, and what that means for a reader that stands still."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import FrameType

# A reader that has taken nothing for so long since we were asked to end stands still. All of
# ending is to take a second.
_PATIENCE_S = 0.4


class Stop:
    """A signal handler that remembers.

    Attributes:
        signal: number of the last signal; 0: none.
        times: how many.
        waits_since_s: when an output last had something for its reader and could not be sure that it
            is taken (``time.monotonic``); None: nothing waits for a reader.
        wake: called with each signal.
    """

    def __init__(self) -> None:
        self.signal = 0
        self.times = 0
        self.waits_since_s: float | None = None
        self.wake: Callable[[], None] = lambda: None
        self._first_s = 0.0

    def __call__(self, signum: int, _frame: FrameType | None) -> None:
        """Take note of a signal."""
        self._first_s = self._first_s or time.monotonic()
        self.signal = signum
        self.times += 1
        self.wake()

    def gives_up(self, progress_s: float, more_s: float = 0.0) -> bool:
        """Is it over for a reader that took something at this time (``time.monotonic``) last?

        Never before a signal, and ``more_s`` later than usual. After a second signal at once.
        """
        if self.times > 1:
            return True
        since = max(progress_s, self._first_s)
        return self.times > 0 and time.monotonic() >= since + _PATIENCE_S + more_s
