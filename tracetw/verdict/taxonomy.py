# SPDX-License-Identifier: Apache-2.0
"""The verdicts: the only list of them, and of the values of the other columns of ``Findings``.

The position in each tuple is the number in ``Findings``. Codes are the contract (JSON, metrics,
recordings, filters, docs); a new one goes to the end.
"""

from __future__ import annotations

from dataclasses import dataclass

FORM_MEANINGS = {
    "fin-4": "FIN, ACK, FIN, ACK",
    "fin-3": "one FIN came in one segment with the ACK of the other",
    "fin-simultaneous": "both sides sent FIN before either was acknowledged",
    "rst-sent": "the kernel of this side made a RST; whether it left the host or arrived is not seen",
    "rst-received": "this side received RST",
    "timeout": "nothing: a timer of this side ended the connection",
}
FORMS = tuple(FORM_MEANINGS)
FIRST_CLOSE = ("none", "local", "remote", "both")
CLOSED_BY_MEANINGS = {
    "app": "a call of the application: close(), shutdown(), connect()",
    "process-exit": "the exit of its process",
    "process-crash": "the death of its process by a signal",
    "oom-kill": "the death of its process for lack of memory",
    "peer": "the peer, or a box on the way in its name: a FIN or RST came",
    "kernel-timer": "a limit that ran out",
    "kernel-memory": "the kernel, for lack of memory or too many orphans",
    "admin": "somebody with the right to destroy sockets (`ss -K`)",
    "netns-exit": "the end of its network namespace",
    "icmp": "an ICMP error during connect(): of the peer, of a router, or of this host itself",
}
CLOSED_BY = tuple(CLOSED_BY_MEANINGS)
TIME_WAIT = ("none", "local", "remote", "skipped")
CONFIDENCE = ("proven", "inferred", "weakened")
RESET_DIRECTIONS = (None, "sent", "received")
LIMIT_UNITS = {
    "tcp_retries2": "attempts",
    "tcp_orphan_retries": "attempts",
    "TCP_USER_TIMEOUT": "milliseconds",
    "tcp_keepalive_probes": "probes",
    "TCP_KEEPCNT": "probes",
    "tcp_fin_timeout": "seconds",
    "TCP_LINGER2": "seconds",
    "TCP_RTO_MAX": "milliseconds",
}
LIMITS = (None, *LIMIT_UNITS)

