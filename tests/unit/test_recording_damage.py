# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to the bytes: no traceback, no wrong row, and a statement that is exact."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.recording_files import compacted, everything, golden, written
from tracetw.errors import BadInput
from tracetw.event.record import CLOSE, EVENT
from tracetw.recording.facts import Damage, Harm
from tracetw.recording.frame import HEAD_SIZE, FrameKind
from tracetw.recording.reader import Recording, open_recordings
from tracetw.recording.segment import Segment

TRIES = 1000
SIZE = {"closes": CLOSE.itemsize, "events": EVENT.itemsize}


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """All rows, as bytes."""
    return {kind: everything(golden(), kind).tobytes() for kind in SIZE}


class Victim:
    """A segment, raw or compacted, one of whose files is to be damaged again and again."""

    def __init__(self, folder: Path, *, packed: bool) -> None:
        self.path = folder / "victim.tws"
        make = compacted if packed else written
        make(self.path, golden().header)
        self.files = {path: path.read_bytes() for path in folder.iterdir()}
        self.segment = Segment.open(self.path)

    def readable(self, damaged: Path, at: int) -> dict[str, int]:
        """Rows that lie wholly before byte ``at`` of a file, and those that others hold."""
        rows = dict.fromkeys(SIZE, 0)
        if damaged == self.path:
            for frame in self.segment.frames:
                if frame.offset + frame.length > at:
                    break
                for name, kind in (("closes", FrameKind.CLOSES), ("events", FrameKind.EVENTS)):
                    rows[name] += frame.rows if frame.kind == kind else 0
        for seal, frame in zip(
            (seal for seal, _ in self.segment.seals),
            (frame for frame in self.segment.frames if frame.kind == FrameKind.SEAL),
            strict=True,
        ):
            if damaged == self.path and frame.offset + frame.length > at:
                continue
            offset = 0
            for part in seal.parts:
                offset += part.length
                if damaged.name == seal.file and offset > at:
                    break
                rows[seal.kind] += part.rows
        return rows

    def check(self, damaged: Path, at: int, whole: dict[str, bytes]) -> None:
        """Open and compare."""
        try:
            (recording,) = open_recordings([self.path])
        except BadInput as error:
            said = str(error)
        else:
            self.compare(recording, damaged, at, whole)
            return
        assert damaged == self.path
        assert at < self.segment.frames[1].offset - HEAD_SIZE, "only the header is needed"
        assert f"{self.path}: damaged at byte 0" in said

    def compare(
        self, recording: Recording, damaged: Path, at: int, whole: dict[str, bytes]
    ) -> None:
        """Exactly the rows before the damage, and one statement that says so."""
        expected = self.readable(damaged, at)
        assert recording.counts == expected
        for kind, size in SIZE.items():
            got = everything(recording, kind).tobytes()
            assert got == whole[kind][: expected[kind] * size]
        (damage,) = recording.damage
        assert damage.path == damaged
        self.exact(damage, recording, damaged, at)

    def exact(self, damage: Damage, recording: Recording, damaged: Path, at: int) -> None:
        """The statement tells where, and how many rows come before."""
        assert damage.offset <= at
        counts = dict(recording.counts)
        if damaged != self.path:
            kind = "closes" if "closes" in damaged.name else "events"
            counts = {**dict.fromkeys(SIZE, 0), kind: counts[kind]}
        assert (damage.closes, damage.events) == (counts["closes"], counts["events"])

    def restore(self, damaged: Path) -> None:
        """As it was."""
        damaged.write_bytes(self.files[damaged])


@pytest.fixture(scope="module", params=["raw", "compacted"])
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Victim:
    return Victim(tmp_path_factory.mktemp("victim"), packed=request.param == "compacted")


def places(victim: Victim, seed: int) -> Iterator[tuple[Path, int, random.Random]]:
    """Half of the tries for each of the two kinds of segment, spread over its files."""
    rng = random.Random(seed)  # noqa: S311 - the same tries every time
    files = sorted(victim.files)
    weights = [len(victim.files[path]) for path in files]
    for _ in range(TRIES // 2):
        (path,) = rng.choices(files, weights)
        yield path, rng.randrange(len(victim.files[path])), rng


def test_truncated_anywhere(victim: Victim, whole: dict[str, bytes]) -> None:
    for path, at, _ in places(victim, 1):
        path.write_bytes(victim.files[path][:at])
        victim.check(path, at, whole)
        victim.restore(path)


def test_a_byte_changed_anywhere(victim: Victim, whole: dict[str, bytes]) -> None:
    for path, at, rng in places(victim, 2):
        data = bytearray(victim.files[path])
        data[at] ^= rng.randrange(1, 256)
        path.write_bytes(data)
        victim.check(path, at, whole)
        victim.restore(path)


def test_a_whole_one_has_no_damage(victim: Victim) -> None:
    (recording,) = open_recordings([victim.path])
    assert recording.damage == []


def test_bytes_after_the_end(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tws", golden().header)
    size = path.stat().st_size
    other = written(tmp_path / "b.tws", golden().header).read_bytes()
    path.write_bytes(path.read_bytes() + other)
    (recording,) = open_recordings([path])
    assert [(damage.harm, damage.offset) for damage in recording.damage] == [(Harm.DAMAGED, size)]
    assert recording.counts == {"closes": 150, "events": 79}


def test_killed_before_the_end(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tws", golden().header, finish=False)
    (damage,) = open_recordings([path])[0].damage
    assert damage.harm is Harm.UNFINISHED
    assert (damage.closes, damage.events) == (150, 79)
    assert damage.offset == path.stat().st_size


def test_parquet_file_that_is_gone(tmp_path: Path) -> None:
    path = compacted(tmp_path / "a.tws", golden().header)
    path.with_name("a.closes.parquet").unlink()
    (recording,) = open_recordings([path])
    (damage,) = recording.damage
    assert (damage.harm, damage.path.name) == (Harm.MISSING, "a.closes.parquet")
    assert recording.counts == {"closes": 0, "events": 79}


def test_what_is_no_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no recording in"):
        open_recordings([tmp_path])
    with pytest.raises(BadInput, match="does not exist"):
        open_recordings([tmp_path / "nothing"])
    (tmp_path / "text.tws").write_text("hello")
    with pytest.raises(BadInput, match=r"text\.tws: damaged at byte 0"):
        open_recordings([tmp_path / "text.tws"])


def test_a_damaged_file_between_whole_ones_is_named(tmp_path: Path) -> None:
    for number in range(4):
        header = replace(golden().header, segment=number)
        written(tmp_path / f"{number}-{header.run[:8]}.tws", header)
    (lost, *_) = tmp_path.glob("1-*.tws")
    lost.write_bytes(b"")
    (tmp_path / "kept").mkdir()
    (twin, *_) = tmp_path.glob("3-*.tws")
    shutil.copy(twin, tmp_path / "kept")
    (recording,) = open_recordings([tmp_path])
    assert recording.counts["closes"] == 3 * 150
    assert [damage.harm for damage in recording.damage] == [Harm.DAMAGED, Harm.MISSING]
    assert "segment 1 is not there" in recording.damage[1].reason
    assert recording.damage[1].closes == 150
