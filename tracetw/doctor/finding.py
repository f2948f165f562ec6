# SPDX-License-Identifier: Apache-2.0
"""A setting that is wrong for what this host does, before its namespace is added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tracetw.doctor.observed import Facts
from tracetw.host.sysctld import Assignment
from tracetw.verdict.timers import TimerClock


@dataclass(frozen=True, slots=True)
class Finding:
    """One.

    Attributes:
        about: full name of the sysctl that is wrong, or what else is.
        value: what it is now.
        reason: why that is a problem on this host, in one sentence without its full stop.
        evidence: what was seen, one statement each.
        change: name and value of the sysctl that would change it; None where none would.
        advice: what to do where no sysctl helps.
        verdicts: which it may explain, if they are not those of the setting.
    """

    about: str
    value: str
    reason: str
    evidence: tuple[str, ...] = ()
    change: tuple[str, str] | None = None
    advice: str = ""
    verdicts: tuple[str, ...] = ()


class Seen(NamedTuple):
    """What rules look at: a namespace, its timers, what the files say, and who holds sockets."""

    facts: Facts
    clock: TimerClock
    assigned: Mapping[str, Assignment]
    owners: Mapping[int, str]

    def one(self, name: str, otherwise: int = -1) -> int:
        """A sysctl; ``otherwise`` where there is none."""
        value = self.facts.one(name)
        return otherwise if value is None else value

    def counted(self, *names: str) -> tuple[str, ...]:
        """Statements of those counters that are not 0."""
        counters = self.facts.counters
        return tuple(f"{name} {counters[name]:,}" for name in names if counters.get(name))

    def owner(self, inode: int) -> str:
        """Who holds a socket, as text."""
        return self.owners.get(inode, "an unknown process")


def ipv4(
    seen: Seen, name: str, reason: str, wanted: int, *evidence: str, advice: str = ""
) -> Finding:
    """A finding about ``net.ipv4.NAME``, to be set to ``wanted``."""
    full = f"net.ipv4.{name}"
    return Finding(full, str(seen.one(name)), reason, evidence, (full, str(wanted)), advice)
