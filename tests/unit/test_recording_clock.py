# SPDX-License-Identifier: Apache-2.0
"""The clock of the host is set while it is recorded: readers say what live output said."""

from __future__ import annotations

import json
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.recording_files import everything, golden
from tests.unit.test_recording_recorder import Recorded, await_
from tests.unit.test_trace_source import Kernel
from tracetw.event.fields import Rows
from tracetw.event.record import EVENT, Stat
from tracetw.host.bound import Holders
from tracetw.host.clock import Clock
from tracetw.live.backlog import Backlog
from tracetw.live.collector import Collector
from tracetw.recorder.sink import RecorderSink
from tracetw.recorder.trigger import Triggers
from tracetw.recording.reader import Recording, open_recordings
from tracetw.replay.pace import Pace
from tracetw.replay.replay import replay
from tracetw.replay.source import context_of
from tracetw.replay.window import Window
from tracetw.report.build import build
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Context, Ends, Events, Loss
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages

HOUR = 3_600_000_000_000
TOLD = ("close", "timewait", "drop", "retransmit", "transition")


class Both:
    """What ``trace -o json`` and ``record`` make of the same batches."""

    def __init__(self, folder: Path) -> None:
        self.recorded = Recorded(folder)
        context = context_of(golden())
        self.sink = RecorderSink(
            self.recorded.recorder, Triggers([], 1.0), context, lambda _: None, Holders()
        )
        self.out = BytesIO()
        self.live = JsonSink(self.out, context)
        self.stages = Stages(context, Filter())

    def closes(self, rows: Rows, clock: Clock) -> None:
        closes = self.stages.judge(Ends(rows, clock))
        for sink in (self.live, self.sink):
            sink.closes(closes)

    def events(self, rows: Rows, clock: Clock) -> None:
        for sink in (self.live, self.sink):
            sink.events(Events(rows, clock))

    def loss(self, loss: Loss) -> None:
        for sink in (self.live, self.sink):
            sink.loss(loss)

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


def times(lines: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return sorted((one["kind"], str(one.get("local")), one["time"]) for one in lines)


@pytest.mark.parametrize("steps", [(HOUR,), (-HOUR,), (-HOUR, 2 * HOUR), (56 * 8766 * HOUR,)])
def test_replay_and_report_say_what_trace_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: tuple[int, ...]
) -> None:
    both = Both(tmp_path)
    rows, events = everything(golden()), everything(golden(), "events")
    clock = both.recorded.recorder._clock
    monkeypatch.setattr(time, "time_ns", lambda: clock.to_wall_ns(time.monotonic_ns()))
    for step in (0, *steps):
        clock = Clock(clock.offset_ns + step, clock.error_ns)
        both.closes(rows[:40], clock)
        both.events(events[:20], clock)
        rows, events = np.roll(rows, 40), np.roll(events, 20)
    both.recorded.finish()
    (recording,) = open_recordings([tmp_path])
    assert len(recording.segments) == 1 + len(steps)
    assert recording.damage == []
    out = BytesIO()
    kinds = frozenset({"timewait", "drop", "retransmit", "transition"})
    replay(recording, Filter(), kinds, lambda context: JsonSink(out, context), Pace(None))
    replayed = [json.loads(line) for line in out.getvalue().splitlines()]
    # Seconds traced, however the clock was set: the rows were recorded at once.
    assert replayed[-1]["duration_ms"] < 60_000
    live = both.said()
    assert len(live) > 40
    assert times([one for one in replayed if one["kind"] in TOLD]) == times(live)
    if max(steps) > 24 * HOUR:  # a clock that was never set before
        return
    told = {story.close["time"] for story in build([recording], utc=True).stories}
    assert told <= {one["time"] for one in live if one["kind"] == "close"}
    assert told


