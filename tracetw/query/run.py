# SPDX-License-Identifier: Apache-2.0
"""One SQL statement over recordings."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tracetw.errors import BadInput, CannotTrace
from tracetw.query.shown import json_row, made_safe, table
from tracetw.text import csv_text

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["FORMATS", "query"]

_MISSING = "install it with: pip install 'tracetw[recording]'"
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
    try:
        import duckdb  # noqa: PLC0415 (optional)
        import pyarrow as pa  # noqa: PLC0415
    except ImportError as error:
        raise CannotTrace(f"query needs {error.name}, which is not installed", _MISSING) from error
    from tracetw.query.index import judged_files  # noqa: PLC0415 (needs pyarrow)

    files = judged_files(paths)
    # Nothing is fetched from a network: an extension that is not here is an error.
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    with connection:
        _make_views(connection, files)
        try:
            # A statement without a result gives None, which its types do not say.
            relation = cast("duckdb.DuckDBPyRelation | None", connection.sql(sql))
            return pa.table({}) if relation is None else relation.to_arrow_table()
        except duckdb.Error as error:
            message = " ".join(str(error).split("\n\n")[0].split())
            raise BadInput(
                f"the query failed: {message}", f"the views are {', '.join(_VIEWS)}"
            ) from error


def _make_views(connection: duckdb.DuckDBPyConnection, files: Sequence[Mapping[str, Path]]) -> None:
    for view, (cached, definition) in _VIEWS.items():
        quoted = ["'" + str(each[cached]).replace("'", "''") + "'" for each in files]
        connection.execute(
            f"CREATE VIEW {view} AS " + definition.replace("{files}", f"[{', '.join(quoted)}]")
        )


def _as_table(result: pa.Table) -> bytes:
    return f"{table(result)}\n".encode()


def _as_json(result: pa.Table) -> bytes:
    lines = map(json_row, result.to_pylist())
    return "".join(f"{line}\n" for line in lines).encode()


def _as_csv(result: pa.Table) -> bytes:
    from pyarrow import csv  # noqa: PLC0415

    out = io.BytesIO()
    csv.write_csv(made_safe(result, csv_text), out)
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
