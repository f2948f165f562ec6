# SPDX-License-Identifier: Apache-2.0
"""The sentences of ``why``, by verdict. The first one whose conditions all hold is taken.

Conditions are evidence, a form, ``first-<who>`` (closed first) or ``missing-<what>``. Texts are ASCII
without quotes, backslashes or per cent signs. In braces:

- ``{who}``: the local side closing, or how its process died;
- ``{column:noun}``: a number and its noun, ``2 bytes``;
- ``{limit}``: that a limit ran out, with its name and value; ``{error}``: name of the errno;
- ``{over}``, ``{silent}``, ``{later}``: a time with its preposition, or nothing if unknown;
- ``{refused}``: that segments of the peer came and were refused, or nothing;
- ``{bare}``: a RST, by what shows that it came from no connection.

A sentence claims only what this end knows (ADR 0019): not what the peer received, nor which of the peer and the boxes
on the way sent a segment, nor that a segment of ours left the host. "Unacknowledged" is known; "without an answer" is
not.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracetw.verdict.missing import MISSING
from tracetw.verdict.sentences_mptcp import OF_MPTCP


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

# The kernel makes a RST; whether that leaves the host (its own firewall) or arrives is not seen.
_AFTER_SHUTDOWN = ("from-fin-wait1", "from-fin-wait2", "from-closing", "from-last-ack")


def _with_shutdown(when: str, begin: str) -> tuple[tuple[str, str], ...]:
    """The same for a connection whose FIN was under way: shutdown() had come before."""
    after = "{who} after shutdown() " + begin + ", so the kernel aborted with RST."
    plain = "{who} " + begin + ", so the kernel aborted with RST instead of FIN."
    return (*((f"{when} {state}".strip(), after) for state in _AFTER_SHUTDOWN), (when, plain))


_SENT = {
    "abort-linger": (
        (
            "linger-zero no-reset-due",
            "{who} with SO_LINGER 0, so the kernel dropped the socket without waiting for the last ACK.",
        ),
        *_with_shutdown("linger-zero", "with SO_LINGER 0"),
        (
            "",
            "{who} with TCP_LINGER2 below 0, so the kernel aborted with RST instead of waiting in FIN_WAIT2.",
        ),
    ),
    "abort-unread": (
        *_with_shutdown("unread-data", "with {unread:byte} unread"),
        *_with_shutdown("", "with received data unread"),
    ),
    "abort-late-data": (
        (
            "mini-late-data",
            "{who}; then data or a SYN met the timewait socket in FIN_WAIT2 and the kernel answered with RST.",
        ),
        ("", "{who}; then more data arrived and the kernel answered with RST."),
    ),
    "abort-disconnect": (
        (
            "no-reset-due",
            "The application dissolved the connection with connect(AF_UNSPEC) before the last ACK.",
        ),
        (
            "",
            "The application dissolved the connection with connect(AF_UNSPEC), so the kernel aborted with RST.",
        ),
    ),
    "abort-admin": (
        ("no-reset-due", "The socket was destroyed from outside (ss -K or SOCK_DESTROY)."),
        (
            "",
            "The socket was destroyed from outside (ss -K or SOCK_DESTROY), and the kernel aborted with RST.",
        ),
    ),
    "abort-memory": (
        (
            "",
            (
                "The kernel had too many orphans or too little TCP memory: it gave the closed socket up and "
                "aborted with RST."
            ),
        ),
    ),
    "abort-listener": (
        (
            "unread-data",
            (
                "The listener closed before the connection was accepted, with {unread:byte} unread: the "
                "kernel aborted with RST."
            ),
        ),
        (
            "",
            "The listener closed before the connection was accepted, so the kernel aborted with RST.",
        ),
    ),
}

# A box on the way can send either kind of RST: the sentence says what came, when, and what sends such a RST.
_STRANGER = "{bare} came while {what}: whoever answered, the peer or a box on the way, has no such connection."


def _bare(what: str) -> str:
    return _STRANGER.replace("{what}", what)


_RECEIVED = {
    "peer-reset": (
        ("mini-rst", "Our FIN was acknowledged, then a RST came instead of the peer's FIN."),
        (
            "unacked-data peer-fin",
            "The peer's FIN had come; then a RST, with {unacked:byte} of ours unacknowledged.",
        ),
        (
            "nothing-unanswered peer-fin",
            "The peer's FIN had come; then a RST, before our FIN.",
        ),
        (
            "rst-with-ack",
            (
                "A RST with the ACK flag came, as an open connection sends it: from the peer, or from a box on the "
                "way."
            ),
        ),
        (
            "rst-with-timestamp",
            (
                "A RST with a timestamp came, as an open connection sends it: from the peer, or from a box on the "
                "way."
            ),
        ),
        (
            "",
            (
                "A RST came while nothing of ours was unanswered, so it was no answer: the peer aborted, or a box "
                "on the way did."
            ),
        ),
    ),
    "peer-lost-state": (
        ("unacked-data", _bare("{unacked:byte} of ours went unacknowledged")),
        ("from-fin-wait1", _bare("our FIN was unacknowledged")),
        ("from-closing", _bare("our FIN was unacknowledged")),
        ("from-last-ack", _bare("our FIN was unacknowledged")),
        ("from-fin-wait2", _bare("the peer's FIN was awaited")),
        ("mini-rst", _bare("the peer's FIN was awaited")),
        ("probes-unanswered", _bare("a probe of ours was unanswered")),
        ("", "{bare} came: whoever sent it, the peer or a box on the way, has no such connection."),
    ),
    "stale-syn-reset": (
        (
            "",
            (
                "A SYN from the peer's port came for this connection, then the RST that ended it, as when the "
                "peer has lost the connection and opens it anew."
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
                "until {limit}{refused}."
            ),
        ),
    ),
    "fin-exhausted": (
        (
            "unacked-data",
            (
                "Our FIN and {unacked:byte} before it stayed unacknowledged: retransmitted {again:time}{over} "
                "until {limit}{refused}."
            ),
        ),
        (
            "",
            (
                "Our FIN stayed unacknowledged: retransmitted {again:time}{over} until {limit}{refused}."
            ),
        ),
    ),
    "user-timeout": (
        ("rst-early", "{probes:keepalive probe} stayed unanswered{silent} until {limit}{refused}."),
        (
            "unsent",
            "The peer kept its window closed{over} with data to send until {limit}{refused}.",
        ),
        (
            "unacked-data",
            "{unacked:byte} of ours stayed unacknowledged{over} until {limit}{refused}.",
        ),
        ("", "Our FIN stayed unacknowledged{over} until {limit}{refused}."),
    ),
    "keepalive-expired": (
        ("", "{probes:keepalive probe} stayed unanswered{silent} until {limit}{refused}."),
    ),
    "window-probe-expired": (
        (
            "unsent probes-unanswered",
            (
                "The peer's window was closed with {unsent:byte} to send, and {probes:probe} stayed "
                "unanswered{over} until {limit}{refused}."
            ),
        ),
        (
            "unsent",
            "The peer's window was closed{over} with {unsent:byte} to send until {limit}{refused}.",
        ),
        (
            "",
            (
                "The peer closed its window with {unacked:byte} unacknowledged{over} "
                "until {limit}{refused}."
            ),
        ),
    ),
    "fin-wait2-timeout": (
        ("", "The peer acknowledged our FIN but sent none of its own{over} until {limit}."),
    ),
    "unreachable": (
        (
            "from-syn-sent timeout",
            (
                "Connecting failed with {error}: no SYN+ACK came{over}, and an ICMP error or the routes of this host "
                "gave the reason{refused}."
            ),
        ),
        (
            "from-syn-sent",
            "Connecting failed with {error}: an ICMP error reported the peer unreachable.",
        ),
        (
            "retransmitted",
            (
                "An ICMP error or the routes of this host gave {error}, and {retransmits:retransmission timeout}{over} "
                "brought no ACK{refused}."
            ),
        ),
        ("", "An ICMP error or the routes of this host gave {error} while data waited to be sent."),
    ),
    "output-blocked": (
        (
            "",
            (
                "{unsent:byte} could not be sent on this host{over} although the peer's window was open, until "
                "{limit}."
            ),
        ),
    ),
}

_OTHERS = {
    "namespace-gone": (("", "The network namespace was torn down under the connection."),),
    "connect-refused": (
        ("rst-in", "A RST answered the SYN: nothing listens there, or a firewall rejects."),
        ("", "Connecting failed with {error}: an ICMP error refused it."),
    ),
    "connect-timeout": (
        ("", "The SYN was retransmitted {retransmits:time}{over}, and no SYN+ACK came{refused}."),
    ),
    "connect-aborted": (
        ("error-aborted", "The socket was destroyed from outside while it was connecting."),
        ("rst-in", "A RST came before the connection was established."),
        ("in-close", "{who} before the connection was established{refused}."),
        ("", "The attempt to connect ended on this host before the connection was established."),
    ),
    "connect-failed": (
        (
            "no-port",
            (
                "connect() failed on this host before a SYN was made: no local port was free "
                "(EADDRNOTAVAIL)."
            ),
        ),
        (
            "",
            (
                "connect() failed on this host before a SYN was made: the port was in use for this peer, or "
                "there was no route for it."
            ),
        ),
    ),
    "accept-aborted": (
        ("rst-in", "A RST came before the handshake was complete."),
        ("error-timeout", "No ACK completed the handshake before its retransmissions ran out."),
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
    for table in (OF_MPTCP, {"orderly": _ORDERLY}, _SENT, _RECEIVED, _TIMED_OUT, _OTHERS)
    for verdict, sentences in table.items()
    for when, text in sentences
)
