# SPDX-License-Identifier: Apache-2.0
"""The sentences of ``why``, by verdict. The first one whose conditions all hold is taken.

Conditions are evidence, a form, ``first-<who>`` (closed first) or ``missing-<what>``. Texts are ASCII
without quotes, backslashes or per cent signs. In braces:

- ``{who}``: the local side closing, or how its process died;
- ``{column:noun}``: a number and its noun, ``2 bytes``;
- ``{limit}``: name and value of the limit; ``{error}``: name of the errno;
- ``{over}``, ``{silent}``, ``{later}``: a time with its preposition, or nothing if unknown;
- ``{bare}``: what showed that a RST came from no connection.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracetw.verdict.taxonomy import MISSING

__all__ = ["SENTENCES", "Sentence"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One way to say why.

    Attributes:
        verdict: code.
        when: conditions, all of them.
        text: see the module.
    """

    verdict: str
    when: tuple[str, ...]
    text: str


_MPTCP = {
    "orderly": (
        (
            "mptcp first-both",
            "Both sides sent DATA_FIN at the same time and both were acknowledged.",
        ),
        ("mptcp first-local", "{who} first, by DATA_FIN; the peer sent its own."),
        (
            "mptcp",
            "The peer closed first, by DATA_FIN; this side closed and its own was acknowledged.",
        ),
    ),
    "peer-reset": (
        (
            "mptcp",
            "The peer aborted the whole connection: its RST carried MP_FASTCLOSE with the key of this side.",
        ),
    ),
    "abort-unread": (
        (
            "mptcp unread-data",
            (
                "{who} with {unread:byte} unread, so MPTCP aborted the connection: RST with MP_FASTCLOSE on its "
                "subflows."
            ),
        ),
        (
            "mptcp",
            (
                "{who} with received data unread, so MPTCP aborted the connection: RST with MP_FASTCLOSE on its "
                "subflows."
            ),
        ),
    ),
    "abort-linger": (
        (
            "mptcp",
            "{who} with SO_LINGER 0, so MPTCP aborted the connection: RST with MP_FASTCLOSE on its subflows.",
        ),
    ),
    "abort-disconnect": (
        (
            "mptcp",
            (
                "The application dissolved the connection with connect(AF_UNSPEC): RST with MP_FASTCLOSE on its "
                "subflows."
            ),
        ),
    ),
    "abort-listener": (
        (
            "mptcp",
            "The listener closed before the connection was accepted: RST with MP_FASTCLOSE on its subflows.",
        ),
    ),
    "subflows-lost": (
        (
            "orphan",
            "The application had closed, and the last subflow ended before both DATA_FINs were done.",
        ),
        ("", "The last subflow ended, and no other came before net.mptcp.close_timeout ran out."),
    ),
    "fin-wait2-timeout": (
        (
            "mptcp",
            (
                "The peer acknowledged our DATA_FIN but sent none of its own within 60 s: MPTCP gave the closed "
                "connection up and sent RST with MP_FASTCLOSE."
            ),
        ),
    ),
    "fin-exhausted": (
        (
            "mptcp",
            (
                "The application had closed, and the connection was not over within 60 s: MPTCP gave it up and "
                "sent RST with MP_FASTCLOSE."
            ),
        ),
    ),
    "mptcp-reset": (
        ("reason-close", "MPTCP sent RST with MP_FASTCLOSE: the whole connection was aborted."),
        ("", "MPTCP ended this subflow with RST."),
    ),
}

_ORDERLY = (
    ("first-both", "Both sides sent FIN at the same time and both FINs were acknowledged."),
    (
        "no-time-wait",
        "{who} first and both FINs arrived, but TIME_WAIT was skipped: the kernel had no bucket left.",
    ),
    ("fin-3 first-local", "{who} first; the peer sent its FIN together with the ACK of ours."),
    ("fin-4 first-local", "{who} first; the peer acknowledged our FIN and sent its own{later}."),
    ("first-local", "{who} first; the peer acknowledged our FIN and sent its own."),
    (
        "fin-3",
        "The peer closed first; our FIN carried the ACK of its FIN and was acknowledged.",
    ),
    ("", "The peer closed first; this side closed{later} and its FIN was acknowledged."),
)

