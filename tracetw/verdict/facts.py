# SPDX-License-Identifier: Apache-2.0
"""From signatures to named facts: the conditions of the rules.

Every name of ``EVIDENCE`` is a fact, and so are the guards, which only tell the cases apart. The functions
below say how each follows from what the kernel does. In names ``mini`` is the timewait socket.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracetw.event import record
from tracetw.event.fields import State
from tracetw.event.record import End
from tracetw.verdict.signature import Error, Gap, Kind, Reason, Signatures

__all__ = ["GUARDS", "Facts", "facts"]

Facts = dict[str, NDArray[np.bool_]]

# Facts that are no evidence on their own.
GUARDS = (
    "quiet",
    "expired",
    "any-rst",
    "closing",
    "owned",
    "client",
    "mini-open",
    "missed",
    "close-seen",
    "silent",
    "subflow",
    "no-subflow",
    "no-syn",
)

_REASONS = {
    "reason-close": Reason.CLOSE,
    "reason-linger": Reason.LINGER,
    "reason-memory": Reason.MEMORY,
    "reason-data": Reason.DATA,
    "reason-keepalive": Reason.KEEPALIVE,
    "reason-state": Reason.STATE,
    "reason-disconnect": Reason.DISCONNECT,
}

_FROM = {
    "from-syn-sent": State.SYN_SENT,
    "from-syn-recv": State.SYN_RECV,
    "from-fin-wait1": State.FIN_WAIT1,
    "from-fin-wait2": State.FIN_WAIT2,
    "from-closing": State.CLOSING,
    "from-last-ack": State.LAST_ACK,
}

_MINI_ENDS = {
    "mini-fin": End.FIN,
    "mini-rst": End.RST,
    "mini-late-data": End.LATE_DATA,
    "mini-timeout": End.TIMEOUT,
}


def facts(words: Signatures) -> Facts:
    """All facts of a column of signatures, each a boolean column."""
    known: Facts = {name: words.state == state for name, state in _FROM.items()}
    known |= {name: words.end == end for name, end in _MINI_ENDS.items()}
    known |= {name: words.reason == reason for name, reason in _REASONS.items()}
    known["mptcp"] = words.kind == Kind.CONNECTION
    known["subflow"] = words.kind >= Kind.SUBFLOW
    known["no-subflow"] = words.no_subflow
    known["missed"] = words.flag(record.F_MISSED)
    known["record-early"] = words.end == End.FULL
    known["no-port"] = words.bit("no-port")
    known["netns-gone"] = words.bit("netns-gone")
    known["client"] = words.flag(record.F_CLIENT)
    known["no-reset-due"] = known["from-closing"] | known["from-last-ack"]
    known["closing"] = known["no-reset-due"] | known["from-fin-wait1"]
    _resets(words, known)
    _errors(words, known)
    _sending(words, known)
    _task(words, known)
    _fins(words, known)
    return known


def _resets(words: Signatures, known: Facts) -> None:
    flag = words.flag
    received = flag(record.F_RST_IN)
    known["rst-in"] = received
    known["rst-reply"] = flag(record.F_RST_REPLY)
    known["rst-early"] = flag(record.F_RST_OUT) & flag(record.F_RST_EARLY)
    known["rst-out"] = flag(record.F_RST_OUT) & ~flag(record.F_RST_EARLY)
    known["any-rst"] = received | known["rst-reply"] | flag(record.F_RST_OUT)
    known["syn-hit"] = flag(record.F_SYN_HIT)
    # A live connection sends its RST by tcp_transmit_skb: with ACK, and with timestamps once negotiated.
    # A stateless one (tcp_v4_send_reset) has neither. RFC 7323 3.2 lets other systems add a timestamp
    # to it, so only the flag proves.
    seen = flag(record.F_RST_ACK_KNOWN)
    any_received = received | known["mini-rst"]
    known["rst-with-ack"] = any_received & seen & flag(record.F_RST_ACK)
    known["rst-without-ack"] = any_received & seen & ~flag(record.F_RST_ACK)
    timed = received & ~seen & flag(record.F_TS_OK)
    known["rst-with-timestamp"] = timed & flag(record.F_TS_SEEN)
    known["rst-without-timestamp"] = timed & ~flag(record.F_TS_SEEN)


def _errors(words: Signatures, known: Facts) -> None:
    error = words.error
    known["no-error"] = error == Error.NONE
    known["error-refused"] = error == Error.REFUSED
    known["error-aborted"] = error == Error.ABORTED
    known["error-timeout"] = error == Error.TIMEOUT
    # tcp_write_err reports sk_err_soft instead of ETIMEDOUT if an ICMP error left one. While
    # connecting the error is the ICMP one at once (tcp_v4_err).
    soft = words.bit("soft") & (error != Error.TIMEOUT) & (error != Error.ABORTED)
    known["error-unreachable"] = soft | (known["from-syn-sent"] & (error == Error.UNREACHABLE))
    known["expired"] = (known["error-timeout"] | soft) & ~known["rst-in"]
    # tcp_disconnect sets ECONNRESET itself: without a RST received the peer did not cause it.
    known["quiet"] = known["no-error"] | ((error == Error.RESET) & ~known["rst-in"])


def _sending(words: Signatures, known: Facts) -> None:
    for name in ("unacked", "unacked-data", "unsent", "retransmitted", "window-zero"):
        known[name] = words.bit(name)
    known["window-open"] = ~known["window-zero"]
    # tcp_connect() takes a sequence number for the SYN, even if the SYN cannot be sent.
    known["no-syn"] = known["from-syn-sent"] & ~known["unacked"]
    known["probes-unanswered"] = words.bit("probes")
    known["user-timeout-set"] = words.bit("user-timeout")
    known["nothing-unanswered"] = ~(
        known["unacked"] | known["unsent"] | (known["probes-unanswered"] & ~known["rst-early"])
    )


def _task(words: Signatures, known: Facts) -> None:
    flag = words.flag
    dead, socket, owned = flag(record.F_DEAD), flag(record.F_SOCKET), flag(record.F_OWNED)
    known["owned"] = owned
    known["orphan"] = dead
    known["orphaned-in-close"] = dead & owned
    # The application holds the connection of MPTCP, not its subflows.
    known["unaccepted"] = ~dead & ~socket & ~known["missed"] & ~known["subflow"]
    # __tcp_close shuts down both ways first and detaches the socket last (sock_orphan). shutdown() before
    # connect(AF_UNSPEC) does the first as well, but then the file is in use.
    call = ~dead & socket & owned & known["quiet"]
    known["in-close"] = call & words.bit("shut-by-close")
    known["in-call"] = call & ~words.bit("shut-by-close")
    known["unread-data"] = words.bit("unread") & ~known["from-syn-sent"] & ~known["from-syn-recv"]
    known["linger-zero"] = flag(record.F_LINGER0)
    known["linger2-negative"] = words.bit("linger2-negative")
    # The record names the task that released the socket. That task brought the end about, unless the
    # socket was still attached at CLOSE: then its death came later than the end.
    ended = dead | known["in-close"] | known["unaccepted"]
    exiting = ended & flag(record.F_EXITING)
    known["process-exiting"] = exiting
    known["oom-victim"] = exiting & flag(record.F_OOM)
    known["process-signal"] = exiting & words.bit("signalled")
    # A kernel thread that closes for a task (delayed fput, io_uring) does not show which task, and why; the flag is
    # not in the word where an owner is known from an earlier shutdown().
    witnessed = words.bit("close-seen") | owned | known["unaccepted"]
    known["close-seen"] = witnessed & (exiting | ~flag(record.F_KTHREAD))


def _fins(words: Signatures, known: Facts) -> None:
    flag = words.flag
    mini = flag(record.F_TW) & flag(record.F_TW_FIN_WAIT2)
    direct = flag(record.F_TW) & ~mini
    witnessed = np.isin(words.end, [*_MINI_ENDS.values()])
    known["mini-open"] = mini & ~witnessed
    known["time-wait"] = direct | known["mini-fin"]
    known["peer-fin"] = (
        flag(record.F_DONE)
        | known["no-reset-due"]
        | (words.state == State.CLOSE_WAIT)
        | known["mini-fin"]
    )
    known["fin-acked"] = (flag(record.F_FIN_ACKED) & known["closing"]) | known["from-fin-wait2"]
    # Both FINs done, or ours acknowledged: tcp_time_wait makes a timewait socket here.
    due = known["from-fin-wait2"] | (known["from-closing"] & known["fin-acked"])
    # Neither an error, nor a RST, nor a timewait socket explains CLOSE.
    unexplained = known["quiet"] & ~known["any-rst"] & ~flag(record.F_TW) & ~witnessed
    # Where one of these holds, the timewait socket may be missing for another reason than a refusal.
    other_reason = known["missed"] | known["record-early"] | known["linger2-negative"]
    # tcp_time_wait closes at once if inet_twsk_alloc refuses.
    refused = words.bit("time-wait-refused")
    known["time-wait-refused"] = refused
    known["no-time-wait"] = (due & unexplained & ~other_reason & ~known["mptcp"]) | refused
    known["silent"] = unexplained & known["no-error"] & ~known["no-time-wait"]
    known["ack-with-fin"] = known["from-last-ack"] & flag(record.F_ACK_PENDING)
    direct = direct & known["from-fin-wait2"]
    known["fin-with-ack"] = direct & (words.gap == Gap.SAME_SEGMENT)
    known["fin-after-ack"] = known["mini-fin"] | (direct & (words.gap == Gap.OTHER_SEGMENT))
