# SPDX-License-Identifier: Apache-2.0
"""Parquet that explodes: few bytes, valid checksums, gigabytes of memory or hours of work."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.hostile_recordings import Base, Bytes, packed, sealed
from tests.unit.recording_files import everything, golden
from tracetw.event.record import CLOSE
from tracetw.recording import parquet
from tracetw.recording.facts import Harm
from tracetw.recording.frame import FrameKind
from tracetw.recording.reader import open_recordings
from tracetw.recording.schema import Invalid

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MOST_MB = 512
_LENGTH = struct.Struct("<I")


def peak_mb(*, reset: bool = False) -> int:
    """Most memory held since the last reset, which gives what is held now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    name = "VmRSS:" if reset else "VmHWM:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith(name))


def put(folder: Path, seal: parquet.Seal, base: Base) -> None:
    """A segment that names a Parquet file of closes."""
    frames = [
        replace(one, data=seal.pack())
        if one.kind == FrameKind.SEAL and b'"closes"' in one.data
        else one
        for one in base.frames
    ]
    (folder / "a.tws").write_bytes(packed(frames))
    (folder / "a.events.parquet").write_bytes(base.files["a.events.parquet"])


def read(folder: Path) -> tuple[int, list[str]]:
    """Closes that could be read, and what is said of the rest."""
    before = peak_mb(reset=True)
    (recording,) = open_recordings([folder])
    count = sum(map(len, recording.closes()))
    assert peak_mb() - before < MOST_MB
    return count, [str(damage) for damage in recording.damage]


def resealed(path: Path, seal: parquet.Seal) -> parquet.Seal:
    """With checksums of what is in the file now."""
    data, parts, begin = path.read_bytes(), [], 0
    for part in seal.parts:
        parts.append(replace(part, crc=zlib.crc32(data[begin : begin + part.length])))
        begin += part.length
    return replace(seal, parts=tuple(parts))


def zigzag(number: int) -> bytes:
    """A number as the compact protocol of Thrift has it."""
    number, text = number << 1, bytearray()
    while number > 0x7F:
        text.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*text, number])


def bomb(size: int, room: int) -> bytes:
    """A dictionary page of ``size`` zeros in ``room`` bytes: blocks of zstd, 128 KiB in 4 bytes."""
    block = 1 << 17
    blocks = [(min(block, size - at), at + block >= size) for at in range(0, size, block)]
    zeros = b"".join(
        (last | 1 << 1 | length << 3).to_bytes(3, "little") + b"\0" for length, last in blocks
    )
    frame = bytes.fromhex("28b52ffd") + b"\xa0" + _LENGTH.pack(size) + zeros
    head = b"\x15\x04\x15" + zigzag(size) + b"\x15" + zigzag(len(frame))
    head += b"\x4c\x15" + zigzag(size // 8) + b"\x15\x00\x00\x00"
    assert len(head) + len(frame) <= room
    return head + frame


def test_a_page_that_explodes(tmp_path: Path) -> None:
    rows = np.tile(everything(golden())[:1], 65_536)
    rows["sk"] = np.random.default_rng(1).integers(0, 1 << 63, len(rows), np.uint64)
    path = tmp_path / "a.closes.parquet"
    seal = sealed_file(path, [rows])
    chunk = pq.read_metadata(path).row_group(0).column(0)
    assert chunk.path_in_schema == "sk"
    data = bytearray(path.read_bytes())
    page = bomb(1_900_000_000, chunk.total_compressed_size)
    begin = chunk.dictionary_page_offset
    data[begin : begin + len(page)] = page
    path.write_bytes(data)
    put(tmp_path, resealed(path, seal), sealed())
    count, said = read(tmp_path)
    assert count == 0
    assert any("more memory than its rows can need" in line for line in said), said


def sealed_file(path: Path, batches: list[Any]) -> parquet.Seal:
    """A compacted file as the recorder writes it."""
    with path.open("w+b") as file:
        return parquet.write(file, path.name, "closes", batches)


def other_schema(name: str) -> Any:
    rows = everything(golden())[:20]
    table = {f"c{number}": rows["sk"] for number in range(5000)} if name == "many" else None
    if name == "text":
        table = {"sk": pa.array(["x" * 100_000] * 20)}
    if name == "nested":
        table = {"sk": pa.array([[[1] * 10] * 10] * 20)}
    if name == "huge":
        table = {"sk": pa.array([b"\0" * 1_000_000] * 20, pa.binary(1_000_000))}
    return pa.table(table)


@pytest.mark.parametrize("name", ["many", "text", "nested", "huge"])
def test_other_columns(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.closes.parquet"
    pq.write_table(other_schema(name), path, compression="zstd", store_schema=False)
    with path.open("rb") as file:
        seal = parquet._seal(file, path.name, "closes", pq.read_metadata(path), [20])
    put(tmp_path, seal, sealed())
    count, said = read(tmp_path)
    assert count == 0
    assert any("footer" in line for line in said), said


def test_rows_that_cannot_be_in_so_few_bytes(tmp_path: Path) -> None:
    """Claimed by the seal, by the footer, or by both."""
    rows = np.tile(everything(golden())[:1], 65_536)
    path = tmp_path / "a.closes.parquet"
    seal = sealed_file(path, [rows])
    with pytest.raises(Invalid, match="more rows than its bytes"):
        parquet.Seal.unpack(replace(seal, parts=(replace(seal.parts[0], length=1000),)).pack())
    put(tmp_path, replace(seal, parts=(replace(seal.parts[0], rows=65_535),)), sealed())
    count, said = read(tmp_path)
    assert count == 0
    assert any("other rows than its segment says" in line for line in said), said


def test_what_a_compaction_makes_of_rows_that_are_all_the_same_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.closes.parquet"
    seal = sealed_file(path, [np.zeros(65_536, CLOSE)])
    put(tmp_path, seal, sealed())
    count, said = read(tmp_path)
    assert (count, said) == (65_536, [])


def test_a_page_that_is_damaged_is_said_where_it_was_read(tmp_path: Path) -> None:
    base = sealed()
    path = tmp_path / "a.closes.parquet"
    data = bytearray(base.files[path.name])
    frame = next(
        one for one in base.frames if one.kind == FrameKind.SEAL and b'"closes"' in one.data
    )
    seal = parquet.Seal.unpack(frame.data)
    data[seal.parts[0].length + 4 : seal.parts[0].length + 60] = b"\xff" * 56
    path.write_bytes(data)
    put(tmp_path, resealed(path, seal), base)
    (recording,) = open_recordings([tmp_path])
    rows = [len(part) for part in recording.closes()]
    assert sum(rows) == seal.parts[0].rows
    (damage,) = recording.damage
    assert (damage.harm, damage.path.name) == (Harm.DAMAGED, path.name)
    assert damage.offset == seal.parts[0].length
    assert sum(map(len, recording.closes())) == sum(rows)
    assert len(recording.damage) == 1


@pytest.mark.parametrize("name", ["../a.parquet", "/etc/passwd", "a/b.parquet", "*.parquet", ""])
def test_a_seal_names_a_file_beside_its_segment(name: str) -> None:
    frame = next(one for one in sealed().frames if one.kind == FrameKind.SEAL)
    (length,) = _LENGTH.unpack_from(frame.data)
    document = json.loads(frame.data[4 : 4 + length]) | {"file": name}
    text = json.dumps(document).encode()
    with pytest.raises(Invalid):
        parquet.Seal.unpack(_LENGTH.pack(len(text)) + text)
    assert Bytes(FrameKind.SEAL, text).kind == frame.kind
