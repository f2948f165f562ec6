# SPDX-License-Identifier: Apache-2.0
"""Hints: what the facts of one connection point to beside its verdict. The only list of them.

A hint says what was seen and where to look next; it never claims what no packet or counter of this end shows. The
position in ``HINTS`` is the bit in ``Findings.hints``; a new one goes to the end. The conditions are in ``hinted``
(of one connection) and ``habits`` (of several).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Hint:
    """One hint.

    Attributes:
        code: the identifier everywhere.
        holds: its condition, in words.
        phrases: what ``why`` adds, by who sent the first FIN or RST: ``local``, ``remote``, ``reset`` (a RST of
            the peer, without a FIN), or ``""`` for all others. ``{column}`` is a number of ``hint_text``.
        advice: what to do.
    """

    code: str
    holds: str
    phrases: dict[str, str]
    advice: str


HINTS: tuple[Hint, ...] = (
    Hint(
        "idle-timeout",
        "Three connections or more of one service, in a row, were closed by the same side after the same time without "
        "data: 1 s at least, and no more than 3 % or 60 ms apart. A client that closes while it waits for an answer is none.",
        {
            "local": "It was without data for {quiet_s}, as others before it: this looks like an idle timeout of this side.",
            "remote": "It was without data for {quiet_s}, as others before it: this looks like an idle timeout of the peer.",
            "reset": (
                "It was without data for {quiet_s}, as others before it: this looks like an idle timeout of the peer, or "
                "of something on the path."
            ),
        },
        "The side that sends the next request must give idle connections up sooner than the side whose timeout it is: "
        "let its own idle timeout be shorter, or keepalives more frequent.",
    ),
    Hint(
        "keepalive-race",
        "A server closed a connection 0.5 s or more after its last answer, and data of the client met that close.",
        {
            "local": (
                "This side closed {sent_s} after its last answer; {later_s} later more came for the closed connection."
            ),
            "remote": (
                "The peer closed {received_s} after its last answer; {unacked} bytes that this side sent nevertheless were "
                "answered with RST."
            ),
        },
        "The side that sends requests must give idle connections up before the other side does, and repeat a request "
        "that was reset before anything of its answer came.",
    ),
    Hint(
        "forgotten-on-the-path",
        "After 2 s or more without data the next segment met silence, or a RST that needs no connection, while another "
        "connection with that peer ended in order.",
        {
            "": (
                "It had been without data for {before_s} or more, and other connections with this peer were in order meanwhile: "
                "something on the path, or the peer, no longer knew this one."
            )
        },
        "Look for what keeps state on the path (NAT, firewall, load balancer) and for its idle timeout; send keepalives "
        "more often than that, and let such a device answer with RST where it can.",
    ),
    Hint(
        "only-full-segments-lost",
        "Full segments were retransmitted and none was ever acknowledged, while smaller ones came through: a shorter one "
        "behind them (SACK), or those before them, and none of these was repeated.",
        {
            "": (
                "Full segments ({mss} bytes) were repeated and none was ever acknowledged, while smaller ones came through."
            )
        },
        "Look for a smaller MTU on the path whose ICMP messages do not arrive: ping -M do -s SIZE. "
        "net.ipv4.tcp_mtu_probing 1, or a smaller MSS (ip route ... advmss), lets connections live with it.",
    ),
    Hint(
        "nothing-ever-acknowledged",
        "Data of a client was sent and repeated, and the peer acknowledged none of it and sent none, although the handshake "
        "was complete.",
        {
            "": (
                "Nothing of the {sent} bytes sent was ever acknowledged, and nothing was received: the peer may never have "
                "had the connection (a full accept queue, a SYN proxy), or nothing reached it."
            )
        },
        "At the listener look at ListenOverflows and at its backlog (ss -ltn: Recv-Q, Send-Q); on the path look for a "
        "SYN proxy or a load balancer that answers for a server.",
    ),
    Hint(
        "reset-before-accept",
        "A RST in the name of the client ended a connection that no application had accepted.",
        {"": "The RST came before the application had accepted the connection."},
        "The application accepts too late: look at its accept queue (ss -ltn), at what keeps it from accept(), and at the "
        "client's timeout. Health checks that connect and reset look like this, too.",
    ),
    Hint(
        "after-peer-fin",
        "The peer had sent its FIN, and what was unread is as long as the close_notify of TLS (24 to 31 bytes).",
        {
            "": (
                "The peer had closed already, and {unread} bytes are as long as a TLS close_notify: then nothing was lost."
            )
        },
        "Harmless if it is TLS: the application closed without reading the peer's farewell. Reading until the end before "
        "close() avoids the RST.",
    ),
    Hint(
        "answer-unread-at-the-peer",
        "The RST of close() with unread data came less than 1 s after data was sent to a peer that had not closed.",
        {
            "": (
                "The RST came {sent_s} after the last of {sent} bytes sent: what the peer had not received by then is lost, "
                "and on some systems what its program had not read."
            )
        },
        "After an early answer (413, an error) do not close at once: shutdown(SHUT_WR), read and throw away for a while, "
        "then close() (lingering close).",
    ),
    Hint(
        "stray-segment-reset",
        "A RST without ACK flag or timestamp came although nothing of ours was unacknowledged and no probe was out.",
        {
            "": (
                "Nothing of ours waited for an ACK when this RST came, and it is of a kind that answers a segment without a "
                "connection: one that came late or twice, one that a device on the path refused, or an ACK of ours, as the one "
                "that opens the window when the application reads."
            )
        },
        "Look for devices on the path that take segments for invalid (conntrack INVALID) and let them through or reject "
        "them: nf_conntrack_tcp_be_liberal 1, or drop INVALID before a REJECT. If the application had just begun to read "
        "again, ask the peer whether it has restarted.",
    ),
    Hint(
        "waited-for-answer",
        "The client closed first, 0.5 s or more after its last data, all of which was acknowledged, and no data had come "
        "since.",
        {
            "": (
                "It closed {sent_s} after the last of {sent} bytes, which the peer had acknowledged; no answer had come "
                "since."
            )
        },
        "The question is why the other side did not answer in that time: look at the application behind the peer, and at "
        "the timeout of this one (of a proxy, proxy_read_timeout or its like).",
    ),
    Hint(
        "connected-to-itself",
        "Local and remote address and port are the same.",
        {
            "": "It was connected to itself: connect() to a port of this host got that port as its own."
        },
        "Nothing listened on a port of ip_local_port_range, and connect() chose it. Take the port out with "
        "net.ipv4.ip_local_reserved_ports.",
    ),
    Hint(
        "urgent-byte",
        "The only byte unread was urgent.",
        {"": "The byte unread was urgent (MSG_OOB), which a read of the stream leaves behind."},
        "An urgent byte stays in the receive queue until the application reads past it: set SO_OOBINLINE, or read on.",
    ),
    Hint(
        "peer-record",
        "The other end is on this host or in this recording, and its record tells why it sent the RST: not asked for "
        "SO_LINGER 0 and unread data, which this end shows by itself.",
        {"": "The record of the other end says why: {peer_verdict}."},
        "Look at the other end: its line has the process and the reason. Nothing on the path was involved.",
    ),
)

HINT_BIT = {hint.code: 1 << at for at, hint in enumerate(HINTS)}
"""Code to its bit in ``Findings.hints``, 32 bits."""


@lru_cache(maxsize=1024)
def hint_names(mask: int) -> tuple[str, ...]:
    """Codes of the bits of ``Findings.hints``, in the order of ``HINTS``."""
    return tuple(code for code, bit in HINT_BIT.items() if mask & bit)
