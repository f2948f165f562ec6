# SPDX-License-Identifier: Apache-2.0
"""Shows on a terminal how much waits for an output that is slower than connections end."""

from __future__ import annotations

import sys
import time

from tracetw.messages import say

_EVERY_S = 1.0
_MANY = 32_768


class Waiting:
    """One line a second on standard error while there is something to show.

    Only where that is a terminal and the output is not: there it would stand between the lines.
    """

    def __init__(self) -> None:
        self._shown = sys.stderr is not None and sys.stderr.isatty()
        self._shown = self._shown and not (sys.stdout is not None and sys.stdout.isatty())
        self._next_s = 0.0

    def show(self, records: int) -> None:
        """So many records wait now."""
        if not self._shown or records < _MANY or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + _EVERY_S
        say(f"{records:,} records wait for the output")
