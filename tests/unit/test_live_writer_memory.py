# SPDX-License-Identifier: Apache-2.0
"""When the thread that writes gives memory back: once after a burst, not in its midst, not for a few records."""

from __future__ import annotations

import time

import pytest

from tests.unit.sink_rows import CLOCK, CONTEXT, closes
from tracetw.lab.polling import eventually
from tracetw.live import writer as module
from tracetw.live.backlog import Backlog
from tracetw.live.writer import Writer
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Closes, Ends
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages
from tracetw.stream.stop import Stop

PART, PARTS, REST_S = 1000, 9, 0.15
ROWS = closes(*[{}] * PART).rows


class Slow(JsonSink):
    """Takes all, and some time for it."""

    def __init__(self) -> None:
        self.taken = 0

    def closes(self, batch: Closes) -> None:
        time.sleep(0.002)
        self.taken += len(batch.rows)


@pytest.mark.parametrize(("parts", "times"), [(PARTS, 1), (1, 0)])
def test_once_after_many(monkeypatch: pytest.MonkeyPatch, parts: int, times: int) -> None:
    sink, backlog, at = Slow(), Backlog(1 << 30), []
    monkeypatch.setattr(module, "_REST_S", REST_S)
    monkeypatch.setattr(
        module, "give_memory_back", lambda: at.append((sink.taken, time.monotonic()))
    )
    writer = Writer(Stages(CONTEXT, Filter(), sink), backlog, Stop(), look_up=False)
    writer.start()
    for _ in range(parts):
        last = time.monotonic()
        backlog.put(Ends(ROWS, CLOCK))
        # The backlog is empty in between, as in a storm that is not too fast.
        eventually(lambda: not backlog.records)
    eventually(lambda: len(at) == times)
    time.sleep(2 * REST_S)
    backlog.put(Ends(ROWS[:1], CLOCK))
    writer.finish(lambda _waits: None)
    assert [taken for taken, _ in at] == [parts * PART] * times
    assert all(then - last >= REST_S for _, then in at)
