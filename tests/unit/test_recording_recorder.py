# SPDX-License-Identifier: Apache-2.0
"""The recorder: rotation, bounds, what triggers keep, compaction behind its back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.unit.recording_files import everything, golden, written
from tracetw.errors import BadInput
from tracetw.event.fields import Rows
from tracetw.event.record import CLOSE
from tracetw.host.listening import Listening
from tracetw.recorder import recorder as module
from tracetw.recorder.describe import Describe
from tracetw.recorder.recorder import Recorder, TapeLimits, Totals
from tracetw.recorder.store import Store
from tracetw.recording.facts import Harm, Lost, Sample
from tracetw.recording.reader import Recording, open_recordings

DEADLINE_S = 20.0


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given is written without delay."""
    monkeypatch.setattr(module, "_WRITE_S", 0.01)


def sample(moment: str = "running") -> Sample:
    """The last one of the golden recording."""
    return replace([*golden().samples()][-1], moment=moment, time_ns=time.time_ns())


def describe() -> Describe:
    header = golden().header
    return Describe(header.names, header.netns, header.hooks, (), header.events, header.command, ())


class Recorded:
    """A recorder on a folder, and what it said."""

    def __init__(self, folder: Path, **limits: float) -> None:
        self.folder = folder
        self.limits = TapeLimits(**limits)  # type: ignore[arg-type]
        self.said: list[str] = []
        self.store = Store(
            folder, "golden", max_bytes=self.limits.total_bytes, max_age_s=self.limits.total_s
        )
        self.recorder = Recorder(self.store, self.limits, describe(), sample, self.said.append)
        self.recorder.start([sample("before"), sample("attached")])

    def finish(self) -> Totals:
        totals = self.recorder.finish()
        self.store.close()
        return totals

    def segments(self) -> list[Path]:
        return sorted((self.folder / "host=golden").rglob("*.tws"))

    def read(self) -> Recording:
        (recording,) = open_recordings([self.folder])
        return recording


def await_(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _said(recorded: Recorded, lines: int) -> bool:
    return len(recorded.said) == lines


def rows(count: int, first: int = 0) -> Rows:
    """Real rows, numbered in ``inode``, that end now."""
    some = np.resize(everything(golden()), count)
    some["inode"] = np.arange(first, first + count)
    return some


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    given = rows(5000)
    events = everything(golden(), "events")
    # As they lie in the ring: every row behind a header, and overwritten after the call.
    size = 8 + CLOSE.itemsize
    strided = np.dtype({"names": ["row"], "formats": [CLOSE], "offsets": [8], "itemsize": size})
    ring = np.zeros(5000, strided)
    ring["row"] = given
    for first in range(0, 5000, 700):
        recorded.recorder.closes(ring["row"][first : first + 700])
    ring["row"] = np.zeros(1, CLOSE)
    recorded.recorder.events(events)
    recorded.recorder.lost(Lost(7, "ring buffer of closes", 1, 2))
    recorded.recorder.sample(sample("stopped"))
    totals = recorded.finish()
    assert totals == Totals(5000, len(events), 0, 1, 0)
    recording = recorded.read()
    assert recording.damage == []
    assert recorded.said == []
    assert everything(recording).tobytes() == given.tobytes()
    assert everything(recording, "events").tobytes() == events.tobytes()
    assert recording.losses() == [Lost(7, "ring buffer of closes", 1, 2, closes=5000)]
    assert [one.moment for one in recording.samples()] == ["before", "attached", "stopped"]
    assert [*recording.samples()][-1].counters == sample().counters
    assert recording.user(0) == "root"
    assert [path.suffix for path in sorted(recorded.segments()[0].parent.iterdir())] == [
        ".parquet",
        ".parquet",
        ".tws",
    ]


def disk_use(folder: Path) -> int:
    """Bytes of all files. The recorder removes some of them meanwhile."""
    total = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(at) / name).stat().st_size
    return total


def test_disk_use_is_bounded_and_the_newest_stays(tmp_path: Path) -> None:
    total, segment = 1 << 20, 128 << 10
    recorded = Recorded(tmp_path, total_bytes=total, segment_bytes=segment)
    largest = 0
    for first in range(0, 24_000, 400):
        recorded.recorder.closes(rows(400, first))
        await_(lambda: not recorded.recorder._pending)
        largest = max(largest, disk_use(tmp_path))
    totals = recorded.finish()
    assert totals.segments > 8
    assert totals.dropped > 0
    assert largest <= total
    recording = recorded.read()
    assert recording.damage == []
    inodes = everything(recording)["inode"]
    assert inodes[-1] == 23_999
    assert (np.diff(inodes) == 1).all()


def test_old_segments_are_dropped_at_the_start(tmp_path: Path) -> None:
    first = Recorded(tmp_path)
    first.recorder.closes(rows(10))
    first.finish()
    (old,) = first.segments()
    os.utime(old, (time.time() - 3600, time.time() - 3600))
    second = Recorded(tmp_path, total_s=1800)
    second.recorder.closes(rows(20))
    second.finish()
    assert not old.exists()
    assert second.read().counts["closes"] == 20
    assert [path.name for path in old.parent.glob(f"{old.stem}.*")] == []


