# SPDX-License-Identifier: Apache-2.0
"""Looks at the sockets of this host now and then, in a thread of its own, while somebody looks at them."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tracetw.top.board import SECOND, Board

_T = TypeVar("_T")
_KEPT = 120
# A look may take so much of the time of a core: one part in fifty.
_PART, _LONGEST_S = 50, 30.0


@dataclass(frozen=True, slots=True)
class Polled(Generic[_T]):
    """What was there at a time (wall time, seconds)."""

    at_s: int
    what: _T


class Poller(Generic[_T]):
    """Keeps the last looks, for walking back.

    Args:
        board: gets another version when there is something new.
        look: takes a look. May raise OSError.
        delay_s: between two looks, at least.

    Attributes:
        failed: why the last look failed; "" if it did not.
    """

    def __init__(self, board: Board, look: Callable[[], _T], delay_s: float) -> None:
        self._board = board
        self._look = look
        self._delay_s = delay_s
        self._seen: deque[Polled[_T]] = deque(maxlen=_KEPT)
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self.failed = ""

    def want(self, *, wanted: bool) -> None:
        """Does the screen show these looks now? The first time starts the thread."""
        if not wanted:
            self._wanted.clear()
            return
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tracetw-look", daemon=True)
            self._thread.start()

    def once(self) -> None:
        """Take a look now."""
        try:
            what = self._look()
        except OSError as error:
            self.failed = f"the kernel does not list TCP sockets: {os.strerror(error.errno or 0)}"
        else:
            self.failed = ""
            self._seen.append(Polled(time.time_ns() // SECOND, what))
        self._board.version += 1

    def seen(self, at_s: int | None) -> Polled[_T] | None:
        """The last look, or the last one not after a time; None when there is none."""
        looks = [*self._seen]
        if at_s is None:
            return looks[-1] if looks else None
        return next((each for each in reversed(looks) if each.at_s <= at_s), None)

    def _run(self) -> None:
        while self._wanted.wait():
            began = time.monotonic()
            self.once()
            spent = time.monotonic() - began
            time.sleep(min(max(self._delay_s, spent * _PART), _LONGEST_S))
