# SPDX-License-Identifier: Apache-2.0
"""Kinds of causes: which verdicts look like one reason, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass

from tracetw.verdict.taxonomy import VERDICT_INDEX

__all__ = ["CRASHES", "KINDS", "Kind"]

CRASHES = ("process-crash", "oom-kill")
"""Values of ``closed_by`` that make a cause of their own, whatever the verdict."""


@dataclass(frozen=True, slots=True)
class Kind:
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


KINDS: tuple[Kind, ...] = (
    Kind("crash", "process", (), "died with connections open"),
    Kind(
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
    Kind("unreachable", "peer", ("unreachable",), "became unreachable"),
    Kind(
        "forgot",
        "peer",
        ("peer-lost-state", "stale-syn-reset"),
        "no longer knew its connections",
        "no longer knew their connections",
    ),
    Kind("reset", "peer", ("peer-reset",), "reset connections"),
    Kind("refused", "service", ("connect-refused",), "refused connections"),
    Kind(
        "half-closed",
        "peer",
        ("fin-wait2-timeout",),
        "never closed its end",
        "never closed their ends",
    ),
    Kind(
        "abort",
        "process",
        ("abort-linger", "abort-unread", "abort-late-data", "abort-disconnect"),
        "cut connections with RST",
    ),
    Kind(
        "listener",
        "process",
        ("abort-listener",),
        "closed its listener on connections not yet accepted",
    ),
    Kind("memory", "host", ("abort-memory",), "gave up orphaned sockets for lack of memory"),
    Kind("admin", "host", ("abort-admin",), "had sockets destroyed from outside"),
    Kind("blocked", "host", ("output-blocked",), "could not send: its packets never left it"),
    Kind("undetermined", "host", ("undetermined",), "has closes without enough evidence"),
)
"""In order of precedence."""