def test_a_trigger_keeps_what_the_bound_would_drop(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, total_bytes=1 << 20, segment_bytes=128 << 10)
    recorded.recorder.closes(rows(300))
    recorded.recorder.keep("verdict:peer-reset")
    await_(lambda: recorded.said)
    for first in range(300, 12_000, 400):
        recorded.recorder.closes(rows(400, first))
        await_(lambda: not recorded.recorder._pending)
    recorded.finish()
    (folder,) = (tmp_path / "kept").iterdir()
    assert folder.name.endswith("verdict-peer-reset")
    assert recorded.said == [f"verdict:peer-reset: kept what came before in {folder}"]
    (kept,) = open_recordings([folder])
    assert kept.damage == []
    assert everything(kept)["inode"].tolist() == [*range(300)]
    assert [*folder.rglob("*.closes.parquet")], "what a trigger keeps is compacted as well"
    whole = recorded.read()
    assert [damage.harm for damage in whole.damage] == [Harm.MISSING]


def test_what_is_kept_is_bounded_too(tmp_path: Path) -> None:
    total = 200 << 10
    recorded = Recorded(tmp_path, total_bytes=total, segment_bytes=64 << 10)
    for number in range(8):
        recorded.recorder.closes(rows(200))
        recorded.recorder.keep(f"number-{number}")
        await_(partial(_said, recorded, number + 1))
    recorded.finish()
    assert "kept/ is full" in recorded.said[-1]
    used = sum(path.stat().st_size for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert used <= total


def test_a_disk_that_is_too_slow_is_no_reason_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded(tmp_path)
    await_(recorded.segments)
    # As if so much waited that there is room for a few only.
    monkeypatch.setattr(module, "_WAITING_BYTES", CLOSE.itemsize * 40)
    recorded.recorder.closes(rows(50))
    recorded.recorder.closes(rows(5))
    await_(lambda: len(recorded.said) >= 1)
    recorded.recorder.closes(rows(10))
    totals = recorded.finish()
    assert (totals.closes, totals.unwritten) == (15, 50)
    recording = recorded.read()
    (lost,) = recording.losses()
    assert (lost.records, lost.where) == (50, "the disk of the recorder")
    assert lost.since_ns < lost.until_ns


def test_leftovers_of_a_crash_are_finished_by_the_next_run(tmp_path: Path) -> None:
    first = Recorded(tmp_path)
    first.recorder.closes(rows(100))
    first.finish()
    (segment,) = first.segments()
    (segment.parent / "x.closes.parquet.tmp").write_bytes(b"half")
    # As a crash leaves it: rows in the segment, no last frame.
    crashed = segment.with_name("20200101T000000Z-00000000-000000.tws")
    written(crashed, golden().header, finish=False)
    Recorded(tmp_path).finish()
    assert not [*tmp_path.rglob("*.tmp")]
    assert crashed.with_suffix(".closes.parquet").exists()
    (harm,) = (d for r in open_recordings([tmp_path]) for d in r.damage)
    assert (harm.harm, harm.closes) == (Harm.UNFINISHED, 150)


def test_one_recorder_to_a_folder(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    with pytest.raises(BadInput, match="another tracetw records to"):
        Store(tmp_path, "golden", max_bytes=1 << 30, max_age_s=60)
    recorded.finish()


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot write to"):
        Store(tmp_path / "file", "golden", max_bytes=1 << 30, max_age_s=60)


def test_a_reader_sees_that_it_is_being_written(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.recorder.closes(rows(10))

    def readable() -> int:
        return sum(len(part) for r in open_recordings([tmp_path]) for part in r.closes())

    await_(lambda: recorded.segments() and recorded.segments()[0].stat().st_size)
    await_(lambda: readable() == 10)
    (damage,) = recorded.read().damage
    assert damage.reason == "it is being written"
    recorded.finish()


def test_more_namespaces_and_listeners_than_have_room(tmp_path: Path) -> None:
    """Anybody may make them. What fits is recorded and can be read, and what does not is said once."""
    one = sample()
    (counters,), (settings,) = one.counters.values(), one.sysctls.values()
    cgroup = "/" + "\udc80" * 4000
    crowd = replace(
        one,
        counters=dict.fromkeys(range(1, 9_001), counters),
        sysctls=dict.fromkeys(range(1, 9_001), settings),
        netns_names=dict.fromkeys(range(1, 9_001), "\udc80" * 200),
        listeners=tuple(Listening(1, "::", port, 1, "x", 0, cgroup) for port in range(1, 4097)),
    )
    recorded = Recorded(tmp_path)
    for _ in range(2):
        recorded.recorder.sample(crowd)
    recorded.recorder.closes(rows(3))
    assert recorded.finish().closes == 3
    recording = recorded.read()
    assert recording.damage == []
    last = [*recording.samples()][-1]
    assert 1000 < len(last.counters) < 9_000
    assert [*last.counters] == [*range(1, len(last.counters) + 1)]
    assert last.counters.keys() == last.sysctls.keys() == last.netns_names.keys()
    assert 10 < len(last.listeners) < 4096
    (said,) = recorded.said
    assert f"{9_000 - len(last.counters):,} of 9,000 network namespaces" in said
    assert f"{4096 - len(last.listeners):,} of 4,096 listeners" in said
