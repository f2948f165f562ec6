# SPDX-License-Identifier: Apache-2.0
"""From what somebody sees to a verdict: the way into the handbook without a trace."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Choice, Symptom

_APPLICATION = (
    Symptom(
        "read() returns 0, `unexpected EOF`",
        (
            Choice(
                "Always: the peer sent FIN.",
                "orderly; closed_by at the peer says who or what closed",
            ),
        ),
    ),
    Symptom(
        "ECONNRESET, `connection reset by peer`",
        (
            Choice("Did our own program call connect() with AF_UNSPEC?", "abort-disconnect"),
            Choice(
                "Had the peer restarted, and came its new SYN from the same port?",
                "stale-syn-reset",
            ),
            Choice(
                "Is this a TCP Fast Open server, and was the handshake unfinished?",
                "accept-aborted",
            ),
            Choice("Does the RST have the ACK flag (`[R.]` in tcpdump)?", "peer-reset"),
            Choice("Else a bare RST (`[R]`):", "peer-lost-state"),
        ),
    ),
    Symptom(
        "EPIPE, SIGPIPE, `broken pipe`",
        (
            Choice(
                "Had an earlier call got the ECONNRESET?",
                "that one is the symptom",
                "ECONNRESET, `connection reset by peer`",
            ),
            Choice(
                "Had the peer sent FIN before, and was data of ours unacknowledged?", "peer-reset"
            ),
            Choice("Else only our FIN or a probe was unanswered:", "peer-lost-state"),
        ),
    ),
    Symptom(
        "ETIMEDOUT of read() or write()",
        (
            Choice("Does `tcpdump` here show nothing of ours?", "output-blocked"),
            Choice("Is TCP_USER_TIMEOUT set?", "user-timeout"),
            Choice("Was nothing to send (keepalive probes)?", "keepalive-expired"),
            Choice("Had the peer closed its window?", "window-probe-expired"),
            Choice("Else data was retransmitted:", "retransmit-exhausted"),
        ),
    ),
    Symptom(
        "EHOSTUNREACH, ENETUNREACH",
        (Choice("Always: ICMP, ARP or the routing table reports it.", "unreachable"),),
    ),
    Symptom("ECONNABORTED", (Choice("Always: somebody destroyed the socket.", "abort-admin"),)),
    Symptom(
        "connect(): ECONNREFUSED",
        (Choice("Always: no listener, or a rule.", "connect-refused"),),
    ),
    Symptom(
        "connect(): ETIMEDOUT",
        (Choice("Always: no acceptable answer, or a full accept queue.", "connect-timeout"),),
    ),
    Symptom(
        "connect(): EADDRNOTAVAIL",
        (Choice("Always: no local port was free.", "connect-failed"),),
    ),
    Symptom(
        "connect(): its own limit of time",
        (Choice("Always: nobody waited for the answer.", "connect-aborted"),),
    ),
    Symptom(
        "connect() worked, then ECONNRESET, at a deploy",
        (
            Choice("Do you look at the server?", "abort-listener"),
            Choice("At the client:", "peer-reset"),
        ),
    ),
    Symptom(
        "nothing: close() returned 0, but the peer lacks data or got ECONNRESET",
        (
            Choice("Was received data unread (bytes_unread above 0)?", "abort-unread"),
            Choice("Does the program set SO_LINGER?", "abort-linger"),
            Choice("Did data arrive after close()?", "abort-late-data"),
            Choice("Does `dmesg` say `too many orphaned sockets`?", "abort-memory"),
            Choice("Did the container stop at that time?", "namespace-gone"),
            Choice("Else nobody acknowledged our FIN:", "fin-exhausted"),
        ),
    ),
)

_SS = (
    Symptom(
        "many CLOSE-WAIT",
        (
            Choice(
                "Now: our application does not close.",
                "find it with `ss -tnp state close-wait`; the peer gets fin-wait2-timeout",
            ),
            Choice("Did our application write to such a socket later?", "peer-reset"),
            Choice("Did it close such a socket later?", "peer-lost-state"),
        ),
    ),
    Symptom(
        "FIN-WAIT-2 with timer:(timewait)",
        (
            Choice("Does it stay until the timer runs out?", "fin-wait2-timeout"),
            Choice("Does the peer send data?", "abort-late-data"),
            Choice("Else the peer's FIN comes:", "orderly"),
        ),
    ),
    Symptom(
        "FIN-WAIT-1 or LAST-ACK with timer:(on)",
        (
            Choice(
                "Does orphan in /proc/net/sockstat come near net.ipv4.tcp_max_orphans?",
                "abort-memory",
            ),
            Choice("Else nobody acknowledges our FIN:", "fin-exhausted"),
        ),
    ),
    Symptom(
        "ESTAB, Send-Q filled, timer:(on)",
        (
            Choice("Does `ip neigh` say FAILED, or does ICMP come in?", "unreachable"),
            Choice("Is TCP_USER_TIMEOUT set?", "user-timeout"),
            Choice("Else nobody acknowledges our data:", "retransmit-exhausted"),
        ),
    ),
    Symptom(
        "ESTAB, Send-Q filled, timer:(persist)",
        (
            Choice("Does `tcpdump` here show no probes?", "output-blocked"),
            Choice("Is TCP_USER_TIMEOUT set?", "user-timeout"),
            Choice("Else the peer does not read:", "window-probe-expired"),
        ),
    ),
    Symptom(
        "ESTAB, timer:(keepalive) with a count",
        (
            Choice("Does the peer answer a probe with RST?", "peer-lost-state"),
            Choice("Else probes stay unanswered:", "keepalive-expired"),
        ),
    ),
    Symptom(
        "SYN-SENT that stays",
        (
            Choice("Does the application give up before the kernel?", "connect-aborted"),
            Choice("Else:", "connect-timeout"),
        ),
    ),
    Symptom(
        "LISTEN, Recv-Q near Send-Q",
        (
            Choice("Does the server stop or restart?", "abort-listener"),
            Choice("Does it use TCP Fast Open?", "accept-aborted"),
            Choice("Else nobody accepts, and the clients get", "connect-timeout"),
        ),
    ),
    Symptom(
        "many TIME-WAIT",
        (Choice("Always: this side closes first.", "orderly; [entered](entered.md)"),),
    ),
)

_TCPDUMP = (
    Symptom(
        "`[R.]` from the peer (RST with ACK)",
        (Choice("Always: the peer, or a box in its name, aborted it.", "peer-reset"),),
    ),
    Symptom(
        "`[R]` from the peer in answer to us (bare RST)",
        (
            Choice(
                "Did the peer send FIN before, and does the RST answer data or an ACK of ours?",
                "peer-reset",
            ),
            Choice("Else whoever answered has no such connection:", "peer-lost-state"),
        ),
    ),
    Symptom(
        "`[R.]` from us, no FIN",
        (
            Choice("Data unread at close() (bytes_unread above 0)?", "abort-unread"),
            Choice(
                "`ss -K` in a log or a script, or ECONNABORTED at the application?", "abort-admin"
            ),
            Choice("Does the program set SO_LINGER?", "abort-linger"),
            Choice(
                "Small ACKs at even distances before it (keepalive probes)?", "keepalive-expired"
            ),
            Choice("Had no process accepted the connection?", "abort-listener"),
            Choice("`too many orphaned sockets` or `out of memory` in `dmesg`?", "abort-memory"),
            Choice("Else the program called connect() with AF_UNSPEC:", "abort-disconnect"),
        ),
    ),
    Symptom(
        "`[R]` from us in answer to data",
        (Choice("Always: this side had closed.", "abort-late-data"),),
    ),
    Symptom(
        "`[S]` on a connection that lives, an ACK, `[R]`",
        (Choice("Always: the peer began anew.", "stale-syn-reset"),),
    ),
    Symptom(
        "the same data over and over",
        (
            Choice("Even distances, with ICMP between them?", "unreachable"),
            Choice("Is TCP_USER_TIMEOUT set?", "user-timeout"),
            Choice("Else growing distances, no ACK:", "retransmit-exhausted"),
        ),
    ),
    Symptom(
        "the same `[F.]` over and over",
        (Choice("Always: no ACK of our FIN.", "fin-exhausted"),),
    ),
    Symptom(
        "nothing from us at all", (Choice("Always: it never left this host.", "output-blocked"),)
    ),
)

_COUNTERS = (
    Symptom("TCPAbortOnClose", (Choice("Always.", "abort-unread"),)),
    Symptom(
        "TCPAbortOnData",
        (
            Choice("Does the program set SO_LINGER 0? It is counted here.", "abort-linger"),
            Choice(
                "Else data after close(). (For a timewait socket in FIN_WAIT2 nothing counts it.)",
                "abort-late-data",
            ),
        ),
    ),
    Symptom(
        "TCPAbortOnLinger", (Choice("Always: TCP_LINGER2 below 0, in close().", "abort-linger"),)
    ),
    Symptom("TCPAbortOnMemory", (Choice("Always.", "abort-memory"),)),
    Symptom(
        "TCPAbortOnTimeout",
        (
            Choice("Does AttemptFails grow as well?", "connect-timeout"),
            Choice("Does TCPKeepAlive grow?", "keepalive-expired"),
            Choice("Does TCPWinProbe grow?", "window-probe-expired"),
            Choice("Does `tcpdump` here show nothing of ours?", "output-blocked"),
            Choice("Does the application get EHOSTUNREACH or ENETUNREACH?", "unreachable"),
            Choice("Is TCP_USER_TIMEOUT set?", "user-timeout"),
            Choice("Had the application closed (the socket is an orphan)?", "fin-exhausted"),
            Choice("Else data was retransmitted:", "retransmit-exhausted"),
        ),
    ),
    Symptom(
        "TCPTimeWaitOverflow",
        (
            Choice(
                "Do the peers get ECONNRESET (peer-lost-state)?",
                "undetermined; [overflow](overflow.md)",
            ),
            Choice("Else both FINs had arrived:", "orderly; [overflow](overflow.md)"),
        ),
    ),
    Symptom(
        "TCPSYNChallenge, TCPChallengeACK",
        (
            Choice("Does TCPSYNChallenge grow, and was it no repeated SYN+ACK?", "stale-syn-reset"),
            Choice("Else RSTs that do not fit:", "challenge-ack"),
        ),
    ),
    Symptom(
        "AttemptFails",
        (
            Choice("Does the application get ECONNREFUSED?", "connect-refused"),
            Choice("Does it get ETIMEDOUT?", "connect-timeout"),
            Choice(
                "Else on the server. (A connect() that the application gave up is not counted.)",
                "accept-aborted",
            ),
        ),
    ),
    Symptom(
        "ListenOverflows, ListenDrops",
        (
            Choice("Do you look at the clients?", "connect-timeout"),
            Choice("At the server, if a line comes at all:", "accept-aborted"),
        ),
    ),
    Symptom(
        "EstabResets",
        (
            Choice("Does TCPAbortOnTimeout grow as much?", "a timer of ours", "TCPAbortOnTimeout"),
            Choice("Does OutRsts grow as much?", "this side reset", "`[R.]` from us, no FIN"),
            Choice("Does `tcpdump` show a RST from the peer with ACK (`[R.]`)?", "peer-reset"),
            Choice("One without ACK, and TCPSYNChallenge grows?", "stale-syn-reset"),
            Choice("Else one without ACK:", "peer-lost-state"),
        ),
    ),
    Symptom(
        "none",
        (
            Choice("Does `tcpdump` show a RST from the peer with ACK?", "peer-reset"),
            Choice("One without ACK?", "peer-lost-state"),
            Choice("`ss -K` in a log or a script?", "abort-admin"),
            Choice("Did a container stop at that time?", "namespace-gone"),
            Choice("Else FIN-WAIT-2 that ran out:", "fin-wait2-timeout"),
        ),
    ),
)

_SIGN = (
    Symptom(
        "`>` this side",
        (
            Choice("Does `form` say rst-sent, in answer to data after our FIN?", "abort-late-data"),
            Choice("Is `mptcp.role` subflow, and `form` rst-sent?", "mptcp-reset"),
            Choice("Else `form` rst-sent?", "this side reset", "`[R.]` from us, no FIN"),
            Choice("Does `form` begin with fin?", "orderly; closed_by says who or what closed"),
            Choice("`form` timeout, and our FIN was acknowledged?", "fin-wait2-timeout"),
            Choice("`form` timeout, and it was not?", "fin-exhausted"),
            Choice("`form` null, in SYN_SENT, with `error`?", "connect-failed"),
            Choice("`form` null, in SYN_SENT, without?", "connect-aborted"),
            Choice("`form` null, at the end of a container?", "namespace-gone"),
            Choice("Else something is missing:", "undetermined"),
        ),
    ),
    Symptom(
        "`<` the peer",
        (
            Choice("Does `form` begin with fin?", "orderly; trace at the peer for its closed_by"),
            Choice("`form` rst-received in SYN_SENT?", "connect-refused"),
            Choice("`form` rst-received in SYN_RECV?", "accept-aborted"),
            Choice(
                "`form` rst-received later?",
                "the peer reset",
                "ECONNRESET, `connection reset by peer`",
            ),
        ),
    ),
    Symptom("`=` both at once", (Choice("Always.", "orderly"),)),
    Symptom(
        "`!` nobody",
        (
            Choice("Does `error` say ECONNABORTED?", "abort-admin"),
            Choice("In SYN_SENT?", "connect-timeout"),
            Choice("Is `mptcp.role` connection?", "subflows-lost"),
            Choice("Does `error` say EHOSTUNREACH or ENETUNREACH?", "unreachable"),
            Choice(
                "Else a timer of ours:", "the socket timed out", "ETIMEDOUT of read() or write()"
            ),
        ),
    ),
)

SYMPTOMS: Mapping[str, tuple[Symptom, ...]] = {
    "What the application got": _APPLICATION,
    "What `ss -tno` shows": _SS,
    "What `tcpdump` shows": _TCPDUMP,
    "Which counter grows (`nstat -az`)": _COUNTERS,
    "Who closed first (the sign between the addresses)": _SIGN,
}
"""Heading to the rows of its table, in the order in which somebody on call meets them."""
