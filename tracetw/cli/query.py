# SPDX-License-Identifier: Apache-2.0
"""``tracetw query``: SQL over recordings."""

from __future__ import annotations

import sys

import click

from tracetw import extras
from tracetw.cli.needs import need
from tracetw.errors import BadInput

__all__ = ["command"]


@click.command("query", short_help="Ask recordings in SQL.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.argument("sql", metavar="SQL")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table",
    show_default=True,
    help="A table, JSON lines, CSV, or a Parquet file on standard output.",
)
def command(paths: tuple[str, ...], sql: str, output: str) -> None:
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
    if sys.stdout is None or (output == "parquet" and sys.stdout.isatty()):
        raise BadInput("standard output is no place for it", "send it to a file: > result.parquet")
    if extras.missing("query"):
        from tracetw.recording.reader import open_recordings  # noqa: PLC0415 (loads NumPy)

        open_recordings(paths)  # which are no recordings is said before anything is installed
        need("query", "query")
    from tracetw.query.run import FORMATS, query  # noqa: PLC0415 (loads NumPy)

    result = query(paths, sql)
    sys.stdout.buffer.write(FORMATS[output](result))
    sys.stdout.buffer.flush()
