# SPDX-License-Identifier: Apache-2.0
"""What the tracing loop hands to every sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import Failed
from tracetw.event.names import KernelNames
from tracetw.host.clock import Clock
from tracetw.host.counters import Snapshot
from tracetw.reconcile.compare import Reconciled
from tracetw.verdict.findings import Findings

__all__ = ["Closes", "Events", "Loss", "NoRoom", "Scene", "Sink", "Summary", "Unwritten"]


class Unwritten(Failed):
    """Raised by the summary of a sink whose output is closed, and not whole.

    Attributes:
        records: that it was given and could not write.
    """

    def __init__(self, message: str, hint: str, records: int) -> None:
        super().__init__(message, hint)
        self.records = records


@dataclass(frozen=True, slots=True)
class Scene:
    """What stays the same during a trace.

    Attributes:
        host: name of this host.
        netns: inode of the network namespace that the tracer runs in.
        names: names of this kernel.
        cgroup_path: path of a cgroup id below the cgroup2 mount; None for an unknown one. Asked
            once for each different id of a batch, so it should remember.
        netns_name: name of a network namespace by its inode; None for one that has none. Asked as
            ``cgroup_path`` is.
    """

    host: str
    netns: int
    names: KernelNames
    cgroup_path: Callable[[int], str | None]
    netns_name: Callable[[int], str | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Closes:
    """Finished connections: ``rows`` of dtype ``CLOSE``, shape (n,), owners resolved, judged."""

    rows: NDArray[Any]
    findings: Findings
    clock: Clock

    def parts(self, size: int) -> Iterator[Closes]:
        """The batch in pieces of at most ``size`` rows."""
        if len(self.rows) <= size:
            yield self
            return
        for first in range(0, len(self.rows), size):
            rows = self.rows[first : first + size]
            which = np.arange(first, first + len(rows))
            yield Closes(rows, self.findings.take(which), self.clock)


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
    """Records that were lost.

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


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of a trace.

    Attributes:
        time_ns: wall time, nanoseconds since 1970.
        duration_s: seconds traced.
        closes: connections by verdict code; verdicts that did not occur may be left out.
        lost: records lost on the way to the sink.
        unwritten: records that the sink was given and could not write.
        reconciliation: each kernel counter against what was explained.
        ended: the kernel's counters before the hooks were detached.
        stopped: and after.
        unfinished: connections in FIN_WAIT2 that are not reported.
        no_room: what did not fit into the tables of the kernel side; None where that is unknown.
    """

    time_ns: int
    duration_s: float
    closes: Mapping[str, int]
    lost: int
    reconciliation: Sequence[Reconciled]
    ended: Snapshot = field(default_factory=dict)
    stopped: Snapshot = field(default_factory=dict)
    unfinished: int = 0
    unwritten: int = 0
    no_room: NoRoom | None = None


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
