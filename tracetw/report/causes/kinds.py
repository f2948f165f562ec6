# SPDX-License-Identifier: Apache-2.0
"""Kinds of causes: which verdicts look like one reason, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass

from tracetw.verdict.taxonomy import VERDICT_INDEX

CRASHES = ("process-crash", "oom-kill")
"""Values of ``closed_by`` that make a cause of their own, whatever the verdict."""


@dataclass(frozen=True, slots=True)
class CauseKind:
    """One kind.

    Attributes:
        name: identifier.
        by: whose doing it is: ``peer``, ``service`` (peer and port), ``process`` or ``host``.
        verdicts: codes; empty for ``CRASHES``.
        says: after the name of who it is.
        several: the same for more than one.
        silent: the peer was not heard of any more, so the moment of that is what matters.
    """

    name: str
    by: str
    verdicts: tuple[str, ...]
    says: str
    several: str = ""
    silent: bool = False

    @property
    def numbers(self) -> tuple[int, ...]:
        """Indexes of the verdicts in the taxonomy."""
        return tuple(VERDICT_INDEX[code] for code in self.verdicts)


KINDS: tuple[CauseKind, ...] = (
    CauseKind("crash", "process", (), "died with connections open"),
    CauseKind(
        "silent",
        "peer",
        (
            "retransmit-exhausted",
            "fin-exhausted",
            "user-timeout",
            "keepalive-expired",
            "window-probe-expired",
            "connect-timeout",
        ),
        "stopped answering",
        silent=True,
    ),
    CauseKind("unreachable", "peer", ("unreachable",), "became unreachable"),
    CauseKind(
        "forgot",
        "peer",
        ("peer-lost-state", "stale-syn-reset"),
        "no longer knew its connections",
        "no longer knew their connections",
    ),
    CauseKind("reset", "peer", ("peer-reset",), "reset connections"),
    CauseKind("refused", "service", ("connect-refused",), "refused connections"),
    CauseKind(
        "half-closed",
        "peer",
        ("fin-wait2-timeout",),
        "never closed its end",
        "never closed their ends",
    ),
    CauseKind(
        "abort",
        "process",
        ("abort-linger", "abort-unread", "abort-late-data", "abort-disconnect"),
        "cut connections with RST",
    ),
    CauseKind(
        "listener",
        "process",
        ("abort-listener",),
        "closed its listener on connections not yet accepted",
    ),
    CauseKind("memory", "host", ("abort-memory",), "gave up orphaned sockets for lack of memory"),
    CauseKind("admin", "host", ("abort-admin",), "had sockets destroyed from outside"),
    CauseKind("blocked", "host", ("output-blocked",), "could not send: its packets never left it"),
    CauseKind(
        "failed", "process", ("connect-failed",), "could not connect: no local port, or no route"
    ),
    CauseKind(
        "mptcp", "host", ("subflows-lost", "mptcp-reset"), "lost subflows or connections of MPTCP"
    ),
    CauseKind("undetermined", "host", ("undetermined",), "has closes without enough evidence"),
)
"""In order of precedence."""
