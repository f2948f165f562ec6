# SPDX-License-Identifier: Apache-2.0
"""Tells whoever waits how far the measurement is: on standard error."""

from __future__ import annotations

import sys
import time

__all__ = ["Progress"]

CLEAR = "\r\033[K"


class Progress:
    """Of ``steps`` steps. A terminal shows the present one in its last line, with the time left."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._said: set[str] = set()

    def step(self, text: str, counts: bool = True) -> None:  # noqa: FBT001, FBT002 - a repeated one does not
        """The next step begins; one that is repeated does not count."""
        if self._terminal:
            left = ""
            if self._done:
                passed = time.monotonic() - self._started
                seconds = passed * (self._steps - self._done) / self._done
                left = f", about {seconds / 60:.0f} min left"
            share = f"{min(self._done + 1, self._steps)}/{self._steps}"
            print(f"{CLEAR}bench: [{share}] {text}{left} ", end="", file=sys.stderr, flush=True)
        self._done += counts

    def say(self, text: str) -> None:
        """Something that stays to be read."""
        clear = CLEAR if self._terminal else ""
        print(f"{clear}bench: {text}", file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Something to be read once, however often it happens."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def end(self) -> None:
        """No more steps."""
        if self._terminal:
            print(CLEAR, end="", file=sys.stderr, flush=True)
