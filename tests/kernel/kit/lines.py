# SPDX-License-Identifier: Apache-2.0
"""What a ``close`` line holds about a connection of the usual topology: A connected to B."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from tests.kernel.kit.expect import SOME, Claim, at_least, between, one_of, path
from tests.kernel.kit.host import PORT

Expectation: TypeAlias = Mapping[str, Any]

LONGEST_MS = 60_000

# What every line has, whatever it reports.
ALWAYS: Expectation = {
    "v": at_least(1),
    "kind": "close",
    "time": Claim("RFC 3339, UTC", lambda value: value[10] == "T" and value[-1] == "Z"),
    "host": os.uname().nodename,
    "why": SOME,
    "evidence": SOME,
    "confidence": one_of("proven", "inferred"),
    "duration_ms": between(0, LONGEST_MS),
}

QUIET: Expectation = {
    "retransmits": {"total": 0, "fin": 0},
    "bytes_unread": 0,
    "bytes_unacked": 0,
    "limit": None,
}


def client(family: int = 4, **more: Any) -> Expectation:
    """The line of A, which connected."""
    return {
        "role": "client",
        "family": family,
        "local": {"addr": "10.99.0.1" if family == 4 else "fd99::1", "port": at_least(1024)},
        "remote": {"addr": "10.99.0.2" if family == 4 else "fd99::2", "port": PORT},
        **more,
    }


def server(family: int = 4, **more: Any) -> Expectation:
    """The line of B, which accepted."""
    return {
        "role": "server",
        "family": family,
        "local": {"addr": "10.99.0.2" if family == 4 else "fd99::2", "port": PORT},
        "remote": {"addr": "10.99.0.1" if family == 4 else "fd99::1", "port": at_least(1024)},
        **more,
    }


def connected(*names: str) -> Claim:
    """The path of a client from SYN_SENT and ESTABLISHED on."""
    return path("SYN_SENT", "ESTABLISHED", *names)


def limit(name: str, value: int, low_ms: int, high_ms: int) -> Expectation:
    """A limit that ran out."""
    return {"name": name, "value": value, "elapsed_ms": between(low_ms, high_ms)}


def timed_out(verdict: str, **more: Any) -> Expectation:
    """What all lines of a timer that gave up have."""
    return {
        "verdict": verdict,
        "form": "timeout",
        "first_close": "none",
        "closed_by": "kernel-timer",
        "exit": None,
        "time_wait": "none",
        "error": "ETIMEDOUT",
        **more,
    }


def sent_reset(verdict: str, *reasons: str, **more: Any) -> Expectation:
    """What all lines of a reset that this end sent have; ``reasons`` are the kernel's names."""
    return {
        "verdict": verdict,
        "form": "rst-sent",
        "first_close": "local",
        "closed_by": "app",
        "exit": None,
        "time_wait": "none",
        "reset": {"direction": "sent", "reason": one_of(*reasons), "reason_from": "kernel"},
        "limit": None,
        **more,
    }


def got_reset(verdict: str = "peer-reset", *, ack: bool | None = None, **more: Any) -> Expectation:
    """What all lines of a received reset have. ``ack``: its ACK flag, where the kernel shows it."""
    return {
        "verdict": verdict,
        "form": "rst-received",
        "first_close": "remote",
        "closed_by": "peer",
        "exit": None,
        "time_wait": "none",
        "reset": {"direction": "received", "ack_flag": one_of(ack, None)},
        "error": "ECONNRESET",
        "limit": None,
        **more,
    }
