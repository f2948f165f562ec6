# SPDX-License-Identifier: Apache-2.0
"""A recording through the sinks of the live trace."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.scale.make_recording import write
from tests.unit import sink_rows
from tests.unit.report_rows import BOOT, SECOND, WALL, Memory, connections, outage, traffic
from tracetw.cli import main
from tracetw.event.record import EventKind, Timewait
from tracetw.recording.facts import Lost
from tracetw.replay.pace import Pace
from tracetw.replay.replay import replay
from tracetw.replay.window import ALWAYS, Window
from tracetw.sink.json import JsonSink
from tracetw.stream.filter import Filter

ALL: frozenset[str] = frozenset({"timewait", "retransmit", "drop", "transition"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rec")
    rows = np.concatenate([*traffic(seconds=300), connections("abort-unread", [100.0, 101.0])])
    write(path, [rows[np.argsort(rows["at"].max(axis=1), kind="stable")]], seconds=300)
    return path


def lines(recording: Memory, wanted: Filter = Filter(), **more: Any) -> list[dict[str, Any]]:  # noqa: B008
    out = BytesIO()
    replay(
        recording,
        wanted,
        more.pop("kinds", ALL),
        lambda context: JsonSink(out, context),
        more.pop("pace", Pace(None)),
        window=more.pop("window", ALWAYS),
    )
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_everything_comes_out_once_and_the_summary_last() -> None:
    found = lines(Memory(*traffic(seconds=60), *outage()))
    assert [one["kind"] for one in found[-2:]] == ["close", "summary"]
    closes = [one for one in found if one["kind"] == "close"]
    assert sum(found[-1]["closes"].values()) == len(closes)
    assert found[-1]["closes"]["retransmit-exhausted"] == 412
    assert {one["host"] for one in found} == {"web-1"}
    assert [one["time"] for one in closes] == sorted(one["time"] for one in closes)


def test_filters_choose() -> None:
    found = lines(Memory(*traffic(seconds=60), *outage()), Filter.parse(verdict=["abort-unread"]))
    assert {one.get("verdict") for one in found} == {"abort-unread", None}
    assert found[-1]["closes"] == {"abort-unread": 60}


@pytest.mark.parametrize(
    ("recorded", "wanted", "filtered"),
    [
        ((), Filter(), False),
        ((), Filter.parse(verdict=["orderly"]), True),
        (("--port 443",), Filter(), True),
    ],
)
def test_the_summary_knows_of_a_filter_of_the_replay_and_of_the_recording(
    recorded: tuple[str, ...], wanted: Filter, *, filtered: bool
) -> None:
    recording = Memory(connections("orderly-active", [10.0]), filters=recorded)
    summary = replay(
        recording, wanted, ALL, lambda context: JsonSink(BytesIO(), context), Pace(None)
    )
    assert summary.filtered is filtered


def test_events_and_losses_come_in_their_place() -> None:
    events = sink_rows.events(
        {"kind": EventKind.TIMEWAIT, "code": Timewait.ENTERED, "at": BOOT + 15 * SECOND}
    ).rows
    lost = Lost(3, "ring buffer of closes", WALL + 20 * SECOND, WALL + 25 * SECOND)
    recording = Memory(
        connections("orderly-active", [10.0]),
        connections("orderly-active", [30.0]),
        events=events,
        losses=[lost],
    )
    one_by_one = lines(recording, pace=Pace(1e9))
    kinds = [one["kind"] for one in one_by_one]
    assert kinds == ["close", "timewait", "loss", "close", "summary"]
    assert one_by_one[-1]["lost"] == 3
    unasked = lines(recording, kinds=frozenset())
    assert "timewait" not in [one["kind"] for one in unasked]


def test_a_window_shows_what_is_in_it_and_a_loss_before_it_still_weakens() -> None:
    events = sink_rows.events(
        {"kind": EventKind.TIMEWAIT, "code": Timewait.ENTERED, "at": BOOT + 15 * SECOND}
    ).rows
    lost = Lost(3, "ring buffer of closes", WALL + 9 * SECOND, WALL + 10 * SECOND)
    recording = Memory(
        connections("orderly-active", [5.0, 10.5, 30.0]), events=events, losses=[lost]
    )
    window = Window(WALL + 10 * SECOND + 1, WALL + 20 * SECOND)
    found = lines(recording, window=window)
    assert [one["kind"] for one in found] == ["close", "timewait", "summary"]
    assert found[0]["confidence"] == "weakened"
    assert found[-1]["lost"] == 0
    assert found[-1]["reconciliation"] == []
    assert found[-1]["not_reconciled"] == "only a stretch of time was read"


@pytest.mark.parametrize(("speed", "waited"), [(1.0, 20.0), (10.0, 2.0), (None, 0.0)])
def test_speed(speed: float | None, waited: float) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    recording = Memory(connections("orderly-active", [10.0, 15.0, 30.0]))
    lines(recording, pace=Pace(speed, lambda: now[0], sleep))
    assert now[0] == pytest.approx(waited)


def test_the_command(folder: Path) -> None:
    result = CliRunner().invoke(main, ["replay", str(folder), "-o", "json", "--abnormal"])
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {one["verdict"] for one in found[:-1]} == {"peer-reset", "abort-unread"}
    assert found[-1]["kind"] == "summary"
    table = CliRunner().invoke(main, ["replay", str(folder), "--verdict", "abort-unread", "--utc"])
    assert len(table.stdout.splitlines()) == 3
    assert "12:01:40" in table.stdout
    assert "2 connections that the filter lets through ended" in table.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--speed", "fast"], "is no speed"),
        (["--netns", "blue"], "no network namespace of the recording"),
        (["--cgroup", "99"], "is not in the recording"),
        (["--events", "all"], "no kind of event"),
    ],
)
def test_mistakes(folder: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["replay", str(folder), *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_no_recording(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["replay", str(tmp_path)])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
