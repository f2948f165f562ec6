# SPDX-License-Identifier: Apache-2.0
"""Rows in Parquet files. The only module that touches pyarrow, which has no types.

A Parquet file here is read by anything that reads Parquet. Its own checksums leave out what
describes the data, and without its last bytes it is nothing: so the segment keeps a checksum for
each part of the file and a copy of its footer (:class:`Seal`).
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tracetw import extras
from tracetw.event.record import PATH_MAX
from tracetw.recording.columns import Column, columns, rows

__all__ = ["Part", "Seal", "read", "write"]

Rows = NDArray[np.void]

_LEVEL = 3  # more costs three times the CPU for 2 % less
_LENGTH = struct.Struct("<I")
_MAGIC = b"PAR1"
_CHUNK = 1 << 20
# What dictionaries are bad at: values that hardly ever come again. Split into first bytes, second
# bytes and so on, what is random stays and the rest vanishes.
_SPLIT = frozenset(
    {
        "age",
        "bytes_received",
        "bytes_sent",
        "inode",
        "lport",
        "rcv_nxt",
        "rport",
        "seq",
        "snd_wnd",
        "unacked",
        "unread",
        "unsent",
        "write_seq",
        *(f"step_{place}" for place in range(PATH_MAX)),
    }
)
_DELTA = frozenset({"at", "at_end"})


@dataclass(frozen=True, slots=True)
class Part:
    """A row group: ``length`` bytes from where the part before it ends, with their CRC-32."""

    rows: int
    length: int
    crc: int


@dataclass(frozen=True, slots=True)
class Seal:
    """What a segment knows of one of its Parquet files.

    Attributes:
        kind: ``closes`` or ``events``.
        file: its name, in the folder of the segment.
        parts: in order; together with the footer they are the whole file.
        footer: the bytes from the last part to the end of the file.
    """

    kind: str
    file: str
    parts: tuple[Part, ...]
    footer: bytes

    def pack(self) -> bytes:
        """As a payload."""
        values = {**asdict(self), "footer": None}
        text = json.dumps(values, separators=(",", ":")).encode()
        return _LENGTH.pack(len(text)) + text + self.footer

    @classmethod
    def unpack(cls, data: bytes) -> Seal:
        """From a payload."""
        (length,) = _LENGTH.unpack_from(data)
        begin = _LENGTH.size + length
        values = json.loads(data[_LENGTH.size : begin])
        parts = tuple(Part(**part) for part in values["parts"])
        return cls(values["kind"], values["file"], parts, data[begin:])

    def offsets(self) -> Iterator[int]:
        """Where each part begins, and where the footer does."""
        offset = 0
        for part in self.parts:
            yield offset
            offset += part.length
        yield offset

    def whole_parts(self, file: BinaryIO) -> int:
        """How many parts, from the first one on, are what was written."""
        file.seek(0)
        for number, part in enumerate(self.parts):
            if _crc(file, part.length) != part.crc:
                return number
        return len(self.parts)


def write(path: Path, kind: str, batches: Iterable[Rows]) -> Seal:
    """Write one row group a batch, through to the disk.

    Raises OSError, and CannotTrace without pyarrow.
    """
    arrow, parquet = _arrow()
    writer = None
    counts = []
    for batch in batches:
        table = arrow.table({name: _array(column) for name, column in columns(batch).items()})
        if writer is None:
            names = table.column_names
            encodings = dict.fromkeys(_SPLIT & {*names}, "BYTE_STREAM_SPLIT")
            encodings |= dict.fromkeys(_DELTA & {*names}, "DELTA_BINARY_PACKED")
            writer = parquet.ParquetWriter(
                path,
                table.schema,
                compression="zstd",
                compression_level=_LEVEL,
                use_dictionary=[name for name in names if name not in encodings],
                column_encoding=encodings,
                write_statistics=[name for name in names if name in _DELTA],
                store_schema=False,
            )
        writer.write_table(table, row_group_size=len(batch))
        counts.append(len(batch))
    if writer is None:
        raise ValueError("no rows")
    writer.close()
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return _seal(file, path.name, kind, parquet.read_metadata(path), counts)


def read(file: BinaryIO, seal: Seal, part: int, dtype: np.dtype[np.void]) -> Rows:
    """The rows of one part, which must be whole; the rest of the file need not even be there."""
    arrow, parquet = _arrow()
    footer = arrow.BufferReader(_MAGIC + seal.footer)
    source = parquet.ParquetFile(
        file, metadata=parquet.read_metadata(footer), page_checksum_verification=False
    )
    table = source.read_row_group(part, use_threads=False).combine_chunks()
    return rows({name: _column(table.column(name)) for name in table.column_names}, dtype)


def _arrow() -> tuple[Any, Any]:
    what = "a compacted recording"
    return tuple(extras.load(name, "recording", what) for name in ("pyarrow", "pyarrow.parquet"))


def _array(column: Column) -> Any:  # noqa: ANN401  pyarrow has no types
    arrow, _ = _arrow()
    data = np.ma.getdata(column)
    if data.dtype.kind == "V":
        size = arrow.binary(data.dtype.itemsize)
        return arrow.FixedSizeBinaryArray.from_buffers(
            size, len(data), [None, arrow.py_buffer(data.tobytes())]
        )
    mask = np.ma.getmaskarray(column) if isinstance(column, np.ma.MaskedArray) else None
    return arrow.array(data, mask=mask)


def _column(chunked: Any) -> Column:  # noqa: ANN401
    arrow, _ = _arrow()
    array = chunked.combine_chunks()
    if isinstance(array, arrow.ChunkedArray):
        array = array.chunk(0)
    if arrow.types.is_fixed_size_binary(array.type):
        width = array.type.byte_width
        data = np.frombuffer(array.buffers()[1], f"V{width}")
        return data[array.offset : array.offset + len(array)]
    if array.null_count:
        known = array.is_valid().to_numpy(zero_copy_only=False)
        values = array.fill_null(0).to_numpy(zero_copy_only=False)
        return np.ma.masked_array(values, ~known)
    values = array.to_numpy(zero_copy_only=False)
    return values if isinstance(values, np.ndarray) else np.asarray(values)


def _seal(file: BinaryIO, name: str, kind: str, metadata: Any, counts: list[int]) -> Seal:  # noqa: ANN401
    starts = [0]
    for number in range(1, metadata.num_row_groups):
        column = metadata.row_group(number).column(0)
        starts.append(min(filter(None, (column.dictionary_page_offset, column.data_page_offset))))
    size = file.seek(0, os.SEEK_END)
    file.seek(size - len(_MAGIC) - _LENGTH.size)
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    end = size - len(_MAGIC) - _LENGTH.size - length
    file.seek(0)
    parts = []
    for rows_, start, stop in zip(counts, starts, [*starts[1:], end], strict=True):
        parts.append(Part(rows_, stop - start, _crc(file, stop - start)))
    return Seal(kind, name, tuple(parts), file.read())


def _crc(file: BinaryIO, length: int) -> int:
    """CRC-32 of the next bytes; -1 when there are fewer."""
    crc = 0
    while length:
        data = file.read(min(length, _CHUNK))
        if not data:
            return -1
        crc = zlib.crc32(data, crc)
        length -= len(data)
    return crc
