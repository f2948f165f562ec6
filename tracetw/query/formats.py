# SPDX-License-Identifier: Apache-2.0
"""Results of SQL as a table, JSON lines, CSV or Parquet: batch after batch, in constant memory.

DuckDB has more types than any of these. So a statement around the user's casts every column to a
type that the format has: nested values to JSON, everything else to text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from tracetw.query.shown import made_safe, text_columns
from tracetw.text import csv_text, json_line, visible

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["FORMATS", "written"]

_BATCH = 8192
_INTEGERS = frozenset(
    f"{sign}{name}" for sign in ("", "u") for name in ("tinyint", "smallint", "integer", "bigint")
)
_FLOATS = frozenset({"float", "double"})
_TEXT = frozenset({"varchar", "enum"})
_PLAIN = _INTEGERS | _FLOATS | _TEXT | {"boolean"}
_EXACT = frozenset({"hugeint", "uhugeint", "decimal"})
_NESTED = frozenset({"list", "array", "struct", "map", "union"})
_TIMES = frozenset({"date", "timestamp", "timestamp with time zone", "time"})


class ResultWriter(Protocol):
    """Writes a result whose columns are of types that it asked for."""

    def write(self, batch: pa.RecordBatch) -> None:
        """One batch."""

    def close(self) -> None:
        """There are no more."""


@dataclass(frozen=True, slots=True)
class _Format:
    """``cast`` gives the expression that casts a column: from its place and its type."""

    cast: Callable[[str, str], str]
    writer: Callable[[BinaryIO, pa.Schema, Sequence[str]], ResultWriter]


def written(relation: duckdb.DuckDBPyRelation, form: str, out: BinaryIO) -> None:
    """Write all of a result. Raises duckdb.Error and OSError."""
    chosen = FORMATS[form]
    types = [str(type_) for type_ in relation.types]
    columns = []
    for place, (name, type_) in enumerate(zip(relation.columns, relation.types, strict=True), 1):
        quoted = name.replace('"', '""')
        columns.append(f'{chosen.cast(f"#{place}", _kind(type_))} AS "{quoted}"')
    reader = _reader(relation.project(", ".join(columns)))
    writer = chosen.writer(out, reader.schema, types)
    for batch in reader:
        writer.write(batch)
    writer.close()


def _kind(type_: Any) -> str:  # noqa: ANN401  differs between versions of DuckDB
    """``integer``, ``list``, ``json``."""
    return "json" if str(type_) == "JSON" else str(type_.id).lower()


def _reader(relation: Any) -> Any:  # noqa: ANN401  has had several names
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    return read(_BATCH)


def _as_text(place: str, kind: str) -> str:
    return place if kind in _PLAIN else f"{place}::VARCHAR"


def _as_json(place: str, kind: str) -> str:
    if kind in _NESTED:
        return f"to_json({place})::VARCHAR"
    return place if kind in _PLAIN | _EXACT else f"{place}::VARCHAR"


def _as_parquet(place: str, kind: str) -> str:
    if kind in _NESTED - {"union"}:
        return place
    return place if kind in _PLAIN | _EXACT | _TIMES | {"blob"} else f"{place}::VARCHAR"


class _Table:
    """Blocks of rows, each with its head: a result may be longer than memory."""

    def __init__(self, out: BinaryIO, schema: pa.Schema, _types: Sequence[str]) -> None:
        self._out = out
        self._schema = schema
        self._blocks = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._block(made_safe(batch, visible))

    def close(self) -> None:
        if not self._blocks:
            self._block(made_safe(self._schema.empty_table(), visible))

    def _block(self, shown: pa.Table) -> None:
        from tabulate import tabulate  # noqa: PLC0415 (only one of the formats is needed)

        rows = [*zip(*(column.to_pylist() for column in shown.columns), strict=True)]
        text = tabulate(
            rows,
            shown.column_names,
            "simple",
            disable_numparse=text_columns(shown) if rows else True,
            missingval="-",
            floatfmt=".3f",
        )
        gap = "\n" if self._blocks else ""
        self._out.write(f"{gap}{text}\n".encode())
        self._blocks += 1


class _Json:
    """One object a line. Strict: NaN and infinity are null, every name is there once."""

    def __init__(self, out: BinaryIO, schema: pa.Schema, types: Sequence[str]) -> None:
        self._out = out
        self._names = [*_different(schema.names)]
        self._values = [_value_of(type_) for type_ in types]

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [
            column.to_pylist() if value is None else map(value, column.to_pylist())
            for column, value in zip(batch.columns, self._values, strict=True)
        ]
        rows = (dict(zip(self._names, row, strict=True)) for row in zip(*columns, strict=True))
        self._out.write("".join(f"{json_line(row)}\n" for row in rows).encode())

    def close(self) -> None:
        pass


class _Csv:
    """RFC 4180 with a head; null is nothing."""

    def __init__(self, out: BinaryIO, schema: pa.Schema, _types: Sequence[str]) -> None:
        from pyarrow import csv  # noqa: PLC0415

        self._writer = csv.CSVWriter(out, made_safe(schema.empty_table(), csv_text).schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_table(made_safe(batch, csv_text))

    def close(self) -> None:
        self._writer.close()


class _Parquet:
    """A Parquet file, also into a pipe."""

    def __init__(self, out: BinaryIO, schema: pa.Schema, _types: Sequence[str]) -> None:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        self._sink = pa.PythonFile(_Counted(out), mode="w")
        self._writer = pq.ParquetWriter(self._sink, schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class _Counted:
    """A file that need not know where it is: a pipe does not."""

    closed = False

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._at = 0

    def write(self, data: bytes) -> int:
        self._at += len(data)
        return self._out.write(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        """It is not ours to close."""


def _value_of(type_: str) -> Callable[[Any], Any] | None:
    """From what Arrow gives to what JSON has; None where they are the same."""
    name = type_.partition("(")[0].lower()
    if name in _FLOATS:
        return _finite
    if name in _EXACT:
        return _number
    if type_ == "JSON" or type_.endswith("]") or name in {"struct", "map", "union"}:
        return _parsed
    return None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: Decimal | None) -> float | int | str | None:
    """A number where JSON has that number exactly, else its digits."""
    if value is None:
        return None
    if value == value.to_integral_value():
        return int(value)
    near = float(value)
    return near if Decimal(repr(near)) == value else str(value)


def _parsed(text: str | None) -> Any:  # noqa: ANN401  JSON
    if text is None:
        return None
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return text


def _different(names: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        number, unique = 1, name
        while unique in seen:
            unique, number = f"{name}_{number}", number + 1
        seen.add(unique)
        yield unique


FORMATS: Mapping[str, _Format] = {
    "table": _Format(_as_text, _Table),
    "json": _Format(_as_json, _Json),
    "csv": _Format(_as_text, _Csv),
    "parquet": _Format(_as_parquet, _Parquet),
}
"""By name."""
