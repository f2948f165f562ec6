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
from tracetw.verdict.fact import FactRow, Flag, Is, Read
from tracetw.verdict.records import Kind


def _from(name: str, state: State, says: str = "") -> FactRow:
    """The state that CLOSE was entered from."""
    return FactRow(name, Is("state", (state,)), says)


def _end(name: str, end: End, says: str) -> FactRow:
    """What made the record leave the kernel: what became of the timewait socket in FIN_WAIT2."""
    return FactRow(name, Is("end", (end,)), says)


def _reason(name: str, reason: str) -> FactRow:
    """The kernel's own reason for a RST that it sent."""
    says = f"the kernel gave {reason} as the reason of its RST"
    return FactRow(name, Is("reason", (reason,)), says)


def _error(name: str, *numbers: int, says: str = "") -> FactRow:
    return FactRow(name, Is("error", numbers), says)


# Without SHUT_FILE_HELD: close() did it, or nothing shows who did (some states, sockets of the kernel's own).
_SHUT_BY_CLOSE = record.SHUT_RECEIVE | record.SHUT_SEND
_CLOSE = int(Owner.CLOSE)
_SHUT = ~np.uint8(record.SHUT_READ_FINAL)

FACTS: tuple[FactRow, ...] = (
    FactRow("client", Flag(record.F_CLIENT)),
    FactRow("missed", Flag(record.F_MISSED)),
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
    FactRow("closing", "no-reset-due | from-fin-wait1"),
    # FIN
    FactRow("fin-received", Flag(record.F_DONE)),
    FactRow("fin-ack-received", Flag(record.F_FIN_ACKED)),
    FactRow("ack-pending", Flag(record.F_ACK_PENDING)),
    FactRow("timewait-socket", Flag(record.F_TW)),
    FactRow("mini", Flag(record.F_TW_FIN_WAIT2)),
    FactRow("one-segment", Read(lambda rows: rows.segments == 1)),
    FactRow("two-segments", Read(lambda rows: rows.segments > 1)),
    FactRow(
        "peer-fin",
        "fin-received | no-reset-due | from-close-wait | mini-fin",
        "the peer's FIN had arrived",
    ),
    FactRow("fin-acked", "fin-ack-received closing | from-fin-wait2", "our FIN was acknowledged"),
    _end("mini-fin", End.FIN, "the peer's FIN reached the timewait socket in FIN_WAIT2"),
    FactRow("direct", "timewait-socket !mini"),
    FactRow("time-wait", "direct | mini-fin", "the socket went to TIME_WAIT"),
    # Neither an error, nor a RST, nor a timewait socket explains CLOSE.
    FactRow("unexplained", "quiet !any-rst !timewait-socket !mini-ended"),
    # Both FINs done, or ours acknowledged: tcp_time_wait makes a timewait socket here. Where one of those
    # excluded holds, it may be missing for another reason than a refusal: tcp_time_wait closes at once if
    # inet_twsk_alloc refuses.
    FactRow("time-wait-due", "from-fin-wait2 | from-closing fin-acked"),
    FactRow(
        "no-time-wait",
        "time-wait-due unexplained !missed !record-early !linger2-negative !mptcp | time-wait-refused",
        "the kernel made no TIME_WAIT socket although one was due",
    ),
    FactRow("silent", "unexplained no-error !no-time-wait"),
    FactRow(
        "fin-with-ack",
        "direct from-fin-wait2 one-segment",
        "the peer's FIN came in the segment that acknowledged ours",
    ),
    FactRow(
        "fin-after-ack",
        "mini-fin | direct from-fin-wait2 two-segments",
        "the peer's FIN came in a later segment than its ACK of ours",
    ),
    FactRow(
        "ack-with-fin", "from-last-ack ack-pending", "our FIN carried the ACK of the peer's FIN"
    ),
    # RST
    FactRow("rst-in", Flag(record.F_RST_IN), "a RST was received and accepted"),
    FactRow("rst-made", Flag(record.F_RST_OUT)),
    FactRow("rst-made-early", Flag(record.F_RST_EARLY)),
    FactRow("rst-ack-known", Flag(record.F_RST_ACK_KNOWN)),
    FactRow("rst-ack", Flag(record.F_RST_ACK)),
    FactRow("timestamps", Flag(record.F_TS_OK)),
    FactRow("timestamp-seen", Flag(record.F_TS_SEEN)),
    FactRow(
        "rst-out",
        "rst-made !rst-made-early",
        "the kernel made a RST right after the socket was closed",
    ),
    FactRow(
        "rst-early",
        "rst-made rst-made-early",
        "the kernel made a RST while the socket was still open",
    ),
    FactRow("rst-reply", Flag(record.F_RST_REPLY), "the kernel answered a segment with RST"),
    FactRow("any-rst", "rst-in | rst-reply | rst-made"),
    # A live connection sends its RST by tcp_transmit_skb: with ACK, and with timestamps once negotiated.
    # A stateless one (tcp_v4_send_reset) has neither. RFC 7323 3.2 lets other systems add a timestamp
    # to it, so only the flag proves.
    FactRow("rst-flags-seen", "rst-in rst-ack-known | mini-rst rst-ack-known"),
    FactRow(
        "rst-with-ack",
        "rst-flags-seen rst-ack",
        "the RST received had the ACK flag, as that of an open connection has",
    ),
    FactRow(
        "rst-without-ack",
        "rst-flags-seen !rst-ack",
        "the RST received had no ACK flag: an answer for which no connection is needed",
    ),
    FactRow("rst-timed", "rst-in !rst-ack-known timestamps"),
    FactRow(
        "rst-with-timestamp",
        "rst-timed timestamp-seen",
        "the RST received carried a timestamp, as that of an open connection does",
    ),
    FactRow(
        "rst-without-timestamp",
        "rst-timed !timestamp-seen",
        "the RST received carried no timestamp although they were negotiated",
    ),
    FactRow(
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
    FactRow("mini-ended", "mini-fin | mini-rst | mini-late-data | mini-timeout"),
    FactRow("mini-open", "timewait-socket mini !mini-ended"),
    _reason("reason-close", "TCP_ABORT_ON_CLOSE"),
    _reason("reason-linger", "TCP_ABORT_ON_LINGER"),
    _reason("reason-memory", "TCP_ABORT_ON_MEMORY"),
    _reason("reason-data", "TCP_ABORT_ON_DATA"),
    _reason("reason-keepalive", "TCP_KEEPALIVE_TIMEOUT"),
    _reason("reason-state", "TCP_STATE"),
    _reason("reason-disconnect", "TCP_DISCONNECT_WITH_DATA"),
    # what the local side was doing
    FactRow("owned", Flag(record.F_OWNED)),
    FactRow("attached", Flag(record.F_SOCKET)),
    FactRow("shut-by-close", Read(lambda rows: (rows["shutdown"] & _SHUT) == _SHUT_BY_CLOSE)),
    # __tcp_close shuts down both ways first and detaches the socket last (sock_orphan). shutdown() before
    # connect(AF_UNSPEC) does the first as well, but then the file is in use.
    FactRow("in-any-call", "!orphan attached owned quiet"),
    FactRow(
        "in-close",
        "in-any-call shut-by-close",
        "close() was under way: the socket was still attached and shut down both ways",
    ),
    FactRow(
        "in-call",
        "in-any-call !shut-by-close",
        "a system call on the attached socket was under way, and it was not close()",
    ),
    FactRow("orphan", Flag(record.F_DEAD), "the application had closed the socket before"),
    FactRow(
        "orphaned-in-close",
        "orphan owned",
        "close() was under way and had detached the socket (sock_orphan)",
    ),
    # The application holds the connection of MPTCP, not its subflows.
    FactRow(
        "unaccepted",
        "!orphan !attached !missed !subflow",
        "no application had accepted the connection",
    ),
    FactRow("unread", Read(lambda rows: rows.unread)),
    FactRow("unread-data", "unread !from-syn-sent !from-syn-recv", "received data was unread"),
    FactRow("linger-zero", Flag(record.F_LINGER0), "SO_LINGER was on with time 0"),
    FactRow("linger2-negative", Read(lambda rows: rows["linger2"] < 0), "TCP_LINGER2 was below 0"),
    FactRow(
        "no-reset-due",
        "from-closing | from-last-ack",
        "both FINs had been exchanged, where the kernel sends no RST",
    ),
    FactRow(
        "no-port",
        Read(lambda rows: rows["lport"] == 0),
        "the connection never had a local port (EADDRNOTAVAIL)",
    ),
    # errors
    _error("error-none", 0),
    # connect(), read() and others take the error away (sock_error), also that of a CLOSE that nobody saw: the close()
    # that destroys the socket finds none then. What was orphaned at CLOSE keeps it.
    FactRow("no-error", "error-none !missed | error-none !owned", "the socket had no error"),
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
    FactRow(
        "error-soft",
        Read(lambda rows: (rows["err"] == rows["err_soft"]) & (rows["err"] != 0)),
    ),
    FactRow("error-of-timer", "error-soft !error-timeout !error-aborted"),
    # While connecting the error is the ICMP one at once (tcp_v4_err).
    FactRow(
        "error-unreachable",
        "error-of-timer | from-syn-sent icmp-error",
        "the error came from an ICMP error (as for want of a link address) or from the routes of this host",
    ),
    FactRow("expired", "error-timeout !rst-in | error-of-timer !rst-in"),
    # tcp_disconnect sets ECONNRESET itself: without a RST received the peer did not cause it.
    FactRow("quiet", "no-error | error-reset !rst-in"),
    # what was outstanding
    FactRow(
        "unacked",
        Read(lambda rows: rows.ahead > 0),
        "something of ours was sent and not acknowledged",
    ),
    FactRow(
        "unacked-data",
        Read(lambda rows: rows.unacked_data),
        "data of ours was sent and not acknowledged",
    ),
    FactRow(
        "unsent", Read(lambda rows: rows.queued > 0), "something of ours waited and was not sent"
    ),
    # tcp_connect() takes a sequence number for the SYN, even if the SYN cannot be sent.
    FactRow("no-syn", "from-syn-sent !unacked"),
    FactRow(
        "nothing-unanswered",
        "!unacked !unsent !probes-unanswered | !unacked !unsent rst-early",
        "nothing of ours waited for an ACK",
    ),
    FactRow("window-zero", Read(lambda rows: rows["snd_wnd"] == 0), "the peer's window was closed"),
    FactRow("window-open", "!window-zero", "the peer's window was open"),
    FactRow(
        "probes-unanswered",
        Read(lambda rows: rows["probes_out"] != 0),
        "probes were unanswered",
    ),
    FactRow(
        "retransmitted",
        Read(lambda rows: rows["retransmits"] != 0),
        "the oldest segment was retransmitted and stayed unacknowledged",
    ),
    FactRow(
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
    FactRow("netns-gone", Read(lambda rows: rows.gone), "the network namespace was gone"),
    FactRow("exiting", Flag(record.F_EXITING)),
    FactRow("oom", Flag(record.F_OOM)),
    FactRow("signalled", Read(lambda rows: (rows["exit_code"] & np.uint16(127)) != 0)),
    # The record names the task that released the socket. That task brought the end about, unless the
    # socket was still attached at CLOSE: then its death came later than the end.
    FactRow(
        "process-exiting",
        "orphan exiting | in-close exiting | unaccepted exiting",
        "the process was exiting when the socket was closed",
    ),
    FactRow("process-signal", "process-exiting signalled", "the process died of a signal"),
    FactRow("oom-victim", "process-exiting oom", "the process was killed for lack of memory"),
    # A kernel thread that closes for a task (delayed fput, io_uring) does not show which task, and why. It may
    # close what its owner has shut down: then the owner is who closed.
    FactRow(
        "kernel-thread",
        Read(lambda rows: rows.flag(record.F_KTHREAD) & (rows["owner_from"] != _CLOSE)),
    ),
    FactRow(
        "close-or-shutdown", Read(lambda rows: rows.close_seen | rows.flag(record.F_CLOSE_CALLED))
    ),
    FactRow("witnessed", "close-or-shutdown | owned | unaccepted"),
    FactRow("close-seen", "witnessed process-exiting | witnessed !kernel-thread"),
    FactRow(
        "time-wait-refused",
        Flag(record.F_TW_REFUSED),
        "the kernel refused to allocate the TIME_WAIT socket",
    ),
    FactRow("subflow", Is("kind", (Kind.SUBFLOW,))),
    FactRow("no-subflow", Is("kind", (Kind.NO_SUBFLOW,))),
    FactRow("some-subflow", Is("kind", (Kind.CONNECTION,))),
    FactRow(
        "mptcp",
        "some-subflow | no-subflow",
        "it is a connection of MPTCP: its FIN is DATA_FIN, its RST is RST with MP_FASTCLOSE on its subflows",
    ),
)
