# SPDX-License-Identifier: Apache-2.0
"""Every number against the kernel's own: what it counted, what tracetw explained, the difference.

Pure: two snapshots and a tally in, rows out. The tally (:mod:`tracetw.reconcile.tally`) says what the
kernel should have counted; here the two are compared, and a difference is given its reason where
one is known: ends or resets that were really counted, one by one, never a bound. A difference without a reason is a defect of the tracer or of a rule.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypedDict

from tracetw.host.counters import Snapshot
from tracetw.reconcile.scope import EVERYTHING, Scope
from tracetw.reconcile.tally import HOST, UNCLEAR

__all__ = ["Missing", "Reconciled", "reconcile"]

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
OF_MPTCP = ("MPFastcloseTx", "MPFastcloseRx")
"""Where the kernel has MPTCP and something counted, or should have."""
WITH_EVENTS = {
    "timewait": ("TWRecycled",),
    "drop": (
        "PAWSEstab",
        "PAWSTimewait",
        "PAWSActive",
        "TCPChallengeACK",
        "TCPSYNChallenge",
        "TCPMD5NotFound",
        "TCPMD5Unexpected",
        "TCPMD5Failure",
        "ListenOverflows",
        "ListenDrops",
        "TCPReqQFullDrop",
        "SyncookiesSent",
        "EmbryonicRsts",
    ),
}
"""Kind of single events (``--events``) to the counters that they explain."""

_BY_VERDICT = frozenset(ALWAYS[:5])
_OF_EVENTS = frozenset(name for names in WITH_EVENTS.values() for name in names)
_OF_HOST = "OutRsts"
_TIME_WAITS = ("TW", "TWKilled")

_Counts = Mapping[int, Mapping[str, int]]


class Reconciled(TypedDict):
    """One counter, summed over all namespaces. None: this kernel does not have it."""

    counter: str
    kernel: int | None
    explained: int
    difference: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Missing:
    """What the tally lacks of what happened.

    Attributes:
        closes: records of connection ends that were lost.
        events: records of single events that were lost.
        unjudged: records that came, and were not judged for want of time.
        no_room: records that may lack a reset, since the tables of the kernel side were full.
        pending: connections that closed, but whose record had not left the kernel side at the end.
    """

    closes: int = 0
    events: int = 0
    unjudged: int = 0
    no_room: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class _Case:
    """All that is known about the run."""

    attached: Snapshot
    end: Snapshot
    explained: _Counts
    edges: _Counts
    missing: Missing
    scope: Scope

    def counted(self, counter: str) -> int:
        return sum(_increase(self.attached, self.end, counter).values())

    def on_the_edge(self, parts: Collection[str]) -> int:
        """Explained, and counted while the hooks or the counters came or went."""
        return sum(values.get(part, 0) for values in self.edges.values() for part in parts)

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
        unclear = sum(values.get(UNCLEAR, 0) for values in self.explained.values())
        missing = self.missing
        of_host = counter == "OutRsts"  # known from the tracer's own counters, not from records
        lost = missing.events if counter in _OF_EVENTS else missing.closes
        return {
            "records lost": 0 if of_host else lost,
            "records not judged": 0 if of_host else missing.unjudged,
            "no room for what came at the end": 0 if of_host else missing.no_room,
            "connections not finished": missing.pending if counter in _TIME_WAITS else 0,
            "connections undetermined": unclear if counter in _BY_VERDICT else 0,
            "resets counted but not sent for want of memory": (
                self.counted("TCPAbortFailed") if of_host else 0
            ),
        }


def reconcile(
    attached: Snapshot,
    end: Snapshot,
    explained: _Counts,
    edges: _Counts,
    missing: Missing,
    *,
    scope: Scope = EVERYTHING,
    events: Collection[str] = (),
) -> list[Reconciled]:
    """Compares the kernel's counters with the tally.

    Args:
        attached: snapshot after the last hook was attached.
        end: snapshot at the end of the trace, hooks still attached.
        explained: :meth:`tracetw.reconcile.tally.Tally.result`.
        edges: :meth:`tracetw.reconcile.tally.Tally.edges`: part of it, that the kernel may have
            counted before the first snapshot or after the last.
        missing: what the tally lacks.
        scope: what can be compared.
        events: kinds of single events that were asked for; they explain further counters.

    Returns:
        One row for each counter. ``difference`` is ``kernel - explained``; ``reason`` is None when
        it is 0, and when nothing known accounts for all of it. OutRsts is of the whole host always.
    """
    host = _Case(attached, end, explained, edges, missing, scope)
    chosen = replace(host, attached=scope.of(attached), end=scope.of(end))
    names = [
        *ALWAYS,
        *(name for kind in WITH_EVENTS if kind in events for name in WITH_EVENTS[kind]),
    ]
    present = {name for values in end.values() for name in values}
    paws_apart = "PAWSTimewait" in present
    names += [name for name in OF_MPTCP if name in present and _moved(chosen, name)]
    rows = []
    for name in names if scope.comparable else [_OF_HOST]:
        if name == "PAWSTimewait" and not paws_apart:
            continue
        parts: tuple[str, ...] = (name,)
        if name == "PAWSEstab" and not paws_apart:
            parts = (name, "PAWSTimewait")  # one counter for both before 6.17
        case = host if name == _OF_HOST else chosen
        rows.append(_row(case, name, parts, known=name in present))
    _settle_time_waits(rows)
    return rows


def _moved(case: _Case, name: str) -> bool:
    """The kernel counted it, or should have."""
    return bool(case.counted(name)) or any(values.get(name) for values in case.explained.values())


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
        reason=_reason(case, parts, difference, by_netns) if difference else None,
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


def _reason(
    case: _Case, parts: Sequence[str], difference: int, by_netns: Mapping[int, int]
) -> str | None:
    """What accounts for a difference, or None when nothing does for all of it."""
    name = parts[0]
    if name in _TIME_WAITS and not case.scope.tw_at_birth:
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
    account.excess("seen while hooks were attached or detached", case.on_the_edge(parts))
    if name == "TCPChallengeACK":
        account.excess(
            "held back by the rate limit (TCPACKSkippedChallenge)",
            case.counted("TCPACKSkippedChallenge"),
        )
    for cause, most in case.unseen(name).items():
        account.lack(cause, most)
    if name in case.scope.hidden:
        account.lack(f"not shown by this kernel ({case.scope.hidden[name]})", account.difference)
    return ", ".join(account.causes) if account.difference == 0 else None


def _settle_time_waits(rows: Iterable[Reconciled]) -> None:
    """The kernel counts a timewait socket as TW or, if it is to live 4 s at most, as TWKilled.

    Equal and opposite differences are the same sockets.
    """
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
