# SPDX-License-Identifier: Apache-2.0
"""The rules, in order of precedence: a record gets the verdict of the first one that holds.

A rule holds when all facts it needs are there and none it excludes. What it needs is what it proves:
the evidence of the finding is the part of ``needs`` and ``also`` that is in ``EVIDENCE`` and true. A
verdict that lacks its evidence is never issued: the record falls through to the rules at the end,
which say what was missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracetw.verdict.facts import FACTS
from tracetw.verdict.missing import MISSING
from tracetw.verdict.taxonomy import VERDICT_INDEX


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to prove a verdict.

    Attributes:
        verdict: code.
        needs, unless: facts, all of the one and none of the other.
        also: facts that are reported if they hold.
        inferred: the conclusion is the best one but not the only one possible.
        missing: of an undetermined verdict, what was missing.
    """

    verdict: str
    needs: tuple[str, ...]
    unless: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    inferred: bool = False
    missing: str = ""


_NAMES = {fact.name for fact in FACTS}


def _rule(
    verdict: str,
    needs: str,
    unless: str = "",
    *,
    also: str = "",
    inferred: bool = False,
    missing: str = "",
) -> Rule:
    """A row of the table; facts separated by blanks, each checked to exist."""
    columns = [tuple(column.split()) for column in (needs, unless, also)]
    for name in (name for column in columns for name in column):
        if name not in _NAMES:
            raise ValueError(f"rule for {verdict}: no such fact: {name}")
    if verdict not in VERDICT_INDEX or (missing and missing not in MISSING):
        raise ValueError(f"no such verdict or missing fact: {verdict}, {missing}")
    return Rule(verdict, columns[0], columns[1], columns[2], inferred, missing)


_FORM = "peer-fin fin-acked fin-with-ack fin-after-ack ack-with-fin"
_SKIPPED = " from-fin-wait2 time-wait-refused"
_FLAVOUR = "rst-with-ack rst-without-ack rst-with-timestamp rst-without-timestamp"
_SENT = "rst-out reason-state reason-disconnect"
_STUCK = "retransmitted unacked unacked-data unsent window-zero probes-unanswered"
_CLOSING = "from-fin-wait1 from-closing from-last-ack"
_SHUT = _CLOSING + " from-fin-wait2"

_FIN = "orphan unacked-data"

