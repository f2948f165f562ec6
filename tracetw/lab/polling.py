# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition instead of for a time, and saying what did not come about."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["LOOK_S", "PERIOD_S", "STOP", "NotPlayed", "eventually", "fails", "patient", "require"]

T = TypeVar("T")

PERIOD_S = 0.005
LOOK_S = 0.2
"""How often who waits for something else looks whether it is time to stop."""
PATIENCE = "TRACETW_PATIENCE"

STOP = threading.Event()
"""Set when the user wants to stop: whoever waits here gives up."""


class NotPlayed(Exception):
    """A scenario could not be played to its end; the message says what did not happen."""


def patient(seconds: float) -> float:
    """A deadline for this machine.

    On one that is slow, an emulated one above all, ``TRACETW_PATIENCE`` says how many times as long
    everything may take. Deadlines and upper bounds of times pass through here, and pauses that its own delays
    must not distort; nothing else knows of it.
    """
    return seconds * max(1.0, float(os.environ.get(PATIENCE) or 1.0))


def require(condition: object, words: str) -> None:
    """Raises :class:`NotPlayed` with ``words`` unless the condition holds."""
    if not condition:
        raise NotPlayed(words)


def eventually(condition: Callable[[], T], deadline_s: float = 15.0, what: str = "") -> T:
    """The first true value of ``condition()``.

    Raises :class:`NotPlayed` when there is none in time. ``what`` names the condition in the
    message; without it, its source name does.
    """
    deadline_s = patient(deadline_s)
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            name = what or getattr(condition, "__qualname__", repr(condition))
            raise NotPlayed(f"not within {deadline_s} s: {name} (last: {value!r})")
        if STOP.wait(PERIOD_S):
            raise NotPlayed("stopped")


@contextmanager
def fails(kind: type[OSError]) -> Iterator[None]:
    """What is done inside must fail with this error of the kernel's, not for a timeout of ours."""
    try:
        yield
    except kind as error:
        require(error.errno, f"a timeout of the lab's own instead of {kind.__name__}")
    else:
        raise NotPlayed(f"nothing failed with {kind.__name__}")
