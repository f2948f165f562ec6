# SPDX-License-Identifier: Apache-2.0
"""Where the kernel's pids are other processes in /proc, none of them is an owner."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sink_rows import SCENE, closes, events
from tracetw.event.record import F_SOCKET, End, Owner
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
    """The process that holds the socket is looked for; a number alone is never given a name."""
    sink = Names()
    pipeline = Pipeline(SCENE, Filter(), sink, look_up=look_up)
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
        pipeline.closes(closes(connect, told, held).rows)
    pipeline.events(events(nameless).rows)
    pid = os.getpid()
    holder = (pid, OWN) if look_up else (1, b"told")
    assert sink.seen == [(pid, b""), (pid, b"told"), holder, (pid, b"")]
