# SPDX-License-Identifier: Apache-2.0
"""Every number against the kernel's own: what it counted, what tracetw explained, the difference.

Pure: three snapshots and a tally in, rows out. The tally (:mod:`tracetw.reconcile.tally`) says what the
kernel should have counted; here the two are compared, and a difference is given its reason where
one is known. A difference without a reason is a defect of the tracer or of a rule.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from tracetw.event.record import Stat
from tracetw.host.counters import Snapshot
from tracetw.reconcile.tally import HOST, UNCLEAR

__all__ = ["Reconciled", "reconcile"]

ALWAYS = (
    "TCPAbortOnData",
    "TCPAbortOnClose",
    "TCPAbortOnTimeout",
    "TCPAbortOnLinger",
    "TCPAbortOnMemory",
    "EstabResets",
    "OutRsts",
    "TW",
    "TWKilled",
    "TCPTimeWaitOverflow",
)
WITH_EVENTS = {
    "timewait": ("TWRecycled",),
    "drop": ("PAWSEstab", "PAWSTimewait", "PAWSActive", "TCPChallengeACK", "TCPSYNChallenge"),
}
"""Kind of single events (``--events``) to the counters that they explain."""

_BY_VERDICT = frozenset(ALWAYS[:5])
_TIME_WAITS = ("TW", "TWKilled")
_LOSSES = (Stat.LOST_CLOSES, Stat.UNSEEN_ENDS)
# No lost records, but records that may lack a reset.
_NO_ROOM = (Stat.CLOSING_FULL, Stat.END_FULL)

_Counts = Mapping[int, Mapping[str, int]]


class Reconciled(TypedDict):
    """One counter, summed over all namespaces. None: this kernel does not have it."""

    counter: str
    kernel: int | None
    explained: int
    difference: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class _Case:
    """All that is known about the run."""

    before: Snapshot
    attached: Snapshot
    end: Snapshot
    stopped: Snapshot
    explained: _Counts
    stats: Sequence[int]
    pending: int
    tw_at_birth: bool
    hidden: Mapping[str, str]

    def counted(self, counter: str) -> int:
        return sum(_increase(self.attached, self.end, counter).values())

    def on_the_edge(self, counter: str) -> int:
        """Counted while hooks came or went, when only a part of it was seen."""
        starting = _increase(self.before, self.attached, counter)
        stopping = _increase(self.end, self.stopped, counter)
        return sum(starting.values()) + sum(stopping.values())

    def gone(self) -> set[int]:
        """Namespaces that were there and cannot be read at the end."""
        seen = (self.attached.keys() | self.explained.keys()) - {HOST}
        return seen - self.end.keys()

    def restarted(self) -> set[int]:
        """Namespaces that are not those of the start, by a counter that is lower now."""
        return {
            inode
            for inode, values in self.end.items()
            if any(
                values.get(name, 0) < value for name, value in self.attached.get(inode, {}).items()
            )
        }

    def surplus(self, counter: str, explained: Mapping[int, int]) -> int:
        """Explained in namespaces that came since, beyond what these counted.

        The number of a namespace is given to the next one as soon as it is free: the ends before
        may be those of another that is gone by now (``ns_alloc_inum``, ``proc_alloc_inum``).
        """
        grown = _increase(self.attached, self.end, counter)
        came = (self.end.keys() - self.attached.keys()) | self.restarted()
        return sum(max(explained.get(inode, 0) - grown[inode], 0) for inode in came)

    def unseen(self, counter: str) -> dict[str, int]:
        """By how much the explained side may be short, and why."""
        lost = sum(int(self.stats[stat]) for stat in _LOSSES)
        unclear = sum(values.get(UNCLEAR, 0) for values in self.explained.values())
        return {
            "connections left out by filters": int(self.stats[Stat.FILTERED]),
            "records lost": lost,
            "no room for what came at the end": sum(int(self.stats[stat]) for stat in _NO_ROOM),
            "connections not finished": self.pending,
            "connections undetermined": unclear if counter in _BY_VERDICT else 0,
            "resets counted but not sent for want of memory": (
                self.counted("TCPAbortFailed") if counter == "OutRsts" else 0
            ),
        }


def reconcile(
    before: Snapshot,
    attached: Snapshot,
    end: Snapshot,
    explained: _Counts,
    stats: Sequence[int],
    *,
    stopped: Snapshot | None = None,
    pending: int = 0,
    events: Collection[str] = (),
    tw_at_birth: bool = True,
    hidden: Mapping[str, str] | None = None,
) -> list[Reconciled]:
    """Compares the kernel's counters with the tally.

    Args:
        before, attached: snapshots before the first hook was attached and after the last.
        end: snapshot at the end of the trace, hooks still attached.
        explained: :meth:`tracetw.reconcile.tally.Tally.result`.
        stats: the tracer's own counters, indexed by ``Stat``, all CPUs summed.
        stopped: snapshot after the hooks were detached; None when nothing can have passed.
        pending: connections that closed, but whose record had not left the kernel side at the end.
        events: kinds of single events that were asked for; they explain further counters.
        tw_at_birth: False where the kernel counts TIME_WAIT when it expires (before 6.0: its
            ``struct inet_timewait_sock`` has a member ``tw_kill``).
        hidden: counter to what of it this kernel does not let a tracer see.

    Returns:
        One row for each counter. ``difference`` is ``kernel - explained``; ``reason`` is None when
        it is 0, and when nothing known accounts for all of it.
    """
    case = _Case(
        before, attached, end, stopped or end, explained, stats, pending, tw_at_birth, hidden or {}
    )
    names = [
        *ALWAYS,
        *(name for kind in WITH_EVENTS if kind in events for name in WITH_EVENTS[kind]),
    ]
    present = {name for values in end.values() for name in values}
    paws_apart = "PAWSTimewait" in present
    rows = []
    for name in names:
        if name == "PAWSTimewait" and not paws_apart:
            continue
        parts: tuple[str, ...] = (name,)
        if name == "PAWSEstab" and not paws_apart:
            parts = (name, "PAWSTimewait")  # one counter for both before 6.17
        rows.append(_row(case, name, parts, known=name in present))
    _settle_time_waits(rows)
    return rows


def _row(case: _Case, name: str, parts: tuple[str, ...], *, known: bool) -> Reconciled:
    by_netns = {
        inode: sum(values.get(part, 0) for part in parts)
        for inode, values in case.explained.items()
    }
    explained = sum(by_netns.values())
    if not known:
        reason = "this kernel does not count it" if case.end else "no counters could be read"
        return Reconciled(
            counter=name, kernel=None, explained=explained, difference=None, reason=reason
        )
    kernel = case.counted(name)
    difference = kernel - explained
    return Reconciled(
        counter=name,
        kernel=kernel,
        explained=explained,
        difference=difference,
        reason=_reason(case, name, difference, by_netns) if difference else None,
    )


@dataclass(slots=True)
class _Account:
    """A difference that is brought to 0 by what is known."""

    difference: int
    causes: list[str] = field(default_factory=list)

    def excess(self, cause: str, most: int) -> None:
        """The explained side may be too high by up to ``most``."""
        if self.difference < 0 and most > 0:
            self.difference = min(self.difference + most, 0)
            self.causes.append(f"{cause}: {most:,}")

    def lack(self, cause: str, most: int) -> None:
        """The explained side may be too low by up to ``most``."""
        if self.difference > 0 and most > 0:
            self.difference = max(self.difference - most, 0)
            self.causes.append(f"{cause}: {most:,}")


def _reason(case: _Case, name: str, difference: int, by_netns: Mapping[int, int]) -> str | None:
    """What accounts for a difference, or None when nothing does for all of it."""
    if name in _TIME_WAITS and not case.tw_at_birth:
        return "this kernel counts it when TIME_WAIT expires, not when it begins"
    account = _Account(difference)
    gone = case.gone()
    unread = sum(by_netns.get(inode, 0) for inode in gone)
    if name == "OutRsts" and (gone or case.restarted()):
        unread = max(-difference, 0)  # known for the host only: any part of it may be theirs
    if unread:
        account.difference += unread
        account.causes.append(f"in namespaces gone before they could be read: {unread:,}")
    surplus = case.surplus(name, by_netns)
    account.excess("in namespaces gone whose numbers others seem to have now", surplus)
    account.excess("counted while attaching or detaching", case.on_the_edge(name))
    if name == "TCPChallengeACK":
        account.excess(
            "held back by the rate limit (TCPACKSkippedChallenge)",
            case.counted("TCPACKSkippedChallenge"),
        )
    for cause, most in case.unseen(name).items():
        account.lack(cause, most)
    if name in case.hidden:
        account.lack(f"not shown by this kernel ({case.hidden[name]})", account.difference)
    return ", ".join(account.causes) if account.difference == 0 else None


def _settle_time_waits(rows: Iterable[Reconciled]) -> None:
    """TW and TWKilled are one thing in two drawers: opposite differences settle each other."""
    pair = [row for row in rows if row["counter"] in _TIME_WAITS and row["reason"] is None]
    differences = [row["difference"] or 0 for row in pair]
    if len(pair) == len(_TIME_WAITS) and any(differences) and sum(differences) == 0:
        for row in pair:
            row["reason"] = "TW and TWKilled mixed up: how long FIN_WAIT2 was to last is not known"


def _increase(earlier: Snapshot, later: Snapshot, counter: str) -> dict[int, int]:
    """By namespace. One that is new began at 0 (so did one that took over a freed inode)."""
    grown = {}
    for inode, values in later.items():
        start = earlier.get(inode, {}).get(counter, 0)
        value = values.get(counter, 0)
        grown[inode] = value - start if value >= start else value
    return grown
