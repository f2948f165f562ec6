# SPDX-License-Identifier: Apache-2.0
"""Every fact about a connection that a rule can need or exclude: one row a fact, and nothing else to edit.

A row has the name, how the fact is known, and the sentence that it is evidence with. A fact without a
sentence only tells cases apart. From the rows follow the layout of a signature (``signature``), the
bits of ``Findings.evidence`` and the names in JSON (``evidence``), and what the rules may name.

A fact is known in one of four ways: a flag of the record (``Flag``); a comparison of its columns
(``Read``); a number that is one of a few (``Is``); or it follows from other facts: a text with their
names, all of which must hold, ``!`` before one that must not, ``|`` between alternatives.

The position among the rows with a sentence is the bit of ``Findings.evidence``. Names stay as they are
and new sentences go to the end: recordings hold facts, not findings, but metrics and saved queries hold
these names. In names ``mini`` is the timewait socket.
"""

from __future__ import annotations

import errno

import numpy as np

from tracetw.event import record
from tracetw.event.fields import State
from tracetw.event.record import End, Owner
from tracetw.verdict.fact import Fact, Flag, Is, Read
from tracetw.verdict.records import Kind

__all__ = ["FACTS"]


def _from(name: str, state: State, says: str = "") -> Fact:
    """The state that CLOSE was entered from."""
    return Fact(name, Is("state", (state,)), says)


def _end(name: str, end: End, says: str) -> Fact:
    """What made the record leave the kernel: what became of the timewait socket in FIN_WAIT2."""
    return Fact(name, Is("end", (end,)), says)


def _reason(name: str, reason: str) -> Fact:
    """The kernel's own reason for a RST that it sent."""
    says = f"the kernel gave {reason} as the reason of its RST"
    return Fact(name, Is("reason", (reason,)), says)


def _error(name: str, *numbers: int, says: str = "") -> Fact:
    return Fact(name, Is("error", numbers), says)


# Without SHUT_FILE_HELD: close() did it, or nothing shows who did (some states, sockets of the kernel's own).
_SHUT_BY_CLOSE = record.SHUT_RECEIVE | record.SHUT_SEND
_CLOSE = int(Owner.CLOSE)
_SHUT = ~np.uint8(record.SHUT_READ_FINAL)

