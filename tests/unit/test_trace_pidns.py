# SPDX-License-Identifier: Apache-2.0
"""Where the kernel's pids are other processes in /proc, none of them gives its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from tests.unit.sink_rows import CLOCK, CONTEXT, closes, events
from tests.unit.test_trace_source import Kernel
from tracetw.event.record import End, Owner
from tracetw.live.backlog import Backlog, Taken
from tracetw.live.collector import Collector
from tracetw.live.writer import Writer
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Closes, Events
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages
from tracetw.stream.stop import Stop

OWN = Path("/proc/self/comm").read_bytes().strip()


class Names(JsonSink):
    """Keeps the owners it is given."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bytes]] = []

    def closes(self, batch: Closes) -> None:
        self.seen += zip(batch.rows["pid"].tolist(), batch.rows["comm"].tolist(), strict=True)

    def events(self, batch: Events) -> None:
        self.seen += zip(batch.rows["pid"].tolist(), batch.rows["comm"].tolist(), strict=True)


class Ring:
    """Single events, once."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = rows

    def peek(self) -> NDArray[Any]:
        return self._rows

    def release(self) -> None:
        self._rows = self._rows[:0]


@pytest.mark.parametrize("look_up", [True, False])
def test_names_by_pid(monkeypatch: pytest.MonkeyPatch, *, look_up: bool) -> None:
    sink, backlog = Names(), Backlog(1 << 20)
    writer = Writer(Stages(CONTEXT, Filter(), sink), backlog, Stop(), look_up=look_up)
    mine = {"pid": os.getpid(), "comm": b""}
    connect = mine | {"owner_from": Owner.CONNECT, "end": End.FIN}
    told = {"pid": os.getpid(), "comm": b"told", "owner_from": Owner.CLOSE}
    backlog.put(Taken(closes(connect, told).rows, CLOCK))
    with Kernel().session() as session:
        monkeypatch.setattr(session, "events", Ring(events(mine).rows))
        for batch in Collector(session, backlog, CLOCK, look_up=look_up)._rings():
            backlog.put(batch)
    writer.start()
    writer.finish(lambda _: None)
    name = OWN if look_up else b""
    pid = os.getpid()
    assert sink.seen == [(pid, name), (pid, b"told"), (pid, name)]
