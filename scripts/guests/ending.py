# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGHUP end a run as Ctrl-C does: what it started and what is half made goes with it."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn


def end_in_order() -> None:
    """From now on these signals raise SystemExit; the exit status is that of a shell, 128 and the signal's number."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ended)


def _ended(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
