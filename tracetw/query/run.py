# SPDX-License-Identifier: Apache-2.0
"""One SQL statement over recordings."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tracetw import extras
from tracetw.errors import BadInput

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["FORMATS", "query"]

_EVENTS = "SELECT * EXCLUDE (kind, state, to_state, backoff, rto_ms) FROM read_parquet({files}) WHERE kind = '{kind}'"
_VIEWS = {
    "closes": ("closes", "SELECT * FROM read_parquet({files})"),
    "timewait": ("events", _EVENTS.replace("{kind}", "timewait").replace(", reason", "")),
    "drops": ("events", _EVENTS.replace("{kind}", "drop")),
    "retransmits": (
        "events",
        (
            "SELECT * EXCLUDE (kind, to_state, reason, age_ms) RENAME (event AS what)"
            " FROM read_parquet({files}) WHERE kind = 'retransmit'"
        ),
    ),
    "counters": ("counters", "SELECT * FROM read_parquet({files})"),
    "sysctls": ("sysctls", "SELECT * FROM read_parquet({files})"),
}
"""View to cached table and its definition."""


def query(paths: Sequence[str], sql: str) -> pa.Table:
    """The result of one statement over the recordings in ``paths``.

    Raises BadInput for a statement that DuckDB refuses, CannotTrace when duckdb or pyarrow is not
    installed, and as ``open_recordings``.
    """
    engine = extras.load("duckdb", "query", "query")
    pa = extras.load("pyarrow", "query", "query")
    from tracetw.query.index import judged_files  # noqa: PLC0415 (needs pyarrow)

    files = judged_files(paths)
    # Nothing is fetched from a network: an extension that is not here is an error.
    connection = engine.connect(config={"autoinstall_known_extensions": "false"})
    with connection:
        _make_views(connection, files)
        try:
            # A statement without a result gives None, which its types do not say.
            relation = cast("duckdb.DuckDBPyRelation | None", connection.sql(sql))
            return pa.table({}) if relation is None else relation.to_arrow_table()
        except engine.Error as error:
            message = " ".join(str(error).split("\n\n")[0].split())
            raise BadInput(
                f"the query failed: {message}", f"the views are {', '.join(_VIEWS)}"
            ) from error


def _make_views(connection: duckdb.DuckDBPyConnection, files: Sequence[Mapping[str, Path]]) -> None:
    for view, (table, definition) in _VIEWS.items():
        quoted = ["'" + str(each[table]).replace("'", "''") + "'" for each in files]
        connection.execute(
            f"CREATE VIEW {view} AS " + definition.replace("{files}", f"[{', '.join(quoted)}]")
        )


def _as_table(result: pa.Table) -> bytes:
    from tabulate import tabulate  # noqa: PLC0415 (only one of the formats is needed)

    rows = [list(row.values()) for row in result.to_pylist()]
    heads = result.column_names
    text = tabulate(rows, heads, "simple", disable_numparse=[], missingval="-", floatfmt=".3f")
    return f"{text}\n".encode()


def _as_json(result: pa.Table) -> bytes:
    lines = (json.dumps(row, ensure_ascii=False, default=str) for row in result.to_pylist())
    return "".join(f"{line}\n" for line in lines).encode()


def _as_csv(result: pa.Table) -> bytes:
    from pyarrow import csv  # noqa: PLC0415

    out = io.BytesIO()
    csv.write_csv(result, out)
    return out.getvalue()


def _as_parquet(result: pa.Table) -> bytes:
    import pyarrow.parquet as pq  # noqa: PLC0415

    out = io.BytesIO()
    pq.write_table(result, out, compression="zstd")
    return out.getvalue()


FORMATS: Mapping[str, Callable[[pa.Table], bytes]] = {
    "table": _as_table,
    "json": _as_json,
    "csv": _as_csv,
    "parquet": _as_parquet,
}
"""Name to what makes the bytes of a result."""
