# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PERIOD_S = 0.005


def eventually(condition: Callable[[], T], deadline_s: float = 10.0, what: str = "") -> T:
    """The first true value of ``condition()``; an assertion fails when there is none in time.

    ``what`` names the condition in the failure; without it, its source name does.
    """
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            name = what or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"not within {deadline_s} s: {name} (last: {value!r})")
        time.sleep(PERIOD_S)
