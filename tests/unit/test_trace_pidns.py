# SPDX-License-Identifier: Apache-2.0
"""Where the kernel's pids are other processes in /proc, none of them gives its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.sink_rows import SCENE, closes, events
from tracetw.event.record import End, Owner
from tracetw.live.pipeline import Pipeline
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Closes, Events
from tracetw.stream.filter import Filter

OWN = Path("/proc/self/comm").read_bytes().strip()


class Names(JsonSink):
    """Keeps the owners it is given."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, bytes]] = []

    def closes(self, batch: Closes) -> None:
        self.seen += zip(batch.rows["pid"].tolist(), batch.rows["comm"].tolist(), strict=True)

    def events(self, batch: Events) -> None:
        self.seen += zip(batch.rows["pid"].tolist(), batch.rows["comm"].tolist(), strict=True)


@pytest.mark.parametrize("look_up", [True, False])
def test_names_by_pid(*, look_up: bool) -> None:
    sink = Names()
    pipeline = Pipeline(SCENE, Filter(), sink, look_up=look_up)
    mine = {"pid": os.getpid(), "comm": b""}
    connect = mine | {"owner_from": Owner.CONNECT, "end": End.FIN}
    told = {"pid": os.getpid(), "comm": b"told", "owner_from": Owner.CLOSE}
    pipeline.closes(closes(connect, told).rows)
    pipeline.events(events(mine).rows)
    name = OWN if look_up else b""
    pid = os.getpid()
    assert sink.seen == [(pid, name), (pid, b"told"), (pid, name)]
