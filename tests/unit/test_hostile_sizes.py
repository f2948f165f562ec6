# SPDX-License-Identifier: Apache-2.0
"""Recordings that are too much: for memory, for time, or for a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hostile_command import READERS, Done, every_reader, given, run, with_header
from tests.unit.hostile_recordings import Bytes, base, dumped, packed
from tracetw.recording.frame import FrameKind
from tracetw.recording.schema import JSON_BYTES

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

__all__ = ["given", "run"]


def test_documents_that_are_too_large(given: Path, run: Callable[..., Done]) -> None:
    first, *rest = base().frames
    for data in (
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b" " * (JSON_BYTES + 1),
        b'{"extra":[' + b"[],".join([b""] * 2_000_000) + b"[]],",
        b"\xff" * 1000,
        b'{"run":"' + b"a" * (JSON_BYTES - 100) + b'"}',
    ):
        (given / "a.tws").write_bytes(packed([replace(first, data=data), *rest]))
        done = run("report", given=given)
        assert done.code == 2
        assert len(done.err) < 1000
        (given / "a.tws").write_bytes(packed([first, Bytes(FrameKind.SAMPLE, data), *rest]))
        done = run("report", given=given)
        assert done.code == 0
        assert "a frame is not what it should be" in done.out


@pytest.mark.parametrize(
    "shape",
    ['"counters":{%s}', '"sysctls":{"1":{%s}}', '"names":{"drop_reasons":{%s}}', '"gone":[%s]'],
)
def test_documents_as_large_as_may_be(shape: str, given: Path, run: Callable[..., Done]) -> None:
    """Of the smallest parts that there are, in a header and in samples."""
    first, *rest = base().frames
    step, value = (8, "{}") if "counters" in shape else (8, "0")
    count = JSON_BYTES // (step + 5) - 1000
    items = ",".join("0" for _ in range(JSON_BYTES // 2 - 2000))
    if "gone" not in shape:
        items = ",".join(f'"{number}":{value}' for number in range(count))
    key = shape.split('"')[1]

    def large(document: dict[str, Any]) -> bytes:
        others = dumped({name: part for name, part in document.items() if name != key})
        return ("{" + shape % items + "," + others.decode()[1:]).encode()

    header = large(base().documents[FrameKind.HEADER])
    samples = [Bytes(FrameKind.SAMPLE, large(base().documents[FrameKind.SAMPLE]))] * 2
    (given / "a.tws").write_bytes(packed([replace(first, data=header), *rest]))
    (given / "b.tws").write_bytes(packed([*with_header(run="f" * 16)[:1], *samples, *rest]))
    for words in (("report",), ("query", "SELECT count(*) FROM counters")):
        assert run(*words, given=given).code in {0, 1, 2}


def test_a_file_of_holes_is_not_read_to_its_end(given: Path, run: Callable[..., Done]) -> None:
    path = given / "a.tws"
    path.write_bytes(packed([*base().frames]))
    os.truncate(path, 1 << 33)
    done = run("report", given=given)
    assert done.code == 2
    assert "is no segment" in done.err


def test_folders_without_end(given: Path, run: Callable[..., Done]) -> None:
    (given / "loop").symlink_to(given)
    deep = given
    for _ in range(40):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "far.tws").write_bytes(b"")
    (given / "a.tws").write_bytes(packed([*base().frames]))
    for done in every_reader(run, given):
        assert done.code == 0, done.err
    assert "too deep to be looked into" in run("replay", given=given).err


def test_more_files_than_anybody_has(given: Path, run: Callable[..., Done]) -> None:
    for number in range(20_001):
        (given / f"{number}.tws").touch()
    for words in READERS:
        done = run(*words, given=given)
        assert done.code == 2
        assert "give a smaller part" in done.err
    for number in range(10_000):
        (given / f"{number}.tws").unlink()
    (given / "a.tws").write_bytes(packed([*base().frames]))
    done = run("replay", given=given)
    assert done.code == 0
    assert "more files cannot be read" in done.err
    assert len(done.err) < 100_000


def test_few_bytes_that_stand_for_many_values(given: Path, run: Callable[..., Done]) -> None:
    """A sample is written as what changed: 150 bytes may stand for the largest header there is."""
    many = {str(inode): {f"c{number}": 1 for number in range(40)} for inode in range(9_000)}
    first, *rest = with_header(counters=many)
    sample = {
        **base().documents[FrameKind.SAMPLE],
        "moment": "running",
        "counters": {"1": {"c1": 2}},
    }
    samples = [
        Bytes(FrameKind.SAMPLE, dumped({**sample, "counters": {"1": {"c1": number}}, "gone": []}))
        for number in range(400)
    ]
    (given / "a.tws").write_bytes(packed([first, *samples, *rest]))
    for done in every_reader(run, given):
        assert done.code == 0, done.err


def test_many_large_headers(given: Path, run: Callable[..., Done]) -> None:
    many: dict[str, dict[str, int]] = {str(inode): {} for inode in range(499_000)}
    for number in range(12):
        frames = with_header(counters=many, run=f"{number:016x}")
        (given / f"{number:02}.tws").write_bytes(packed(frames))
    done = run("report", given=given)
    assert done.code == 2
    assert "give fewer" in done.err


def test_long_names(given: Path, run: Callable[..., Done]) -> None:
    first, *rest = base().frames
    names = [
        Bytes(
            FrameKind.NAMES,
            dumped({"cgroups": {number + step: "/" + "x" * 30_000 for step in range(200)}}),
        )
        for number in range(0, 6_000, 200)
    ]
    (given / "a.tws").write_bytes(packed([first, *names, *rest]))
    for words in (("report",), ("replay", "-o", "json"), ("query", "SELECT count(*) FROM closes")):
        done = run(*words, given=given)
        assert done.code == 0
        # A report without anything abnormal asks for no name.
        assert words == ("report",) or "too many names" in done.err, words


def test_many_losses_and_names(given: Path, run: Callable[..., Done]) -> None:
    first, *rest = base().frames
    lost = base().documents[FrameKind.LOST]
    at = lost["since_ns"]
    losses = [
        Bytes(FrameKind.LOST, dumped({**lost, "since_ns": at + number, "until_ns": at + 10**9}))
        for number in range(9_000)
    ]
    names = [
        Bytes(
            FrameKind.NAMES,
            dumped({"cgroups": {number + step: f"/{number}" for step in range(20_000)}}),
        )
        for number in range(0, 600_000, 20_000)
    ]
    (given / "a.tws").write_bytes(packed([first, *losses, *names, *rest]))
    for done in every_reader(run, given):
        assert done.code == 0, done.err
