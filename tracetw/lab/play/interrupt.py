# SPDX-License-Identifier: Apache-2.0
"""Ending a lab early, so that it leaves nothing behind.

An exception out of a signal handler may come between the making of a thing and the note that it is there,
and then nobody undoes it. So the handler only remembers the signal, and whoever waits looks.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tracetw.errors import Failed

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a lab to stop."""


@contextmanager
def stoppable(left: str = "nothing is left behind") -> Iterator[Callable[[], None]]:
    """``left``: the end of the message.

    Gives a function that raises Failed once Ctrl-C, SIGTERM or SIGHUP has come.

    A signal that is ignored already, as SIGHUP is under nohup(1), stays ignored.
    """
    came: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    def check() -> None:
        if came:
            raise Failed(f"stopped; {left}")

    before = {
        number: handler
        for number in SIGNALS
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, remember)
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
