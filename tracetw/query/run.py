# SPDX-License-Identifier: Apache-2.0
"""One SQL statement over recordings, by a DuckDB that can do nothing else.

It sees the views and no other file, writes none but what does not fit into its memory, loads no
extension, opens no connection to anywhere, and no statement can change its configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from tracetw import extras
from tracetw.errors import BadInput, Failed
from tracetw.query.views import VIEWS

if TYPE_CHECKING:
    import duckdb

_MEMORY = "256MiB"
_DISK = "8GiB"
_MOST_THREADS = 4
_EXPLAIN = re.compile(r"\s*EXPLAIN\b(\s*ANALYZE\b)?(\s*\([^()]*\))?", re.IGNORECASE)
_QUERIES = frozenset({"SELECT", "MULTI"})  # MULTI: PIVOT, which first asks for its columns
_LONGEST = 500


def query(
    paths: Sequence[str],
    sql: str,
    form: str,
    out: Callable[[], BinaryIO],
    say: Callable[[str], None],
) -> None:
    """Write the result of one statement over the recordings in ``paths``.

    Args:
        paths: as of ``open_recordings``.
        sql: one SELECT, or what is one in DuckDB: FROM, DESCRIBE, SUMMARIZE, PIVOT, EXPLAIN.
        form: name in ``formats.FORMATS``.
        out: gives the file to write to; called when there is a result.
        say: takes one line for the user on each place where a recording is not whole.

    Raises BadInput for a statement that is refused, Failed when it takes too much, CannotTrace when
    duckdb or pyarrow is not installed, and as ``open_recordings``.
    """
    engine = extras.load("duckdb", "query", "query")
    extras.load("pyarrow", "query", "query")
    from tracetw.query.formats import written  # noqa: PLC0415 (needs pyarrow)
    from tracetw.query.index import judged_files  # noqa: PLC0415
    from tracetw.query.place import place  # noqa: PLC0415

    with place() as (kept, short_lived):
        files, damage = judged_files(paths, kept)
        for line in damage:
            say(line)
        with _connection(short_lived) as connection:
            try:
                _make_views(connection, files)
                relation = _asked(connection, sql)
                written(relation, form, out())
            except engine.Error as error:
                raise _refused(error) from error


def _connection(short_lived: Path) -> duckdb.DuckDBPyConnection:
    import duckdb  # noqa: PLC0415

    return duckdb.connect(
        config={
            "allow_community_extensions": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "max_temp_directory_size": _DISK,
            "memory_limit": _MEMORY,
            "python_enable_replacements": "false",
            "temp_directory": str(short_lived),
            "threads": str(min(_MOST_THREADS, os.cpu_count() or 1)),
        }
    )


def _make_views(connection: duckdb.DuckDBPyConnection, files: Sequence[Mapping[str, Path]]) -> None:
    """The views, and then the door is shut."""
    for view in VIEWS:
        mine = f"read_parquet({_list(each[view.table] for each in files)})"
        definition = view.definition.replace("{table}", mine)
        connection.execute(f"CREATE VIEW {view.name} AS {definition}")
    every = _list(file for each in files for file in each.values())
    connection.execute(f"SET allowed_paths = {every}")
    connection.execute("SET enable_progress_bar = false")  # it would go to standard output
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _list(files: object) -> str:
    quoted = ["'" + str(file).replace("'", "''") + "'" for file in cast("Sequence[Path]", files)]
    return f"[{', '.join(quoted)}]"


def _asked(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """The statement, if it is one that only asks. Raises BadInput and duckdb.Error."""
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise BadInput("the SQL is not UTF-8", "give it as UTF-8") from None
    kinds = _kinds(connection, sql)
    if kinds == ["EXPLAIN"] and (head := _EXPLAIN.match(sql)):
        kinds = _kinds(connection, sql[head.end() :])
    if len(kinds) != 1:
        said = "there is no statement" if not kinds else f"there are {len(kinds)} statements"
        raise BadInput(f"{said} in the SQL", "give one, such as SELECT count(*) FROM closes")
    if kinds[0] not in _QUERIES:
        raise BadInput(
            f"query only asks: {kinds[0]} is refused",
            "give a SELECT; --to FILE writes its result to a file",
        )
    # A statement without a result gives None, which its types do not say.
    relation = cast("duckdb.DuckDBPyRelation | None", connection.sql(sql))
    if relation is None:
        raise BadInput("the statement has no result", "give a SELECT")
    return relation


def _kinds(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    return [statement.type.name for statement in connection.extract_statements(sql)]


def _refused(error: Exception) -> BadInput | Failed:
    """DuckDB's message in one line."""
    import duckdb  # noqa: PLC0415

    message = " ".join(str(error).split("\n\n")[0].split())
    message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
    if isinstance(error, (duckdb.OutOfMemoryException, duckdb.IOException)):
        return Failed(f"the query takes too much: {message}", "ask for less at a time")
    if isinstance(error, (duckdb.InternalException, duckdb.FatalException)):
        return Failed(f"DuckDB failed: {message}", "ask in another way, or update duckdb")
    if isinstance(error, duckdb.PermissionException):
        return BadInput(f"query reads recordings only: {message}", f"{_THE_VIEWS}")
    return BadInput(f"the query failed: {message}", _THE_VIEWS)


_THE_VIEWS = f"the views are {', '.join(view.name for view in VIEWS)}"
