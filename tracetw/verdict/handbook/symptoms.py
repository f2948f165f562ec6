# SPDX-License-Identifier: Apache-2.0
"""From what somebody sees to the verdicts it may be: the way into the handbook without a trace."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Symptom

__all__ = ["SYMPTOMS"]

SYMPTOMS: Mapping[str, tuple[Symptom, ...]] = {
    "What the application got": (
        Symptom(
            "read() returns 0, `unexpected EOF`",
            ("orderly",),
            "closed_by at the other end: somebody's decision, or the death of a process",
        ),
        Symptom(
            "ECONNRESET, `connection reset by peer`",
            (
                "peer-reset",
                "peer-lost-state",
                "stale-syn-reset",
                "accept-aborted",
                "abort-disconnect",
            ),
            "the reason is at the peer, but for the last: that was our own call",
        ),
        Symptom(
            "EPIPE, SIGPIPE, `broken pipe`",
            ("peer-reset", "peer-lost-state"),
            "the peer had closed before, or an earlier call had the ECONNRESET already",
        ),
        Symptom(
            "ETIMEDOUT of read() or write()",
            (
                "retransmit-exhausted",
                "user-timeout",
                "keepalive-expired",
                "window-probe-expired",
                "output-blocked",
            ),
            "which limit it was, and whether anything was sent",
        ),
        Symptom("EHOSTUNREACH, ENETUNREACH", ("unreachable",), "who reports it"),
        Symptom("ECONNABORTED", ("abort-admin",), "who destroyed the socket"),
        Symptom("connect(): ECONNREFUSED", ("connect-refused",), "no listener, or a rule"),
        Symptom(
            "connect(): ETIMEDOUT",
            ("connect-timeout",),
            "no answer, or a full accept queue",
        ),
        Symptom(
            "connect(): EADDRNOTAVAIL, or its own limit of time",
            ("connect-aborted",),
            "no local port, or nobody waited for the answer",
        ),
        Symptom(
            "connect() worked, then ECONNRESET, at a deploy",
            ("abort-listener", "peer-reset"),
            "the server's accept queue",
        ),
        Symptom(
            "nothing: close() returned 0, but the peer lacks data or got ECONNRESET",
            (
                "abort-unread",
                "abort-linger",
                "abort-late-data",
                "fin-exhausted",
                "abort-memory",
                "namespace-gone",
            ),
            "bytes_unacked, and what was unread",
        ),
    ),
    "What `ss -tno` shows": (
        Symptom(
            "many CLOSE-WAIT",
            ("fin-wait2-timeout", "peer-lost-state"),
            "our application does not close; the first verdict is the peer's, the second ours, later",
        ),
        Symptom(
            "FIN-WAIT-2 with timer:(timewait)",
            ("fin-wait2-timeout", "orderly", "abort-late-data"),
            "the peer does not close; without that timer: shutdown(), and no limit",
        ),
        Symptom(
            "FIN-WAIT-1 or LAST-ACK with timer:(on)",
            ("fin-exhausted", "abort-memory"),
            "nobody acknowledges our FIN",
        ),
        Symptom(
            "ESTAB, Send-Q filled, timer:(on)",
            ("retransmit-exhausted", "unreachable", "user-timeout"),
            "nobody acknowledges our data",
        ),
        Symptom(
            "ESTAB, Send-Q filled, timer:(persist)",
            ("window-probe-expired", "output-blocked", "user-timeout"),
            "the peer does not read, or nothing leaves this host",
        ),
        Symptom(
            "ESTAB, timer:(keepalive) with a count",
            ("keepalive-expired", "peer-lost-state"),
            "probes are unanswered",
        ),
        Symptom("SYN-SENT that stays", ("connect-timeout", "connect-aborted"), "no answer"),
        Symptom(
            "LISTEN, Recv-Q near Send-Q",
            ("connect-timeout", "abort-listener", "accept-aborted"),
            "nobody accepts; clients time out, and a restart resets them",
        ),
        Symptom("many TIME-WAIT", ("orderly",), "[TIME_WAIT](#time_wait-and-fin_wait2)"),
    ),
    "What `tcpdump` shows": (
        Symptom(
            "`[R.]` from the peer (RST with ACK)",
            ("peer-reset",),
            "the peer still held the connection",
        ),
        Symptom(
            "`[R]` from the peer in answer to us (bare RST)",
            ("peer-lost-state", "peer-reset"),
            "the peer holds none; after its own FIN it had closed",
        ),
        Symptom(
            "`[R.]` from us, no FIN",
            (
                "abort-unread",
                "abort-linger",
                "abort-admin",
                "abort-listener",
                "abort-disconnect",
                "abort-memory",
                "keepalive-expired",
            ),
            "after 0 or more small ACKs at even distances: the last one",
        ),
        Symptom("`[R]` from us in answer to data", ("abort-late-data",), "we had closed"),
        Symptom(
            "`[S]` on a connection that lives, an ACK, `[R]`",
            ("stale-syn-reset",),
            "the peer began anew",
        ),
        Symptom(
            "the same data again and again",
            ("retransmit-exhausted", "user-timeout", "unreachable"),
            "growing distances: silence; even ones with ICMP between: unreachable",
        ),
        Symptom("the same `[F.]` again and again", ("fin-exhausted",), "silence after our FIN"),
        Symptom("nothing from us at all", ("output-blocked",), "it never left this host"),
    ),
    "Which counter grows (`nstat -az`)": (
        Symptom("TCPAbortOnClose", ("abort-unread",)),
        Symptom(
            "TCPAbortOnData",
            ("abort-linger", "abort-late-data"),
            "SO_LINGER 0 is counted here; data for a FIN_WAIT2 mini-socket nowhere",
        ),
        Symptom("TCPAbortOnLinger", ("abort-linger",), "TCP_LINGER2 below 0, in close()"),
        Symptom("TCPAbortOnMemory", ("abort-memory",)),
        Symptom(
            "TCPAbortOnTimeout",
            (
                "retransmit-exhausted",
                "fin-exhausted",
                "user-timeout",
                "keepalive-expired",
                "window-probe-expired",
                "unreachable",
                "output-blocked",
                "connect-timeout",
            ),
            "TCPKeepAlive and TCPWinProbe count the probes before",
        ),
        Symptom(
            "TCPTimeWaitOverflow",
            ("undetermined", "orderly"),
            "[overflow](#overflow); the peers see peer-lost-state",
        ),
        Symptom(
            "TCPSYNChallenge, TCPChallengeACK",
            ("stale-syn-reset",),
            "[challenge-ack](#challenge-ack); the second without the first: RSTs that did not fit",
        ),
        Symptom(
            "AttemptFails",
            ("connect-refused", "connect-timeout", "accept-aborted"),
            "a connect() that the application gave up is not counted",
        ),
        Symptom(
            "ListenOverflows, ListenDrops",
            ("accept-aborted",),
            "the accept queue is full; the clients see connect-timeout",
        ),
        Symptom(
            "EstabResets",
            (
                "peer-reset",
                "peer-lost-state",
                "stale-syn-reset",
                "abort-unread",
                "abort-linger",
                "abort-disconnect",
                "abort-admin",
                "abort-listener",
                "retransmit-exhausted",
                "user-timeout",
                "keepalive-expired",
                "window-probe-expired",
                "unreachable",
                "output-blocked",
            ),
            "ended from ESTABLISHED or CLOSE_WAIT without a FIN of ours, for whatever reason",
        ),
        Symptom(
            "none",
            ("peer-reset", "peer-lost-state", "abort-admin", "fin-wait2-timeout", "namespace-gone"),
            "no counter of their own: only a trace tells",
        ),
    ),
    "Who closed first (the sign between the addresses)": (
        Symptom(
            "`>` this side",
            (
                "orderly",
                "abort-unread",
                "abort-linger",
                "abort-late-data",
                "abort-disconnect",
                "abort-listener",
                "abort-memory",
                "fin-wait2-timeout",
                "fin-exhausted",
                "connect-aborted",
                "namespace-gone",
                "undetermined",
            ),
            "our application: closed_by and the process; and what followed after its close()",
        ),
        Symptom(
            "`<` the peer",
            (
                "orderly",
                "peer-reset",
                "peer-lost-state",
                "stale-syn-reset",
                "connect-refused",
                "accept-aborted",
            ),
            "trace at the peer",
        ),
        Symptom("`=` both at once", ("orderly",), "nothing"),
        Symptom(
            "`!` nobody",
            (
                "retransmit-exhausted",
                "user-timeout",
                "keepalive-expired",
                "window-probe-expired",
                "unreachable",
                "output-blocked",
                "connect-timeout",
                "abort-admin",
            ),
            "the way between, or an operator",
        ),
    ),
}
"""Heading to the rows of its table, in the order in which somebody on call meets them."""
