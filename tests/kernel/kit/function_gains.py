# SPDX-License-Identifier: Apache-2.0
"""What is played with function probes and without, and what each of them must make better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from tracetw.lab.net.cable import addresses

__all__ = ["BETTER", "PLAYS", "UNTIMED", "Gain", "Place"]

Place: TypeAlias = tuple[str, str]
"""Play, and host of it: a or b."""

UNTIMED = " without timestamps"
B = addresses(99, 2)[4]
PLAYS = (
    "four-way-close",
    "three-segments",
    "fin-wait2-timeout-linger2",
    "linger-0",
    "close-with-unread-data",
    "close-with-unread-data" + UNTIMED,
    "late-data-closed-socket",
    "data-to-rebooted-peer-no-service",
    "data-to-rebooted-peer-no-service" + UNTIMED,
    "last-ack-lost-once",
    "time-wait-killed-by-reset",
    "time-wait-overflow",
    "time-wait-overflow-fin-wait2",
    "time-wait-reused-by-bind",
    "stray-reset-challenged",
    "rebooted-peer-reconnects",
    "icmp-while-connecting",
    "icmp-host-unreachable",
    "accept-queue-full-for-a-syn",
    "request-queue-full",
    "syn-cookie",
    "client-gone-before-syn-ack",
)


@dataclass(frozen=True)
class Gain:
    """What a program makes better: a field of a close (or ``event``), before and after."""

    program: str
    place: Place
    field: str
    floor: Any
    rich: Any


BETTER = (
    Gain(
        "reset_flags",
        ("close-with-unread-data", "b"),
        "evidence",
        "rst-with-timestamp",
        "rst-with-ack",
    ),
    Gain(
        "reset_flags",
        ("close-with-unread-data" + UNTIMED, "b"),
        "evidence",
        "nothing-unanswered",
        "rst-with-ack",
    ),
    Gain(
        "reset_flags",
        ("data-to-rebooted-peer-no-service" + UNTIMED, "a"),
        "verdict",
        "undetermined",
        "peer-lost-state",
    ),
    Gain("handshake_ttl", ("linger-0", "b"), "ttl", None, 64),
    Gain(
        "listener_dropped", ("accept-queue-full-for-a-syn", "b"), "event", None, "accept-queue-full"
    ),
    Gain("listener_dropped", ("request-queue-full", "b"), "event", None, "request-queue-full"),
    Gain("syn_cookie", ("syn-cookie", "b"), "event", None, "syn-cookie"),
    Gain("request_reset", ("client-gone-before-syn-ack", "b"), "event", None, "embryonic-reset"),
    Gain("icmp_error", ("icmp-while-connecting", "a"), "icmp_from", None, B),
    Gain(
        "timewait_packet",
        ("late-data-closed-socket", "a"),
        "verdict",
        "undetermined",
        "abort-late-data",
    ),
    Gain("timewait_packet", ("late-data-closed-socket", "a"), "confidence", "inferred", "proven"),
    Gain("timewait_packet", ("last-ack-lost-once", "a"), "event", None, "reacked"),
    Gain("timewait_packet", ("time-wait-killed-by-reset", "a"), "event", None, "killed-by-reset"),
    Gain("challenge_ack", ("stray-reset-challenged", "b"), "event", None, "challenge-ack"),
    Gain(
        "challenge_ack",
        ("rebooted-peer-reconnects", "b"),
        "verdict",
        "peer-lost-state",
        "stale-syn-reset",
    ),
    Gain(
        "timewait_refused",
        ("time-wait-overflow", "a"),
        "evidence",
        "no-time-wait",
        "time-wait-refused",
    ),
)
