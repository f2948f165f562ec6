# SPDX-License-Identifier: Apache-2.0
"""A session read as the tracer reads it, without judging and printing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.record import CLOSE, Stat
from tracetw.kernel.btf import Btf
from tracetw.kernel.load.loader import load
from tracetw.kernel.load.probe import ask
from tracetw.kernel.load.session import Session
from tracetw.kernel.plan import Sizes, make_plan
from tracetw.live.source import Source
from tracetw.stream.filter import Filter
from tracetw.verdict.judge import judge
from tracetw.verdict.taxonomy import VERDICTS

__all__ = ["SMALL", "Reader", "attached", "ends", "once", "verdicts"]

SMALL = Sizes(
    conn_slots=1 << 12,
    closed_slots=1 << 10,
    timewait_slots=1 << 10,
    closes_pages=256,
    events_pages=64,
    timewait_owners=1 << 10,
)


@contextmanager
def attached(sizes: Sizes | None = None, wanted: Filter | None = None) -> Iterator[Session]:
    """A session with these sizes and this filter."""
    btf = Btf.read()
    plan = make_plan(
        btf,
        round(1 / time.clock_getres(6)),
        wanted=(wanted or Filter()).kernel(),
        sizes=sizes,
        answers=ask(btf),
    )
    with load(plan) as session:
        yield session


class Reader:
    """Keeps copies of the rows of some namespaces."""

    def __init__(self, session: Session, *netns: int) -> None:
        self.session = session
        self.source = Source(session)
        self._netns = netns
        self._parts: list[NDArray[Any]] = []

    def _keep(self, rows: NDArray[Any]) -> None:
        self._parts.append(rows[np.isin(rows["netns"], self._netns)].copy())

    def ring(self) -> None:
        """Empty the ring."""
        while self.session.closes.pending():
            self._keep(self.source.take())
            self.source.release()

    def look(self) -> None:
        """One turn of the loop of the tracer."""
        self.ring()
        self._keep(self.source.overdue())
        self._keep(self.source.stale())
        self.source.forget()

    def finish(self) -> NDArray[Any]:
        """All rows; the programs are detached."""
        self.session.detach()
        self.ring()
        self._keep(self.source.overdue(everything=True))
        return np.concatenate([np.zeros(0, CLOSE), *self._parts])

    def lost(self) -> int:
        """Records that found the ring full, and runs that the recursion guard skipped."""
        return self.session.stats()[Stat.LOST_CLOSES] + self.session.misses()


def verdicts(session: Session, rows: NDArray[Any]) -> Counter[str]:
    """How often each."""
    found = judge(rows, session.plan.names, lossy=False).verdict
    return Counter(VERDICTS[number].code for number in found.tolist())


def ends(rows: NDArray[Any]) -> Counter[tuple[Any, ...]]:
    """Rows by local and remote IPv4 address and port."""
    where = zip(
        rows["laddr"][:, :4].tolist(),
        rows["lport"].tolist(),
        rows["raddr"][:, :4].tolist(),
        rows["rport"].tolist(),
        strict=True,
    )
    return Counter((tuple(one), port, tuple(other), peer) for one, port, other, peer in where)


def once(rows: NDArray[Any]) -> bool:
    """No end twice, of connections of which none uses the ports of another."""
    return max(ends(rows).values(), default=0) <= 1
