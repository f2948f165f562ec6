# SPDX-License-Identifier: Apache-2.0
"""From signatures to outcomes: apply the rules, and derive what follows from the verdict.

Pure: the outcome of a signature never changes, so ``judge`` caches it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracetw.verdict.evidence import EVIDENCE_BIT
from tracetw.verdict.findings import UNKNOWN
from tracetw.verdict.missing import MISSING_BIT
from tracetw.verdict.rules import RULES, Rule
from tracetw.verdict.signature import KnownFacts
from tracetw.verdict.taxonomy import CLOSED_BY, FIRST_CLOSE, FORMS, TIME_WAIT, VERDICT_INDEX

OUTCOME = np.dtype(
    [
        ("evidence", "<u8"),
        ("missing", "<u4"),
        ("verdict", "u1"),
        ("form", "u1"),
        ("first_close", "u1"),
        ("closed_by", "u1"),
        ("time_wait", "u1"),
        ("confidence", "u1"),
        ("reset_direction", "u1"),
        ("missed", "u1"),
    ]
)
"""Columns of ``Findings`` that a signature decides; ``missed``: the program did not run for CLOSE itself."""

_SENT, _RECEIVED = 1, 2
_INFERRED = 1
_OWN_DOING = ("process-exiting", "process-signal", "oom-victim")

# Who brought it about, by verdict; for the others see _closed_by.
_LOCAL = (
    "abort-linger",
    "abort-unread",
    "abort-late-data",
    "abort-disconnect",
    "abort-listener",
    "connect-aborted",
    "connect-failed",
)
_CULPRIT = {
    "abort-admin": "admin",
    "abort-memory": "kernel-memory",
    "peer-reset": "peer",
    "peer-lost-state": "peer",
    "stale-syn-reset": "peer",
    "connect-refused": "peer",
    "retransmit-exhausted": "kernel-timer",
    "fin-exhausted": "kernel-timer",
    "user-timeout": "kernel-timer",
    "keepalive-expired": "kernel-timer",
    "window-probe-expired": "kernel-timer",
    "fin-wait2-timeout": "kernel-timer",
    "unreachable": "kernel-timer",
    "output-blocked": "kernel-timer",
    "connect-timeout": "kernel-timer",
    "namespace-gone": "netns-exit",
}
_NONE_FIRST = ("abort-admin", "abort-memory", "connect-timeout", "namespace-gone")


def _codes(*verdicts: str) -> list[int]:
    return [VERDICT_INDEX[verdict] for verdict in verdicts]


def _holds(rule: Rule, known: KnownFacts, open_: NDArray[np.bool_]) -> NDArray[np.bool_]:
    holds = open_
    for name in rule.needs:
        holds = holds & known[name]
    for name in rule.unless:
        holds = holds & ~known[name]
    return holds


def outcomes(words: NDArray[np.uint64]) -> NDArray[np.void]:
    """Outcome of each signature, dtype ``OUTCOME``."""
    known = KnownFacts(words)
    out = np.zeros(len(words), OUTCOME)
    open_ = np.ones(len(words), np.bool_)
    for rule in RULES:
        holds = _holds(rule, known, open_)
        if not holds.any():
            continue
        open_ = open_ & ~holds
        out["verdict"][holds] = VERDICT_INDEX[rule.verdict]
        out["confidence"][holds] = _INFERRED if rule.inferred or rule.missing else 0
        out["missing"][holds] = MISSING_BIT[rule.missing] if rule.missing else 0
        for name in (*rule.needs, *rule.also):
            if name in EVIDENCE_BIT:
                out["evidence"][holds & known[name]] |= np.uint64(EVIDENCE_BIT[name])
    out["missed"] = known["missed"]
    out["first_close"] = _first_close(known, out["verdict"])
    out["closed_by"] = _closed_by(known, out)
    out["time_wait"] = _time_wait(known, out["verdict"])
    out["reset_direction"] = _reset_direction(known)
    out["form"] = _form(known, out)
    return out


def _first_close(known: KnownFacts, verdict: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Who sent the first FIN, or the RST if there was none; TCP's states remember the first FIN."""
    none, local, remote, both = (FIRST_CLOSE.index(n) for n in ("none", "local", "remote", "both"))
    aborted = np.isin(verdict, _codes(*_LOCAL, "mptcp-reset"))
    reset = known["rst-in"] & ~known["rst-reply"]
    first = np.where(reset, remote, np.where(aborted, local, none))
    first[np.isin(verdict, _codes(*_NONE_FIRST))] = none
    first[known["from-fin-wait1"] | known["from-fin-wait2"]] = local
    first[known["from-close-wait"] | known["from-last-ack"]] = remote
    first[known["from-closing"]] = both
    return first.astype(np.uint8)