def test_compaction_and_durations_do_not_mind(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    clock = recorded.recorder._clock
    rows = everything(golden())
    rows["at"][0] = 0
    for step in (0, -HOUR):
        recorded.recorder.clock(Clock(clock.offset_ns + step, 0))
        recorded.recorder.closes(rows)
    recorded.finish()
    assert len([*tmp_path.rglob("*.closes.parquet")]) == 2
    read = everything(recorded.read())["at"]
    first, second = read[: len(rows)], read[len(rows) :]
    assert (first[0] == 0).all()
    assert (second[0] == 0).all()
    known = rows["at"] != 0
    assert ((first[known] - second[known]).astype("<i8") // 10**9 == HOUR // 10**9).all()
    assert (np.diff(np.sort(second[1][rows["at"][1] != 0])) < HOUR).all()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_window_lasts_as_long_as_was_traced_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    clock = Clock(time.time_ns() - time.monotonic_ns(), 0)
    monkeypatch.setattr(time, "time_ns", lambda: clock.to_wall_ns(time.monotonic_ns()))
    recorded = Recorded(tmp_path)
    began = time.time_ns()
    recorded.recorder.clock(clock)
    recorded.recorder.closes(everything(golden())[:1])
    await_(lambda: [*tmp_path.rglob("*.tws")] != [])
    clock = Clock(clock.offset_ns + step, 0)
    recorded.recorder.clock(clock)
    recorded.recorder.closes(everything(golden())[:1])
    recorded.finish()
    (recording,) = open_recordings([tmp_path])
    assert recording.clock_set_ns == pytest.approx(step, abs=10**9)
    around = Window(began - 2 * HOUR, began + 2 * HOUR)
    assert duration_s(recording, around) < 60
    assert duration_s(recording, Window(began + HOUR // 4, began + HOUR // 2)) == 0


def duration_s(recording: Recording, window: Window) -> float:
    def make_sink(context: Context) -> JsonSink:
        return JsonSink(BytesIO(), context)

    return replay(recording, Filter(), frozenset(), make_sink, Pace(None), window=window).duration_s


def test_readings_that_may_be_the_same_are(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    for _ in range(50):
        recorded.recorder.clock(Clock.now())
        recorded.recorder.closes(everything(golden())[:1])
    assert recorded.finish().segments == 1


def test_live_a_loss_has_a_beginning_and_an_end_when_the_clock_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel, backlog = Kernel(), Backlog(1 << 20)
    real = Clock.now()
    back = Clock(real.offset_ns - HOUR, real.error_ns)
    with kernel.session() as session:
        collector = Collector(session, backlog, real)
        monkeypatch.setattr(Clock, "now", classmethod(lambda *_: back))
        kernel.stats[0, Stat.LOST_CLOSES] = 3
        collector.round()
    loss = backlog.pop()
    assert isinstance(loss, Loss)
    assert loss.since_ns <= loss.until_ns
    assert abs(loss.until_ns - back.to_wall_ns(time.monotonic_ns())) < 60 * 10**9


def test_a_row_of_an_event_is_moved_with_its_birth() -> None:
    from tracetw.recording.reader import _moved  # noqa: PLC0415

    rows = np.zeros(2, EVENT)
    rows["at"], rows["born"] = (1000, 2000), (400, 0)
    moved = _moved(rows, Clock(HOUR, 0), Clock(0, 0))
    assert (moved["at"] - rows["at"] == HOUR).all()
    assert moved["born"].tolist() == [400 + HOUR, 0]
    assert rows["at"].tolist() == [1000, 2000]


def test_live_a_clock_that_goes_back_is_seen_within_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Clock.now()
    back = Clock(real.offset_ns - HOUR, 0)
    with Kernel().session() as session:
        collector = Collector(session, Backlog(1 << 20), real)
        collector.round()
        monkeypatch.setattr(Clock, "now", classmethod(lambda *_: back))
        monkeypatch.setattr("tracetw.live.collector._AUDIT", 0.0)
        collector._next_audit = 0.0
        collector.round()
    assert collector.clock == back


@pytest.mark.parametrize("days", [-30_000, 2, 20_000])
def test_a_clock_that_is_set_makes_no_segment_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    recorded = Recorded(tmp_path)
    recorded.recorder.closes(everything(golden()))
    await_(recorded.segments)
    recorded.recorder.keep("once")  # closes the segment
    await_(lambda: recorded.said)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: max(real() + days * 86_400.0, 0.0))
    recorded.recorder.closes(everything(golden()))
    totals = recorded.finish()
    assert (totals.dropped, totals.segments) == (0, 2)
