# SPDX-License-Identifier: Apache-2.0
"""The parts that a report is made of: groups, bursts, times, ladders, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from tests.scale.make_recording import write
from tests.unit.report_rows import SHAPES, WALL, Memory, connections, outage, traffic
from tracetw.cli import main
from tracetw.errors import BadInput
from tracetw.replay.window import Window
from tracetw.report.causes.onset import Burst, burst
from tracetw.report.count import cube as group_module
from tracetw.report.count.cube import Cube, group
from tracetw.report.count.scan import source_of
from tracetw.report.count.slots import Slots
from tracetw.report.ends.ladder import steps
from tracetw.report.ends.stories import documents
from tracetw.report.render.phrases import Words, common_network, counted, joined, per_minute

KEY = np.dtype([("a", "<u8"), ("b", "<u8")])
SLOTTED = np.dtype([("who", "<u4"), ("slot", "<u4")])
ROOT = Path(__file__).parents[2]


def keys(*pairs: tuple[int, int]) -> Any:
    return np.array([*pairs], KEY)


def test_groups() -> None:
    found = group(keys((1, 2), (2, 1), (1, 2), (1, 2)))
    assert sorted(found.sizes.tolist()) == [1, 3]
    inverse = found.inverse()
    assert inverse[0] == inverse[2] == inverse[3] != inverse[1]
    assert found.rank().tolist() == [0, 0, 1, 2]


def test_groups_are_exact_when_hashes_collide(monkeypatch: pytest.MonkeyPatch) -> None:
    real = group_module._hash
    salts: list[int] = []

    def poor(words: Any, salt: int) -> Any:
        salts.append(salt)
        return real(words, salt) if salt > 2 else words[:, 0] & np.uint64(1)

    monkeypatch.setattr(group_module, "_hash", poor)
    assert len(group(keys((1, 2), (3, 4), (5, 6))).starts) == 3
    assert salts == [1, 2, 3]


def test_a_cube_counts_across_batches_and_folds_when_full() -> None:
    slots = Slots(1)
    cube = Cube(SLOTTED, 10, [slots.coarsen])
    for base in (0, 64):
        batch = np.zeros(64, SLOTTED)
        at = base + np.arange(64)
        batch["slot"] = slots.of(at)
        cube.add(batch, at)
    cells = cube.cells()
    assert len(cells) <= 10
    assert cells["count"].sum() == 128
    assert (cells["first"].min(), cells["last"].max()) == (0, 127)
    assert slots.width_ns == 16
    assert cube.folded == 4


def test_a_burst_is_found_in_the_memory_of_its_slots() -> None:
    """One row of 1970 beside those of today: 1,767,355,200 slots, of which 121 have any."""
    today = 1_767_355_200
    slots = np.array([0, *range(today, today + 120)])
    found = burst(slots, np.full(len(slots), 9), 0, today + 120)
    assert found is not None
    assert (found.first, found.last, found.before) == (today, today + 119, 9)


def stands_out(counts: NDArray[np.int64]) -> Burst | None:
    return burst(np.arange(len(counts)), counts, 0, len(counts) - 1)


def test_a_burst_is_found_and_noise_is_not() -> None:
    random = np.random.default_rng(3)
    noise = random.poisson(0.5, 3600)
    assert stands_out(noise) is None
    noise[1000:1060] += 8
    found = stands_out(noise)
    assert found is not None
    assert (found.first, found.last) == pytest.approx((1000, 1059), abs=3)
    few = np.zeros(3600, np.int64)
    few[[7, 1900, 3000]] = 1
    assert stands_out(few) is None
    few[:] = 0
    few[50:53] = 2
    assert stands_out(few) is not None
    assert stands_out(np.full(100, 9)) is None


def test_a_burst_in_many_slots() -> None:
    counts = np.zeros(50_000, np.int64)
    counts[20_000:20_100] = 5
    found = stands_out(counts)
    assert found is not None
    assert (found.first, found.last) == (20_000, 20_099)


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2026-01-02T12:04:07Z", 247.0),
        ("12:04:07Z", 247.0),
        ("12:04Z", 240.0),
        ("2026-01-02T13:04:07+01:00", 247.0),
        ("10m", 3000.0),
        ("12:00:01.5Z", 1.5),
    ],
)
def test_times(text: str, second: float) -> None:
    window = Window.parse(text, None, WALL + 3600 * 10**9)
    assert window.since_ns == WALL + int(second * 1e9)


# Summer time (+1) ends on 30 September; the clock of the tests is in winter or in summer.
SUMMER_TIME = "WWW0SSS-1,J90/0,J273/0"


@pytest.fixture
def summer_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", SUMMER_TIME)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("summer_time")
def test_times_without_a_zone_are_as_shown() -> None:
    end = july(14)
    assert Window.parse("12:30", None, end).since_ns == july(11, 30)
    assert Window.parse("12:30", None, end, utc=True).since_ns == july(12, 30)
    assert Window.parse("12:30Z", None, end).since_ns == july(12, 30)
    assert Window.parse("2026-07-01 12:30", None, end, utc=True).since_ns == july(12, 30)
    assert Window.parse("2026-07-01T12:30+02:00", None, end, utc=True).since_ns == july(10, 30)


@pytest.mark.usefixtures("summer_time")
def test_the_zone_is_that_of_the_time_shown() -> None:
    winter = WALL
    for begin, zone, hour in ((july(11), "SSS", "12:00:00"), (winter, "WWW", "12:00:00")):
        words = Words.spanning(begin, begin + 60 * 10**9, utc=False)
        assert (words.time(begin), words.zone(begin)) == (hour, zone)
        assert Words.spanning(begin, begin, utc=True).zone(begin) == "UTC"


@pytest.mark.usefixtures("summer_time")
@pytest.mark.parametrize(
    ("days", "utc"), [((0, 1), False), ((90, 92), True), ((0, 92), True), ((0, 365), True)]
)
def test_in_utc_where_the_clocks_changed(days: tuple[int, int], *, utc: bool) -> None:
    """One hour comes twice in local time; a year has both changes, and the same offset at its ends."""
    begin, end = (july(0) + day * 86_400 * 10**9 for day in days)
    assert Words.spanning(begin, end, utc=False).utc is utc


def july(hour: int, minute: int = 0) -> int:
    return int(datetime(2026, 7, 1, hour, minute, tzinfo=timezone.utc).timestamp()) * 10**9


def test_times_that_are_none() -> None:
    with pytest.raises(BadInput, match="is no time"):
        Window.parse("yesterday", None, WALL)
    with pytest.raises(BadInput, match="is not before"):
        Window.parse("12:04Z", "12:03Z", WALL)


def test_words() -> None:
    assert counted({"a": 1200, "b": 3}) == "1,200 connections a, 3 b"
    assert counted({"a": 1}) == "1 connection a"
    assert joined(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert joined(["a"]) == "a"
    assert [per_minute(rate) for rate in (36.4, 0.25, 0.01)] == [
        "36 a minute",
        "0.2 a minute",
        "0.6 an hour",
    ]
    assert common_network(["10.1.2.3", "10.1.2.9"]) == "10.1.2.0/28"
    assert common_network(["10.1.2.3", "11.1.2.9"]) is None
    assert common_network(["10.1.2.3", "others"]) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_every_ladder_ends_with_the_verdict(shape: str) -> None:
    rows = connections(shape, [100.0])
    (close,) = documents(source_of(Memory(rows)), rows)
    ladder = steps(close)
    assert ladder[-1]["label"].startswith(close["verdict"])
    assert {step["kind"] for step in ladder} <= {
        "syn", "ack", "data", "fin", "rst", "lost", "again", "note", "end"
    }  # fmt: skip


def test_the_ladder_of_an_active_close() -> None:
    rows = connections("orderly-active", [100.0])
    (close,) = documents(source_of(Memory(rows)), rows)
    told = [(step["from"], step["label"]) for step in steps(close)]
    assert told == [
        ("local", "SYN"),
        ("remote", "SYN ACK"),
        ("local", "ACK"),
        ("local", "1.2KB of data"),
        ("remote", "15KB of data"),
        ("local", "FIN"),
        ("remote", "ACK"),
        ("remote", "FIN"),
        ("local", "ACK"),
        (None, "orderly"),
    ]


def test_the_command(tmp_path: Path) -> None:
    rows = np.concatenate([*traffic(), *outage()])
    write(tmp_path / "rec", [rows[np.argsort(rows["at"].max(axis=1), kind="stable")]])
    html = tmp_path / "page.html"
    result = CliRunner().invoke(
        main, ["report", str(tmp_path / "rec"), "--json", "--html", str(html)]
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["kind"] == "report"
    assert document["incidents"][0]["began"].startswith("2026-01-02T12:16:40")
    assert document["timeline"]["width_ms"] == 15_000 + 1000
    page = html.read_text(encoding="utf-8")
    assert "@@" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    text = CliRunner().invoke(main, ["report", str(tmp_path / "rec"), "--utc", "--until", "12:10Z"])
    assert "no incident" in text.stdout
    codes = [
        CliRunner().invoke(main, ["report", str(tmp_path / "rec"), *more]).exit_code
        for more in (("--check",), ("--check", "--until", "12:10Z"), ())
    ]
    assert codes == [4, 0, 0]


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path, [connections("orderly-active", [1.0])])
    result = CliRunner().invoke(main, ["report", str(tmp_path), "--html", str(tmp_path)])
    assert result.exit_code == 1
    assert "cannot write" in result.stderr


def test_no_command_but_query_needs_duckdb() -> None:
    code = (
        "import sys\n"
        "for name in ('bcc', 'duckdb', 'pyarrow', 'pyroute2'): sys.modules[name] = None\n"
        "import tracetw.cli.report, tracetw.cli.replay, tracetw.cli.query, tracetw.report.build\n"
        "import tracetw.report.render.html, tracetw.report.render.text, tracetw.replay.replay\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