_EITHER = "either side"
_SENDS = "the side that sends the RST"
_RECEIVES = "the side that receives the RST"
_TIMES_OUT = "the side that times out"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One way in which a connection can end.

    Attributes:
        code: the identifier everywhere.
        meaning: one sentence.
        mechanism: the kernel functions or the RFC behind it.
        seen_by: the side whose record carries it.
        requires: groups of evidence; it is issued only if one group is complete.
        advice: what to do first; tracetw.verdict.handbook has the rest.
        abnormal: whether somebody should look.
    """

    code: str
    meaning: str
    mechanism: str
    seen_by: str
    requires: tuple[tuple[str, ...], ...]
    advice: str
    abnormal: bool = True


VERDICTS: tuple[Verdict, ...] = (
    Verdict(
        "orderly",
        "Both directions were closed by FIN and both FINs were acknowledged.",
        "RFC 9293 3.6; tcp_send_fin, tcp_fin, tcp_time_wait or tcp_timewait_state_process",
        _EITHER,
        (
            ("mini-fin",),
            ("time-wait",),
            ("fin-acked",),
            ("peer-fin", "no-time-wait"),
            ("mptcp", "peer-fin"),
        ),
        "Nothing to do. The side that closes first carries TIME_WAIT for 60 s: let the client close "
        "first if a server runs out of ports or buckets.",
        abnormal=False,
    ),
    Verdict(
        "abort-linger",
        "The application closed with SO_LINGER 0 or a negative TCP_LINGER2, so the kernel aborted with RST.",
        "__tcp_close, tcp_disconnect with SO_LINGER 0; __tcp_close or tcp_rcv_state_process in "
        "FIN_WAIT2 with TCP_LINGER2 below 0",
        _SENDS,
        (("in-close", "linger-zero"), ("linger2-negative", "from-fin-wait2")),
        "Remove SO_LINGER 0 unless the loss is meant: the kernel throws data in flight away. It is no cure "
        "for TIME_WAIT.",
    ),
    Verdict(
        "abort-unread",
        "The application closed with received data unread, so the kernel aborted with RST.",
        "RFC 2525 2.17; __tcp_close, tcp_send_active_reset (TCPAbortOnClose)",
        _SENDS,
        (
            ("in-close", "unread-data"),
            ("rst-out", "reason-close"),
            ("mptcp", "in-close", "rst-out"),
        ),
        "Read to the end of the stream before close(), or shutdown(SHUT_WR) and read until 0. The peer "
        "loses what had not arrived, and on some systems what its program had not read.",
    ),
    Verdict(
        "abort-late-data",
        "Data arrived after the application had closed, so the kernel answered with RST.",
        "RFC 1122 4.2.2.13; tcp_rcv_state_process, tcp_timewait_state_process (TCPAbortOnData)",
        _SENDS,
        (("rst-in", "rst-reply"), ("rst-reply", "from-fin-wait2"), ("mini-late-data",)),
        "Find out what the peer was still sending. Agree in the protocol who ends the exchange, or read "
        "until 0 before close().",
    ),
    Verdict(
        "abort-disconnect",
        "The application dissolved the connection with connect(AF_UNSPEC), so the kernel aborted with RST.",
        "tcp_disconnect",
        _SENDS,
        (("in-call",), ("in-close",)),
        "Look at the application, or at a library that reuses its sockets: the call is rare and deliberate.",
    ),
    Verdict(
        "abort-admin",
        "Somebody destroyed the socket from outside (ss -K, SOCK_DESTROY or bpf_sock_destroy).",
        "tcp_abort, called by inet_diag or a BPF program",
        _SENDS,
        (("error-aborted", "rst-early"), ("error-aborted", "no-reset-due")),
        "Find who did it: an operator, a failover script, or a network manager that destroys the "
        "sockets of an address that was removed.",
    ),
    Verdict(
        "abort-memory",
        "The kernel gave the orphaned socket up for lack of memory or for too many orphans.",
        "tcp_check_oom in __tcp_close and in tcp_out_of_resources (TCPAbortOnMemory)",
        _SENDS,
        (("orphaned-in-close", "rst-out"), ("orphan", "rst-early"), ("reason-memory",)),
        "Compare /proc/net/sockstat with net.ipv4.tcp_max_orphans and tcp_mem, and find who leaves so "
        "many closed connections behind with unsent data.",
    ),
    Verdict(
        "abort-listener",
        "The listener closed while the connection waited in its accept queue.",
        "inet_csk_listen_stop, inet_child_forget, tcp_disconnect",
        _SENDS,
        (("unaccepted", "rst-out"),),
        "Drain before a restart: keep the listener open until the queue is empty, hand it to the next "
        "process, or set net.ipv4.tcp_migrate_req with SO_REUSEPORT.",
    ),
    Verdict(
        "peer-reset",
        "A RST came as an end sends it that has the connection or has just closed it: the peer aborted it, or "
        "a box on the way in its name.",
        "tcp_validate_incoming, tcp_reset. A live connection's RST has ACK and, once negotiated, "
        "timestamps; a bare RST after the peer's FIN that answers data or nothing but an ACK of ours "
        "counts here as well: the peer had closed and did not wait for our FIN. A proxy or firewall can make "
        "either kind, so the verdict is inferred",
        _RECEIVES,
        (
            ("rst-in", "rst-with-ack"),
            ("rst-in", "rst-with-timestamp"),
            ("rst-in", "peer-fin", "unacked-data"),
            ("rst-in", "nothing-unanswered"),
            ("mini-rst",),
            ("mptcp", "rst-in"),
        ),
        "Trace at the peer, where the reason is (abort-unread, abort-linger, abort-late-data, a crash), "
        "or look for a proxy or firewall that resets on its own.",
    ),
    Verdict(
        "peer-lost-state",
        "A bare RST came, which needs no connection: the peer has lost the connection, or a box on the way does "
        "not know it.",
        "RFC 9293 3.5.2; at the peer tcp_v4_send_reset without a socket or from a listener; on the way a "
        "rule that rejects with TCP reset; here tcp_reset. Who sent it is not in the segment, so the verdict "
        "is inferred",
        _RECEIVES,
        (
            ("rst-in", "rst-without-ack"),
            ("rst-in", "rst-without-timestamp"),
            ("mini-rst", "rst-without-ack"),
        ),
        "Look whether the peer rebooted, failed over, gave up after a timeout or moved its address; if it still "
        "has the connection (ss -tn there), a router or firewall on the way answered.",
    ),
    Verdict(
        "stale-syn-reset",
        "A SYN for this connection came, then the RST that ended it: the peer has lost the connection and opens "
        "it anew from the same port.",
        "RFC 5961 4; tcp_send_challenge_ack, then tcp_reset",
        _RECEIVES,
        (("rst-in", "syn-hit"),),
        "Nothing to do for the new connection. This end held a dead one until now: the peer restarted without "
        "closing, or a box on the way lost it. Keepalives find that earlier.",
    ),
    Verdict(
        "retransmit-exhausted",
        "Data was retransmitted until the limit and never acknowledged.",
        "tcp_retransmit_timer, tcp_write_timeout, tcp_write_err (TCPAbortOnTimeout)",
        _TIMES_OUT,
        (("error-timeout", "unacked", "retransmitted"),),
        "Look for what made the peer silent: host down, cable, firewall that drops. TCP_USER_TIMEOUT "
        "or a lower net.ipv4.tcp_retries2 finds it sooner than the default 15 minutes.",
    ),
    Verdict(
        "fin-exhausted",
        "Our FIN was retransmitted until the limit and never acknowledged.",
        "tcp_write_timeout, tcp_orphan_retries in FIN_WAIT1, CLOSING or LAST_ACK (TCPAbortOnTimeout)",
        _TIMES_OUT,
        (
            ("error-timeout", "unacked", "retransmitted", "from-fin-wait1"),
            ("error-timeout", "unacked", "retransmitted", "from-closing"),
            ("error-timeout", "unacked", "retransmitted", "from-last-ack"),
            ("mptcp", "orphan", "rst-out"),
        ),
        "Look whether data is lost: evidence has unacked-data then. The peer vanished before the close was "
        "complete, and the application saw no error.",
    ),
    Verdict(
        "user-timeout",
        "Something of ours stayed unacknowledged, or the window closed, for as long as TCP_USER_TIMEOUT allows.",
        "RFC 5482; tcp_write_timeout, tcp_probe_timer or tcp_keepalive_timer",
        _TIMES_OUT,
        (
            ("error-timeout", "user-timeout-set", "unacked"),
            ("error-timeout", "user-timeout-set", "unsent"),
            ("user-timeout-set", "rst-early", "probes-unanswered"),
        ),
        "Nothing to do if the peer was dead: the option works as asked. If it fires on live peers, raise it "
        "above the longest pause or outage that is to be survived.",
    ),
    Verdict(
        "keepalive-expired",
        "Keepalive probes stayed unanswered until the limit.",
        "tcp_keepalive_timer, tcp_send_active_reset, tcp_write_err",
        _TIMES_OUT,
        (("rst-early", "probes-unanswered", "nothing-unanswered"),),
        "Look whether the peer is alive. If it is, a NAT or firewall forgot the connection: start "
        "keepalives earlier than its idle timeout.",
    ),
    Verdict(
        "window-probe-expired",
        "The peer's window was closed and stayed so, or the probes of it went unanswered, until the "
        "limit.",
        "tcp_probe_timer, tcp_rtx_probe0_timed_out, tcp_write_err",
        _TIMES_OUT,
        (("error-timeout", "window-zero", "unsent"), ("error-timeout", "window-zero", "unacked")),
        "Look at the receiver: it stopped reading, then vanished. A limit of the application's own on "
        "stalled writes ends this sooner.",
    ),
    Verdict(
        "fin-wait2-timeout",
        "Our FIN was acknowledged but the peer never sent its own; the orphan was dropped.",
        "tcp_time_wait with FIN_WAIT2, tw_timer_handler; tcp_keepalive_timer for times above 60 s",
        _TIMES_OUT,
        (
            ("mini-timeout",),
            ("from-fin-wait2", "orphan", "rst-early"),
            ("mptcp", "from-fin-wait2", "orphan"),
        ),
        "Look for CLOSE_WAIT sockets at the peer (ss -tnp): it does not close its end. A descriptor leak "
        "there, or a half-closed stream that is longer than net.ipv4.tcp_fin_timeout.",
    ),
    Verdict(
        "unreachable",
        "Sending or connecting ended with an unreachable error from ICMP, ARP or the routing table.",
        "tcp_v4_err or tcp_v6_err sets sk_err_soft, or inet_sk_rebuild_header without a route, and tcp_write_err "
        "reports it; in SYN_SENT tcp_v4_err ends the attempt at once",
        _TIMES_OUT,
        (("error-unreachable",),),
        "Check the route, the neighbour and the firewall that sent the ICMP error (ip route get, "
        "ip neigh).",
    ),
    Verdict(
        "output-blocked",
        "Our packets could not be sent on this host until the limit was reached.",
        "tcp_write_xmit fails, so the probe timer runs although the peer's window is open; "
        "tcp_probe_timer, tcp_write_err",
        _TIMES_OUT,
        (("error-timeout", "unsent", "window-open"),),
        "Look at nft list ruleset and tc -s qdisc: the cause is on this host, an output rule of its own "
        "firewall, a full or broken qdisc, or a policy route.",
    ),
    Verdict(
        "namespace-gone",
        "The network namespace was torn down under the connection.",
        "inet_twsk_purge, tcp_out_of_resources and __tcp_close when check_net fails",
        "neither side",
        (("netns-gone",), ("orphaned-in-close", "no-error")),
        "Nothing to do when a container stopped. The peer learns of it only when it sends or probes.",
        abnormal=False,
    ),
    Verdict(
        "connect-refused",
        "The peer or a firewall refused the connection.",
        "tcp_rcv_synsent_state_process, tcp_reset; or an ICMP port unreachable",
        "the side that connects",
        (("from-syn-sent", "rst-in"), ("from-syn-sent", "error-refused")),
        "Check the service, its address and its port: nobody listens there, or a rule rejects.",
    ),
    Verdict(
        "connect-timeout",
        "The SYN was retransmitted until the limit and no acceptable answer came.",
        "tcp_write_timeout with net.ipv4.tcp_syn_retries or TCP_SYNCNT, tcp_write_err",
        "the side that connects",
        (("from-syn-sent", "error-timeout"),),
        "Look at the peer: the host is down, the way is filtered, or the listener's accept queue overflows "
        "(ListenOverflows there).",
    ),
    Verdict(
        "connect-aborted",
        "This side gave the attempt to connect up before it was established.",
        "tcp_close or tcp_disconnect in SYN_SENT, or tcp_abort",
        "the side that connects",
        (("from-syn-sent",), ("from-syn-recv",)),
        "Nothing to do for a few: usually a connect timeout of the application itself, or a race of several "
        "addresses.",
        abnormal=False,
    ),
    Verdict(
        "connect-failed",
        "connect() failed on this host before a SYN was made: no local port was free, or no route for it.",
        "tcp_v4_connect, tcp_v6_connect: inet_hash_connect or ip_route_newports failed",
        "the side that connects",
        (("from-syn-sent", "no-port"), ("from-syn-sent", "in-call")),
        "Without a local port (error EADDRNOTAVAIL) ports are exhausted: ss -tan state time-wait, "
        "net.ipv4.ip_local_port_range. With one, look at the routing rules that match ports (ip rule).",
    ),
    Verdict(
        "accept-aborted",
        "The connection ended on the listening side before the handshake was complete.",
        "a child in SYN_RECV: tcp_reset, tcp_write_err, or tcp_v4_syn_recv_sock that failed",
        "the side that listens",
        (("from-syn-recv",),),
        "Nothing to do for a few: usually the client gave up. If frequent, look at the accept queue (ss -lt, "
        "ListenOverflows).",
        abnormal=False,
    ),
    Verdict(
        "undetermined",
        "The evidence for every other verdict was incomplete; the record says what was missing.",
        "an event was lost, began before the trace, or leaves no trace on this kernel",
        _EITHER,
        ((),),
        "Read in why which fact was missing. tracetw doctor says what this kernel cannot show, the summary "
        "how many records were lost.",
    ),
    Verdict(
        "subflows-lost",
        "A connection of MPTCP ended because none of its subflows was left.",
        "__mptcp_close_ssk, __mptcp_close; each subflow ended in its own way, as a connection of TCP",
        _EITHER,
        (("mptcp",),),
        "Look in mptcp.subflows how each of them ended. A second way needs a second address: ip mptcp endpoint.",
    ),
    Verdict(
        "mptcp-reset",
        "MPTCP on this side ended a subflow with RST, its own or because the connection was aborted.",
        "mptcp_do_fastclose, mptcp_subflow_reset, mptcp_check_fastclose: tcp_send_active_reset or tcp_disconnect",
        _SENDS,
        (("rst-out",), ("rst-early",)),
        "Look at the line of its connection: it says what the application did. If the connection went on, the subflow "
        "was refused or broken (checksum, path manager): nstat MPTcpExt*.",
    ),
)

VERDICT_INDEX = {verdict.code: number for number, verdict in enumerate(VERDICTS)}


def verdict_numbers(*codes: str) -> list[int]:
    """Numbers of verdicts."""
    return [VERDICT_INDEX[code] for code in codes]