RULES: tuple[Rule, ...] = (
    # The socket of MPTCP: DATA_FIN for FIN, MP_FASTCLOSE for RST, no TIME_WAIT. None of the rules of TCP is for it.
    _rule("orderly", "mptcp from-fin-wait2 peer-fin quiet", "any-rst", also="fin-acked"),
    _rule("orderly", "mptcp from-closing peer-fin fin-acked quiet", "any-rst"),
    _rule("orderly", "mptcp from-last-ack fin-acked quiet", "any-rst"),
    # MP_FASTCLOSE carries our key, which nobody but the peer has (RFC 8684 3.5).
    _rule("peer-reset", "mptcp rst-in"),
    _rule("abort-unread", "mptcp in-close unread-data rst-out"),
    _rule("abort-linger", "mptcp in-close linger-zero rst-out"),
    # Nothing else makes __mptcp_close abort; some kernels do not count what was read.
    _rule("abort-unread", "mptcp in-close rst-out", inferred=True),
    _rule("abort-disconnect", "mptcp in-call rst-out"),
    _rule("abort-listener", "mptcp unaccepted rst-out", also="unread-data"),
    # mptcp_close_tout_expired: an orphan gets 60 s (TCP_TIMEWAIT_LEN), then MP_FASTCLOSE.
    _rule("fin-wait2-timeout", "mptcp from-fin-wait2 orphan rst-out"),
    _rule("fin-exhausted", "mptcp orphan rst-out", also=_CLOSING),
    _rule("subflows-lost", "mptcp no-subflow", also="orphan " + _CLOSING),
    _rule("undetermined", "mptcp", also="no-error rst-out", missing="cause"),
    # A subflow: MPTCP closes it, by whatever means, not the application.
    _rule(
        "mptcp-reset",
        "subflow rst-out",
        "expired error-aborted rst-in reason-memory",
        also="reason-close",
    ),
    _rule(
        "mptcp-reset",
        "subflow rst-early",
        "expired error-aborted rst-in reason-memory",
        also="reason-close",
    ),
    # Never established.
    _rule("connect-refused", "from-syn-sent rst-in"),
    _rule("connect-refused", "from-syn-sent error-refused"),
    _rule("unreachable", "from-syn-sent error-unreachable", also="retransmitted"),
    _rule("connect-timeout", "from-syn-sent error-timeout", also="retransmitted user-timeout-set"),
    _rule("connect-aborted", "from-syn-sent error-aborted"),
    # tcp_v4_connect and tcp_v6_connect fail in their own process: no port, or no route for the ports.
    _rule("connect-failed", "from-syn-sent quiet no-port no-syn", also="in-call"),
    _rule("connect-failed", "from-syn-sent quiet in-call no-syn"),
    _rule("connect-aborted", "from-syn-sent quiet owned", also="in-close in-call linger-zero"),
    _rule("connect-aborted", "from-syn-recv client", also="rst-in error-timeout in-close"),
    _rule(
        "accept-aborted",
        "from-syn-recv",
        "missed",
        also="rst-in rst-out error-timeout error-aborted error-unreachable unaccepted in-close",
    ),
    # FIN both ways. A reply with RST may have gone out earlier in the life of these (SYN_RECV).
    _rule("orderly", "mini-fin", also=_FORM + " time-wait"),
    _rule("orderly", "time-wait", "rst-in", also=_FORM + " from-closing"),
    _rule("orderly", "from-last-ack fin-acked quiet", "any-rst missed", also=_FORM),
    _rule("orderly", "no-time-wait peer-fin", also=_FORM + _SKIPPED + " from-closing"),
    _rule("undetermined", "no-time-wait", also="fin-acked" + _SKIPPED, missing="peer-fin"),
    # Data after close. tcp_rcv_state_process calls tcp_reset for it and then answers.
    # Before 6.10 the kernel does not announce this RST: data came, then the timewait socket was gone.
    _rule("abort-late-data", "mini-late-data", "rst-reply", also="fin-acked", inferred=True),
    _rule("abort-late-data", "mini-late-data", also="fin-acked"),
    _rule("abort-late-data", "rst-in rst-reply", also=_CLOSING + " from-fin-wait2 reason-data"),
    _rule(
        "abort-linger",
        "rst-reply from-fin-wait2 orphan quiet linger2-negative",
        "rst-in",
        also="reason-data",
    ),
    _rule("abort-late-data", "rst-reply from-fin-wait2 orphan quiet", "rst-in", also="reason-data"),
    # FIN_WAIT2 as a timewait socket.
    _rule("fin-wait2-timeout", "mini-timeout", also="fin-acked"),
    _rule("peer-lost-state", "mini-rst rst-without-ack", also="fin-acked", inferred=True),
    _rule("peer-reset", "mini-rst rst-with-ack", also="fin-acked", inferred=True),
    _rule("peer-reset", "mini-rst", also="fin-acked nothing-unanswered", inferred=True),
    _rule("namespace-gone", "mini-open netns-gone"),
    _rule("undetermined", "mini-open", also="fin-acked record-early", missing="mini-socket-end"),
    # RST received. Its flags prove what kind of answer it was, not who gave it: a box on the way can send either kind
    # (ADR 0019). So all of these are inferred, whatever was seen of the RST.
    _rule("undetermined", "rst-in record-early from-fin-wait1", missing="reset-answer"),
    _rule("undetermined", "rst-in record-early from-fin-wait2", missing="reset-answer"),
    _rule(
        "stale-syn-reset",
        "rst-in syn-hit",
        "rst-with-ack rst-with-timestamp",
        also=_FLAVOUR,
        inferred=True,
    ),
    _rule("peer-reset", "rst-in rst-with-ack", also="peer-fin", inferred=True),
    _rule("peer-reset", "rst-in rst-with-timestamp", also="peer-fin", inferred=True),
    _rule("peer-reset", "rst-in peer-fin unacked-data", also=_FLAVOUR, inferred=True),
    # The peer answered our ACK of its FIN: it did not want to wait for our FIN (TCP_LINGER2).
    _rule("peer-reset", "rst-in peer-fin nothing-unanswered", also=_FLAVOUR, inferred=True),
    # A peer without the connection gives a stateless answer to a FIN, a probe or an ACK. To data so does a peer
    # that closed, if its FIN was lost or still waits for our window (tcp_rcv_state_process).
    _rule("peer-lost-state", "rst-in rst-without-ack", also=_STUCK + " " + _CLOSING, inferred=True),
    _rule(
        "peer-lost-state",
        "rst-in rst-without-timestamp",
        also=_STUCK + " " + _CLOSING,
        inferred=True,
    ),
    _rule("peer-reset", "rst-in nothing-unanswered", "retransmitted", inferred=True),
    _rule("undetermined", "rst-in", also=_STUCK + " peer-fin", missing="rst-flags"),
    # Destroyed from outside. TCP_REPAIR (CRIU) sets the same error but sends nothing.
    _rule("abort-admin", "error-aborted rst-early", also="reason-state"),
    _rule("abort-admin", "error-aborted no-reset-due"),
    _rule("undetermined", "error-aborted", missing="reset-sent"),
    # Timers that send a RST first.
    _rule(
        "user-timeout",
        "rst-early expired user-timeout-set probes-unanswered nothing-unanswered",
        also="reason-keepalive error-timeout error-unreachable",
    ),
    _rule(
        "keepalive-expired",
        "rst-early expired probes-unanswered nothing-unanswered",
        also="reason-keepalive error-timeout error-unreachable",
    ),
    _rule(
        "fin-wait2-timeout", "rst-early orphan from-fin-wait2 quiet", also="reason-state fin-acked"
    ),
    _rule("abort-memory", "rst-early reason-memory", "expired", also="orphan"),
    _rule(
        "abort-memory",
        "rst-early orphan quiet",
        "from-fin-wait2 reason-keepalive reason-data reason-close reason-linger",
        also=_CLOSING,
    ),
    # Inside close() and other calls. Order as in __tcp_close: unread data, SO_LINGER, TCP_LINGER2,
    # memory.
    _rule("abort-unread", "rst-out reason-close", "expired", also="in-close unread-data " + _SHUT),
    _rule(
        "abort-unread",
        "in-close unread-data rst-out",
        "reason-state reason-linger reason-memory reason-disconnect",
        also=_SHUT,
    ),
    _rule(
        "abort-linger", "in-close linger-zero rst-out", "reason-memory", also=_SENT + " " + _SHUT
    ),
    _rule("abort-linger", "in-close linger-zero no-reset-due", "unread-data any-rst"),
    _rule(
        "abort-linger",
        "from-fin-wait2 orphaned-in-close linger2-negative rst-out",
        "reason-memory expired",
        also="reason-linger",
    ),
    _rule("abort-memory", "rst-out reason-memory", "expired", also="orphaned-in-close"),
    _rule(
        "abort-memory",
        "orphaned-in-close rst-out quiet",
        "reason-state reason-linger reason-close reason-disconnect",
        also=_CLOSING,
    ),
    _rule("abort-listener", "unaccepted rst-out quiet", also="no-error reason-state"),
    _rule("abort-disconnect", "in-call rst-out", also=_SENT),
    _rule("abort-disconnect", "in-call no-reset-due", "any-rst"),
    # A socket of the kernel's own has no file, so nothing shows whether it is being closed.
    _rule("abort-disconnect", "in-close rst-out", also=_SENT, inferred=True),
    _rule("abort-disconnect", "in-close no-reset-due", "unread-data any-rst", inferred=True),
    # tcp_rcv_state_process answers with RST after it destroyed the socket: the program may miss that.
    _rule("abort-linger", "from-fin-wait2 orphan linger2-negative silent", "missed", inferred=True),
    # The record left before the RST that these always send.
    _rule("abort-unread", "in-close unread-data record-early", "any-rst", inferred=True),
    _rule("abort-linger", "in-close linger-zero record-early", "any-rst", inferred=True),
    # Timers that close in silence.
    _rule("unreachable", "expired error-unreachable unacked", also=_STUCK + " " + _CLOSING),
    _rule("unreachable", "expired error-unreachable unsent", also=_STUCK + " " + _CLOSING),
    _rule(
        "output-blocked", "error-timeout unsent window-open", "unacked", also="probes-unanswered"
    ),
    _rule(
        "user-timeout",
        "error-timeout user-timeout-set unacked",
        also="retransmitted unacked-data window-zero " + _CLOSING,
    ),
    _rule(
        "user-timeout",
        "error-timeout user-timeout-set unsent window-zero",
        also="probes-unanswered " + _CLOSING,
    ),
    _rule(
        "window-probe-expired", "error-timeout window-zero unacked", "orphan", also="retransmitted"
    ),
    _rule("fin-exhausted", "error-timeout from-fin-wait1 unacked retransmitted", also=_FIN),
    _rule("fin-exhausted", "error-timeout from-closing unacked retransmitted", also=_FIN),
    _rule("fin-exhausted", "error-timeout from-last-ack unacked retransmitted", also=_FIN),
    _rule("retransmit-exhausted", "error-timeout unacked retransmitted", "closing"),
    _rule(
        "window-probe-expired",
        "error-timeout window-zero unsent",
        "unacked",
        also="probes-unanswered orphan " + _CLOSING,
    ),
    _rule("undetermined", "expired unacked", also=_CLOSING, missing="retransmissions"),
    _rule("undetermined", "expired", also="probes-unanswered", missing="unanswered-segment"),
    # No error, no RST, no TIME_WAIT: tcp_out_of_resources or __tcp_close found the namespace dead.
    # (The first also closes in silence for lack of memory if nothing was sent for 60 s.)
    _rule("namespace-gone", "silent orphan netns-gone", also="no-error " + _CLOSING),
    _rule(
        "namespace-gone", "silent orphaned-in-close no-error", "missed record-early", inferred=True
    ),
    _rule("undetermined", "missed", missing="close-event"),
    _rule("undetermined", "in-close unread-data", missing="reset-sent"),
    _rule("undetermined", "in-close linger-zero", missing="reset-sent"),
    _rule("undetermined", "unaccepted quiet", missing="reset-sent"),
    _rule("undetermined", "in-call", missing="reset-sent"),
    _rule("undetermined", "silent orphan", also=_CLOSING, missing="netns-state"),
    _rule("undetermined", "", also="no-error any-rst", missing="cause"),
)
