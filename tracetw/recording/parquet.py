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
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np

from tracetw import extras
from tracetw.errors import CannotTrace
from tracetw.event.fields import Rows
from tracetw.event.record import PATH_MAX
from tracetw.recording.columns import Column, columns, rows
from tracetw.recording.schema import Invalid, SealDocument, decode
from tracetw.recording.wall import walled

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
# Rows that are all the same take a sixth of a byte each; what says it takes less is made to explode.
_MOST_ROWS_A_BYTE = 8
# A column may grow by this much when it is decompressed, and all of a row group by this much.
_ROW_BYTES = 64
_MORE_BYTES = 1 << 20
_WALL_BYTES = 256 << 20
_THRIFT = {"thrift_string_size_limit": 1 << 20, "thrift_container_size_limit": 1 << 18}
_CODECS = frozenset({"ZSTD", "UNCOMPRESSED"})


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
        """From a payload. Raises Invalid."""
        if len(data) < _LENGTH.size:
            raise Invalid("it is too short")
        (length,) = _LENGTH.unpack_from(data)
        begin = _LENGTH.size + length
        seal = decode(data[_LENGTH.size : begin], SealDocument)
        parts = tuple(Part(part.rows, part.length, part.crc) for part in seal.parts)
        if any(part.rows > part.length * _MOST_ROWS_A_BYTE for part in parts):
            raise Invalid("it has more rows than its bytes can hold")
        return cls(seal.kind, seal.file, parts, data[begin:])

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


def write(file: BinaryIO, name: str, kind: str, batches: Iterable[Rows]) -> Seal:
    """Write one row group a batch, through to the disk.

    Args:
        file: new, for reading and writing.
        name: that it will have.
        kind: of the rows.
        batches: at least one.

    Raises OSError, and CannotTrace without pyarrow.
    """
    counts = _write(file, batches)
    if not counts:
        raise ValueError("no rows")
    file.flush()
    os.fsync(file.fileno())
    _, parquet = _arrow()
    file.seek(0)
    return _seal(file, name, kind, parquet.read_metadata(file), counts)


def _write(file: BinaryIO, batches: Iterable[Rows]) -> list[int]:
    """Row groups; how many rows each has."""
    arrow, _ = _arrow()
    writer = None
    counts = []
    try:
        for batch in batches:
            table = arrow.table({name: _array(column) for name, column in columns(batch).items()})
            writer = writer or _writer(file, table)
            writer.write_table(table, row_group_size=len(batch))
            counts.append(len(batch))
        if writer is not None:
            writer.close()
    except BaseException:
        if writer is not None:
            writer.is_open = False  # or it would try once more when it is collected
        raise
    return counts


def _writer(file: BinaryIO, table: Any) -> Any:  # noqa: ANN401  pyarrow has no types
    _, parquet = _arrow()
    names = table.column_names
    encodings = dict.fromkeys(_SPLIT & {*names}, "BYTE_STREAM_SPLIT")
    encodings |= dict.fromkeys(_DELTA & {*names}, "DELTA_BINARY_PACKED")
    return parquet.ParquetWriter(
        file,
        table.schema,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=[name for name in names if name not in encodings],
        column_encoding=encodings,
        write_statistics=[name for name in names if name in _DELTA],
        store_schema=False,
    )


def check(seal: Seal, dtype: np.dtype[np.void]) -> None:
    """Raises Invalid unless the footer describes what ``write`` writes, in sizes that fit.

    Without pyarrow nobody can read it, so it checks nothing.
    """
    try:
        arrow, parquet = _arrow()
    except CannotTrace:
        return
    with _invalid(arrow), walled(_WALL_BYTES):
        metadata = _metadata(arrow, parquet, seal)
        one = columns(np.zeros(1, dtype))
        ours = arrow.schema([(name, _array(column).type) for name, column in one.items()])
        if not metadata.schema.to_arrow_schema().equals(ours):
            raise Invalid("the columns in its footer are not those of its rows")
        if metadata.num_row_groups != len(seal.parts):
            raise Invalid("its footer has other row groups than its segment")
        for number, (part, begin) in enumerate(zip(seal.parts, seal.offsets(), strict=False)):
            _check_group(metadata.row_group(number), part, begin)


def _check_group(group: Any, part: Part, begin: int) -> None:  # noqa: ANN401  pyarrow has no types
    if group.num_rows != part.rows:
        raise Invalid("a row group has other rows than its segment says")
    for number in range(group.num_columns):
        column = group.column(number)
        first = min(
            filter(None, (column.dictionary_page_offset, column.data_page_offset)), default=0
        )
        size = column.total_compressed_size
        if not (
            begin <= first
            and 0 <= size <= part.length
            and first + size <= begin + part.length
            and 0 <= column.total_uncompressed_size <= part.rows * _ROW_BYTES + _MORE_BYTES
            and column.num_values == part.rows
            and column.compression in _CODECS
        ):
            raise Invalid("a column does not lie in its row group, or is too large for it")


def read(file: BinaryIO, seal: Seal, part: int, dtype: np.dtype[np.void]) -> Rows:
    """The rows of one part, which must be whole; the rest of the file need not even be there.

    Raises Invalid for what decompresses to something else or to too much, CannotTrace without
    pyarrow. The footer must have been checked.
    """
    arrow, parquet = _arrow()
    with _invalid(arrow), walled(_WALL_BYTES):
        source = parquet.ParquetFile(
            file,
            metadata=_metadata(arrow, parquet, seal),
            pre_buffer=False,
            page_checksum_verification=False,
            **_THRIFT,
        )
        table = source.read_row_group(part, use_threads=False).combine_chunks()
        if table.num_rows != seal.parts[part].rows:
            raise Invalid("a row group has other rows than its segment says")
        return rows({name: _column(table.column(name)) for name in table.column_names}, dtype)


def _metadata(arrow: Any, parquet: Any, seal: Seal) -> Any:  # noqa: ANN401
    footer = arrow.BufferReader(_MAGIC + seal.footer)
    return parquet.ParquetFile(footer, **_THRIFT).metadata


@contextmanager
def _invalid(arrow: Any) -> Iterator[None]:  # noqa: ANN401
    """Whatever pyarrow says of bytes that are no Parquet becomes one plain line."""
    try:
        yield
    except Invalid:
        raise
    except MemoryError as error:
        raise Invalid("it takes more memory than its rows can need") from error
    except (arrow.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise Invalid(f"it is no Parquet of tracetw: {ascii(said)[1:-1][:160]}") from error


def _arrow() -> tuple[Any, Any]:
    what = "a compacted recording"
    arrow = extras.load("pyarrow", "recording", what)
    parquet = extras.load("pyarrow.parquet", "recording", what)
    # What malloc(3) cannot get is an error; the allocators of pyarrow warn on stderr first.
    arrow.set_memory_pool(arrow.system_memory_pool())
    return arrow, parquet


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
        if array.null_count:
            raise Invalid("a value is missing")
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