FACTS: tuple[Fact, ...] = (
    Fact("client", Flag(record.F_CLIENT)),
    Fact("missed", Flag(record.F_MISSED)),
    # the state that CLOSE was entered from
    _from("from-syn-sent", State.SYN_SENT, "the connection was still being opened (SYN_SENT)"),
    _from("from-syn-recv", State.SYN_RECV, "the handshake was not finished (SYN_RECV)"),
    _from("from-fin-wait1", State.FIN_WAIT1, "our FIN was on its way (FIN_WAIT1)"),
    _from(
        "from-fin-wait2",
        State.FIN_WAIT2,
        "our FIN was acknowledged and the peer's was awaited (FIN_WAIT2)",
    ),
    _from(
        "from-closing",
        State.CLOSING,
        "both sides had sent FIN before either was acknowledged (CLOSING)",
    ),
    _from(
        "from-last-ack",
        State.LAST_ACK,
        "the peer had closed and our FIN waited for its ACK (LAST_ACK)",
    ),
    _from("from-close-wait", State.CLOSE_WAIT),
    Fact("closing", "no-reset-due | from-fin-wait1"),
    # FIN
    Fact("fin-received", Flag(record.F_DONE)),
    Fact("fin-ack-received", Flag(record.F_FIN_ACKED)),
    Fact("ack-pending", Flag(record.F_ACK_PENDING)),
    Fact("timewait-socket", Flag(record.F_TW)),
    Fact("mini", Flag(record.F_TW_FIN_WAIT2)),
    Fact("one-segment", Read(lambda rows: rows.segments == 1)),
    Fact("two-segments", Read(lambda rows: rows.segments > 1)),
    Fact(
        "peer-fin",
        "fin-received | no-reset-due | from-close-wait | mini-fin",
        "the peer's FIN had arrived",
    ),
    Fact("fin-acked", "fin-ack-received closing | from-fin-wait2", "our FIN was acknowledged"),
    _end("mini-fin", End.FIN, "the peer's FIN reached the timewait socket in FIN_WAIT2"),
    Fact("direct", "timewait-socket !mini"),
    Fact("time-wait", "direct | mini-fin", "the socket went to TIME_WAIT"),
    # Neither an error, nor a RST, nor a timewait socket explains CLOSE.
    Fact("unexplained", "quiet !any-rst !timewait-socket !mini-ended"),
    # Both FINs done, or ours acknowledged: tcp_time_wait makes a timewait socket here. Where one of those
    # excluded holds, it may be missing for another reason than a refusal: tcp_time_wait closes at once if
    # inet_twsk_alloc refuses.
    Fact("time-wait-due", "from-fin-wait2 | from-closing fin-acked"),
    Fact(
        "no-time-wait",
        "time-wait-due unexplained !missed !record-early !linger2-negative !mptcp | time-wait-refused",
        "the kernel made no TIME_WAIT socket although one was due",
    ),
    Fact("silent", "unexplained no-error !no-time-wait"),
    Fact(
        "fin-with-ack",
        "direct from-fin-wait2 one-segment",
        "the peer's FIN came in the segment that acknowledged ours",
    ),
    Fact(
        "fin-after-ack",
        "mini-fin | direct from-fin-wait2 two-segments",
        "the peer's FIN came in a later segment than its ACK of ours",
    ),
    Fact("ack-with-fin", "from-last-ack ack-pending", "our FIN carried the ACK of the peer's FIN"),
    # RST
    Fact("rst-in", Flag(record.F_RST_IN), "a RST was received and accepted"),
    Fact("rst-made", Flag(record.F_RST_OUT)),
    Fact("rst-made-early", Flag(record.F_RST_EARLY)),
    Fact("rst-ack-known", Flag(record.F_RST_ACK_KNOWN)),
    Fact("rst-ack", Flag(record.F_RST_ACK)),
    Fact("timestamps", Flag(record.F_TS_OK)),
    Fact("timestamp-seen", Flag(record.F_TS_SEEN)),
    Fact(
        "rst-out",
        "rst-made !rst-made-early",
        "the kernel made a RST right after the socket was closed",
    ),
    Fact(
        "rst-early",
        "rst-made rst-made-early",
        "the kernel made a RST while the socket was still open",
    ),
    Fact("rst-reply", Flag(record.F_RST_REPLY), "the kernel answered a segment with RST"),
    Fact("any-rst", "rst-in | rst-reply | rst-made"),
    # A live connection sends its RST by tcp_transmit_skb: with ACK, and with timestamps once negotiated.
    # A stateless one (tcp_v4_send_reset) has neither. RFC 7323 3.2 lets other systems add a timestamp
    # to it, so only the flag proves.
    Fact("rst-flags-seen", "rst-in rst-ack-known | mini-rst rst-ack-known"),
    Fact(
        "rst-with-ack",
        "rst-flags-seen rst-ack",
        "the RST received had the ACK flag, as that of an open connection has",
    ),
    Fact(
        "rst-without-ack",
        "rst-flags-seen !rst-ack",
        "the RST received had no ACK flag: an answer for which no connection is needed",
    ),
    Fact("rst-timed", "rst-in !rst-ack-known timestamps"),
    Fact(
        "rst-with-timestamp",
        "rst-timed timestamp-seen",
        "the RST received carried a timestamp, as that of an open connection does",
    ),
    Fact(
        "rst-without-timestamp",
        "rst-timed !timestamp-seen",
        "the RST received carried no timestamp although they were negotiated",
    ),
    Fact(
        "syn-hit",
        Flag(record.F_SYN_HIT),
        "a SYN for this connection came just before the RST, and no other segment between them",
    ),
    _end("mini-rst", End.RST, "a RST killed the timewait socket in FIN_WAIT2"),
    _end(
        "mini-late-data",
        End.LATE_DATA,
        "data or a SYN met the timewait socket in FIN_WAIT2 and the kernel answered with RST",
    ),
    _end("mini-timeout", End.TIMEOUT, "the timewait socket in FIN_WAIT2 timed out"),
    Fact("mini-ended", "mini-fin | mini-rst | mini-late-data | mini-timeout"),
    Fact("mini-open", "timewait-socket mini !mini-ended"),
    _reason("reason-close", "TCP_ABORT_ON_CLOSE"),
    _reason("reason-linger", "TCP_ABORT_ON_LINGER"),
    _reason("reason-memory", "TCP_ABORT_ON_MEMORY"),
    _reason("reason-data", "TCP_ABORT_ON_DATA"),
    _reason("reason-keepalive", "TCP_KEEPALIVE_TIMEOUT"),
    _reason("reason-state", "TCP_STATE"),
    _reason("reason-disconnect", "TCP_DISCONNECT_WITH_DATA"),
    # what the local side was doing
    Fact("owned", Flag(record.F_OWNED)),
    Fact("attached", Flag(record.F_SOCKET)),
    Fact("shut-by-close", Read(lambda rows: (rows["shutdown"] & _SHUT) == _SHUT_BY_CLOSE)),
    # __tcp_close shuts down both ways first and detaches the socket last (sock_orphan). shutdown() before
    # connect(AF_UNSPEC) does the first as well, but then the file is in use.
    Fact("in-any-call", "!orphan attached owned quiet"),
    Fact(
        "in-close",
        "in-any-call shut-by-close",
        "close() was under way: the socket was still attached and shut down both ways",
    ),
    Fact(
        "in-call",
        "in-any-call !shut-by-close",
        "a system call on the attached socket was under way, and it was not close()",
    ),
    Fact("orphan", Flag(record.F_DEAD), "the application had closed the socket before"),
    Fact(
        "orphaned-in-close",
        "orphan owned",
        "close() was under way and had detached the socket (sock_orphan)",
    ),
    # The application holds the connection of MPTCP, not its subflows.
    Fact(
        "unaccepted",
        "!orphan !attached !missed !subflow",
        "no application had accepted the connection",
    ),
    Fact("unread", Read(lambda rows: rows.unread)),
    Fact("unread-data", "unread !from-syn-sent !from-syn-recv", "received data was unread"),
    Fact("linger-zero", Flag(record.F_LINGER0), "SO_LINGER was on with time 0"),
    Fact("linger2-negative", Read(lambda rows: rows["linger2"] < 0), "TCP_LINGER2 was below 0"),
    Fact(
        "no-reset-due",
        "from-closing | from-last-ack",
        "both FINs had been exchanged, where the kernel sends no RST",
    ),
    Fact(
        "no-port",
        Read(lambda rows: rows["lport"] == 0),
        "the connection never had a local port (EADDRNOTAVAIL)",
    ),
    # errors
    _error("no-error", 0, says="the socket had no error"),
    _error("error-refused", errno.ECONNREFUSED, says="the error was ECONNREFUSED"),
    _error("error-aborted", errno.ECONNABORTED, says="the error was ECONNABORTED"),
    _error("error-timeout", errno.ETIMEDOUT, says="the error was ETIMEDOUT"),
    _error("error-reset", errno.ECONNRESET),
    # What ICMP and ICMPv6 errors become (icmp_err_convert, tab_unreach), but ECONNREFUSED.
    _error(
        "icmp-error",
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.EACCES,
        errno.EPROTO,
    ),
    # tcp_write_err reports sk_err_soft instead of ETIMEDOUT if an ICMP error left one.
    Fact(
        "error-soft",
        Read(lambda rows: (rows["err"] == rows["err_soft"]) & (rows["err"] != 0)),
    ),
    Fact("error-of-timer", "error-soft !error-timeout !error-aborted"),
    # While connecting the error is the ICMP one at once (tcp_v4_err).
    Fact(
        "error-unreachable",
        "error-of-timer | from-syn-sent icmp-error",
        "the error came from an unreachable report (ICMP, or no link address)",
    ),
    Fact("expired", "error-timeout !rst-in | error-of-timer !rst-in"),
    # tcp_disconnect sets ECONNRESET itself: without a RST received the peer did not cause it.
    Fact("quiet", "no-error | error-reset !rst-in"),
    # what was outstanding
    Fact(
        "unacked",
        Read(lambda rows: rows.ahead > 0),
        "something of ours was sent and not acknowledged",
    ),
    Fact(
        "unacked-data",
        Read(lambda rows: rows.unacked_data),
        "data of ours was sent and not acknowledged",
    ),
    Fact("unsent", Read(lambda rows: rows.queued > 0), "something of ours waited and was not sent"),
    # tcp_connect() takes a sequence number for the SYN, even if the SYN cannot be sent.
    Fact("no-syn", "from-syn-sent !unacked"),
    Fact(
        "nothing-unanswered",
        "!unacked !unsent !probes-unanswered | !unacked !unsent rst-early",
        "nothing of ours waited for an ACK",
    ),
    Fact("window-zero", Read(lambda rows: rows["snd_wnd"] == 0), "the peer's window was closed"),
    Fact("window-open", "!window-zero", "the peer's window was open"),
    Fact(
        "probes-unanswered",
        Read(lambda rows: rows["probes_out"] != 0),
        "probes were unanswered",
    ),
    Fact(
        "retransmitted",
        Read(lambda rows: rows["retransmits"] != 0),
        "the oldest segment was retransmitted and stayed unacknowledged",
    ),
    Fact(
        "user-timeout-set",
        Read(lambda rows: rows["user_timeout"] != 0),
        "TCP_USER_TIMEOUT was set",
    ),
    # the rest
    _end(
        "record-early",
        End.FULL,
        "the record left the kernel before the consequences of the close showed",
    ),
    Fact("netns-gone", Read(lambda rows: rows.gone), "the network namespace was gone"),
    Fact("exiting", Flag(record.F_EXITING)),
    Fact("oom", Flag(record.F_OOM)),
    Fact("signalled", Read(lambda rows: (rows["exit_code"] & np.uint32(127)) != 0)),
    # The record names the task that released the socket. That task brought the end about, unless the
    # socket was still attached at CLOSE: then its death came later than the end.
    Fact(
        "process-exiting",
        "orphan exiting | in-close exiting | unaccepted exiting",
        "the process was exiting when the socket was closed",
    ),
    Fact("process-signal", "process-exiting signalled", "the process died of a signal"),
    Fact("oom-victim", "process-exiting oom", "the process was killed for lack of memory"),
    # A kernel thread that closes for a task (delayed fput, io_uring) does not show which task, and why. It may
    # close what its owner has shut down: then the owner is who closed.
    Fact(
        "kernel-thread",
        Read(lambda rows: rows.flag(record.F_KTHREAD) & (rows["owner_from"] != _CLOSE)),
    ),
    Fact(
        "close-or-shutdown", Read(lambda rows: rows.close_seen | rows.flag(record.F_CLOSE_CALLED))
    ),
    Fact("witnessed", "close-or-shutdown | owned | unaccepted"),
    Fact("close-seen", "witnessed process-exiting | witnessed !kernel-thread"),
    Fact(
        "time-wait-refused",
        Flag(record.F_TW_REFUSED),
        "the kernel refused to allocate the TIME_WAIT socket",
    ),
    Fact("subflow", Is("kind", (Kind.SUBFLOW,))),
    Fact("no-subflow", Is("kind", (Kind.NO_SUBFLOW,))),
    Fact("some-subflow", Is("kind", (Kind.CONNECTION,))),
    Fact(
        "mptcp",
        "some-subflow | no-subflow",
        "it is a connection of MPTCP: its FIN is DATA_FIN, its RST is RST with MP_FASTCLOSE on its subflows",
    ),
)
