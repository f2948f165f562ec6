# SPDX-License-Identifier: Apache-2.0
"""Results of a query as rows of text: what names hold cannot leave its cell.

Numbers, times and truth values stay what they are. Texts go through a function of ``tracetw.text``;
lists and structures become JSON first.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from tracetw.text import decoded, json_line, visible

if TYPE_CHECKING:
    import pyarrow as pa


def made_safe(result: pa.Table | pa.RecordBatch, text: Callable[[str], str]) -> pa.Table:
    """The same as a table, with ``text`` applied to every text and to the names of the columns.

    Each different text of a column is made once.
    """
    import pyarrow as pa  # noqa: PLC0415 (optional)

    whole = pa.Table.from_batches([result]) if isinstance(result, pa.RecordBatch) else result
    columns = [_column(column, text) for column in whole.columns]
    return pa.table(columns, names=[text(name) for name in result.column_names])


def table(result: pa.Table) -> str:
    """A table for people; a text that looks like a number stays as it is."""
    from tabulate import tabulate  # noqa: PLC0415 (only this format needs it)

    shown = made_safe(result, visible)
    columns = [[_number(value) for value in column.to_pylist()] for column in shown.columns]
    rows = [*zip(*columns, strict=True)]
    texts = text_columns(shown)
    return tabulate(
        rows,
        shown.column_names,
        "simple",
        disable_numparse=texts if rows else True,
        missingval="-",
        floatfmt=".3f",
    )


def text_columns(result: pa.Table) -> list[int]:
    """Places of the columns whose values are texts, also where one looks like a number."""
    return [at for at, field in enumerate(result.schema) if _is_text(field.type)]


def _number(value: object) -> object:
    """A sum of integers comes as a decimal without digits behind the point."""
    whole = isinstance(value, Decimal) and value.is_finite() and value.as_tuple().exponent == 0
    return int(value) if isinstance(value, Decimal) and whole else value


def _column(column: pa.ChunkedArray, text: Callable[[str], str]) -> pa.ChunkedArray:
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        # As bytes: a file may say that something is UTF-8 which is not.
        encoded = column.cast(pa.large_string()).cast(pa.large_binary()).dictionary_encode()
        chunks = [
            pa.array([text(decoded(each)) for each in chunk.dictionary.to_pylist()], pa.string())
            .take(chunk.indices)
            .cast(pa.string())
            for chunk in encoded.chunks
        ]
        return pa.chunked_array(chunks, pa.string())
    if _is_plain(column.type):
        return column
    values = [None if one is None else text(_text(one)) for one in column.to_pylist()]
    return pa.chunked_array([pa.array(values, pa.string())])


def _is_text(kind: pa.DataType) -> bool:
    from pyarrow import types  # noqa: PLC0415

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_plain(kind: pa.DataType) -> bool:
    from pyarrow import types  # noqa: PLC0415

    tests = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_decimal,
        types.is_date,
        types.is_time,
        types.is_timestamp,
        types.is_null,
    )
    return any(test(kind) for test in tests)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return decoded(value)
    return json_line(value, _plain) if isinstance(value, (list, dict, tuple)) else str(value)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return decoded(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)
