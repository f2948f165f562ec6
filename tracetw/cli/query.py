# SPDX-License-Identifier: Apache-2.0
"""``tracetw query``: SQL over recordings."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

import click

from tracetw import extras
from tracetw.cli.needs import need
from tracetw.cli.options import output_option
from tracetw.cli.progress import progress
from tracetw.errors import BadInput
from tracetw.messages import say

_FORM = "as in: tracetw query rec 'SELECT count(*) FROM closes'"


@click.command("query", short_help="Ask recordings in SQL.")
@click.argument("words", metavar="PATH... SQL", nargs=-1, type=click.Path())
@output_option("A table, JSON lines, CSV, or a Parquet file.", *("table", "json", "csv", "parquet"))
@click.option(
    "--to",
    "target",
    metavar="FILE",
    type=click.Path(),
    help="Write to FILE, in place of one that is there, instead of to standard output.",
)
def command(words: tuple[str, ...], output: str, target: str | None) -> None:
    """Answer SQL over recordings, with DuckDB.

    The first query of a recording judges every connection by the rules of today and keeps the
    result in a folder of yours ($XDG_CACHE_HOME/tracetw); the next ones only read that. Times are
    UTC. SQL may only ask: no other file is read, none is written but with --to.

    \b
    Views:
      closes      one row for each connection: decoded, with verdict, form, closed_by, ...
      deaths      processes that died with connections open
      timewait    TIME_WAIT events, if recorded         drops     segments refused, if recorded
      retransmits retransmissions, if recorded          transitions  of TCP states, if recorded
      counters    the kernel's own, every 10 s          sysctls   teardown settings at the same times
      settings    from when to when a setting had a value
      losses      records that were lost, and when      listeners  who listened where

    docs/questions.md has the questions of an engineer on call, with their SQL.

    \b
    Examples:
      tracetw query rec "SELECT verdict, count(*) AS n FROM closes GROUP BY 1 ORDER BY 2 DESC"
      tracetw query rec "DESCRIBE closes"
      tracetw query rec -o parquet --to bad.parquet "SELECT * FROM closes WHERE abnormal"
      tracetw query rec -o csv "SELECT remote_addr, count(*) FROM closes WHERE abnormal GROUP BY 1"
    """
    paths, sql = _split(words)
    if target is None and (sys.stdout is None or (output == "parquet" and sys.stdout.isatty())):
        raise BadInput("standard output is no place for it", "give --to FILE")
    if extras.missing("query"):
        from tracetw.recording.reader import open_recordings  # noqa: PLC0415 (loads NumPy)

        open_recordings(paths)  # complains of what is no recording, before need() installs
        need("query", "query")
    from tracetw.query.run import query  # noqa: PLC0415 (loads NumPy)

    with progress() as bar:

        def begun() -> BinaryIO:
            bar.pause()
            return sys.stdout.buffer

        if target is not None:
            from tracetw.query.target import replaced  # noqa: PLC0415

            with replaced(target) as out:
                query(paths, sql, output, lambda: out, say)
        else:
            query(paths, sql, output, begun, say)
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
