# SPDX-License-Identifier: Apache-2.0
"""``tracetw query``: SQL over recordings."""

from __future__ import annotations

import os
import sys

import click

from tracetw.cli.options import output_option
from tracetw.cli.progress import progress
from tracetw.errors import BadInput

__all__ = ["command"]

_FORM = "as in: tracetw query rec 'SELECT count(*) FROM closes'"


@click.command("query", short_help="Ask recordings in SQL.")
@click.argument("words", metavar="PATH... SQL", nargs=-1, type=click.Path())
@output_option(
    "A table, JSON lines, CSV, or a Parquet file on standard output.",
    *("table", "json", "csv", "parquet"),
)
def command(words: tuple[str, ...], output: str) -> None:
    """Answer SQL over recordings, with DuckDB.

    The first query of a recording judges every connection by the rules of today and keeps the
    result as Parquet beside it; the next ones only read that. Times are UTC.

    \b
    Views:
      closes      one row for each connection: decoded, with verdict, form, closed_by, ...
      timewait    TIME_WAIT events, if recorded         drops     segments refused, if recorded
      retransmits retransmissions, if recorded          counters  the kernel's own, every 10 s
      sysctls     teardown settings over time

    \b
    Examples:
      tracetw query rec "SELECT verdict, count(*) AS n FROM closes GROUP BY 1 ORDER BY 2 DESC"
      tracetw query rec "DESCRIBE closes"
      tracetw query rec -o csv "SELECT remote_addr, count(*) FROM closes WHERE abnormal GROUP BY 1"
    """
    paths, sql = _split(words)
    if output == "parquet" and sys.stdout.isatty():
        raise BadInput("standard output is no place for it", "send it to a file: > result.parquet")
    from tracetw.query.run import FORMATS, query  # noqa: PLC0415 (loads NumPy)

    with progress():
        result = query(paths, sql)
    sys.stdout.buffer.write(FORMATS[output](result))
    sys.stdout.buffer.flush()


def _split(words: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The recordings and the statement. Raises BadInput for what is missing."""
    if not words:
        raise BadInput("no recording and no SQL given", _FORM)
    *paths, sql = words
    if not sql.strip() or os.path.lexists(sql):
        raise BadInput(f"no SQL given after {' '.join(words)}", _FORM)
    if not paths:
        raise BadInput(f"no recording named before the SQL {sql!r}", _FORM)
    return tuple(paths), sql
