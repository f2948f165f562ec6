# SPDX-License-Identifier: Apache-2.0
"""What flows from a source (a live trace, a recording) through the stages to a sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import Failed
from tracetw.event import fields
from tracetw.event.fields import Rows
from tracetw.event.names import KernelNames
from tracetw.event.record import LISTENER_END, Stat
from tracetw.host.clock import Clock
from tracetw.reconcile.compare import Reconciled
from tracetw.reconcile.reading import Reading
from tracetw.reconcile.scope import EVERYTHING, Scope
from tracetw.stream.known import Known, PortListener
from tracetw.stream.stop import Stop
from tracetw.verdict.findings import Findings


class Unwritten(Failed):
    """Raised by a sink whose output did not take everything.

    Attributes:
        unwritten: connections and events that are not in the output.
    """

    def __init__(self, message: str, hint: str, unwritten: int) -> None:
        super().__init__(message, hint)
        self.unwritten = unwritten

    def missing(self, unwritten: int) -> None:
        """So many are not in the output, as is known now."""
        self.unwritten = unwritten


@dataclass(frozen=True, slots=True)
class Context:
    """What stays the same during a trace.

    Attributes:
        host: name of this host.
        netns: inode of the network namespace that the tracer runs in.
        names: names of this kernel.
        cgroup_path: path of a cgroup id below the cgroup2 mount; None for an unknown one. Asked
            once for each different id of a batch, so it should remember.
        netns_name: name of a network namespace by its inode; None for one that has none. Asked as
            ``cgroup_path`` is.
        clock: by which the trace began.
        started_ns: wall time when it began, nanoseconds since 1970.
        before, attached: counters before the first hook was attached and after the last one;
            empty for a recording.
        scope: what of the kernel's counters can be compared.
        hooks, absent: programs that are attached, and those that the kernel has no hook for.
        stats: the tracer's own counters.
        max_connections: live connections that there is room for; None unknown.
        stop: says when nothing may wait for the reader of the output any longer.
        so_far: the kernel's counters against what was explained until now, of a trace that goes on: rows
            and, if it is so, why there are not more. What ended in the last moments may be counted and
            not explained yet. Any thread may ask. None: only the end of the stream tells.
        known: names of addresses, and who listens; grows with the stream.
        listener_ends: listeners that closed as their process died, since it was last asked; rows of dtype
            ``LISTENER_END``.
    """

    host: str
    netns: int
    names: KernelNames
    cgroup_path: Callable[[int], str | None]
    netns_name: Callable[[int], str | None] = lambda _: None
    clock: Clock = field(default_factory=lambda: Clock(0, 0))
    started_ns: int = 0
    before: Reading = field(default_factory=Reading)
    attached: Reading = field(default_factory=Reading)
    scope: Scope = EVERYTHING
    hooks: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    stats: Callable[[], Mapping[Stat, int]] = dict
    max_connections: int | None = None
    stop: Stop = field(default_factory=Stop)
    so_far: Callable[[], tuple[Sequence[Reconciled], str | None]] | None = None
    known: Known = field(default_factory=Known)
    listener_ends: Callable[[], Rows] = lambda: np.zeros(0, LISTENER_END)


@dataclass(frozen=True, slots=True)
class Ends:
    """Finished connections as a source gives them, not judged.

    Attributes:
        rows: dtype ``CLOSE``, shape (n,), owners resolved.
        clock: for their times.
        gone: whose network namespace is known to be gone, shape (n,); None unknown.
        end: of ``fields.end_ns``, shape (n,); None: not worked out yet.
    """

    rows: NDArray[Any]
    clock: Clock
    gone: NDArray[np.bool_] | None = None
    end: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """Subflows that belong to connections of MPTCP.

    Attributes:
        of: for each, the row of its connection, ascending, shape (m,).
        rows: dtype ``CLOSE``, shape (m,), each connection's in the order of their ends.
        findings: of the same.
    """

    of: NDArray[np.intp]
    rows: NDArray[Any]
    findings: Findings

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp] | slice, count: int) -> Listed:
        """Of some of the ``count`` rows, by index or mask."""
        place = np.full(count, -1, np.intp)
        place[which] = np.arange(len(place[which]))
        of = place[self.of]
        order = np.argsort(of, kind="stable")
        order = order[of[order] >= 0]
        return Listed(of[order], self.rows[order], self.findings.take(order))


@dataclass(frozen=True, slots=True)
class Closes:
    """Finished connections, judged.

    Attributes:
        rows: dtype ``CLOSE``, shape (n,).
        findings: of the same rows.
        clock: for their times.
        at: wall time of each end, nanoseconds since 1970; the start of the trace where unknown.
        subflows: those of connections of MPTCP among the rows; None: none.
    """

    rows: NDArray[Any]
    findings: Findings
    clock: Clock
    at: NDArray[np.int64]
    subflows: Listed | None = None

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Closes:
        """Some of them, by index, mask or slice."""
        listed = self.subflows and self.subflows.take(which, len(self.rows))
        # Field by field it takes several times as long.
        raw = np.ascontiguousarray(self.rows).view(f"V{self.rows.dtype.itemsize}")
        rows = raw[which].view(self.rows.dtype)
        return Closes(rows, self.findings.take(which), self.clock, self.at[which], listed)

    def parts(self, size: int) -> Iterator[Closes]:
        """The batch in pieces of at most ``size`` rows."""
        if len(self.rows) <= size:
            yield self
            return
        for first in range(0, len(self.rows), size):
            part = slice(first, first + size)
            listed = self.subflows and self.subflows.take(
                np.arange(len(self.rows))[part], len(self.rows)
            )
            findings = self.findings.take(part)
            yield Closes(self.rows[part], findings, self.clock, self.at[part], listed)


@dataclass(frozen=True, slots=True)
class Events:
    """Single events: ``rows`` of dtype ``EVENT``, shape (n,)."""

    rows: NDArray[Any]
    clock: Clock

    def parts(self, size: int) -> Iterator[Events]:
        """The batch in pieces of at most ``size`` rows."""
        for first in range(0, len(self.rows), size):
            yield Events(self.rows[first : first + size], self.clock)


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that were lost. A source gives it before the ends that it may have touched.

    Attributes:
        records: how many.
        where: what was full, in words.
        since_ns: wall time, nanoseconds since 1970: nothing was lost before.
        until_ns: nor after.
    """

    records: int
    where: str
    since_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class NewListeners:
    """Who listens from now on. A recording gives it before the ends that it is shown with."""

    heard: Sequence[PortListener]