def _closed_by(known: KnownFacts, out: NDArray[np.void]) -> NDArray[np.uint8]:
    """Who brought the end about; unknown if this side closed and no hook saw it do so."""
    verdict, first = out["verdict"], out["first_close"]
    app, exited, crashed, oom, peer = range(5)
    own = np.where(known["close-seen"], app, UNKNOWN)
    own[known["process-exiting"]] = exited
    own[known["process-signal"]] = crashed
    own[known["oom-victim"]] = oom
    by = np.full(len(verdict), UNKNOWN)
    for code, culprit in _CULPRIT.items():
        by[verdict == VERDICT_INDEX[code]] = CLOSED_BY.index(culprit)
    local_first = (first == FIRST_CLOSE.index("local")) | (first == FIRST_CLOSE.index("both"))
    shared = np.isin(verdict, _codes("orderly", "undetermined", "accept-aborted"))
    by[shared & (first == FIRST_CLOSE.index("remote"))] = peer
    mine = np.isin(verdict, _codes(*_LOCAL)) | (shared & local_first)
    mine |= (verdict == VERDICT_INDEX["accept-aborted"]) & known["in-close"]
    handshake = np.isin(verdict, _codes("connect-aborted", "accept-aborted"))
    mine &= ~(handshake & known["rst-in"])
    # An ICMP error ends an attempt at once, unless the socket is in use: then a timer reports it (tcp_v4_err).
    by[_by_icmp(known, verdict)] = CLOSED_BY.index("icmp")
    by[mine] = own[mine]
    for name in _OWN_DOING:
        out["evidence"][mine & known[name]] |= np.uint64(EVIDENCE_BIT[name])
    by[handshake & known["rst-in"]] = peer
    by[handshake & known["error-aborted"]] = CLOSED_BY.index("admin")
    by[handshake & known["expired"]] = CLOSED_BY.index("kernel-timer")
    return by.astype(np.uint8)


def _by_icmp(known: KnownFacts, verdict: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """An attempt that an ICMP error ended, and no timer."""
    attempt = np.isin(verdict, _codes("unreachable", "connect-refused")) & known["from-syn-sent"]
    return attempt & ~known["rst-in"] & ~known["expired"]


def _time_wait(known: KnownFacts, verdict: NDArray[np.uint8]) -> NDArray[np.uint8]:
    passive = (verdict == VERDICT_INDEX["orderly"]) & known["from-last-ack"]
    where = np.where(passive, TIME_WAIT.index("remote"), TIME_WAIT.index("none"))
    where[known["no-time-wait"]] = TIME_WAIT.index("skipped")
    where[known["time-wait"]] = TIME_WAIT.index("local")
    # It has none: its subflows have.
    where[known["mptcp"]] = TIME_WAIT.index("none")
    return where.astype(np.uint8)


def _reset_direction(known: KnownFacts) -> NDArray[np.uint8]:
    """Direction of the RST that ended it. tcp_reset for late data is no RST received."""
    sent = known["rst-reply"] | known["rst-out"] | known["rst-early"] | known["mini-late-data"]
    received = (known["rst-in"] & ~known["rst-reply"]) | known["mini-rst"]
    direction = np.where(received, _RECEIVED, np.where(sent, _SENT, 0))
    # A RST of the handshake did not end what FINs ended later.
    direction[known["time-wait"] & ~known["rst-in"]] = 0
    return direction.astype(np.uint8)


def _form(known: KnownFacts, out: NDArray[np.void]) -> NDArray[np.uint8]:
    """How it ended on the wire; UNKNOWN where no FIN, RST or timer did it."""
    verdict, direction = out["verdict"], out["reset_direction"]
    form = np.full(len(verdict), UNKNOWN)
    form[direction == _SENT] = FORMS.index("rst-sent")
    form[direction == _RECEIVED] = FORMS.index("rst-received")
    timers = [code for code, culprit in _CULPRIT.items() if culprit == "kernel-timer"]
    form[np.isin(verdict, _codes(*timers)) & ~_by_icmp(known, verdict)] = FORMS.index("timeout")
    handshake = np.isin(verdict, _codes("connect-aborted", "accept-aborted"))
    form[known["expired"] & handshake] = FORMS.index("timeout")
    orderly = verdict == VERDICT_INDEX["orderly"]
    form[orderly] = UNKNOWN
    merged = known["fin-with-ack"] | known["ack-with-fin"]
    parted = known["fin-after-ack"] | (known["from-last-ack"] & ~known["ack-with-fin"])
    form[orderly & parted] = FORMS.index("fin-4")
    form[orderly & merged] = FORMS.index("fin-3")
    form[orderly & known["from-closing"]] = FORMS.index("fin-simultaneous")
    form[orderly & known["mptcp"]] = UNKNOWN
    return form.astype(np.uint8)
