# SPDX-License-Identifier: Apache-2.0
"""Segments that were refused: the ``drop`` events."""

from __future__ import annotations

from tracetw.verdict.handbook.entry import Event, Folklore

__all__ = ["DROP_EVENTS"]

DROP_EVENTS = (
    Event(
        "paws",
        "A segment with a timestamp older than the last one seen was dropped from a live connection.",
        "tcp_validate_incoming (PAWSEstab)",
        "old-timestamp",
        "A few come from packets that overtook each other. Many: something on the way holds packets back, "
        "repeats them, or rewrites their timestamps.",
        (
            Folklore(
                "PAWS guards against everything old.",
                "Not against RST: tcp_validate_incoming accepts one that fails PAWS.",
            ),
        ),
    ),
    Event(
        "paws-timewait",
        "The same in TIME_WAIT: the segment was dropped and acknowledged.",
        "tcp_timewait_state_process (PAWSEstab; from 6.17 on PAWSTimewait)",
        "old-timestamp-time-wait",
        "A SYN is the case that hurts: a client that took over the port of another behind the same NAT. It "
        "gets an ACK in place of SYN ACK, resets, and is through with its next SYN.",
        (
            Folklore(
                "Such SYNs are dropped in silence.",
                "They were, with tcp_tw_recycle. Now tcp_timewait_state_process answers with an ACK (at most "
                "one every 500 ms).",
            ),
        ),
    ),
    Event(
        "challenge-ack",
        "A RST in the window but not at its beginning, or a SYN on a live connection, was answered with "
        "an ACK.",
        "tcp_validate_incoming, tcp_send_challenge_ack (TCPChallengeACK, TCPSYNChallenge; RFC 5961)",
        "stray-reset-challenged",
        "A peer that really has lost the connection answers with a RST that fits: peer-lost-state or "
        "stale-syn-reset follow. Without one it was a stray, or somebody guesses. A challenge to one "
        "connection comes at most every net.ipv4.tcp_invalid_ratelimit (500 ms); the limit for all, "
        "net.ipv4.tcp_challenge_ack_limit, is off in newer kernels.",
    ),
    Event(
        "out-of-window-reset",
        "A RST outside of the window was dropped without an answer.",
        "tcp_validate_incoming, tcp_sequence",
        "stray-reset-out-of-window",
        "Late answers to an earlier connection on the same ports, or an attempt to reset blindly. The "
        "connection is not touched.",
    ),
)
