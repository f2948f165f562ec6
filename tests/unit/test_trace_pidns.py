# SPDX-License-Identifier: Apache-2.0
"""Where the kernel's pids are other processes in /proc, none of them is an owner."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from tests.unit.sink_rows import CLOCK, CONTEXT, closes, events
from tests.unit.test_trace_source import Kernel
from tracetw.event.record import F_SOCKET, End, Owner
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
    """The process that holds the socket is looked for; a number alone is never given a name."""
    sink, backlog = Names(), Backlog(1 << 20)
    writer = Writer(Stages(CONTEXT, Filter(), sink), backlog, Stop(), look_up=look_up)
    nameless: dict[str, Any] = {"pid": os.getpid(), "comm": b""}
    connect = nameless | {"owner_from": Owner.CONNECT, "end": End.FIN}
    told: dict[str, Any] = {"pid": os.getpid(), "comm": b"told", "owner_from": Owner.CLOSE}
    with socket.socket() as made:
        held: dict[str, Any] = {
            "inode": os.fstat(made.fileno()).st_ino,
            "end": End.PENDING,
            "flags": F_SOCKET,
        }
        held |= {"pid": 1, "comm": b"told", "owner_from": Owner.CONNECT}
        backlog.put(Taken(closes(connect, told, held).rows, CLOCK))
        with Kernel().session() as session:
            monkeypatch.setattr(session, "events", Ring(events(nameless).rows))
            for batch in Collector(session, backlog, CLOCK, look_up=look_up)._rings():
                backlog.put(batch)
        writer.start()
        writer.finish(lambda _: None)
    pid = os.getpid()
    holder = (pid, OWN) if look_up else (1, b"told")
    assert sink.seen == [(pid, b""), (pid, b"told"), holder, (pid, b"")]
