# SPDX-License-Identifier: Apache-2.0
"""Why a listener did what a ``drop`` event tells, where its flags say it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import F_RST_IN, F_SYN_HIT, F_SYSCTL, Drop, EventKind

CAUSES = (None, "rst", "syn", "ack", "sysctl", "requests")
"""Names in the contract: the segment that ended a request; of a cookie tcp_syncookies 2, or too many requests."""


def drop_causes(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """Of each row of ``EVENT`` its place in ``CAUSES``; 0 of every event that has none."""
    drop = rows["kind"] == EventKind.DROP
    reset = drop & (rows["code"] == Drop.EMBRYONIC_RESET)
    cookie = drop & (rows["code"] == Drop.SYN_COOKIE)
    flags = rows["flags"]
    causes = np.zeros(len(rows), np.uint8)
    causes[reset] = np.where(
        flags[reset] & F_RST_IN, 1, np.where(flags[reset] & F_SYN_HIT, 2, 3)
    ).astype(np.uint8)
    causes[cookie] = np.where(flags[cookie] & F_SYSCTL, 4, 5).astype(np.uint8)
    return causes
