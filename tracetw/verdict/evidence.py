# SPDX-License-Identifier: Apache-2.0
"""Every fact a verdict can rest on, every fact whose absence can prevent one, and the bit of each.

The position in ``EVIDENCE`` is the bit of ``Findings.evidence``, the position in ``MISSING`` the bit
of ``Findings.missing``. Names stay as they are and new ones go to the end: recordings hold facts, not
findings, but metrics and saved queries hold these names. In names ``mini`` is the timewait socket.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = [
    "EVIDENCE",
    "EVIDENCE_BIT",
    "MISSING",
    "MISSING_BIT",
    "evidence_mask",
    "evidence_names",
    "missing_names",
]

# name -> what it says, in the past tense, about one connection
EVIDENCE: dict[str, str] = {
    # the state that CLOSE was entered from
    "from-syn-sent": "the connection was still being opened (SYN_SENT)",
    "from-syn-recv": "the handshake was not finished (SYN_RECV)",
    "from-fin-wait1": "our FIN was on its way (FIN_WAIT1)",
    "from-fin-wait2": "our FIN was acknowledged and the peer's was awaited (FIN_WAIT2)",
    "from-closing": "both sides had sent FIN before either was acknowledged (CLOSING)",
    "from-last-ack": "the peer had closed and our FIN waited for its ACK (LAST_ACK)",
    # FIN
    "peer-fin": "the peer's FIN had arrived",
    "fin-acked": "our FIN was acknowledged",
    "mini-fin": "the peer's FIN reached the timewait socket in FIN_WAIT2",
    "time-wait": "the socket went to TIME_WAIT",
    "no-time-wait": "the kernel made no TIME_WAIT socket although one was due",
    "fin-with-ack": "the peer's FIN came in the segment that acknowledged ours",
    "fin-after-ack": "the peer's FIN came in a later segment than its ACK of ours",
    "ack-with-fin": "our FIN carried the ACK of the peer's FIN",
    # RST
    "rst-in": "a RST was received and accepted",
    "rst-out": "the kernel made a RST right after the socket was closed",
    "rst-early": "the kernel made a RST while the socket was still open",
    "rst-reply": "the kernel answered a segment with RST",
    "rst-with-ack": "the RST received had the ACK flag, as that of an open connection has",
    "rst-without-ack": "the RST received had no ACK flag: an answer for which no connection is needed",
    "rst-with-timestamp": "the RST received carried a timestamp, as that of an open connection does",
    "rst-without-timestamp": "the RST received carried no timestamp although they were negotiated",
    "syn-hit": "a SYN for this connection came just before the RST, and no other segment between them",
    "mini-rst": "a RST killed the timewait socket in FIN_WAIT2",
    "mini-late-data": "data or a SYN met the timewait socket in FIN_WAIT2 and the kernel answered with RST",
    "mini-timeout": "the timewait socket in FIN_WAIT2 timed out",
    # the kernel's own reason for a RST it sent (enum sk_rst_reason)
    "reason-close": "the kernel gave TCP_ABORT_ON_CLOSE as the reason of its RST",
    "reason-linger": "the kernel gave TCP_ABORT_ON_LINGER as the reason of its RST",
    "reason-memory": "the kernel gave TCP_ABORT_ON_MEMORY as the reason of its RST",
    "reason-data": "the kernel gave TCP_ABORT_ON_DATA as the reason of its RST",
    "reason-keepalive": "the kernel gave TCP_KEEPALIVE_TIMEOUT as the reason of its RST",
    "reason-state": "the kernel gave TCP_STATE as the reason of its RST",
    "reason-disconnect": "the kernel gave TCP_DISCONNECT_WITH_DATA as the reason of its RST",
    # what the local side was doing
    "in-close": "close() was under way: the socket was still attached and shut down both ways",
    "in-call": "a system call on the attached socket was under way, and it was not close()",
    "orphan": "the application had closed the socket before",
    "orphaned-in-close": "close() was under way and had detached the socket (sock_orphan)",
    "unaccepted": "no application had accepted the connection",
    "unread-data": "received data was unread",
    "linger-zero": "SO_LINGER was on with time 0",
    "linger2-negative": "TCP_LINGER2 was below 0",
    "no-reset-due": "both FINs had been exchanged, where the kernel sends no RST",
    "no-port": "the connection never had a local port (EADDRNOTAVAIL)",
    # errors
    "no-error": "the socket had no error",
    "error-refused": "the error was ECONNREFUSED",
    "error-aborted": "the error was ECONNABORTED",
    "error-timeout": "the error was ETIMEDOUT",
    "error-unreachable": "the error came from an unreachable report (ICMP, or no link address)",
    # what was outstanding
    "unacked": "something of ours was sent and not acknowledged",
    "unacked-data": "data of ours was sent and not acknowledged",
    "unsent": "something of ours waited and was not sent",
    "nothing-unanswered": "nothing of ours waited for an ACK",
    "window-zero": "the peer's window was closed",
    "window-open": "the peer's window was open",
    "probes-unanswered": "probes were unanswered",
    "retransmitted": "the oldest segment was retransmitted and stayed unacknowledged",
    "user-timeout-set": "TCP_USER_TIMEOUT was set",
    # the rest
    "record-early": "the record left the kernel before the consequences of the close showed",
    "netns-gone": "the network namespace was gone",
    "process-exiting": "the process was exiting when the socket was closed",
    "process-signal": "the process died of a signal",
    "oom-victim": "the process was killed for lack of memory",
    "time-wait-refused": "the kernel refused to allocate the TIME_WAIT socket",
    "mptcp": "it is a connection of MPTCP: its FIN is DATA_FIN, its RST is RST with MP_FASTCLOSE on its subflows",
}

# name -> what would have had to be known
MISSING: dict[str, str] = {
    "rst-flags": "the flags or timestamp of the RST received, while something of ours was unanswered",
    "reset-answer": "whether the kernel answered the segment with a RST",
    "reset-sent": "the RST that this kind of close sends",
    "mini-socket-end": "how the timewait socket in FIN_WAIT2 ended",
    "peer-fin": "the peer's FIN: no socket was left to receive it (TIME_WAIT bucket overflow)",
    "unanswered-segment": "a segment or probe whose answer could have timed out",
    "retransmissions": "retransmissions of the segment that timed out",
    "netns-state": "whether the network namespace was gone or memory ran out",
    "close-event": "the event of the close itself",
    "cause": "any sign of what closed the socket",
}

EVIDENCE_BIT = {name: 1 << at for at, name in enumerate(EVIDENCE)}
"""Name to its bit in ``Findings.evidence``, 64 bits."""
MISSING_BIT = {name: 1 << at for at, name in enumerate(MISSING)}
"""Name to its bit in ``Findings.missing``, 32 bits."""


def evidence_mask(names: tuple[str, ...]) -> int:
    """Bits of the evidence among ``names``; KeyError for a name that is none."""
    mask = 0
    for name in names:
        mask |= EVIDENCE_BIT[name]
    return mask


@lru_cache(maxsize=4096)
def evidence_names(mask: int) -> tuple[str, ...]:
    """Names of the bits of ``Findings.evidence``, in the order of ``EVIDENCE``."""
    return tuple(name for name, bit in EVIDENCE_BIT.items() if mask & bit)


@lru_cache(maxsize=256)
def missing_names(mask: int) -> tuple[str, ...]:
    """Names of the bits of ``Findings.missing``."""
    return tuple(name for name, bit in MISSING_BIT.items() if mask & bit)
