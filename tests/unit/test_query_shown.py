# SPDX-License-Identifier: Apache-2.0
"""Results of queries: every type of value stays in its cell."""

from __future__ import annotations

import pytest

from tracetw.query.shown import made_safe, table
from tracetw.text import csv_text

pa = pytest.importorskip("pyarrow")


def test_every_type_of_result_is_text_that_stays_in_its_cell() -> None:
    columns = {
        "=name\x1b": pa.array(["a\nb", None]),
        "words": pa.array(["=1", "\x1b"]).dictionary_encode(),
        "list": pa.array([["\u202e"], None]),
        "pair": pa.array([{"a": "\r"}, None]),
        "bytes": pa.array([b"\xff\n", None]),
        "number": pa.array([-1, None]),
        "like a number": pa.array(["1e5", "-7"]),
    }
    result = pa.table(columns)
    for whole in (result, result.to_batches()[0], result.slice(0, 0), pa.table({})):
        safe = made_safe(whole, csv_text)
        assert safe.num_rows == whole.num_rows
        assert safe.num_columns == len(whole.schema)
    safe = made_safe(result, csv_text)
    assert safe.column_names[0] == r"'=name\x1b"
    assert [column[0].as_py() for column in safe.columns] == [
        r"a\nb",
        "'=1",
        '["\\u202e"]',
        r'{"a":"\r"}',
        r"\xff\n",
        -1,
        "1e5",
    ]
    assert [column[1].as_py() for column in safe.columns] == [None, r"\x1b", *[None] * 4, "'-7"]
    assert table(result).splitlines()[2].split()[-2:] == ["-1", "1e5"]
    assert table(pa.table({"empty": pa.array([], pa.string())}))