_SENT = {
    "abort-linger": (
        (
            "linger-zero no-reset-due",
            "{who} with SO_LINGER 0, so the kernel dropped the socket without waiting for the last ACK.",
        ),
        ("linger-zero", "{who} with SO_LINGER 0, so the kernel sent RST instead of FIN."),
        (
            "",
            "{who} with TCP_LINGER2 below 0, so the kernel sent RST instead of waiting in FIN_WAIT2.",
        ),
    ),
    "abort-unread": (
        ("unread-data", "{who} with {unread:byte} unread, so the kernel sent RST instead of FIN."),
        ("", "{who} with received data unread, so the kernel sent RST instead of FIN."),
    ),
    "abort-late-data": (
        (
            "mini-late-data",
            "{who}; then data or a SYN met the timewait socket in FIN_WAIT2 and the kernel answered with RST.",
        ),
        ("", "{who}; then more data arrived from the peer and the kernel answered with RST."),
    ),
    "abort-disconnect": (
        (
            "no-reset-due",
            "The application dissolved the connection with connect(AF_UNSPEC) before the last ACK.",
        ),
        (
            "",
            "The application dissolved the connection with connect(AF_UNSPEC), so the kernel sent RST.",
        ),
    ),
    "abort-admin": (
        ("no-reset-due", "The socket was destroyed from outside (ss -K or SOCK_DESTROY)."),
        (
            "",
            "The socket was destroyed from outside (ss -K or SOCK_DESTROY), and the kernel sent RST.",
        ),
    ),
    "abort-memory": (
        (
            "",
            (
                "The kernel had too many orphans or too little TCP memory: it gave the closed socket up and "
                "sent RST."
            ),
        ),
    ),
    "abort-listener": (
        (
            "unread-data",
            (
                "The listener closed before the connection was accepted, with {unread:byte} unread: the "
                "kernel sent RST."
            ),
        ),
        ("", "The listener closed before the connection was accepted, so the kernel sent RST."),
    ),
}

_RECEIVED = {
    "peer-reset": (
        ("mini-rst", "The peer acknowledged our FIN, then sent RST instead of its own FIN."),
        (
            "unacked-data peer-fin",
            "The peer had closed already and answered {unacked:byte} of ours with RST.",
        ),
        (
            "nothing-unanswered peer-fin",
            "The peer had closed already, then sent RST instead of waiting for our FIN.",
        ),
        (
            "rst-with-ack",
            "The peer aborted the connection: its RST had the ACK flag, so it still held it.",
        ),
        (
            "rst-with-timestamp",
            "The peer aborted the connection: its RST carried a timestamp, so it still held it.",
        ),
        (
            "",
            "The peer aborted the connection: nothing of ours was unanswered, so its RST was no answer.",
        ),
    ),
    "peer-lost-state": (
        ("unacked-data", "{unacked:byte} of ours met no connection at the peer: {bare}."),
        ("from-fin-wait1", "Our FIN met no connection at the peer: {bare}."),
        ("from-closing", "Our FIN met no connection at the peer: {bare}."),
        ("from-last-ack", "Our FIN met no connection at the peer: {bare}."),
        ("probes-unanswered", "A probe of ours met no connection at the peer: {bare}."),
        ("", "A segment of ours met no connection at the peer: {bare}."),
    ),
    "stale-syn-reset": (
        (
            "",
            (
                "The peer had forgotten the connection and sent a SYN from the same port; it answered our "
                "challenge ACK with RST."
            ),
        ),
    ),
}

