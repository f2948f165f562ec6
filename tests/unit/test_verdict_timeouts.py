# SPDX-License-Identifier: Apache-2.0
"""Recorded facts of every way to time out and of connections that never were."""

from __future__ import annotations

import errno

import pytest

from tests.unit.test_verdict_judge import (
    CASES,
    EARLY,
    FIN_LOST,
    IN_CALL,
    KEEPALIVE,
    MINI,
    REASON,
    STATE,
    UNACKED,
    Cases,
    Values,
    judged,
    verdict,
    words,
)
from tracetw.event import record as r
from tracetw.event.fields import State
from tracetw.event.record import End
from tracetw.verdict import taxonomy

TIMED_OUT: Values = {"err": errno.ETIMEDOUT}

OF_MPTCP = {"layer": r.Layer.MPTCP, "mptcp_conn": 1, "old_state": 1}
TIMEOUTS: Cases = {
    "data lost": (
        {**TIMED_OUT, **UNACKED, "path": 0x217, "old_state": 1, "flags": r.F_SOCKET},
        "retransmit-exhausted",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "FIN lost": (
        {**TIMED_OUT, **FIN_LOST, "path": 0x2147, "old_state": 4, "flags": r.F_DEAD},
        "fin-exhausted",
        ("timeout", "local", "kernel-timer", "none", "proven"),
    ),
    "FIN lost, shut down only": (
        {**TIMED_OUT, **FIN_LOST, "path": 0x2147, "old_state": 4, "flags": r.F_SOCKET},
        "fin-exhausted",
        ("timeout", "local", "kernel-timer", "none", "proven"),
    ),
    "handshake of a server": (
        {"path": 0x37, "old_state": 3, "err": errno.ECONNRESET, "flags": r.F_RST_IN | r.F_SERVER},
        "accept-aborted",
        ("rst-received", "remote", "peer", "none", "proven"),
    ),
    "last FIN lost": (
        {**TIMED_OUT, **FIN_LOST, "path": 0x21897, "old_state": 9, "flags": r.F_DEAD | r.F_DONE},
        "fin-exhausted",
        ("timeout", "remote", "kernel-timer", "none", "proven"),
    ),
    "FIN lost in CLOSING": (
        {**TIMED_OUT, **FIN_LOST, "path": 0x214B7, "old_state": 11, "flags": r.F_DEAD | r.F_DONE},
        "fin-exhausted",
        ("timeout", "both", "kernel-timer", "none", "proven"),
    ),
    "user timeout": (
        {**TIMED_OUT, **UNACKED, "path": 0x217, "old_state": 1, "user_timeout": 1500, "flags": 0},
        "user-timeout",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "user timeout of keepalive": (
        {
            **TIMED_OUT,
            "path": 0x217,
            "old_state": 1,
            "user_timeout": 1500,
            "probes_out": 2,
            "flags": EARLY | r.F_SOCKET,
        },
        "user-timeout",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "user timeout of a closed window": (
        {
            **TIMED_OUT,
            "path": 0x217,
            "old_state": 1,
            "user_timeout": 2000,
            "write_seq": 1100,
            "snd_wnd": 0,
            "flags": 0,
        },
        "user-timeout",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "keepalive": (
        {
            **TIMED_OUT,
            "path": 0x217,
            "old_state": 1,
            "probes_out": 2,
            "idle": 3000,
            "flags": EARLY | r.F_SOCKET | REASON,
            "reset_reason": KEEPALIVE,
        },
        "keepalive-expired",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "window probes": (
        {
            **TIMED_OUT,
            "path": 0x217,
            "old_state": 1,
            "write_seq": 1100,
            "snd_wnd": 0,
            "probes_out": 3,
            "flags": r.F_SOCKET,
        },
        "window-probe-expired",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "window shrunk": (
        {**TIMED_OUT, **UNACKED, "path": 0x217, "old_state": 1, "snd_wnd": 0, "flags": r.F_SOCKET},
        "window-probe-expired",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "timewait socket timed out": (
        {**MINI, "end": End.TIMEOUT},
        "fin-wait2-timeout",
        ("timeout", "local", "kernel-timer", "none", "proven"),
    ),
    "full socket timed out in FIN_WAIT2": (
        {**MINI, "flags": r.F_DEAD | EARLY | REASON, "reset_reason": STATE},
        "fin-wait2-timeout",
        ("timeout", "local", "kernel-timer", "none", "proven"),
    ),
    "no route": (
        {**UNACKED, "path": 0x217, "old_state": 1, "err": 113, "err_soft": 113, "flags": 0},
        "unreachable",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "own firewall": (
        {
            **TIMED_OUT,
            "path": 0x217,
            "old_state": 1,
            "write_seq": 1100,
            "probes_out": 3,
            "flags": r.F_SOCKET,
        },
        "output-blocked",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "refused": (
        {
            "path": 0x27,
            "old_state": State.SYN_SENT,
            "err": errno.ECONNREFUSED,
            "snd_nxt": 1001,
            "flags": r.F_RST_IN | r.F_SOCKET,
        },
        "connect-refused",
        ("rst-received", "remote", "peer", "none", "proven"),
    ),
    "SYN lost": (
        {**TIMED_OUT, "path": 0x27, "old_state": 2, "snd_nxt": 1001, "retransmits": 6, "flags": 0},
        "connect-timeout",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "connecting to no route": (
        {"path": 0x27, "old_state": 2, "err": errno.EHOSTUNREACH, "flags": r.F_SOCKET},
        "unreachable",
        (None, "none", "icmp", "none", "proven"),
    ),
    "connecting to no route, by the timer": (
        {
            "path": 0x27,
            "old_state": 2,
            "err": errno.EHOSTUNREACH,
            "err_soft": errno.EHOSTUNREACH,
            "flags": r.F_SOCKET,
        },
        "unreachable",
        ("timeout", "none", "kernel-timer", "none", "proven"),
    ),
    "refused by ICMP": (
        {"path": 0x27, "old_state": 2, "err": errno.ECONNREFUSED, "flags": r.F_SOCKET},
        "connect-refused",
        (None, "none", "icmp", "none", "proven"),
    ),
    "closed while connecting": (
        {"path": 0x27, "old_state": 2, "shutdown": 3, "snd_una": 999, "flags": IN_CALL},
        "connect-aborted",
        (None, "local", "app", "none", "proven"),
    ),
    "no port to connect from": (
        {"path": 0x27, "old_state": 2, "lport": 0, "flags": IN_CALL},
        "connect-failed",
        (None, "local", "app", "none", "proven"),
    ),
    "no route for the port": (
        {"path": 0x27, "old_state": 2, "flags": IN_CALL},
        "connect-failed",
        (None, "local", "app", "none", "proven"),
    ),
    "disconnected while connecting": (
        {"path": 0x27, "old_state": 2, "snd_una": 999, "flags": IN_CALL},
        "connect-aborted",
        (None, "local", "app", "none", "proven"),
    ),
    "client gone in the handshake": (
        {"path": 0x37, "old_state": 3, "err": errno.ECONNRESET, "flags": r.F_RST_IN},
        "connect-aborted",
        ("rst-received", "remote", "peer", "none", "proven"),
    ),
    "the last subflow of MPTCP": (
        {"path": 0x217, **OF_MPTCP, "mptcp_flags": r.MP_CONNECTION | r.MP_NO_SUBFLOW},
        "subflows-lost",
        (None, "none", None, "none", "proven"),
    ),
    "a subflow that MPTCP resets": (
        {
            "path": 0x7127,
            "old_state": 1,
            **OF_MPTCP,
            "mptcp_flags": r.MP_SUBFLOW | r.MP_WENT_ON,
            "flags": r.F_RST_OUT | r.F_RST_EARLY,
        },
        "mptcp-reset",
        ("rst-sent", "local", None, "none", "proven"),
    ),
    "namespace gone in close()": (
        {"path": 0x2147, "old_state": 4, "flags": r.F_DEAD | r.F_OWNED, **FIN_LOST},
        "namespace-gone",
        (None, "local", "netns-exit", "none", "inferred"),
    ),
}


@pytest.mark.parametrize("name", TIMEOUTS)
def test_verdict(name: str) -> None:
    values, code, expected = TIMEOUTS[name]
    findings = judged(values)
    assert (verdict(findings), words(findings)) == (code, expected)


def test_every_verdict_has_a_case() -> None:
    covered = {code for _, code, _ in (*CASES.values(), *TIMEOUTS.values())}
    assert covered == {verdict.code for verdict in taxonomy.VERDICTS}


GONE: Values = {"at": [0, 1, 5, 6, 300, 0, 50]}
"""Closed 50 ms after the beginning."""


@pytest.mark.parametrize(
    ("name", "more", "limit", "value", "elapsed"),
    [
        ("data lost", {"retrans_stamp": 1_000_400}, "tcp_retries2", 15, 3000),
        ("data lost", {"retrans_stamp": 0}, "tcp_retries2", 15, -1),
        ("data lost", {"retrans_stamp": 3_000_000_000}, "tcp_retries2", 15, -1),
        ("FIN lost", {}, "tcp_orphan_retries", 8, -1),
        ("FIN lost", {"sysctl_orphan_retries": 2}, "tcp_orphan_retries", 2, -1),
        # tcp_orphan_retries(): 8 only while the timeout is below its maximum.
        ("FIN lost", {"rto": 119_999}, "tcp_orphan_retries", 8, -1),
        ("FIN lost", {"rto": 120_000}, "TCP_RTO_MAX", 120_000, -1),
        ("FIN lost", {"rto": 120_000, "sysctl_orphan_retries": 3}, "tcp_orphan_retries", 3, -1),
        ("FIN lost", {"rto": 1000, "rto_max": 1000}, "TCP_RTO_MAX", 1000, -1),
        ("FIN lost, shut down only", {}, "tcp_retries2", 15, -1),
        ("user timeout", {}, "TCP_USER_TIMEOUT", 1500, -1),
        ("user timeout of a closed window", {"probing": 2500}, "TCP_USER_TIMEOUT", 2000, 2500),
        ("keepalive", {}, "tcp_keepalive_probes", 9, 3000),
        ("keepalive", {"keepalive_probes": 2}, "TCP_KEEPCNT", 2, 3000),
        # From close() on, which makes the timewait socket, not from FIN_WAIT2 on (6 ms).
        ("timewait socket timed out", {"fin_timeout": 1000, **GONE}, "tcp_fin_timeout", 1, 250),
        ("timewait socket timed out", {"linger2": 2000, **GONE}, "TCP_LINGER2", 2, 250),
        # Above 60 s the full socket waits first.
        ("timewait socket timed out", {"fin_timeout": 61_000, **GONE}, "tcp_fin_timeout", 61, 294),
        (
            "timewait socket timed out",
            {"fin_timeout": 61_000, "flags": MINI["flags"] | r.F_CLOSE_CALLED, **GONE},
            "tcp_fin_timeout",
            61,
            -1,
        ),
        ("SYN lost", {}, None, -1, 3400),
    ],
)
def test_limits(name: str, more: Values, limit: str | None, value: int, elapsed: int) -> None:
    values = dict(TIMEOUTS[name][0])
    if "at" not in values:
        steps = len(f"{values['path']:x}")
        values["at"] = [0] * (steps - 1) + [3400]
    findings = judged({**values, **more})
    assert taxonomy.LIMITS[int(findings.limit[0])] == limit
    assert (int(findings.limit_value[0]), int(findings.limit_elapsed_ms[0])) == (value, elapsed)
