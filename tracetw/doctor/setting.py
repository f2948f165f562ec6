# SPDX-License-Identifier: Apache-2.0
"""One setting of the kernel as the audit describes it, and how times are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from tracetw.doctor.observed import Facts
from tracetw.verdict import timers
from tracetw.verdict.timers import TimerClock, Wait


class Meaning(NamedTuple):
    """What a value means here: a sentence without its full stop, and the times in it, by what ends then."""

    text: str
    waits: Mapping[str, Wait] = {}


Means: TypeAlias = Callable[[Facts, TimerClock], Meaning]


@dataclass(frozen=True, slots=True)
class Setting:
    """A sysctl.

    Attributes:
        name: in full.
        default: the kernel's, one number or several, or how it follows from the facts; None if nothing tells.
        verdicts: what it decides about, codes of the taxonomy.
        counters: of the kernel: how often it mattered here.
        means: from the facts of a namespace, which have the setting.
        price: what a change costs.
        unit: of the value; empty for a count or a switch.
        of_host: there is one for the machine, not one for each namespace.
    """

    name: str
    default: tuple[int, ...] | Callable[[Facts], tuple[int, ...] | None] | None
    verdicts: tuple[str, ...]
    counters: tuple[str, ...]
    means: Means
    price: str
    unit: str = ""
    of_host: bool = False

    def usual(self, facts: Facts) -> tuple[int, ...] | None:
        """The default here; None if nothing tells."""
        return self.default(facts) if callable(self.default) else self.default


def by_table(share: int, least: int = 0) -> Callable[[Facts], tuple[int, ...] | None]:
    """A default that follows from the size of the hash table (tcp_init, tcp_set_hashinfo; seen since 6.1)."""

    def default(facts: Facts) -> tuple[int, ...] | None:
        entries = facts.one("tcp_ehash_entries")  # negative: the table of the first namespace
        return None if entries is None else (max(abs(entries) // share, least),)

    return default


def exactly(seconds: float) -> Wait:
    """A time that is what the setting says."""
    return Wait(seconds, seconds)


def known(facts: Facts, name: str, otherwise: int) -> int:
    """The value of a setting, or what the kernel does without one."""
    value = facts.one(name)
    return otherwise if value is None else value


def clock(facts: Facts, hz: int) -> TimerClock:
    """The timers of a connection in this namespace, over a path without delay or route of its own."""
    rto_min_s = known(facts, "tcp_rto_min_us", 200_000) / 1e6
    return TimerClock(
        rto_s=timers.first_rto(rto_min_s, 0.0, hz),
        rto_max_s=known(facts, "tcp_rto_max_ms", 120_000) / 1e3,
        hz=hz,
        loss_probe=known(facts, "tcp_early_retrans", 3) != 0,
    )


_MINUTE, _HOUR = 60, 3600


def text(time: Wait | float) -> str:
    """``0.7 s``, ``104 s``, ``15.6 min``, ``2.2 h``, ``never``; of two bounds that differ, both."""
    if isinstance(time, Wait):
        least, most = text(time.least_s), text(time.most_s)
        near = time.most_s <= time.least_s * 1.1
        return text(time.typical_s) if near else f"{least} to {most}"
    if math.isinf(time):
        return "never"
    for size, unit in ((_HOUR * 3, "h"), (_MINUTE * 3, "min")):
        if time >= size:
            return f"{time / (size / 3):.3g} {unit}"
    return f"{time:.3g} s"