_TIMED_OUT = {
    "retransmit-exhausted": (
        (
            "",
            (
                "{unacked:byte} of ours stayed unacknowledged: retransmitted {retransmits:time}{over} "
                "without an answer until {limit} ran out."
            ),
        ),
    ),
    "fin-exhausted": (
        (
            "unacked-data",
            (
                "Our FIN and {unacked:byte} before it were retransmitted {again:time}{over} without "
                "an answer until {limit} ran out."
            ),
        ),
        (
            "",
            "Our FIN was retransmitted {again:time}{over} without an answer until {limit} ran out.",
        ),
    ),
    "user-timeout": (
        ("rst-early", "{probes:keepalive probe} stayed unanswered{silent} until {limit} ran out."),
        (
            "unsent",
            "The peer kept its window closed{over} with data to send until {limit} ran out.",
        ),
        (
            "unacked-data",
            "{unacked:byte} of ours stayed unacknowledged{over} until {limit} ran out.",
        ),
        ("", "Our FIN stayed unacknowledged{over} until {limit} ran out."),
    ),
    "keepalive-expired": (
        ("", "{probes:keepalive probe} stayed unanswered{silent} until {limit} ran out."),
    ),
    "window-probe-expired": (
        (
            "unsent",
            (
                "The peer's window was closed with {unsent:byte} to send, and {probes:probe} stayed "
                "unanswered{over} until {limit} ran out."
            ),
        ),
        (
            "",
            (
                "The peer closed its window with {unacked:byte} unacknowledged and stayed silent{over} "
                "until {limit} ran out."
            ),
        ),
    ),
    "fin-wait2-timeout": (
        ("", "The peer acknowledged our FIN but sent none of its own{over} until {limit} ran out."),
    ),
    "unreachable": (
        ("from-syn-sent", "Connecting failed with {error}: the peer was reported unreachable."),
        (
            "retransmitted",
            (
                "The peer was reported unreachable ({error}) while {retransmits:retransmission timeout}{over} "
                "brought no answer."
            ),
        ),
        ("", "The peer was reported unreachable ({error}) while data waited to be sent."),
    ),
    "output-blocked": (
        (
            "",
            (
                "{unsent:byte} never left this host{over} although the peer's window was open, until {limit} "
                "ran out."
            ),
        ),
    ),
}

_OTHERS = {
    "namespace-gone": (("", "The network namespace was torn down under the connection."),),
    "connect-refused": (
        ("rst-in", "The SYN was answered with RST: nothing listens there, or a firewall rejects."),
        ("", "The connection was refused with {error}, reported by ICMP."),
    ),
    "connect-timeout": (
        ("", "The SYN was retransmitted {retransmits:time}{over} without an answer."),
    ),
    "connect-aborted": (
        ("error-aborted", "The socket was destroyed from outside while it was connecting."),
        (
            "no-port",
            "connect() failed on this host before a SYN was sent: no local port was found.",
        ),
        ("rst-in", "The peer sent RST before the connection was established."),
        ("in-close", "{who} before the peer had answered the SYN."),
        ("", "The attempt to connect ended on this host before the peer had answered the SYN."),
    ),
    "accept-aborted": (
        ("rst-in", "The client sent RST before the handshake was complete."),
        ("error-timeout", "The client fell silent before the handshake was complete."),
        ("error-aborted", "The socket was destroyed from outside during the handshake."),
        ("", "The connection was dropped on this host before the handshake was complete."),
    ),
    "undetermined": (
        (
            "missing-peer-fin",
            (
                "The peer acknowledged our FIN, but the kernel had no TIME_WAIT bucket left and dropped the "
                "socket before the peer's FIN."
            ),
        ),
        (
            "missing-rst-flags",
            (
                "A RST was received while something of ours was unanswered; whether the peer still held the "
                "connection is not known, for the flags of the RST were not seen."
            ),
        ),
        *(
            (f"missing-{name}", f"Why the connection ended is not known: missing is {text}.")
            for name, text in MISSING.items()
            if name not in {"peer-fin", "rst-flags"}
        ),
    ),
}

SENTENCES: tuple[Sentence, ...] = tuple(
    Sentence(verdict, tuple(when.split()), text)
    for table in (_MPTCP, {"orderly": _ORDERLY}, _SENT, _RECEIVED, _TIMED_OUT, _OTHERS)
    for verdict, sentences in table.items()
    for when, text in sentences
)
