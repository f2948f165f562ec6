# SPDX-License-Identifier: Apache-2.0
"""Facts of rows for the tests of hints: what most of them have in common."""

from __future__ import annotations

from typing import Any

from tracetw.event import record
from tracetw.event.record import (
    F_ADDR,
    F_BORN,
    F_CLIENT,
    F_CLOSED,
    F_OWNED,
    F_SERVER,
    F_SOCKET,
    T_QUIET,
    T_READ,
)
from tracetw.verdict.hinted import LOCAL, REMOTE, RST_RECEIVED

NEVER = record.SINCE_UNKNOWN
SECOND = 250
"""Jiffies of NAMES."""
BOTH = F_BORN | F_ADDR | F_CLOSED
READ = T_READ | T_QUIET
ACKED: dict[str, Any] = {
    "traits": READ,
    "first_close": LOCAL,
    "bytes_sent": 1000,
    "bytes_acked": 1001,
}
SERVER: dict[str, Any] = {**ACKED, "flags": BOTH | F_SERVER | F_SOCKET}
CLIENT: dict[str, Any] = {**ACKED, "flags": BOTH | F_CLIENT | F_SOCKET}
UNREAD: dict[str, Any] = {
    **SERVER,
    "flags": BOTH | F_SERVER | F_SOCKET | F_OWNED,
    "verdict": "abort-unread",
    "old_state": 1,
}
RESET: dict[str, Any] = {
    "form": RST_RECEIVED,
    "verdict": "peer-reset",
    "old_state": 1,
    "first_close": REMOTE,
}
LOST: dict[str, Any] = {
    **CLIENT,
    "verdict": "retransmit-exhausted",
    "old_state": 1,
    "mss": 1448,
    "total_retrans": 5,
    "snd_nxt": 3000,
    "write_seq": 3000,
    "bytes_acked": 11,
}