Batch: TypeAlias = Ends | Events | Loss
"""What the kernel side gives; a recording gives ``NewListeners`` besides."""


@dataclass(frozen=True, slots=True)
class NoRoom:
    """What did not fit into the tables of the kernel side.

    Attributes:
        connections: that began when there was no room to follow them. They are reported all the
            same, without their times and their role, and without the owner that connect() told.
        ends: facts of the ends of such connections for which there was no room either: a reset
            received or sent, who closed, a repeated FIN.
        records: that did not wait for what comes after CLOSE: the application's close() that tells
            the owner, or the end of FIN_WAIT2.
        max_connections: live connections that there is room for.
    """

    connections: int = 0
    ends: int = 0
    records: int = 0
    max_connections: int = 0

    @classmethod
    def of(cls, stats: Mapping[Stat, int], max_connections: int | None) -> NoRoom | None:
        """From the tracer's own counters at the end; None where there are none."""
        if max_connections is None or not stats:
            return None
        return cls(
            connections=stats[Stat.CONN_FULL],
            ends=stats[Stat.END_FULL],
            records=stats[Stat.CLOSING_FULL],
            max_connections=max_connections,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a trace.

    Attributes:
        time_ns: wall time, nanoseconds since 1970.
        duration_s: seconds traced.
        closes: connections by verdict code; may lack verdicts that did not occur.
        lost: records lost on the way to the sink.
        reconciliation: each kernel counter against what was explained.
        not_reconciled: why not all counters were compared; None if they were.
        ended: counters before the hooks were detached.
        stopped: and after.
        unfinished: connections in FIN_WAIT2 that are not reported.
        waited: records that waited for the output, at most.
        unwritten: connections and events that the output did not take.
        no_room: what did not fit into the tables of the kernel side; None where that is unknown.
        lost_at: lost records by place (``Loss.where``).
        filtered: a filter left connections out, or would have.
    """

    time_ns: int
    duration_s: float
    closes: Mapping[str, int]
    lost: int
    reconciliation: Sequence[Reconciled]
    not_reconciled: str | None = None
    ended: Reading = field(default_factory=Reading)
    stopped: Reading = field(default_factory=Reading)
    unfinished: int = 0
    waited: int = 0
    unwritten: int = 0
    no_room: NoRoom | None = None
    lost_at: Mapping[str, int] = field(default_factory=dict)
    filtered: bool = False


class Sink(Protocol):
    """Takes batches; every method may raise ``OutputClosed`` and ``OutputFailed``."""

    def head(self) -> None:
        """Write what comes before everything else; called when tracing begins."""

    def closes(self, batch: Closes) -> None:
        """Report finished connections."""

    def events(self, batch: Events) -> None:
        """Report single events."""

    def loss(self, loss: Loss) -> None:
        """Report records lost."""

    def summary(self, summary: Summary) -> None:
        """Report the end, once, after everything else. May raise ``Unwritten``."""


MakeSink: TypeAlias = Callable[[Context], Sink]
"""The command line says where a stream goes; what it is about is known when it begins."""


def ended_ns(rows: NDArray[Any], end: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Monotonic time of the end of each row of ``CLOSE``, else of the last thing known; 0: nothing.

    ``end``: of ``fields.end_ns``, where it is known already; it stays as it is.
    """
    ended = fields.end_ns(rows) if end is None else end
    unknown = np.flatnonzero(ended < 0)
    if len(unknown):
        ended = ended.copy()
        ended[unknown] = rows["at"][unknown].max(axis=1)
    return ended
